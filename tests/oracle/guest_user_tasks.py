"""The oracle's guest kernel: how user tasks are guarded from each other, by IBPB and STIBP.

Written from readings of spectre_v2_user_select_mitigation and its update, apart from src/archcaps.
"""

from __future__ import annotations

from tests.oracle.guest_branches import Branches

__all__ = ["ibpb", "stibp"]

_OPTIONS = ("off", "on", "prctl", "ibpb")


def _option(chosen: Branches) -> str:
    has = chosen.world.has
    return next((name for name in _OPTIONS if has(f"spectre_v2_user_{name}")), "auto")


def _left_alone(chosen: Branches) -> bool:
    has = chosen.world.has
    if chosen.spectre_v2_off:
        return True
    if chosen.spectre_v2_on:
        return False
    if _option(chosen) == "auto" and chosen.vectors:
        return not has("vector_user_user") and not has("vector_guest_guest")
    return _option(chosen) == "off"


def ibpb(chosen: Branches) -> str:
    """Return disabled, conditional or always-on."""
    if _left_alone(chosen):
        return "disabled"
    always = chosen.spectre_v2_on or _option(chosen) in ("on", "ibpb")
    return "always-on" if always else "conditional"


def stibp(chosen: Branches) -> str:
    """Return none, prctl, preferred or strict."""
    shows, has = chosen.world.shows, chosen.world.has
    if _left_alone(chosen) or "STIBP" not in chosen.features:
        return "none"
    if not chosen.smt_possible or chosen.ibrs_spares_stibp():
        return "none"
    strict = chosen.spectre_v2_on or _option(chosen) == "on"
    if chosen.vectors and _option(chosen) == "auto" and not strict and not has("vector_cross_thread"):
        return "none"
    if chosen.retbleed in ("untrained return thunk", "IBPB"):
        return "preferred"
    if strict:
        return "strict"
    return "preferred" if shows("amd_stibp_always_on") else "prctl"
