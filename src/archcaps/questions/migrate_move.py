"""A move as it is asked about: the guest, the two hosts, the VMM on either, and what the guest may arrive as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from msgspec.structs import replace

from archcaps.errors import InputError, nearest
from archcaps.machine.snapshot import Cpu, Snapshot
from archcaps.questions.default_guest import default_guest
from archcaps.questions.migrate_features import FeatureMove, feature_move
from archcaps.questions.migrate_guest import booted_anew, hidden_register, shown_bits, with_bits
from archcaps.questions.migrate_support import QEMU_FAMILY, Place, common
from archcaps.questions.reader import Reader
from archcaps.tables.names import STRICT

__all__ = ["LIBVIRT_FAMILY", "VMMS", "Check", "Move", "Vmms"]

#: What can be said to run the guest: kvm, no VMM's rules beside KVM's own.
VMMS: Final = ("kvm", *QEMU_FAMILY, "firecracker", "cloud-hypervisor")
#: The programs that start QEMU through libvirt.
LIBVIRT_FAMILY: Final = ("libvirt", "nova", "kubevirt", "ovirt")
_MSR: Final = "ia32_arch_capabilities"

#: What QEMU does where the host cannot give all that is asked for: start without it, or refuse.
Check = Literal["warn", "enforce"]


@dataclass(frozen=True)
class Vmms:
    """What runs the guest, on either host.

    `machine`: QEMU's machine type. `check`: None is the VMM's default (Proxmox VE forces enforce). `from_version` and
    `to_version`: QEMU's. `passthrough`: the guest's CPU is the host's, which libvirt does not compare. `saved`:
    Firecracker saves MSR 0x10a, because the guest's CPU template names it; None: not known. `features` are those of the
    guest's CPU, by QEMU's names, with whether it has them (None: not known), as its configuration tells; without one,
    its snapshot does. `not_followed` is what its model has besides, `threads` how many threads a package of it has.
    """

    vmm: str = "qemu"
    machine: str | None = None
    from_version: str | None = None
    to_version: str | None = None
    check: Check | None = None
    passthrough: bool = False
    saved: bool | None = None
    features: Mapping[str, bool | None] | None = None
    not_followed: str = ""
    threads: int | None = None


class Move:
    """One guest that is to go from one host to another.

    Raises:
        InputError: a version is none, or the VMM is not known.
    """

    def __init__(
        self, from_: Snapshot, to: Snapshot, guest: Snapshot, vmms: Vmms, assumptions: frozenset[str] = frozenset()
    ) -> None:
        if vmms.vmm not in VMMS:
            known = ", ".join(VMMS)
            raise InputError(f"unknown VMM {vmms.vmm!r}{nearest(vmms.vmm, VMMS)} (expected one of {known})", "--vmm")
        self.from_, self.to, self.guest, self.vmms, self.assumptions = from_, to, guest, vmms, assumptions
        self.before = Reader(from_, guest, assumptions)
        self.arrived = Reader(to, guest, assumptions)
        self.home = Place(self.before, vmms.vmm, vmms.from_version, vmms.machine, "--from-vmm-version")
        self.goal = Place(self.arrived, vmms.vmm, vmms.to_version, vmms.machine, "--to-vmm-version")
        self.shown = shown_bits(self.before)

    @property
    def enforces(self) -> bool:
        """Whether QEMU refuses to start without a bit that is asked for."""
        return self.vmms.check == "enforce" or (self.vmms.check is None and self.vmms.vmm == "proxmox")

    @property
    def libvirt_compares(self) -> bool:
        """Whether libvirt compares the CPU that QEMU made on the destination with the one that the guest has."""
        return self.vmms.vmm in LIBVIRT_FAMILY and not self.vmms.passthrough

    @property
    def same_place(self) -> bool:
        """Whether nothing changes: the same host, and no other VMM than now."""
        return self.from_ == self.to and self.vmms.to_version in (None, self.vmms.from_version)

    def supported(self, bit: str) -> bool | None:
        """Return whether the VMM on the destination can show the guest a bit as it does now; None: unknown.

        Where it could not by its rules at home either, and the guest has the bit all the same, the rules do not tell.
        """
        if self.same_place:
            return True
        there = self.goal.supports(bit)
        return None if there is False and self.home.supports(bit) is False else there

    @cached_property
    def lost(self) -> list[str]:
        """The bits that the guest is shown and the VMM on the destination cannot show."""
        return [bit for bit, shown in self.shown.items() if shown and self.supported(bit) is False]

    @cached_property
    def unsure(self) -> list[str]:
        """The bits of which that is not known."""
        return [bit for bit, shown in self.shown.items() if shown and self.supported(bit) is None]

    @cached_property
    def features(self) -> FeatureMove:
        """What becomes of the features of the guest's CPU that are none of the compared bits."""
        return feature_move(self)

    @cached_property
    def shown_after(self) -> dict[str, bool | None]:
        """The compared bits as the guest can read them from the move on; None: unknown."""
        after = [shown_bits(Reader(self.to, each, self.assumptions)) for each in self.carried]
        return {bit: common({each[bit] for each in after}) for bit in self.shown}

    @cached_property
    def shown_changes(self) -> dict[str, bool | None]:
        """The bits that the guest can read otherwise from the move on, with what it then reads."""
        return {bit: value for bit, value in self.shown_after.items() if value is not self.shown[bit]}

    @cached_property
    def carried(self) -> list[Snapshot]:
        """The guest as its vCPUs may hold it on the destination: one snapshot, or each that is possible."""
        if self.same_place:
            return [self.guest]
        if self.vmms.vmm == "firecracker":
            return self._restored_by_firecracker()
        if self.vmms.vmm not in QEMU_FAMILY:
            return [self.guest]
        if self.vmms.passthrough:
            passed = with_bits(self.guest, {bit: self._passed(bit) for bit in self.shown})
            passed = replace(passed, cpu=_same_part(passed.cpu, self.to.cpu))
            return [hidden_register(passed)] if self._passed("arch_capabilities") is False else [passed]
        found = [with_bits(self.guest, dict.fromkeys(self.lost, False))]
        if self.unsure:
            found.append(with_bits(found[0], dict.fromkeys(self.unsure, False)))
        # Whether QEMU drops the value with the CPUID bit is not known: a model that asks for it seems to keep it (S06).
        if "arch_capabilities" in self.lost:
            found = [hidden_register(each) for each in found] + found
        elif "arch_capabilities" in self.unsure:
            found.append(hidden_register(found[1]))
        return found

    @cached_property
    def booted_there(self) -> Snapshot:
        """The guest as it is shown its CPU where it boots again on the destination, unchanged by anybody."""
        open_bits = [bit for bit, value in self.shown_changes.items() if value is None]
        return booted_anew(with_bits(self.carried[0], dict.fromkeys(open_bits)))

    def _passed(self, bit: str) -> bool | None:
        """Return whether -cpu host shows a bit there: QEMU can, and has a name for it; None: unknown."""
        can, named = self.goal.supports(bit), self.goal.named(bit)
        return False if False in (can, named) else None if None in (can, named) else True

    def _restored_by_firecracker(self) -> list[Snapshot]:
        """Return the guest with MSR 0x10a as it was saved, or as KVM gives it to any new vCPU there."""
        reading = default_guest(self.to, strict=STRICT in self.assumptions).registers[_MSR]
        again = replace(self.guest, registers={**self.guest.registers, _MSR: reading})
        return {True: [self.guest], False: [again], None: [self.guest, again]}[self.vmms.saved]


def _same_part(cpu: Cpu, host: Cpu) -> Cpu:
    """Return the guest's CPU with the identity of a host's."""
    return replace(
        cpu, vendor=host.vendor, family=host.family, model=host.model, stepping=host.stepping, core_type=host.core_type
    )
