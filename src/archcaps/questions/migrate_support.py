"""Which bits a VMM can show a guest on a host: what KVM offers there, and what QEMU makes of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from archcaps.guest_cpu.qemu.models import Setting, setting
from archcaps.guest_cpu.qemu.supported import IMMUNE, Supported
from archcaps.questions.default_guest import default_guest
from archcaps.questions.reader import Reader
from archcaps.rules.kvm_offer import OFFERED_CPUID, kvm_get_arch_capabilities, kvm_get_supported_cpuid
from archcaps.tables import qemu as tables
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS
from archcaps.tables.cpu_features import CpuFeature
from archcaps.tables.names import STRICT

__all__ = ["COMPARED", "QEMU_FAMILY", "Place", "common"]

#: The bits that are compared: those whose offer by KVM is modelled.
COMPARED: Final = (*OFFERED_CPUID, *(name for name, bit in ARCH_CAPABILITIES.items() if bit.status != "reserved"))
#: The VMMs under which QEMU runs the guest.
QEMU_FAMILY: Final = ("qemu", "libvirt", "proxmox", "nova", "kubevirt", "ovirt")

#: A release for each way in which QEMU's releases differ over these bits, for where the release is not known.
_RELEASES: Final = ("8.1.0", "10.0.2", "10.1.0", "10.1.1", "10.1.2", tables.NEWEST)
#: A machine type for each of the two ways in which they differ, likewise.
_MACHINES: Final = ("pc-q35-10.0", "pc-q35-10.1")


def common(values: set[bool | None]) -> bool | None:
    """Return the one value that there is; None where there are several."""
    return next(iter(values)) if len(values) == 1 else None


@dataclass(frozen=True)
class Place:
    """A host with the VMM that runs the guest there: `reader` has read the host and the guest.

    `vmm` is one of `archcaps.guest_cpu.asked.VMMS` or kvm; `release` and `machine` are QEMU's, `option` the option
    that gives the release.

    Raises:
        InputError: `release` is none.
    """

    reader: Reader
    vmm: str
    release: str | None
    machine: str | None
    option: str

    def __post_init__(self) -> None:
        if self.vmm in QEMU_FAMILY:
            setting(self.release, self.machine, self.option)

    @property
    def patched(self) -> bool:
        """Whether something stands behind the release: a distribution's own build."""
        return self.release is not None and not re.fullmatch(r"v?[\d.]+", self.release.strip())

    def offered(self, bit: str) -> bool | None:
        """Return whether KVM offers a bit here; None: unknown."""
        kvm = self.reader.model.kvm
        rule = kvm_get_arch_capabilities if bit in ARCH_CAPABILITIES else kvm_get_supported_cpuid
        return self.reader.ternary.value(rule(kvm, bit))

    def named(self, bit: str) -> bool | None:
        """Return whether the VMM has a name for a bit; only QEMU shows bits by name."""
        if self.vmm not in QEMU_FAMILY:
            return True
        name = BITS[bit].names.get("qemu", "")
        return common({each.has_property(name) for each in self._settings})

    def supports(self, bit: str) -> bool | None:
        """Return whether the VMM can show the guest a bit here, where KVM offers it and by its own rules."""
        if self.vmm not in QEMU_FAMILY:
            return self.offered(bit)
        return common({each.of(bit).value for each in self._supported})

    def supports_feature(self, feature: CpuFeature) -> bool | None:
        """Return whether QEMU can show the guest a feature here that may have no name of ours; None: unknown."""
        return common({each.of_feature(feature).value for each in self._supported})

    def why_not(self, bit: str) -> str:
        """Return why QEMU cannot show a bit here: KVM, or its own rule."""
        answers = [answer for each in self._supported if (answer := each.of(bit)).value is False]
        if all(answer.by == "kvm" for answer in answers):
            return "KVM there does not offer that"
        return "; ".join(sorted({answer.reason for answer in answers if answer.by != "kvm"}))

    @cached_property
    def hides_arch_capabilities(self) -> bool | None:
        """Whether QEMU hides ARCH_CAPABILITIES from this guest here, though KVM offers it; None: unknown."""
        if self.vmm not in QEMU_FAMILY or not self.offered("arch_capabilities"):
            return False
        can = self.supports("arch_capabilities")
        return None if can is None else not can

    @cached_property
    def immune(self) -> bool:
        """Whether KVM offers the five NO bits, with which newer QEMUs add FB_CLEAR."""
        return all(self.offered(bit) for bit in IMMUNE)

    @cached_property
    def _settings(self) -> list[Setting]:
        releases = _RELEASES if self.release is None else (self.release,)
        known = self.machine is not None and setting(None, self.machine, self.option).machine.known
        machines = (self.machine,) if known else _MACHINES
        return [setting(release, machine, self.option) for release in releases for machine in machines]

    @cached_property
    def _supported(self) -> list[Supported]:
        host, vendor = self.reader.host, self.reader.guest.cpu.vendor
        offered = default_guest(host, strict=STRICT in self.reader.assumptions)
        return [Supported(host, offered, each, vendor) for each in self._settings]
