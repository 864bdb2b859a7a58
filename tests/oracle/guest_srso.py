"""The oracle's guest kernel: SRSO and VMSCAPE, in each of their forms.

Written from readings of srso_* and vmscape_* in bugs.c, apart from src/archcaps.
"""

# ruff: noqa: PLR0911  # a return for each state, as the kernel leaves its switch

from __future__ import annotations

from tests.oracle.guest_branches import Branches

__all__ = ["spec_rstack_overflow", "vmscape"]

_NONE = "Vulnerable"
_SMT = "Mitigation: SMT disabled"
_NO_MICROCODE = "Vulnerable: No microcode"


def spec_rstack_overflow(chosen: Branches) -> str | None:
    if not chosen.world.has("has_srso"):
        return None
    if "srso" not in chosen.bugs:
        return "Not affected"
    if chosen.world.has("srso_in_lower_case"):
        return _lower_case(chosen)
    if chosen.vectors:
        return _by_vectors(chosen)
    return _updated(chosen) if chosen.later else _named(chosen)


def _option(chosen: Branches) -> str:
    names = ("off", "microcode", "safe_ret", "ibpb", "ibpb_vmexit")
    return next((name for name in names if chosen.world.has(f"srso_{name}")), "")


def _probe(chosen: Branches) -> bool:
    """Whether the old test by family finds the microcode; it is there where no early test is."""
    shows, has = chosen.world.shows, chosen.world.has
    if not has("srso_in_lower_case") or has("probes_ibpb_brtype"):
        return False
    if shows("family_0x19"):
        return shows("sbpb_write_succeeds")
    return shows("family_0x17") and shows("amd_ibpb")


def _vm_exit_is_built(chosen: Branches) -> bool:
    has = chosen.world.has
    return has("built_ibpb_entry" if has("srso_vm_exit_asks_entry") else "built_srso")


def _lower_case(chosen: Branches) -> str:
    has = chosen.world.has
    shown = "IBPB_BRTYPE" in chosen.features
    found = shown or _probe(chosen)
    # mitigations=off: nothing looked for the microcode before the text is made
    at_text = _probe(chosen) if has("srso_text_probes_again") else shown if chosen.off else found
    ending = "" if at_text else ", no microcode"
    state = _NONE
    if not chosen.off:
        if found and chosen.srso_is_no_more():
            return _SMT
        option = _option(chosen) or "safe_ret"
        if found and chosen.retbleed == "IBPB":
            state = "Mitigation: IBPB"
        elif option == "safe_ret" and has("built_srso"):
            state = "Mitigation: safe RET"
        elif found and option == "microcode":
            state = "Mitigation: microcode"
        elif found and option == "ibpb" and has("built_ibpb_entry"):
            state = "Mitigation: IBPB"
        elif found and option == "ibpb_vmexit" and _vm_exit_is_built(chosen):
            state = "Mitigation: IBPB on VMEXIT only"
    return state + ending


def _named(chosen: Branches) -> str:
    shows, has = chosen.world.shows, chosen.world.has
    option = _option(chosen)
    if chosen.off or (option == "off" and has("srso_off_first")):
        return _NONE
    found = "IBPB_BRTYPE" in chosen.features
    if found and chosen.srso_is_no_more():
        return _SMT
    if found and chosen.retbleed == "IBPB":
        return "Mitigation: IBPB"
    state = _NONE if found else _NO_MICROCODE
    option = option or "safe_ret"
    if option == "safe_ret":
        if has("srso_user_kernel") and shows("srso_user_kernel_no"):
            option = "ibpb_vmexit"
        elif has("built_srso"):
            return "Mitigation: Safe RET" if found else "Vulnerable: Safe RET, no microcode"
    if option == "ibpb_vmexit":
        if has("srso_user_kernel") and shows("srso_bp_spec_reduce"):
            return "Mitigation: Reduced Speculation"
        if found and _vm_exit_is_built(chosen):
            return "Mitigation: IBPB on VMEXIT only"
    if option == "ibpb" and found and has("built_ibpb_entry"):
        return "Mitigation: IBPB"
    if option == "microcode" and found:
        return "Vulnerable: Microcode, no safe RET"
    return state


