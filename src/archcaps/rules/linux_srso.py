"""What Linux says of SRSO and VMSCAPE, to the letter.

SRSO went through four forms: the first backports (5.10 to 6.1) write in lower case and probe for the microcode late,
6.6 and 6.12 name what is missing, 6.16 selects first and updates afterwards, 6.17 looks at attack vectors.
"""

from __future__ import annotations

from functools import cache

from archcaps.logic.choice import Choice
from archcaps.logic.graph import TRUE, Node, choose, rule
from archcaps.rules import linux_bugs_branch as bugs
from archcaps.rules.linux_features import x86_feature_ibpb, x86_feature_ibpb_brtype
from archcaps.rules.linux_mitigations import NO_FILE, NO_MICROCODE, NOT_AFFECTED, VULNERABLE, Texts
from archcaps.rules.linux_retbleed import retbleed_mitigation_is_ibpb, srso_needs_no_mitigation
from archcaps.rules.linux_spectre_v2 import mitigations_off_rules
from archcaps.rules.views import Cpu, Kernel

_SRSO = "Linux 5.10.265, 6.1.192, 6.6.150, 6.12.117, 6.16.1, 6.17.0, 7.1.5 arch/x86/kernel/cpu/bugs.c srso_*"
_MICROCODE = "Linux 5.10.218, 5.15.215, 6.1.192 arch/x86/kernel/cpu/amd.c cpu_has_ibpb_brtype_microcode"
_VMSCAPE = "Linux 5.10.265, 6.1.192, 6.12.117, 6.17.0, 7.1.5 arch/x86/kernel/cpu/bugs.c vmscape_*"

SMT_DISABLED = "Mitigation: SMT disabled"
IBPB = "Mitigation: IBPB"
ON_VMEXIT = "Mitigation: IBPB on VMEXIT only"
REDUCED = "Mitigation: Reduced Speculation"
ON_SWITCH = "Mitigation: IBPB on context switch"
SAFE_RET = "Mitigation: Safe RET"
SAFE_RET_ALONE = "Vulnerable: Safe RET, no microcode"
MICROCODE_ALONE = "Vulnerable: Microcode, no safe RET"


@rule(_MICROCODE)
def cpu_has_ibpb_brtype_microcode(cpu: Cpu, kernel: Kernel) -> Node:
    """The choice of the SRSO mitigation finds its microcode: family 0x17 with IBPB, or 0x19 where SBPB can be written.

    Guests are probed like bare metal.
    """
    late = kernel.srso_in_lower_case & ~kernel.probes_ibpb_brtype
    return late & ((cpu.family_0x17 & cpu.amd_ibpb) | (cpu.family_0x19 & cpu.sbpb_write_succeeds))


@rule(_SRSO)
def srso_has_microcode(cpu: Cpu, kernel: Kernel) -> Node:
    """Linux takes the SRSO microcode as present: IBPB_BRTYPE, as shown or as found."""
    return x86_feature_ibpb_brtype(cpu, kernel) | cpu_has_ibpb_brtype_microcode(cpu, kernel)


@rule(_SRSO)
def srso_option_given(kernel: Kernel) -> Node:
    """spec_rstack_overflow= is given."""
    return kernel.srso_off | kernel.srso_microcode | kernel.srso_safe_ret | kernel.srso_ibpb | kernel.srso_ibpb_vmexit


@rule("Linux 6.17.0, 7.1.5 arch/x86/kernel/cpu/bugs.c srso_select_mitigation")
def srso_wants_safe_ret(cpu: Cpu, kernel: Kernel) -> Node:
    """Without an option safe RET is wanted: for guests, or for user code unless SRSO stops at the kernel's door."""
    user_kernel = kernel.vector_user_kernel & ~cpu.srso_user_kernel_no
    return ~kernel.attack_vectors | kernel.vector_guest_host | user_kernel


@rule("Linux 6.17.0, 7.1.5 arch/x86/kernel/cpu/bugs.c srso_select_mitigation")
def srso_is_left_out(cpu: Cpu, kernel: Kernel) -> Node:
    """Without an option nothing is done against SRSO: no attack vector is left that it serves."""
    vectors = kernel.vector_user_user | kernel.vector_guest_guest
    return ~srso_option_given(kernel) & ~srso_wants_safe_ret(cpu, kernel) & ~vectors


@rule(_SRSO)
def srso_safe_ret_selected(cpu: Cpu, kernel: Kernel) -> Node:
    """Safe RET is selected: by option or by default."""
    return kernel.srso_safe_ret | (~srso_option_given(kernel) & srso_wants_safe_ret(cpu, kernel))


@rule(_SRSO)
def srso_only_vm_exit_matters(cpu: Cpu, kernel: Kernel) -> Node:
    """Safe RET becomes IBPB at VM exit: SRSO_USER_KERNEL_NO is shown, in a kernel that knows it."""
    return kernel.srso_user_kernel & cpu.srso_user_kernel_no


