"""What other projects' rules for levelling say of a guest's MSR 0x10a and of what the destination offers."""

from __future__ import annotations

from typing import Final

from archcaps.guest_cpu.cloud_hypervisor_migration import cloud_hypervisor_compatible
from archcaps.questions.migrate_move import Move
from archcaps.questions.migrate_results import PeerAnswer
from archcaps.tables.bits import ARCH_CAPABILITIES

__all__ = ["peers_of", "xen_refuses"]

_CLOUD_HYPERVISOR: Final = "Cloud Hypervisor ae44c2971 arch/src/x86_64/arch_capabilities_checks.rs"
_XEN: Final = "xen-project/xen@c447b7308b xen/arch/x86/cpu-policy.c calculate_pv_max_policy, calculate_hvm_max_policy"

_WORSE_IF_SET: Final = ("rsba", "rrsba")
#: Bits that Xen lets any guest have seen elsewhere: VERW has been there since the 286, and a warning does no harm.
_XEN_ALWAYS: Final = (
    "md_clear", "fb_clear", "rfds_clear", "verw_clear", "arch_capabilities", *_WORSE_IF_SET,
)  # fmt: skip


def _why(source: int, destination: int) -> str:
    """Return why two values fit, or the bits by which they do not."""
    if cloud_hypervisor_compatible(source, destination):
        return "compatible"
    warnings = sum(ARCH_CAPABILITIES[bit].mask for bit in _WORSE_IF_SET)
    missing = [name for name, bit in ARCH_CAPABILITIES.items() if source & ~destination & ~warnings & bit.mask]
    warned = [bit for bit in _WORSE_IF_SET if destination & ~source & ARCH_CAPABILITIES[bit].mask]
    parts = [f"{', '.join(missing)} missing"] if missing else []
    parts += [f"{', '.join(warned)} of which the source was not warned"] if warned else []
    return f"not compatible ({'; '.join(parts) or 'reserved bits differ'})"


def xen_refuses(move: Move) -> list[str]:
    """Return the bits shown to the guest that Xen's greatest policy on the destination would not have.

    What KVM offers there stands for what the host has.
    """
    return [
        bit for bit, shown in move.shown.items() if shown and bit not in _XEN_ALWAYS and move.goal.offered(bit) is False
    ]


def peers_of(move: Move) -> list[PeerAnswer]:
    """Return what the two rules say, where both values are known as far as they ask."""
    if move.same_place:
        return []
    source = {bit: move.shown[bit] for bit in ARCH_CAPABILITIES if bit in move.shown}
    offered = {bit: move.goal.offered(bit) for bit in source}
    found = []
    if None not in (*source.values(), *offered.values()):
        values = [sum(ARCH_CAPABILITIES[bit].mask for bit, on in each.items() if on) for each in (source, offered)]
        fits = cloud_hypervisor_compatible(*values)
        why = f"source {values[0]:#x}, destination {values[1]:#x}: {_why(*values)}"
        found.append(PeerAnswer("Cloud Hypervisor (with a CPU profile)", fits, why, _CLOUD_HYPERVISOR))
    refused = xen_refuses(move)
    if refused:
        why = f"its greatest policy has {', '.join(refused)} only where the host has it"
        found.append(PeerAnswer("Xen (levelling)", False, why, _XEN))
    elif None not in (move.goal.offered(bit) for bit, shown in move.shown.items() if shown and bit not in _XEN_ALWAYS):
        found.append(PeerAnswer("Xen (levelling)", True, "all that is shown may be shown there", _XEN))
    return found