def _updated(chosen: Branches) -> str:
    """6.16: selected; what needs microcode or is not built falls back; in the end Retbleed's IBPB is taken over."""
    shows, has = chosen.world.shows, chosen.world.has
    found = "IBPB_BRTYPE" in chosen.features
    option = _option(chosen) or "safe_ret"
    off = chosen.off or option == "off"
    if not off and found and chosen.srso_is_no_more():
        return _SMT
    if chosen.retbleed == "IBPB" and found:
        return "Mitigation: IBPB"
    if off:
        return _NONE
    if option == "safe_ret" and has("srso_user_kernel") and shows("srso_user_kernel_no"):
        option = "ibpb_vmexit"
    if option == "ibpb_vmexit" and has("srso_user_kernel") and shows("srso_bp_spec_reduce"):
        return "Mitigation: Reduced Speculation"
    if option in ("ibpb", "ibpb_vmexit"):
        if not found:
            return _NO_MICROCODE
        if not has("built_ibpb_entry"):
            return _NONE
        return "Mitigation: IBPB" if option == "ibpb" else "Mitigation: IBPB on VMEXIT only"
    if option == "microcode":
        return "Vulnerable: Microcode, no safe RET"
    if not found:
        return "Vulnerable: Safe RET, no microcode"
    return "Mitigation: Safe RET" if has("built_srso") else _NONE


def _by_vectors(chosen: Branches) -> str:
    """From 6.17 on: without an option by the vectors; what lacks microcode says so, unless safe RET is chosen."""
    shows, has = chosen.world.shows, chosen.world.has
    found = "IBPB_BRTYPE" in chosen.features
    if chosen.retbleed == "IBPB" and found:
        return "Mitigation: IBPB"
    option = _option(chosen)
    if not option:
        if has("vector_guest_host") or (has("vector_user_kernel") and not shows("srso_user_kernel_no")):
            option = "safe_ret"
        elif has("vector_user_user") or has("vector_guest_guest"):
            option = "microcode"
        else:
            return _NONE
    if chosen.srso_is_no_more():
        return _SMT
    if option == "safe_ret" and has("srso_user_kernel") and shows("srso_user_kernel_no"):
        option = "ibpb_vmexit"
        if has("srso_user_ibpb") and shows("btb_ctx_isolation"):
            return "Mitigation: IBPB on context switch"
    elif option != "safe_ret" and not found:
        return _NO_MICROCODE
    if option == "ibpb_vmexit" and has("srso_user_kernel") and shows("srso_bp_spec_reduce"):
        return "Mitigation: Reduced Speculation"
    if option in ("ibpb", "ibpb_vmexit"):
        if not has("built_ibpb_entry"):
            return _NONE
        return "Mitigation: IBPB" if option == "ibpb" else "Mitigation: IBPB on VMEXIT only"
    if option == "safe_ret":
        if not has("built_srso"):
            return _NONE
        return "Mitigation: Safe RET" if found else "Vulnerable: Safe RET, no microcode"
    return _NONE if option == "off" else "Vulnerable: Microcode, no safe RET"


def vmscape(chosen: Branches) -> str | None:
    has = chosen.world.has
    if not has("has_vmscape"):
        return None
    if "vmscape" not in chosen.bugs:
        return "Not affected"
    able = "IBPB" in chosen.features
    if not chosen.later and (chosen.off or not able):
        return _NONE
    at_vm_exit = spec_rstack_overflow(chosen) == "Mitigation: IBPB on VMEXIT only"
    if chosen.retbleed == "IBPB" or at_vm_exit:
        return "Mitigation: IBPB on VMEXIT"
    if has("vmscape_off") or not able:
        return _NONE
    if has("mitigations_off") and not has("off_only_empties_vectors"):
        return _NONE
    if has("vmscape_by_vectors") and not has("vmscape_ibpb") and not has("vector_guest_host"):
        return _NONE
    return "Mitigation: IBPB before exit to userspace"
