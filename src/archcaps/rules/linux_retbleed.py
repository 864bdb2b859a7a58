"""How Linux mitigates Retbleed and ITS, which depend on each other, on Spectre v2 and on SRSO."""

from __future__ import annotations

from functools import cache

from archcaps.logic.choice import Choice
from archcaps.logic.graph import TRUE, Node, choose, rule
from archcaps.rules import linux_bugs_branch as bugs
from archcaps.rules import linux_spectre_v2 as v2
from archcaps.rules.linux_features import (
    x86_feature_ibpb,
    x86_feature_ibpb_brtype,
    x86_feature_ibrs,
    x86_feature_ibrs_enhanced,
    x86_feature_stibp,
)
from archcaps.rules.views import Cpu, Kernel

_BUGS_C = "Linux 5.4.301, 5.10.265, 6.1.192, 6.12.117, 6.16.1, 6.17.0, 7.1.5 arch/x86/kernel/cpu/bugs.c"
_RETBLEED = f"{_BUGS_C} retbleed_select_mitigation, retbleed_update_mitigation"
_ITS = "Linux 5.10.265, 6.6.150, 6.12.117, 6.16.1, 6.17.0, 7.1.5 arch/x86/kernel/cpu/bugs.c its_select_mitigation"
_SRSO = "Linux 6.17.0, 7.1.5 arch/x86/kernel/cpu/bugs.c srso_select_mitigation, retbleed_update_mitigation"

#: What Retbleed is mitigated by.
NONE, UNRET, IBPB, IBRS, EIBRS, STUFF = "none", "untrained return thunk", "IBPB", "IBRS", "Enhanced IBRS", "Stuffing"
#: What stays where no vendor's way fits: a state without a text.
AUTO = "auto"
#: What ITS is mitigated by.
OFF, VMEXIT_ONLY, ALIGNED_THUNKS, RETPOLINE_STUFF = "off", "VM exit only", "aligned thunks", "retpolines and stuffing"


@rule(_ITS)
def its_can_be_mitigated(kernel: Kernel) -> Node:
    """The kernel is built so that ITS can be mitigated: retpolines, return thunks, no debugging alignment."""
    return kernel.built_retpoline & kernel.built_rethunk & ~kernel.built_aligned_functions


@rule(_ITS)
def its_switched_off(kernel: Kernel) -> Node:
    """ITS is not mitigated by option: its own, mitigations=off, or from 6.17 no vector left and no option."""
    given = kernel.its_on | kernel.its_vmexit | kernel.its_stuff
    left_out = ~given & ~v2.kernel_is_to_be_guarded(kernel)
    return v2.mitigations_off_rules(kernel) | kernel.its_off | left_out


@rule(_ITS)
def its_asks_for_stuffing(cpu: Cpu, kernel: Kernel) -> Node:
    """ITS asks for stuffing the RSB: by option, in a kernel that has call depth tracking."""
    able = its_can_be_mitigated(kernel) & kernel.built_call_depth_tracking
    return bugs.x86_bug_its(cpu, kernel) & ~its_switched_off(kernel) & kernel.its_stuff & able


@rule(_RETBLEED)
def retbleed_stuffing_counts(cpu: Cpu, kernel: Kernel) -> Node:
    """retbleed=stuff counts: built in, and before 6.16 retpolines alone, later Intel."""
    only_retpoline = v2.spectre_v2_mode_is(cpu, kernel, v2.RETPOLINE)
    able = choose(kernel.selects_then_applies, cpu.vendor_intel, only_retpoline)
    return kernel.retbleed_stuff & kernel.built_call_depth_tracking & able


@rule(_RETBLEED)
def retbleed_is_left_to_linux(cpu: Cpu, kernel: Kernel) -> Node:
    """retbleed= leaves the choice to Linux: no option, auto, or one that does not count here."""
    asked = v2.retbleed_unret_counts(cpu, kernel) | v2.retbleed_ibpb_counts(cpu, kernel)
    asked |= retbleed_stuffing_counts(cpu, kernel)
    return ~kernel.retbleed_off & ~asked & v2.kernel_is_to_be_guarded(kernel)


