"""The oracle's files of a guest kernel about branches: the text of each, from what `Branches` chose.

Written from readings of the kernels' *_show_state functions, apart from src/archcaps.
"""

from __future__ import annotations

from tests.oracle.guest_branches import Branches
from tests.oracle.guest_user_tasks import ibpb, stibp

__all__ = [
    "bhi_field",
    "indirect_target_selection",
    "retbleed",
    "spec_store_bypass",
    "spectre_v1",
    "spectre_v2",
]


def spectre_v1(chosen: Branches) -> str | None:
    has = chosen.world.has
    if not has("has_earliest_files"):
        return None
    if "spectre_v1" not in chosen.bugs:
        return "Not affected"
    if has("spectre_v1_off") or chosen.off or (chosen.vectors and not has("vector_user_kernel")):
        return "Vulnerable: __user pointer sanitization and usercopy barriers only; no swapgs barriers"
    return "Mitigation: usercopy/swapgs barriers and __user pointer sanitization"


def spec_store_bypass(chosen: Branches) -> str | None:
    has = chosen.world.has
    if not has("has_earliest_files"):
        return None
    if "spec_store_bypass" not in chosen.bugs:
        return "Not affected"
    if "SSBD" not in chosen.features or chosen.off or has("ssb_off"):
        return "Vulnerable"
    if has("ssb_on"):
        return "Mitigation: Speculative Store Bypass disabled"
    if has("ssb_prctl"):
        return "Mitigation: Speculative Store Bypass disabled via prctl"
    if not has("ssb_seccomp"):
        if chosen.vectors and not has("vector_user_user"):
            return "Vulnerable"
        if not has("seccomp_disables_store_bypass"):
            return "Mitigation: Speculative Store Bypass disabled via prctl"
    seccomp = " and seccomp" if has("built_seccomp") else ""
    return f"Mitigation: Speculative Store Bypass disabled via prctl{seccomp}"


def retbleed(chosen: Branches, *, smt_active: bool) -> str | None:
    if not chosen.world.has("has_retbleed"):
        return None
    if "retbleed" not in chosen.bugs:
        return "Not affected"
    if chosen.retbleed == "AUTO":
        return "(null)"
    if chosen.retbleed == "none":
        return "Vulnerable"
    if chosen.retbleed not in ("untrained return thunk", "IBPB"):
        return f"Mitigation: {chosen.retbleed}"
    if not chosen.amd:
        return "Vulnerable: untrained return thunk / IBPB on non-AMD based uarch"
    threads = "disabled"
    if smt_active:
        threads = "enabled with STIBP protection" if stibp(chosen) in ("strict", "preferred") else "vulnerable"
    return f"Mitigation: {chosen.retbleed}; SMT {threads}"


def indirect_target_selection(chosen: Branches) -> str | None:
    if not chosen.world.has("has_its"):
        return None
    if "its" not in chosen.bugs:
        return "Not affected"
    return {
        "off": "Vulnerable",
        "stuffing": "Mitigation: Retpolines, Stuffing RSB",
        "VM exit": "Mitigation: Vulnerable, KVM: Not affected",
        "thunks": "Mitigation: Aligned branch/return thunks",
    }[chosen.its]


def spectre_v2(chosen: Branches, *, smt_active: bool) -> str | None:
    world, mode = chosen.world, chosen.mode
    has = world.has
    if not has("has_earliest_files"):
        return None
    if "spectre_v2" not in chosen.bugs:
        return "Not affected"
    newer = has("names_eibrs_modes")
    if mode == "LFENCE" and newer and not has("shows_fields_with_lfence"):
        return "Vulnerable: LFENCE"
    if has("unprivileged_bpf"):
        if mode == "eIBRS" and newer:
            return "Vulnerable: eIBRS with unprivileged eBPF"
        if mode == "eIBRS+LFENCE" and smt_active:
            return "Vulnerable: eIBRS+LFENCE with unprivileged eBPF and SMT"
    separator = "; " if has("separates_by_semicolon") else ", "
    fields = [_mode(chosen), *_user(chosen, smt_active=smt_active), _rsb(chosen), _pbrsb(chosen)]
    return separator.join(field for field in fields if field) + bhi_field(chosen)