@rule(_SRSO)
def srso_vm_exit_selected(cpu: Cpu, kernel: Kernel) -> Node:
    """IBPB at VM exit is selected: by option, or in place of safe RET."""
    return kernel.srso_ibpb_vmexit | (srso_safe_ret_selected(cpu, kernel) & srso_only_vm_exit_matters(cpu, kernel))


@rule(_SRSO)
def speculation_can_be_reduced(cpu: Cpu, kernel: Kernel) -> Node:
    """SRSO_BP_SPEC_REDUCE is shown, in a kernel that knows it."""
    return kernel.srso_user_kernel & cpu.srso_bp_spec_reduce


@rule(_SRSO)
def vm_exit_is_built(kernel: Kernel) -> Node:
    """IBPB at VM exit is built in: with IBPB at entry, or in older kernels with the mitigation of SRSO."""
    return choose(kernel.srso_vm_exit_asks_entry, kernel.built_ibpb_entry, kernel.built_srso)


@cache
def spec_rstack_overflow_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `spec_rstack_overflow` (source: srso_select_mitigation, srso_show_state)."""
    plain: Texts = Choice.first_true(((~kernel.has_srso, NO_FILE), (TRUE, NOT_AFFECTED)))
    affected = kernel.has_srso & bugs.x86_bug_srso(cpu, kernel)
    lower, vectors, later = kernel.srso_in_lower_case, kernel.attack_vectors, kernel.selects_then_applies
    named = affected & ~lower
    return Choice.by_case(
        (
            (~affected, plain),
            (affected & lower, _lower_case(cpu, kernel)),
            (named & vectors, _by_vectors(cpu, kernel)),
            (named & ~vectors & later, _select_and_update(cpu, kernel)),
            (named & ~vectors & ~later, _named(cpu, kernel)),
        )
    )


def _lower_case(cpu: Cpu, kernel: Kernel) -> Texts:
    """5.10 to 6.1, 6.5, 6.6.1: every state, and behind it whether the microcode is missing."""
    found = srso_has_microcode(cpu, kernel)
    off = mitigations_off_rules(kernel)
    safe_ret = srso_safe_ret_selected(cpu, kernel) & kernel.built_srso
    with_microcode: Texts = Choice.first_true(
        (
            (srso_needs_no_mitigation(cpu, kernel), SMT_DISABLED),
            (retbleed_mitigation_is_ibpb(cpu, kernel), IBPB),
            (kernel.srso_microcode, "Mitigation: microcode"),
            (kernel.srso_ibpb & kernel.built_ibpb_entry, IBPB),
            (kernel.srso_ibpb_vmexit & vm_exit_is_built(kernel), ON_VMEXIT),
            (safe_ret, "Mitigation: safe RET"),
            (TRUE, VULNERABLE),
        )
    )
    missing = ", no microcode"
    text_finds = choose(kernel.srso_text_probes_again, cpu_has_ibpb_brtype_microcode(cpu, kernel), found)
    contradicting: Texts = Choice.one_of(
        (condition, text if text == SMT_DISABLED else f"{text}{missing}") for condition, text in with_microcode.rows
    )
    without: Texts = Choice.first_true(((safe_ret, f"Mitigation: safe RET{missing}"), (TRUE, VULNERABLE + missing)))
    # mitigations=off: nothing was looked for, so only what is shown counts.
    shown = choose(kernel.srso_text_probes_again, text_finds, x86_feature_ibpb_brtype(cpu, kernel))
    switched_off: Texts = Choice.first_true(((shown, VULNERABLE), (TRUE, VULNERABLE + missing)))
    return Choice.by_case(
        (
            (off, switched_off),
            (~off & found & text_finds, with_microcode),
            (~off & found & ~text_finds, contradicting),
            (~off & ~found, without),
        )
    )


def _named(cpu: Cpu, kernel: Kernel) -> Texts:
    """6.6.2 to 6.14: what is missing is named."""
    found = srso_has_microcode(cpu, kernel)
    off = mitigations_off_rules(kernel) | (kernel.srso_off_first & kernel.srso_off)
    return Choice.first_true(
        (
            (off, VULNERABLE),
            (found & srso_needs_no_mitigation(cpu, kernel), SMT_DISABLED),
            (found & retbleed_mitigation_is_ibpb(cpu, kernel), IBPB),
            (srso_vm_exit_selected(cpu, kernel) & speculation_can_be_reduced(cpu, kernel), REDUCED),
            (srso_vm_exit_selected(cpu, kernel) & found & vm_exit_is_built(kernel), ON_VMEXIT),
            (kernel.srso_ibpb & found & kernel.built_ibpb_entry, IBPB),
            (kernel.srso_microcode & found, MICROCODE_ALONE),
            (_plain_safe_ret(cpu, kernel) & kernel.built_srso & found, SAFE_RET),
            (_plain_safe_ret(cpu, kernel) & kernel.built_srso, SAFE_RET_ALONE),
            (found, VULNERABLE),
            (TRUE, NO_MICROCODE),
        )
    )


def _plain_safe_ret(cpu: Cpu, kernel: Kernel) -> Node:
    return srso_safe_ret_selected(cpu, kernel) & ~srso_only_vm_exit_matters(cpu, kernel)


def _select_and_update(cpu: Cpu, kernel: Kernel) -> Texts:
    """6.16: Retbleed's IBPB is taken over at the end, also where SRSO is off."""
    found = srso_has_microcode(cpu, kernel)
    off = mitigations_off_rules(kernel) | kernel.srso_off
    at_vm_exit = srso_vm_exit_selected(cpu, kernel)
    by_ibpb = at_vm_exit | kernel.srso_ibpb
    return Choice.first_true(
        (
            (~off & found & srso_needs_no_mitigation(cpu, kernel), SMT_DISABLED),
            (found & retbleed_mitigation_is_ibpb(cpu, kernel), IBPB),
            (off, VULNERABLE),
            (at_vm_exit & speculation_can_be_reduced(cpu, kernel), REDUCED),
            (by_ibpb & ~found, NO_MICROCODE),
            (by_ibpb & ~kernel.built_ibpb_entry, VULNERABLE),
            (at_vm_exit, ON_VMEXIT),
            (kernel.srso_ibpb, IBPB),
            (kernel.srso_microcode, MICROCODE_ALONE),
            (~found, SAFE_RET_ALONE),
            (kernel.built_srso, SAFE_RET),
            (TRUE, VULNERABLE),
        )
    )