@rule(_RETBLEED)
def retbleed_untrains(cpu: Cpu, kernel: Kernel) -> Node:
    """Untraining is selected first: by option, or on AMD and Hygon where it is built in."""
    amd = kernel.mitigates_retbleed_on_amd & (cpu.vendor_amd | cpu.vendor_hygon)
    by_linux = retbleed_is_left_to_linux(cpu, kernel) & amd & kernel.built_unret_entry
    return v2.retbleed_unret_counts(cpu, kernel) | by_linux


@rule(_RETBLEED)
def retbleed_uses_ibpb(cpu: Cpu, kernel: Kernel) -> Node:
    """IBPB at entry is selected first: by option, or on AMD and Hygon without untraining."""
    amd = kernel.mitigates_retbleed_on_amd & (cpu.vendor_amd | cpu.vendor_hygon)
    able = kernel.built_ibpb_entry & x86_feature_ibpb(cpu, kernel)
    by_linux = retbleed_is_left_to_linux(cpu, kernel) & amd & ~kernel.built_unret_entry & able
    return v2.retbleed_ibpb_counts(cpu, kernel) | by_linux


@rule(_SRSO)
def srso_needs_no_mitigation(cpu: Cpu, kernel: Kernel) -> Node:
    """Families below 0x19 without SMT have no SRSO."""
    return ~cpu.family_from_0x19 & ~v2.cpu_smt_possible(cpu, kernel)


@rule(_SRSO)
def srso_selects_ibpb(cpu: Cpu, kernel: Kernel) -> Node:
    """SRSO selects IBPB at entry, which from 6.17 on serves Retbleed too."""
    able = x86_feature_ibpb_brtype(cpu, kernel) & kernel.built_ibpb_entry & ~srso_needs_no_mitigation(cpu, kernel)
    return kernel.attack_vectors & bugs.x86_bug_srso(cpu, kernel) & kernel.srso_ibpb & able


@rule(_RETBLEED)
def retbleed_stuffs(cpu: Cpu, kernel: Kernel) -> Node:
    """Retbleed is mitigated by stuffing the RSB: by its own option, or because ITS is."""
    chosen = retbleed_stuffing_counts(cpu, kernel)
    its = its_asks_for_stuffing(cpu, kernel)
    later = (chosen | its) & v2.cdt_possible(cpu, kernel) & ~srso_selects_ibpb(cpu, kernel)
    # Before 6.16 ITS comes last, and stuffs only where nothing else was selected.
    reset = cpu.vendor_intel & kernel.resets_retbleed_on_intel
    other = (retbleed_untrains(cpu, kernel) | retbleed_uses_ibpb(cpu, kernel)) & ~reset
    before = chosen | (its & v2.retpoline_seq_enabled(cpu, kernel) & ~other)
    return choose(kernel.selects_then_applies, later, before)


@cache
def retbleed_mitigation(cpu: Cpu, kernel: Kernel) -> Choice[str]:
    """Return what Retbleed is mitigated by (source: retbleed_select_mitigation, retbleed_update_mitigation)."""
    intel, later = cpu.vendor_intel, kernel.selects_then_applies
    follows = intel & (later | ~kernel.retbleed_off)
    stuffing_fails = later & its_asks_for_stuffing(cpu, kernel)
    left = retbleed_is_left_to_linux(cpu, kernel) & later
    others = ~intel & ~cpu.vendor_amd & ~cpu.vendor_hygon
    return Choice.first_true(
        (
            (~bugs.x86_bug_retbleed(cpu, kernel) | v2.mitigations_off_rules(kernel), NONE),
            (follows & v2.spectre_v2_mode_is(cpu, kernel, v2.IBRS), IBRS),
            (follows & v2.spectre_v2_mode_is_eibrs(cpu, kernel), EIBRS),
            (retbleed_stuffs(cpu, kernel), STUFF),
            (intel & kernel.resets_retbleed_on_intel, NONE),
            (srso_selects_ibpb(cpu, kernel), IBPB),
            (stuffing_fails, NONE),
            (retbleed_uses_ibpb(cpu, kernel), IBPB),
            (retbleed_untrains(cpu, kernel), UNRET),
            # 6.16 keeps what it had selected for Intel before it knew the mode of Spectre v2.
            (left & intel & x86_feature_ibrs_enhanced(cpu, kernel), EIBRS),
            (left & intel & x86_feature_ibrs(cpu, kernel), IBRS),
            (left & others, AUTO),
            (TRUE, NONE),
        )
    )


