"""Firecracker up to 1.16.1 read the MSRs that a template changes before it set CPUID.

KVM from 6.13 on gives 0 for MSR 0x10a to a vCPU whose CPUID does not show it, so that the bits which a template keeps
became 0. Source: firecracker 4681a67f7 (pull request 6120); Linux a5d563890b8f, v6.13
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from packaging.version import Version

from archcaps.guest_cpu.firecracker.releases import behaviour
from archcaps.guest_cpu.shown import Difference
from archcaps.guest_cpu.words import with_bits, without_bits, word_of
from archcaps.machine.snapshot import Snapshot
from archcaps.tables.bits import ARCH_CAPABILITIES
from archcaps.tables.kernels import Release
from archcaps.tables.kernels import behaviour as kernel_behaviour
from archcaps.tables.suppositions import supposed

__all__ = ["LostBits", "lost_by_read_order", "needs_cpuid"]

_ARCH_CAP: Final = "ia32_arch_capabilities"
_SOURCE: Final = "firecracker 4681a67f7 (20 August 2026, pull request 6120)"
_REASON: Final = "Firecracker up to 1.16.1 read MSR 0x10a before it set CPUID, which gives 0 on KVM from 6.13 on"


@dataclass(frozen=True, slots=True)
class LostBits:
    """The guest without what was lost, and what there is to say of it."""

    guest: Snapshot
    differences: tuple[Difference, ...] = ()
    notices: tuple[str, ...] = ()


def lost_by_read_order(guest: Snapshot, kept: int, release: Version | None, host: Snapshot | None) -> LostBits:
    """Return the guest whose bits `kept` (u64) of MSR 0x10a are those that Firecracker read, or 0, or unknown.

    They are 0 on Firecracker that reads too early on a KVM that asks CPUID; where one of the two is not known, a bit
    that is 1 becomes unknown.
    """
    early, (needs, source) = behaviour("sets_cpuid_before_reading_msrs", release) is False, needs_cpuid(host)
    if not kept or needs is False or behaviour("sets_cpuid_before_reading_msrs", release):
        return LostBits(guest)
    value, known = word_of(guest, _ARCH_CAP)
    certain = early and needs is True
    shown = False if certain else None
    differences = tuple(
        Difference(name, name, "firecracker", shown, _REASON, f"{_SOURCE}; {source}")
        for name, bit in ARCH_CAPABILITIES.items()
        if value & known & kept & bit.mask
    )
    if certain:
        return LostBits(with_bits(guest, _ARCH_CAP, kept, 0, f"{_REASON} [{_SOURCE}]"), differences)
    doubt = "Firecracker's release" if not early else "the host's kernel"
    notice = f"{_REASON}: bits that the template keeps are unknown, for {doubt} is not known"
    return LostBits(without_bits(guest, _ARCH_CAP, (value | ~known) & kept), differences, (notice,))


def needs_cpuid(host: Snapshot | None) -> tuple[bool | None, str]:
    """Return whether the host's KVM has no MSR 0x10a for a vCPU whose CPUID does not show it, and how that is known."""
    name = "arch_cap_needs_cpuid"
    if host is None:
        return None, "no host is given"
    if name in host.kernel.behaviours:
        return host.kernel.behaviours[name], "observed on the host"
    if host.kernel.release is None:
        return None, "the host's kernel release is not known"
    finding = supposed(partial(kernel_behaviour, name), Release.parse(host.kernel.release))
    return finding.value, finding.source