@rule("Debian Linux 7.3.4 arch/x86/kernel/cpu/bugs.c SRSO_MITIGATION_USER_IBPB")
def srso_stops_at_context_switches(cpu: Cpu, kernel: Kernel) -> Node:
    """In place of safe RET an IBPB on context switches is enough: the CPU isolates contexts, and Linux knows it."""
    chosen = srso_safe_ret_selected(cpu, kernel) & srso_only_vm_exit_matters(cpu, kernel)
    return kernel.srso_user_ibpb & cpu.btb_ctx_isolation & chosen


def _by_vectors(cpu: Cpu, kernel: Kernel) -> Texts:
    """6.17 and later: the microcode is looked at first, and what needs none overwrites that."""
    found = srso_has_microcode(cpu, kernel)
    left_out = srso_is_left_out(cpu, kernel)
    in_place_of_safe_ret = srso_safe_ret_selected(cpu, kernel) & srso_only_vm_exit_matters(cpu, kernel)
    at_vm_exit = in_place_of_safe_ret | (kernel.srso_ibpb_vmexit & found)
    by_ibpb = at_vm_exit | (kernel.srso_ibpb & found)
    safe_ret = _plain_safe_ret(cpu, kernel)
    return Choice.first_true(
        (
            (found & retbleed_mitigation_is_ibpb(cpu, kernel), IBPB),
            (left_out, VULNERABLE),
            (srso_needs_no_mitigation(cpu, kernel), SMT_DISABLED),
            (srso_stops_at_context_switches(cpu, kernel), ON_SWITCH),
            (at_vm_exit & speculation_can_be_reduced(cpu, kernel), REDUCED),
            (by_ibpb & ~kernel.built_ibpb_entry, VULNERABLE),
            (at_vm_exit, ON_VMEXIT),
            (by_ibpb, IBPB),
            (safe_ret & ~kernel.built_srso, VULNERABLE),
            (safe_ret & ~found, SAFE_RET_ALONE),
            (safe_ret, SAFE_RET),
            (~found, NO_MICROCODE),
            (kernel.srso_off, VULNERABLE),
            (TRUE, MICROCODE_ALONE),
        )
    )


@rule(_VMSCAPE)
def ibpb_on_vmexit(cpu: Cpu, kernel: Kernel) -> Node:
    """IBPB already runs at every VM exit: for Retbleed, or for SRSO."""
    return retbleed_mitigation_is_ibpb(cpu, kernel) | spec_rstack_overflow_texts(cpu, kernel).is_in([ON_VMEXIT])


@cache
def vmscape_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `vmscape` (source: vmscape_select_mitigation, vmscape_update_mitigation)."""
    unable = ~x86_feature_ibpb(cpu, kernel)
    # From 6.16 on the update comes last and overrides off and the lack of IBPB.
    refused = ~kernel.selects_then_applies & (mitigations_off_rules(kernel) | unable)
    off = kernel.mitigations_off & ~kernel.off_only_empties_vectors
    left_out = kernel.vmscape_by_vectors & ~kernel.vmscape_ibpb & ~kernel.vector_guest_host
    return Choice.first_true(
        (
            (~kernel.has_vmscape, NO_FILE),
            (~bugs.x86_bug_vmscape(cpu, kernel), NOT_AFFECTED),
            (refused, VULNERABLE),
            (ibpb_on_vmexit(cpu, kernel), "Mitigation: IBPB on VMEXIT"),
            (unable | kernel.vmscape_off | off | left_out, VULNERABLE),
            (TRUE, "Mitigation: IBPB before exit to userspace"),
        )
    )