@rule(_RETBLEED)
def retbleed_mitigation_is_ibpb(cpu: Cpu, kernel: Kernel) -> Node:
    """Retbleed is mitigated by IBPB at entry."""
    return retbleed_mitigation(cpu, kernel).is_in([IBPB])


@rule(_RETBLEED)
def retbleed_wants_stibp(cpu: Cpu, kernel: Kernel) -> Node:
    """Retbleed is mitigated by untraining or IBPB, which threads of one core undo for each other without STIBP."""
    return retbleed_mitigation(cpu, kernel).is_in([UNRET, IBPB])


@rule(f"{_BUGS_C} retbleed_select_mitigation, retbleed_apply_mitigation")
def retbleed_disables_smt(cpu: Cpu, kernel: Kernel) -> Node:
    """Retbleed takes SMT away: untraining or IBPB without STIBP, and nosmt asked for."""
    affected = bugs.x86_bug_retbleed(cpu, kernel) & ~v2.mitigations_off_rules(kernel)
    at_once = affected & (retbleed_untrains(cpu, kernel) | retbleed_uses_ibpb(cpu, kernel))
    chosen = choose(kernel.selects_then_applies, retbleed_wants_stibp(cpu, kernel), at_once)
    asked = kernel.retbleed_nosmt | kernel.mitigations_nosmt
    return chosen & asked & ~x86_feature_stibp(cpu, kernel)


@rule(f"{_BUGS_C} retbleed_select_mitigation, retbleed_apply_mitigation")
def rsb_filling_at_vm_exit_is_stopped(cpu: Cpu, kernel: Kernel) -> Node:
    """Retbleed's IBPB makes filling the RSB at VM exit needless, and stops it."""
    affected = bugs.x86_bug_retbleed(cpu, kernel) & ~v2.mitigations_off_rules(kernel)
    at_once = affected & retbleed_uses_ibpb(cpu, kernel)
    chosen = choose(kernel.selects_then_applies, retbleed_mitigation_is_ibpb(cpu, kernel), at_once)
    return kernel.retbleed_ibpb_stops_rsb_filling & chosen


@cache
def its_mitigation(cpu: Cpu, kernel: Kernel) -> Choice[str]:
    """Return what ITS is mitigated by (source: its_select_mitigation, its_update_mitigation)."""
    later = kernel.selects_then_applies
    retpolines = v2.retpoline_seq_enabled(cpu, kernel)
    retbleed_stuffed = retbleed_mitigation(cpu, kernel).is_in([STUFF])
    retbleed_s_own = retbleed_stuffing_counts(cpu, kernel) & bugs.x86_bug_retbleed(cpu, kernel)
    call_depth = kernel.knows_its_stuff & retpolines & choose(later, retbleed_stuffed, retbleed_s_own)
    off = its_switched_off(kernel) | ~its_can_be_mitigated(kernel)
    # From 6.17 on it is enough that stuffing is possible; 6.16 wants it for Retbleed too.
    stuffed = choose(later, kernel.attack_vectors | retbleed_stuffed, TRUE) & v2.cdt_possible(cpu, kernel)
    return Choice.first_true(
        (
            (~bugs.x86_bug_its(cpu, kernel) | v2.mitigations_off_rules(kernel), OFF),
            (later & v2.spectre_v2_mode_is(cpu, kernel, v2.NONE), OFF),
            (call_depth, RETPOLINE_STUFF),
            (off | v2.spectre_v2_mode_is(cpu, kernel, v2.NONE) | v2.lfence_before_branches(cpu, kernel), OFF),
            (its_asks_for_stuffing(cpu, kernel) & stuffed, RETPOLINE_STUFF),
            (kernel.its_vmexit & bugs.x86_bug_its_native_only(cpu, kernel), VMEXIT_ONLY),
            (TRUE, ALIGNED_THUNKS),
        )
    )
