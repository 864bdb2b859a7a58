"""KVM as a small object: what it offers on a host, and whether it switches VERW's clearing off for a vCPU."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from archcaps.machine.inline import InlineMachine, overlay
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.reader import Reader
from archcaps.rules.kvm_entry import vcpu_arch_capabilities
from archcaps.rules.kvm_offer import kvm_get_arch_capabilities
from archcaps.tables.bits import ARCH_CAPABILITIES

__all__ = ["Kvm", "Vcpu", "Word"]


@dataclass(frozen=True)
class Word:
    """A register of which some bits may be unknown: `value` (u64) holds the bits that the mask `known` (u64) names."""

    value: int
    known: int = (1 << 64) - 1

    def __index__(self) -> int:
        """Return the value, for int() and hex().

        Raises:
            ValueError: a bit is unknown.
        """
        if self.known != (1 << 64) - 1:
            raise ValueError(f"{self} has unknown bits: look at value and known")
        return self.value

    __int__ = __index__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int):
            return self.known == (1 << 64) - 1 and self.value == other
        return isinstance(other, Word) and (self.value, self.known) == (other.value, other.known)

    def __hash__(self) -> int:
        return hash((self.value, self.known))

    def __str__(self) -> str:
        unknown = ~self.known & (1 << 64) - 1
        return f"{self.value:#x}" + (f" (unknown: {unknown:#x})" if unknown else "")


@dataclass(frozen=True)
class Vcpu:
    """One vCPU: its guest, and what KVM holds and does for it."""

    reader: Reader

    @property
    def arch_capabilities(self) -> Word:
        """The value of MSR 0x10a that KVM holds for the vCPU (source: kvm_set_msr_common; 6.13: a5d563890b8f)."""
        model = self.reader.model
        value = self.reader.ternary.value
        return _word(
            {name: value(vcpu_arch_capabilities(model.guest.cpu, model.kvm, name)) for name in ARCH_CAPABILITIES}
        )

    @property
    def disable_fb_clear(self) -> bool | None:
        """Whether KVM sets FB_CLEAR_DIS while the vCPU runs; None: unknown (source: vmx_update_fb_clear_dis)."""
        return self.reader.ternary.value(self.reader.model.guest.disable_fb_clear)


class Kvm:
    """The KVM of `host`, or of that host under another `kernel` release.

    Raises:
        InputError: `kernel` is not a kernel release.
    """

    def __init__(self, host: Snapshot, kernel: str | None = None) -> None:
        self.host = host if kernel is None else overlay(host, InlineMachine("host", kernel=kernel))
        self._reader = Reader(self.host, Snapshot(format_version=1, role="guest"))

    @property
    def supported_arch_cap(self) -> Word:
        """The value of MSR 0x10a that KVM offers to userspace (source: kvm_get_arch_capabilities)."""
        model = self._reader.model
        value = self._reader.ternary.value
        return _word({name: value(kvm_get_arch_capabilities(model.kvm, name)) for name in ARCH_CAPABILITIES})

    def vcpu(self, arch_capabilities: int | None, guest: Snapshot | None = None) -> Vcpu:
        """Return a vCPU whose MSR 0x10a userspace set to `arch_capabilities` (u64; None: its CPUID hides the MSR).

        Raises:
            InputError: the value does not fit in 64 bits.
        """
        value = "none" if arch_capabilities is None else arch_capabilities
        base = guest or replace(Snapshot(format_version=1, role="guest"), name="vcpu")
        return Vcpu(Reader(self.host, overlay(base, InlineMachine("guest", arch_capabilities=value))))


def _word(bits: dict[str, bool | None]) -> Word:
    value = sum(ARCH_CAPABILITIES[name].mask for name, bit in bits.items() if bit)
    known = sum(ARCH_CAPABILITIES[name].mask for name, bit in bits.items() if bit is not None)
    return Word(value, known)
