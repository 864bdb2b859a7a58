"""What Linux says of Spectre v1, Spectre v2, speculative store bypass, Retbleed and ITS, to the letter."""

from __future__ import annotations

from functools import cache

from archcaps.logic.choice import Choice
from archcaps.logic.concatenation import JOINED, Concatenation, Split
from archcaps.logic.graph import TRUE, Node, choose, rule
from archcaps.rules import linux_bugs_branch as bugs
from archcaps.rules import linux_retbleed as retbleed
from archcaps.rules import linux_spectre_v2 as v2
from archcaps.rules.linux_features import x86_feature_ibpb, x86_feature_ibrs, x86_feature_ssbd, x86_feature_stibp
from archcaps.rules.linux_mitigations import NO_FILE, NOT_AFFECTED, VULNERABLE, Text, Texts, sched_smt_active
from archcaps.rules.linux_srso import spec_rstack_overflow_texts, vmscape_texts
from archcaps.rules.views import Cpu, Kernel

_BUGS_C = "Linux 5.4.301, 5.10.265, 6.1.192, 6.12.117, 6.16.1, 6.17.0, 7.1.5 arch/x86/kernel/cpu/bugs.c"
_USER = f"{_BUGS_C} spectre_v2_user_select_mitigation, spectre_v2_user_update_mitigation"
_V2 = f"{_BUGS_C} spectre_v2_select_mitigation, spectre_v2_apply_mitigation"
_BHI = "Linux 5.15.215, 6.1.192, 6.12.117, 6.16.1, 6.17.0, 7.1.5 arch/x86/kernel/cpu/bugs.c bhi_select_mitigation"

SPECTRE_V1_OFF = "Vulnerable: __user pointer sanitization and usercopy barriers only; no swapgs barriers"
SPECTRE_V1_ON = "Mitigation: usercopy/swapgs barriers and __user pointer sanitization"
SSB_DISABLED = "Mitigation: Speculative Store Bypass disabled"
#: What sysfs_emit makes of a state that has no text.
NO_TEXT = "(null)"
#: How user tasks are guarded from each other by STIBP.
NO_STIBP, STRICT, PREFERRED, PRCTL = "none", "strict", "strict preferred", "prctl"


@rule(f"{_BUGS_C} spectre_v1_select_mitigation")
def spectre_v1_switched_off(kernel: Kernel) -> Node:
    """The swapgs barriers are off: nospectre_v1, mitigations=off, or from 6.17 no vector from user to kernel."""
    left_out = kernel.attack_vectors & ~kernel.vector_user_kernel
    return kernel.spectre_v1_off | v2.mitigations_off_rules(kernel) | left_out


@cache
def spectre_v1_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `spectre_v1` (source: spectre_v1_select_mitigation)."""
    return Choice.first_true(
        (
            (~kernel.has_earliest_files, NO_FILE),
            (~bugs.x86_bug_spectre_v1(cpu, kernel), NOT_AFFECTED),
            (spectre_v1_switched_off(kernel), SPECTRE_V1_OFF),
            (TRUE, SPECTRE_V1_ON),
        )
    )


@cache
def spec_store_bypass_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `spec_store_bypass` (source: __ssb_select_mitigation, ssb_select_mitigation)."""
    given = kernel.ssb_on | kernel.ssb_prctl | kernel.ssb_seccomp
    left_out = kernel.attack_vectors & ~given & ~kernel.vector_user_user
    off = kernel.ssb_off | v2.mitigations_off_rules(kernel) | left_out
    seccomp = kernel.ssb_seccomp | (~given & kernel.seccomp_disables_store_bypass)
    return Choice.first_true(
        (
            (~kernel.has_earliest_files, NO_FILE),
            (~bugs.x86_bug_spec_store_bypass(cpu, kernel), NOT_AFFECTED),
            (off | ~x86_feature_ssbd(cpu, kernel), VULNERABLE),
            (kernel.ssb_on, SSB_DISABLED),
            (seccomp & kernel.built_seccomp, f"{SSB_DISABLED} via prctl and seccomp"),
            (TRUE, f"{SSB_DISABLED} via prctl"),
        )
    )


