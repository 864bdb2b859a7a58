"""How Linux mitigates Spectre v2: the mode that spectre_v2= and the CPU give, and what it does beside the mode.

The kernels before 6.16 choose one mitigation after the other; from 6.16 on all are selected first and change each other
afterwards; from 6.17 on mitigations=off only empties the attack vectors. One rule serves them all.
"""

from __future__ import annotations

from functools import cache

from archcaps.logic.choice import Choice
from archcaps.logic.graph import TRUE, Node, any_of, choose, rule
from archcaps.rules import linux_bugs_branch as bugs
from archcaps.rules.linux_features import x86_feature_ibpb, x86_feature_ibrs, x86_feature_ibrs_enhanced
from archcaps.rules.views import Cpu, Kernel

_BUGS_C = "Linux 5.4.301, 5.10.265, 6.1.192, 6.12.117, 6.16.1, 6.17.0, 7.1.5 arch/x86/kernel/cpu/bugs.c"
_COMMAND = f"{_BUGS_C} spectre_v2_parse_cmdline, spectre_v2_select_mitigation"
_MODE = f"{_BUGS_C} spectre_v2_select_mitigation, spectre_v2_update_mitigation"
_RETBLEED = f"{_BUGS_C} retbleed_select_mitigation"
_VECTORS = "Linux 6.17.0, 7.1.5 arch/x86/kernel/cpu/bugs.c should_mitigate_vuln"

NONE = "none"
RETPOLINE = "retpoline"
LFENCE = "LFENCE"
EIBRS = "eIBRS"
EIBRS_LFENCE = "eIBRS+LFENCE"
EIBRS_RETPOLINE = "eIBRS+retpoline"
IBRS = "IBRS"

MODES = (NONE, RETPOLINE, LFENCE, EIBRS, EIBRS_LFENCE, EIBRS_RETPOLINE, IBRS)
EIBRS_MODES = (EIBRS, EIBRS_LFENCE, EIBRS_RETPOLINE)
LFENCE_MODES = (LFENCE, EIBRS_LFENCE)
RETPOLINE_MODES = (RETPOLINE, EIBRS_RETPOLINE)
RSB_FILLING_MODES = (RETPOLINE, LFENCE, IBRS)


@rule(f"{_BUGS_C} cpu_mitigations_off")
def mitigations_off_rules(kernel: Kernel) -> Node:
    """mitigations=off is given, in a kernel where it beats every other option."""
    return kernel.mitigations_off & ~kernel.attack_vectors


@rule(_VECTORS)
def kernel_is_to_be_guarded(kernel: Kernel) -> Node:
    """Attacks on the kernel are to be mitigated: from user code or guests; before 6.17 always."""
    return ~kernel.attack_vectors | kernel.vector_user_kernel | kernel.vector_guest_host


@rule(_COMMAND)
def spectre_v2_switched_off(kernel: Kernel) -> Node:
    """Spectre v2 is not mitigated by option: its own, or mitigations=off where that beats every other option."""
    return mitigations_off_rules(kernel) | kernel.spectre_v2_off


@rule(_COMMAND)
def spectre_v2_option_counts(cpu: Cpu, kernel: Kernel) -> Node:
    """spectre_v2= names a way that goes here; "on" always goes, any other that does not is taken for auto."""
    return kernel.spectre_v2_on | any_of(condition for condition, _ in _modes_by_option(cpu, kernel))


@rule(_COMMAND)
def spectre_v2_cmd_none(cpu: Cpu, kernel: Kernel) -> Node:
    """Nothing is done against Spectre v2: off, or not affected and, until 6.17, no option that counts."""
    asked = ~kernel.asks_spectre_v2_first & spectre_v2_option_counts(cpu, kernel)
    return spectre_v2_switched_off(kernel) | (~bugs.x86_bug_spectre_v2(cpu, kernel) & ~asked)


@rule(_COMMAND)
def spectre_v2_cmd_force(cpu: Cpu, kernel: Kernel) -> Node:
    """spectre_v2=on: as by default, and user tasks are always guarded."""
    return kernel.spectre_v2_on & ~spectre_v2_cmd_none(cpu, kernel)


