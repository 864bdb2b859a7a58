"""Whether KVM on a host offers a feature of which nothing more than the host's snapshot tells."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final

from archcaps.machine.cmdline import HIDING
from archcaps.machine.snapshot import Reading, Snapshot, number
from archcaps.rules.kvm_offer import OFFERED_CPUID
from archcaps.tables.bits import BITS, REGISTERS
from archcaps.tables.cpu_features import CpuFeature
from archcaps.tables.part_features import PartFeatures, part_features

if TYPE_CHECKING:
    from archcaps.machine.facts import Datum

__all__ = ["HostFeatures"]

#: Bits that a list of a host's flags is expected to have: those that rules read. Others are missing from such lists
#: because nobody asked for them.
_READ: Final = frozenset(OFFERED_CPUID) | {
    name for name, bit in BITS.items() if REGISTERS[bit.register].kind == "cpuid" and bit.vulnerabilities
} | {"avx2", "hle", "hypervisor"}  # fmt: skip


class HostFeatures:
    """The features of one host's CPU, and what its KVM makes of them."""

    def __init__(self, host: Snapshot | None, bits: Mapping[str, Datum]) -> None:
        self._host = host
        self._bits = bits

    def offers(self, feature: CpuFeature) -> bool | None:
        """Return whether KVM offers a feature: as it was seen to, else by the host's CPU and KVM's rule."""
        if self._host is None or feature.rule == "qemu":
            return None if self._host is None else True
        seen = _bit_of(self._host.kvm.offered.get(feature.register), feature)
        if seen is not None:
            return seen
        if feature.rule in ("always", "never"):
            return feature.rule == "always"
        own = self.has(feature)
        if feature.name in ("vmx", "svm"):
            return self._nested(own)
        if feature.rule == "made":
            return None
        if own and feature.rule == "host":
            return True if self._hides_nothing else None
        return False if own is False else None

    def has(self, feature: CpuFeature) -> bool | None:
        """Return whether the host's own CPU has a feature: as its snapshot says, else none that its part never has."""
        if self._host is None:
            return None
        own = self._said(feature)
        return False if own is None and feature.name in self._of_part.lacks else own

    def _said(self, feature: CpuFeature) -> bool | None:
        """Return whether the host's snapshot says that its CPU has a feature."""
        assert self._host is not None
        if feature.known_as in self._bits and self._tells(feature.known_as):
            return self._bits[feature.known_as].value
        cpuid = self._host.cpuid
        for names, answer in () if cpuid is None else ((cpuid.shown, True), (cpuid.hidden, False)):
            if any(name in names for name in (*feature.names, feature.libvirt)):
                return answer
        return _bit_of(self._host.registers.get(feature.register), feature)

    def source(self, feature: CpuFeature) -> str:
        """Return who tells that KVM on this host does not offer a feature."""
        assert self._host is not None
        if _bit_of(self._host.kvm.offered.get(feature.register), feature) is not None:
            return "what KVM offers on this host"
        if feature.rule == "never":
            return "Linux arch/x86/kvm/cpuid.c kvm_set_cpu_caps: KVM offers it on no host"
        of_part = feature.name in self._of_part.lacks and self._said(feature) is None
        return self._of_part.source if of_part else "what KVM offers on this host"

    @cached_property
    def _of_part(self) -> PartFeatures:
        """What the machines of the host's part lack; of a host that may be a guest itself, its part tells nothing."""
        assert self._host is not None
        virtual = self._bits.get("hypervisor")
        if virtual is None or virtual.value:
            return part_features(None, None, None)
        cpu = self._host.cpu
        return part_features(
            cpu.vendor, *(None if one is None else number(one, 64, "cpu") for one in (cpu.family, cpu.model))
        )

    def _tells(self, bit: str) -> bool:
        """Whether the snapshot speaks of a bit: a list of flags that has none but those which rules read, does not."""
        assert self._host is not None
        cpuid, reading = self._host.cpuid, self._host.registers.get(BITS[bit].register)
        if bit in _READ or cpuid is None or bit in cpuid.shown or bit in cpuid.hidden or reading is not None:
            return True
        return any(name in BITS and name not in _READ for name in cpuid.shown)

    def _nested(self, own: bool | None) -> bool | None:
        """Return whether KVM offers VMX or SVM: its module's parameter says whether guests may have it."""
        assert self._host is not None
        parameter = self._host.kvm.parameters.get("nested", "")
        if own is False or parameter in ("N", "0"):
            return False
        return True if own and parameter in ("Y", "1") else None

    @cached_property
    def _hides_nothing(self) -> bool:
        """Whether the kernel is known to show KVM all that the CPU has."""
        assert self._host is not None
        cmdline = self._host.kernel.cmdline
        words = () if cmdline is None else [word.partition("=")[0] for word in cmdline.split()]
        return cmdline is not None and not set(words) & HIDING


def _bit_of(reading: Reading | None, feature: CpuFeature) -> bool | None:
    """Return a feature's bit in a register's reading; None: not known."""
    if reading is None:
        return None
    single = reading.bits.get(feature.known_as)
    if single is not None:
        return single.value
    width = 64 if feature.kind == "msr" else 32
    if reading.value is None:
        return None
    known = (1 << width) - 1 if reading.known is None else number(reading.known, width, feature.register)
    mask = 1 << feature.bit
    return bool(number(reading.value, width, feature.register) & mask) if known & mask else None