@rule(_USER)
def spectre_v2_user_left_to_linux(kernel: Kernel) -> Node:
    """spectre_v2_user= leaves the choice to Linux: no option, auto, or one that Linux does not know."""
    given = kernel.spectre_v2_user_on | kernel.spectre_v2_user_prctl | kernel.spectre_v2_user_ibpb
    return ~kernel.spectre_v2_user_off & ~given


@rule(_USER)
def user_tasks_left_alone(cpu: Cpu, kernel: Kernel) -> Node:
    """User tasks are not guarded from each other: Spectre v2 off, the option off, or from 6.17 no vector left."""
    vectors = kernel.vector_user_user | kernel.vector_guest_guest
    left_out = kernel.attack_vectors & spectre_v2_user_left_to_linux(kernel) & ~vectors
    off = ~v2.spectre_v2_cmd_force(cpu, kernel) & (kernel.spectre_v2_user_off | left_out)
    return v2.spectre_v2_cmd_none(cpu, kernel) | off


@rule(_USER)
def user_tasks_always_guarded(cpu: Cpu, kernel: Kernel) -> Node:
    """User tasks are always guarded from each other: spectre_v2=on or spectre_v2_user=on."""
    return v2.spectre_v2_cmd_force(cpu, kernel) | kernel.spectre_v2_user_on


@rule(f"{_BUGS_C} stibp_state, spectre_v2_user_select_mitigation")
def ibrs_spares_stibp(cpu: Cpu, kernel: Kernel) -> Node:
    """STIBP is needless: Intel's enhanced IBRS guards user tasks too; for a time Linux said so of all IBRS."""
    legacy = kernel.no_stibp_with_legacy_ibrs & v2.spectre_v2_mode_is(cpu, kernel, v2.IBRS)
    automatic = kernel.uses_auto_ibrs & cpu.auto_ibrs
    return (v2.spectre_v2_mode_is_eibrs(cpu, kernel) | legacy) & ~automatic


@cache
def spectre_v2_user_stibp(cpu: Cpu, kernel: Kernel) -> Choice[str]:
    """Return how STIBP guards user tasks (source: spectre_v2_user_select_mitigation and its update)."""
    needless = ~x86_feature_stibp(cpu, kernel) | ~v2.cpu_smt_possible(cpu, kernel) | ibrs_spares_stibp(cpu, kernel)
    forced = user_tasks_always_guarded(cpu, kernel)
    no_threads = kernel.attack_vectors & spectre_v2_user_left_to_linux(kernel) & ~kernel.vector_cross_thread
    return Choice.first_true(
        (
            (needless | user_tasks_left_alone(cpu, kernel) | (no_threads & ~forced), NO_STIBP),
            (retbleed.retbleed_wants_stibp(cpu, kernel), PREFERRED),
            (forced, STRICT),
            (cpu.amd_stibp_always_on, PREFERRED),
            (TRUE, PRCTL),
        )
    )


@rule(_V2)
def spectre_v2_goes_on(cpu: Cpu, kernel: Kernel) -> Node:
    """Linux does what goes with its choice against Spectre v2: there is one; before 6.16 even if nothing is built."""
    tried = ~kernel.selects_then_applies & kernel.names_eibrs_modes & ~v2.spectre_v2_cmd_none(cpu, kernel)
    return tried | ~v2.spectre_v2_mode_is(cpu, kernel, v2.NONE)


@rule(_V2)
def x86_feature_use_ibrs_fw(cpu: Cpu, kernel: Kernel) -> Node:
    """IBRS guards firmware calls: it is there and not already on, and AMD's IBPB does not do it for Retbleed."""
    amd = (cpu.vendor_amd | cpu.vendor_hygon) & bugs.x86_bug_retbleed(cpu, kernel) & x86_feature_ibpb(cpu, kernel)
    already = v2.spectre_v2_mode_is_eibrs(cpu, kernel) | v2.spectre_v2_mode_is(cpu, kernel, v2.IBRS)
    able = x86_feature_ibrs(cpu, kernel) & ~already & spectre_v2_goes_on(cpu, kernel)
    return able & ~(kernel.guards_firmware_by_ibpb & amd)