@rule(_COMMAND)
def eibrs_can_be_asked_for(cpu: Cpu, kernel: Kernel) -> Node:
    """spectre_v2=eibrs and its kin count: the CPU has enhanced IBRS."""
    return x86_feature_ibrs_enhanced(cpu, kernel)


@rule(_COMMAND)
def ibrs_can_be_asked_for(cpu: Cpu, kernel: Kernel) -> Node:
    """spectre_v2=ibrs counts: built in (5.4 always), on Intel with IBRS, and not under Xen PV."""
    return built_ibrs(kernel) & cpu.vendor_intel & x86_feature_ibrs(cpu, kernel) & ~kernel.xen_pv


@rule(_MODE)
def built_ibrs(kernel: Kernel) -> Node:
    """IBRS at kernel entry is built in; 5.4 cannot leave it out."""
    return kernel.built_ibrs_entry | ~kernel.mitigates_retbleed_on_amd


@rule(_RETBLEED)
def retbleed_unret_counts(cpu: Cpu, kernel: Kernel) -> Node:
    """retbleed=unret counts: it is built in."""
    return kernel.retbleed_unret & kernel.built_unret_entry


@rule(_RETBLEED)
def retbleed_ibpb_counts(cpu: Cpu, kernel: Kernel) -> Node:
    """retbleed=ibpb counts: it is built in, and there is IBPB."""
    return kernel.retbleed_ibpb & kernel.built_ibpb_entry & x86_feature_ibpb(cpu, kernel)


@rule(_MODE)
def retbleed_wants_ibrs(cpu: Cpu, kernel: Kernel) -> Node:
    """Retbleed asks for IBRS: Intel with the bug and IBRS, and retbleed= asks for nothing else."""
    stuffs = kernel.retbleed_stuff & kernel.built_call_depth_tracking
    asked = retbleed_unret_counts(cpu, kernel) | retbleed_ibpb_counts(cpu, kernel) | kernel_is_to_be_guarded(kernel)
    wanted = choose(kernel.selects_then_applies, ~stuffs & asked, ~kernel.retbleed_stuff)
    able = bugs.x86_bug_retbleed(cpu, kernel) & cpu.vendor_intel & x86_feature_ibrs(cpu, kernel) & built_ibrs(kernel)
    return able & ~kernel.retbleed_off & wanted


@rule(_MODE)
def ibrs_comes_with_retbleed_alone(cpu: Cpu, kernel: Kernel) -> Node:
    """6.16 and 6.17 switch IBRS on for Retbleed without looking whether the CPU has Spectre v2."""
    later = kernel.selects_then_applies & ~kernel.asks_spectre_v2_first & ~spectre_v2_switched_off(kernel)
    return later & ~bugs.x86_bug_spectre_v2(cpu, kernel) & retbleed_wants_ibrs(cpu, kernel)


def _modes_by_option(cpu: Cpu, kernel: Kernel) -> tuple[tuple[Node, str], ...]:
    """Return when each mode is one that spectre_v2= names and that goes here."""
    amd = cpu.vendor_amd | cpu.vendor_hygon
    retpolines = kernel.built_retpoline
    eibrs = eibrs_can_be_asked_for(cpu, kernel)
    return (
        (kernel.spectre_v2_retpoline & retpolines & ~kernel.names_eibrs_modes & amd, LFENCE),
        ((kernel.spectre_v2_retpoline | kernel.spectre_v2_retpoline_generic) & retpolines, RETPOLINE),
        (kernel.spectre_v2_retpoline_lfence & retpolines & (kernel.names_eibrs_modes | amd), LFENCE),
        (kernel.spectre_v2_eibrs & eibrs, EIBRS),
        (kernel.spectre_v2_eibrs_lfence & eibrs & retpolines, EIBRS_LFENCE),
        (kernel.spectre_v2_eibrs_retpoline & eibrs & retpolines, EIBRS_RETPOLINE),
        (kernel.spectre_v2_ibrs & ibrs_can_be_asked_for(cpu, kernel), IBRS),
    )


