"""What a VMM's configuration asks for, in one form for all VMMs, before any of it is expanded or filtered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["VMMS", "Asked", "HostDevice", "Identity", "MaskedWrite", "Mode", "Policy", "Switch", "Vmm"]

Vmm = Literal[
    "qemu", "libvirt", "firecracker", "cloud-hypervisor", "proxmox", "nova", "kubevirt", "ovirt", "xen"
]  # fmt: skip
VMMS: Final[tuple[Vmm, ...]] = (
    "qemu", "libvirt", "firecracker", "cloud-hypervisor", "proxmox", "nova", "kubevirt", "ovirt", "xen",
)  # fmt: skip

#: named: a CPU model by name. host: the host's CPU as it is (QEMU's host, libvirt's host-passthrough). host-model:
#: libvirt's named model nearest to the host's, with the rest of its bits. maximum: everything the VMM can do.
#: template: the host's CPU with words changed (Firecracker). default: the configuration names no CPU.
Mode = Literal["named", "host", "host-model", "maximum", "template", "default"]

#: libvirt's five words (docs: formatdomain, CPU model and topology); QEMU's on is require, its off is disable.
Policy = Literal["force", "require", "optional", "disable", "forbid"]


@dataclass(frozen=True, slots=True)
class Switch:
    """One feature that a configuration names, spelt as QEMU and libvirt spell it (with dashes), and where it does."""

    name: str
    policy: Policy
    where: str = ""

    @property
    def on(self) -> bool:
        """Whether the guest is to have the feature."""
        return self.policy in ("force", "require", "optional")


@dataclass(frozen=True, slots=True)
class Identity:
    """The parts of the CPU's identity that a configuration sets itself; the others are the model's or the host's."""

    vendor: str | None = None
    family: int | None = None
    model: int | None = None
    stepping: int | None = None


@dataclass(frozen=True, slots=True)
class MaskedWrite:
    """Bits of one word that a template fixes (u64): `register` is our name for it, else `leaf` says which."""

    register: str | None
    leaf: str
    mask: int
    value: int
    where: str = ""


@dataclass(frozen=True, slots=True)
class HostDevice:
    """A device of the host that a configuration gives its guest, or may give it, in the configuration's own words.

    `counted`: KVM counts it as assigned; `mapped`: host MMIO is mapped into the guest by it. None: not known, and
    `unknown_because` says what would tell.
    """

    what: str
    where: str = ""
    counted: bool | None = True
    mapped: bool | None = True
    unknown_because: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """The CPU that one guest's configuration asks for.

    `release` is the VMM's own version, `machine` the machine type as written; None: the configuration does not say.
    `migratable` is None where the VMM's default holds. `check` says what happens if the host cannot give all of it:
    none or warn (start without), enforce or full (refuse), partial (libvirt's own comparison). `force_features` is
    QEMU's x-force-features. `devices` are the host's that it gives the guest. `live`: this is what runs, not what was
    asked of it. `lost_in_words` says what the format cannot express. `text` is the document itself, which
    a changed one is written from.
    """

    vmm: Vmm
    mode: Mode
    model: str | None = None
    switches: tuple[Switch, ...] = ()
    identity: Identity = Identity()
    writes: tuple[MaskedWrite, ...] = ()
    release: str | None = None
    machine: str | None = None
    accelerator: Literal["kvm", "tcg", "xen"] | None = None
    migratable: bool | None = None
    check: Literal["none", "warn", "partial", "enforce", "full"] | None = None
    force_features: bool = False
    devices: tuple[HostDevice, ...] = ()
    live: bool = False
    name: str = ""
    where: str = ""
    lost_in_words: tuple[str, ...] = ()
    text: str = ""