@rule(_V2)
def x86_feature_rsb_ctxsw(cpu: Cpu, kernel: Kernel) -> Node:
    """The RSB is filled at context switches: with every mode but enhanced IBRS, once with that too."""
    mode = v2.rsb_is_filled_by_mode(cpu, kernel)
    return choose(kernel.fills_rsb_with_eibrs, spectre_v2_goes_on(cpu, kernel), mode)


@rule(_V2)
def pbrsb_sequence(cpu: Cpu, kernel: Kernel) -> Node:
    """A VM exit retires a call or fills the RSB: with enhanced IBRS, or where nothing stopped the filling."""
    filled = v2.rsb_is_filled_by_mode(cpu, kernel)
    stopped = retbleed.rsb_filling_at_vm_exit_is_stopped(cpu, kernel)
    return v2.spectre_v2_mode_is_eibrs(cpu, kernel) | (filled & ~stopped)


@rule(f"{_BUGS_C} spectre_v2_show_state")
def separated_by_semicolons(kernel: Kernel) -> Node:
    """The fields are separated by semicolons; before by commas."""
    return kernel.separates_by_semicolon


@rule(_BHI)
def bhi_switched_off(cpu: Cpu, kernel: Kernel) -> Node:
    """Nothing is done against BHI: Spectre v2 or BHI is off, or from 6.17 no vector from guest to host is left."""
    left_out = kernel.attack_vectors & ~kernel.bhi_on & ~kernel.bhi_vmexit & ~kernel.vector_guest_host
    return v2.spectre_v2_cmd_none(cpu, kernel) | kernel.bhi_off | left_out


@rule(_BHI)
def bhi_at_vm_exit_only(kernel: Kernel) -> Node:
    """BHI is mitigated at VM exit only: by option, or from 6.17 without the vector from user to kernel."""
    return kernel.bhi_vmexit | (kernel.attack_vectors & ~kernel.bhi_on & ~kernel.vector_user_kernel)


@rule("Linux 5.15.215, 6.1.192, 7.1.5 arch/x86/kernel/cpu/bugs.c spec_ctrl_disable_kernel_rrsba")
def rrsba_disabled(cpu: Cpu) -> Node:
    """Returns are predicted from the RSB alone: RRSBA is not there, or can be turned off."""
    return ~cpu.rrsba | cpu.rrsba_ctrl


@cache
def bhi_field(cpu: Cpu, kernel: Kernel) -> Choice[str]:
    """Return the BHI field of `spectre_v2` (source: spectre_bhi_state)."""
    off = bhi_switched_off(cpu, kernel)
    retpolines = v2.retpoline_seq_enabled(cpu, kernel)
    lfence = v2.lfence_before_branches(cpu, kernel)
    named = Choice.first_true(
        (
            (~bugs.x86_bug_bhi(cpu, kernel), "; BHI: Not affected"),
            (retpolines & rrsba_disabled(cpu), "; BHI: Retpoline"),
            (off, "; BHI: Vulnerable"),
            (cpu.bhi_ctrl, "; BHI: BHI_DIS_S"),
            (bhi_at_vm_exit_only(kernel), "; BHI: Vulnerable, KVM: SW loop"),
            (TRUE, "; BHI: SW loop, KVM: SW loop"),
        )
    )
    first = Choice.first_true(
        (
            (~bugs.x86_bug_bhi(cpu, kernel), "; BHI: Not affected"),
            ((retpolines | lfence) & ~cpu.rrsba, "; BHI: Retpoline"),
            (off, "; BHI: Vulnerable (Syscall hardening enabled)"),
            (cpu.bhi_ctrl, "; BHI: BHI_DIS_S"),
            (kernel.bhi_auto, "; BHI: Syscall hardening, KVM: SW loop"),
            (TRUE, "; BHI: SW loop, KVM: SW loop"),
        )
    )
    hardens = kernel.bhi_hardens_syscalls
    none = Choice.first_true(((TRUE, ""),))
    return Choice.by_case(
        ((~kernel.has_bhi, none), (kernel.has_bhi & hardens, first), (kernel.has_bhi & ~hardens, named))
    )