def _mode(chosen: Branches) -> str:
    has = chosen.world.has
    newer = has("names_eibrs_modes")
    enhanced = "Mitigation: Enhanced / Automatic IBRS" if has("uses_auto_ibrs") else "Mitigation: Enhanced IBRS"
    return {
        "none": "Vulnerable",
        "retpoline": "Mitigation: Retpolines" if newer else "Mitigation: Full generic retpoline",
        "LFENCE": "Vulnerable: LFENCE" if newer else "Mitigation: Full AMD retpoline",
        "IBRS": "Mitigation: IBRS",
        "eIBRS": enhanced,
        "eIBRS+LFENCE": f"{enhanced} + LFENCE",
        "eIBRS+retpoline": f"{enhanced} + Retpolines",
    }[chosen.mode]


def _goes_on(chosen: Branches) -> bool:
    """Whether the choice got past its modes: before 6.16 a command was enough, even where nothing is built."""
    if chosen.mode != "none":
        return True
    return not chosen.later and chosen.world.has("names_eibrs_modes") and not chosen.spectre_v2_off


def _user(chosen: Branches, *, smt_active: bool) -> list[str]:
    has = chosen.world.has
    fields = [f"IBPB: {ibpb(chosen)}" if "IBPB" in chosen.features else ""]
    guarded = chosen.mode == "IBRS" or chosen.mode.startswith("eIBRS")
    by_ibpb = has("guards_firmware_by_ibpb") and chosen.amd and "retbleed" in chosen.bugs and "IBPB" in chosen.features
    firmware = "IBRS" in chosen.features and not guarded and _goes_on(chosen) and not by_ibpb
    fields.append("IBRS_FW" if firmware else "")
    if chosen.ibrs_spares_stibp():
        return fields
    said = {"none": "STIBP: disabled", "strict": "STIBP: forced", "preferred": "STIBP: always-on"}
    return [*fields, said.get(stibp(chosen), "STIBP: conditional" if smt_active else "")]


def _rsb(chosen: Branches) -> str:
    if chosen.world.has("fills_rsb_with_eibrs"):
        filled = _goes_on(chosen)
    else:
        filled = chosen.mode in ("retpoline", "LFENCE", "IBRS")
    return "RSB filling" if filled else ""


def _pbrsb(chosen: Branches) -> str:
    if not chosen.world.has("has_eibrs_pbrsb"):
        return ""
    if "eibrs_pbrsb" not in chosen.bugs:
        return "PBRSB-eIBRS: Not affected"
    filled = chosen.mode in ("retpoline", "LFENCE", "IBRS") and not chosen.at_vm_exit_stopped
    return f"PBRSB-eIBRS: {'SW sequence' if filled or chosen.mode.startswith('eIBRS') else 'Vulnerable'}"


def bhi_field(chosen: Branches) -> str:
    shows, has = chosen.world.shows, chosen.world.has
    if not has("has_bhi"):
        return ""
    if "bhi" not in chosen.bugs:
        return "; BHI: Not affected"
    off = chosen.spectre_v2_off or has("bhi_off")
    vmexit = has("bhi_vmexit")
    if chosen.vectors and not has("bhi_on") and not vmexit:
        if not has("vector_guest_host"):
            off = True
        vmexit = not has("vector_user_kernel")
    first_form = has("bhi_hardens_syscalls")
    retpolines = chosen.mode in ("retpoline", "eIBRS+retpoline")
    if first_form:
        retpolines = (retpolines or chosen.mode in ("LFENCE", "eIBRS+LFENCE")) and not shows("rrsba")
        loop = "Syscall hardening" if has("bhi_auto") else "SW loop"
    else:
        retpolines = retpolines and (shows("rrsba_ctrl") or not shows("rrsba"))
        loop = "Vulnerable" if vmexit else "SW loop"
    if retpolines:
        return "; BHI: Retpoline"
    if off:
        return f"; BHI: Vulnerable{' (Syscall hardening enabled)' if first_form else ''}"
    return "; BHI: BHI_DIS_S" if shows("bhi_ctrl") else f"; BHI: {loop}, KVM: SW loop"