@cache
def spectre_v2_mode(cpu: Cpu, kernel: Kernel) -> Choice[str]:
    """Return the mode of Spectre v2 (source: spectre_v2_select_mitigation, spectre_v2_update_mitigation)."""
    enhanced = x86_feature_ibrs_enhanced(cpu, kernel)
    amd = cpu.vendor_amd | cpu.vendor_hygon
    retpolines = kernel.built_retpoline
    none = spectre_v2_cmd_none(cpu, kernel)
    forced = spectre_v2_cmd_force(cpu, kernel)
    wanted = forced | kernel_is_to_be_guarded(kernel)
    by_amd_s_lfence = ~kernel.names_eibrs_modes & amd
    return Choice.first_true(
        (
            (none & ibrs_comes_with_retbleed_alone(cpu, kernel), IBRS),
            (none, NONE),
            *_modes_by_option(cpu, kernel),
            # spectre_v2=auto or on, no option, and options that do not count here
            (enhanced & wanted, EIBRS),
            (retbleed_wants_ibrs(cpu, kernel) & (~forced | ~kernel.selects_then_applies), IBRS),
            (~wanted, NONE),
            (retpolines & by_amd_s_lfence, LFENCE),
            (retpolines, RETPOLINE),
            (TRUE, NONE),
        )
    )


@rule(_MODE)
def spectre_v2_mode_is(cpu: Cpu, kernel: Kernel, mode: str) -> Node:
    """Spectre v2 is mitigated in this mode."""
    return spectre_v2_mode(cpu, kernel).is_in([mode])


@rule(_MODE)
def spectre_v2_mode_is_eibrs(cpu: Cpu, kernel: Kernel) -> Node:
    """Spectre v2 is mitigated by enhanced IBRS, alone or with something else."""
    return spectre_v2_mode(cpu, kernel).is_in(EIBRS_MODES)


@rule(_MODE)
def rsb_is_filled_by_mode(cpu: Cpu, kernel: Kernel) -> Node:
    """The mode of Spectre v2 goes with filling the RSB: retpolines, LFENCE, or IBRS that is not enhanced."""
    return spectre_v2_mode(cpu, kernel).is_in(RSB_FILLING_MODES)


@rule(_MODE)
def retpoline_seq_enabled(cpu: Cpu, kernel: Kernel) -> Node:
    """Indirect branches are retpolines, not LFENCE and branch."""
    return spectre_v2_mode(cpu, kernel).is_in(RETPOLINE_MODES)


@rule(_MODE)
def lfence_before_branches(cpu: Cpu, kernel: Kernel) -> Node:
    """Indirect branches are guarded by LFENCE."""
    return spectre_v2_mode(cpu, kernel).is_in(LFENCE_MODES)


@rule(f"{_BUGS_C} cdt_possible")
def cdt_possible(cpu: Cpu, kernel: Kernel) -> Node:
    """Call depth tracking can mitigate: it is built in, and indirect branches are retpolines."""
    return kernel.built_call_depth_tracking & kernel.built_retpoline & retpoline_seq_enabled(cpu, kernel)


@rule("Linux 5.4.301 to 7.1.5 kernel/cpu.c cpu_smt_possible")
def cpu_smt_possible(cpu: Cpu, kernel: Kernel) -> Node:
    """SMT is possible: the CPU has it, and nosmt=force does not forbid it."""
    return cpu.smt_supported & ~kernel.nosmt_force


@cache
def by_spectre_v2_mode(cpu: Cpu, kernel: Kernel) -> dict[str, dict[str, bool]]:
    """Return for each mode what it makes of the rules that read the mode, by the rules' names in the graph."""
    groups = {
        spectre_v2_mode_is_eibrs(cpu, kernel): EIBRS_MODES,
        rsb_is_filled_by_mode(cpu, kernel): RSB_FILLING_MODES,
        retpoline_seq_enabled(cpu, kernel): RETPOLINE_MODES,
        lfence_before_branches(cpu, kernel): LFENCE_MODES,
    } | {spectre_v2_mode_is(cpu, kernel, mode): (mode,) for mode in MODES}
    found = {mode: {node.name: mode in modes for node, modes in groups.items()} for mode in MODES}
    for mode in MODES:
        if mode != NONE:
            found[mode][spectre_v2_cmd_none(cpu, kernel).name] = False
    return found