@cache
def spectre_v2_texts(cpu: Cpu, kernel: Kernel) -> Concatenation:
    """Return the text of `spectre_v2` (source: spectre_v2_show_state).

    No module that was built without retpolines is loaded: one would add " - vulnerable module loaded".
    """
    eibrs_alone = kernel.names_eibrs_modes & v2.spectre_v2_mode_is(cpu, kernel, v2.EIBRS)
    with_threads = v2.spectre_v2_mode_is(cpu, kernel, v2.EIBRS_LFENCE) & sched_smt_active(cpu, kernel)
    lfence = v2.spectre_v2_mode_is(cpu, kernel, v2.LFENCE)
    lfence_alone = kernel.names_eibrs_modes & ~kernel.shows_fields_with_lfence & lfence
    rows: tuple[tuple[Node, Text], ...] = (
        (~kernel.has_earliest_files, NO_FILE),
        (~bugs.x86_bug_spectre_v2(cpu, kernel), NOT_AFFECTED),
        (lfence_alone, "Vulnerable: LFENCE"),
        (eibrs_alone & kernel.unprivileged_bpf, "Vulnerable: eIBRS with unprivileged eBPF"),
        (with_threads & kernel.unprivileged_bpf, "Vulnerable: eIBRS+LFENCE with unprivileged eBPF and SMT"),
        (TRUE, JOINED),
    )
    return Concatenation(
        Choice.first_true(rows),
        (
            ("mode", _mode_field(cpu, kernel)),
            ("ibpb", _ibpb_field(cpu, kernel)),
            ("ibrs_fw", _field(kernel, x86_feature_use_ibrs_fw(cpu, kernel), "IBRS_FW")),
            ("stibp", _stibp_field(cpu, kernel)),
            ("rsb", _field(kernel, x86_feature_rsb_ctxsw(cpu, kernel), "RSB filling")),
            ("pbrsb", _pbrsb_field(cpu, kernel)),
            ("bhi", bhi_field(cpu, kernel)),
        ),
        (
            Split(v2.spectre_v2_mode(cpu, kernel), v2.by_spectre_v2_mode(cpu, kernel)),
            Split.on(separated_by_semicolons(kernel)),
            Split.on(user_tasks_left_alone(cpu, kernel)),
        ),
    )


def _mode_field(cpu: Cpu, kernel: Kernel) -> Choice[str]:
    enhanced = Choice.first_true(((kernel.uses_auto_ibrs, "Enhanced / Automatic IBRS"), (TRUE, "Enhanced IBRS")))
    retpolines = Choice.first_true(
        ((kernel.names_eibrs_modes, "Mitigation: Retpolines"), (TRUE, "Mitigation: Full generic retpoline"))
    )
    lfence = Choice.first_true(
        ((kernel.names_eibrs_modes, "Vulnerable: LFENCE"), (TRUE, "Mitigation: Full AMD retpoline"))
    )
    texts = {
        v2.NONE: Choice.first_true(((TRUE, "Vulnerable"),)),
        v2.RETPOLINE: retpolines,
        v2.LFENCE: lfence,
        v2.IBRS: Choice.first_true(((TRUE, "Mitigation: IBRS"),)),
    }
    for mode, ending in {v2.EIBRS: "", v2.EIBRS_LFENCE: " + LFENCE", v2.EIBRS_RETPOLINE: " + Retpolines"}.items():
        texts[mode] = Choice.one_of((condition, f"Mitigation: {text}{ending}") for condition, text in enhanced.rows)
    return Choice.by_case((v2.spectre_v2_mode_is(cpu, kernel, mode), text) for mode, text in texts.items())


def _ibpb_field(cpu: Cpu, kernel: Kernel) -> Choice[str]:
    always = user_tasks_always_guarded(cpu, kernel) | kernel.spectre_v2_user_ibpb
    return _separated(
        kernel,
        (
            (~x86_feature_ibpb(cpu, kernel), ""),
            (user_tasks_left_alone(cpu, kernel), "IBPB: disabled"),
            (always, "IBPB: always-on"),
            (TRUE, "IBPB: conditional"),
        ),
    )


def _stibp_field(cpu: Cpu, kernel: Kernel) -> Choice[str]:
    stibp = spectre_v2_user_stibp(cpu, kernel)
    return _separated(
        kernel,
        (
            (ibrs_spares_stibp(cpu, kernel), ""),
            (stibp.is_in([NO_STIBP]), "STIBP: disabled"),
            (stibp.is_in([STRICT]), "STIBP: forced"),
            (stibp.is_in([PREFERRED]), "STIBP: always-on"),
            (sched_smt_active(cpu, kernel), "STIBP: conditional"),
            (TRUE, ""),
        ),
    )


