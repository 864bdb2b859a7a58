"""Cloud Hypervisor's rule for a guest that saw one value of IA32_ARCH_CAPABILITIES and comes to another."""

from __future__ import annotations

from typing import Final

from archcaps.tables.bits import ARCH_CAPABILITIES

__all__ = ["cloud_hypervisor_compatible"]


def _mask(*names: str) -> int:
    return sum(ARCH_CAPABILITIES[name].mask for name in names)


#: Bits that say something bad of a CPU: the guest has to have seen them before it meets them.
_SUPERSET: Final = _mask("rsba", "rrsba")
#: Bit 31 and bits 33 to 61, which Intel had not given a meaning.
_RESERVED: Final = sum(1 << bit for bit in (31, *range(33, 62)))
#: With all of these a CPU has nothing that VERW would have to clear from the fill buffers.
_NEEDS_NO_FB_CLEAR: Final = _mask("mds_no", "taa_no", "sbdr_ssdp_no", "fbsdp_no", "psdp_no")


def cloud_hypervisor_compatible(source: int, destination: int) -> bool:
    """Return whether a guest that was shown `source` may go where KVM offers `destination` (both u64, MSR 0x10a).

    The destination has every bit of the source, save that FB_CLEAR alone may be missing where nothing needs it; it has
    no RSBA or RRSBA that the source has not; and the reserved bits are equal.

    Source: cloud-hypervisor@ae44c29 arch/src/x86_64/arch_capabilities_checks.rs arch_capabilities_compatible
    """
    missing = source & ~destination & ~(_SUPERSET | _RESERVED)
    tolerated = _mask("fb_clear") if destination & _NEEDS_NO_FB_CLEAR == _NEEDS_NO_FB_CLEAR else 0
    new_and_bad = destination & ~source & _SUPERSET
    return not (missing & ~tolerated or new_and_bad or (source ^ destination) & _RESERVED)