def _pbrsb_field(cpu: Cpu, kernel: Kernel) -> Choice[str]:
    return _separated(
        kernel,
        (
            (~kernel.has_eibrs_pbrsb, ""),
            (~bugs.x86_bug_eibrs_pbrsb(cpu, kernel), "PBRSB-eIBRS: Not affected"),
            (pbrsb_sequence(cpu, kernel), "PBRSB-eIBRS: SW sequence"),
            (TRUE, "PBRSB-eIBRS: Vulnerable"),
        ),
    )


def _field(kernel: Kernel, shown: Node, text: str) -> Choice[str]:
    return _separated(kernel, ((shown, text), (TRUE, "")))


def _separated(kernel: Kernel, rows: tuple[tuple[Node, str], ...]) -> Choice[str]:
    """Return the choice among the rows' texts behind the separator of this kernel."""
    by_semicolon = separated_by_semicolons(kernel)
    cases = ((by_semicolon, "; "), (~by_semicolon, ", "))
    return Choice.by_case(
        (case, Choice.first_true((condition, separator + text if text else "") for condition, text in rows))
        for case, separator in cases
    )


@cache
def retbleed_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `retbleed` (source: retbleed_show_state)."""
    chosen = retbleed.retbleed_mitigation(cpu, kernel)
    amd = cpu.vendor_amd | cpu.vendor_hygon
    guarded = spectre_v2_user_stibp(cpu, kernel).is_in([STRICT, PREFERRED])
    threads = Choice.first_true(
        (
            (~sched_smt_active(cpu, kernel), "SMT disabled"),
            (guarded, "SMT enabled with STIBP protection"),
            (TRUE, "SMT vulnerable"),
        )
    )
    not_amd = "Vulnerable: untrained return thunk / IBPB on non-AMD based uarch"
    rows: list[tuple[Node, Text]] = [
        (chosen.is_in([retbleed.NONE]), VULNERABLE),
        (chosen.is_in([retbleed.AUTO]), NO_TEXT),
    ]
    rows += [
        (chosen.is_in([label]), f"Mitigation: {label}") for label in (retbleed.IBRS, retbleed.EIBRS, retbleed.STUFF)
    ]
    rows.append((chosen.is_in([retbleed.UNRET, retbleed.IBPB]) & ~amd, not_amd))
    for label in (retbleed.UNRET, retbleed.IBPB):
        mitigated = chosen.is_in([label]) & amd
        rows += [(mitigated & state, f"Mitigation: {label}; {text}") for state, text in threads.rows]
    plain: Texts = Choice.first_true(((~kernel.has_retbleed, NO_FILE), (TRUE, NOT_AFFECTED)))
    affected = kernel.has_retbleed & bugs.x86_bug_retbleed(cpu, kernel)
    return Choice.by_case(((~affected, plain), (affected, Choice.one_of(rows))))


@cache
def indirect_target_selection_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `indirect_target_selection` (source: its_show_state)."""
    chosen = retbleed.its_mitigation(cpu, kernel)
    return Choice.first_true(
        (
            (~kernel.has_its, NO_FILE),
            (~bugs.x86_bug_its(cpu, kernel), NOT_AFFECTED),
            (chosen.is_in([retbleed.OFF]), VULNERABLE),
            (chosen.is_in([retbleed.RETPOLINE_STUFF]), "Mitigation: Retpolines, Stuffing RSB"),
            (chosen.is_in([retbleed.VMEXIT_ONLY]), "Mitigation: Vulnerable, KVM: Not affected"),
            (TRUE, "Mitigation: Aligned branch/return thunks"),
        )
    )


BRANCH_TEXTS = {
    "spectre_v1": spectre_v1_texts,
    "spec_store_bypass": spec_store_bypass_texts,
    "retbleed": retbleed_texts,
    "spec_rstack_overflow": spec_rstack_overflow_texts,
    "indirect_target_selection": indirect_target_selection_texts,
    "vmscape": vmscape_texts,
}
