"""What a Linux kernel says of Meltdown, L1TF, ITLB multihit, SRBDS, GDS and old microcode, to the letter."""

from __future__ import annotations

from functools import cache

from archcaps.logic.choice import Choice
from archcaps.logic.graph import TRUE, Node, choose, rule
from archcaps.rules import linux_bugs as bugs
from archcaps.rules.linux_mitigations import (
    NO_FILE,
    NO_MICROCODE,
    NOT_AFFECTED,
    TSX_DISABLED,
    VULNERABLE,
    Texts,
    any_vector,
    sched_smt_active,
)
from archcaps.rules.views import Cpu, Kernel

_BUGS = "Linux 5.10.265, 6.1.166, 6.12.33, 6.16.1, 7.1.5 arch/x86/kernel/cpu/bugs.c"

PTE_INVERSION = "Mitigation: PTE Inversion"
HOST_STATUS = "Unknown: Dependent on hypervisor status"
MICROCODE = "Mitigation: Microcode"
XEN_PV = "Unknown (XEN PV detected, hypervisor mitigation required)"


@rule("Linux 6.6.150, 6.12.33, 6.16.1, 7.1.5 arch/x86/mm/pti.c pti_check_boottime_disable")
def x86_feature_pti(cpu: Cpu, kernel: Kernel) -> Node:
    """Page tables are isolated: Meltdown, not switched off, and not in a Xen PV guest."""
    return bugs.x86_bug_cpu_meltdown(cpu, kernel) & ~kernel.pti_off & ~kernel.xen_pv


@rule(f"{_BUGS} srbds_select_mitigation")
def srbds_switched_off_first(kernel: Kernel) -> Node:
    """SRBDS is off before anything else is looked at: mitigations=off from 6.16, no vector left from 6.17."""
    no_vector = ~kernel.srbds_compiled_off & ~any_vector(kernel)
    return kernel.selects_then_applies & choose(kernel.attack_vectors, no_vector, kernel.mitigations_off)


@rule(f"{_BUGS} srbds_select_mitigation")
def srbds_switched_off(kernel: Kernel) -> Node:
    """SRBDS is off once all else is looked at: srbds=off, compiled off, or until 6.14 mitigations=off."""
    until = ~kernel.selects_then_applies & kernel.mitigations_off
    return kernel.srbds_off | kernel.srbds_compiled_off | until


@rule(f"{_BUGS} srbds_select_mitigation")
def srbds_needs_tsx(cpu: Cpu, kernel: Kernel) -> Node:
    """SRBDS is there only with TSX, which is off: MDS_NO, RTM not usable, and no MMIO stale data."""
    return cpu.mds_no & ~bugs.x86_feature_rtm(cpu, kernel) & ~bugs.x86_bug_mmio_stale_data(cpu, kernel)


@rule(f"{_BUGS} gds_select_mitigation")
def gds_forced(kernel: Kernel) -> Node:
    """GDS is mitigated by force, without microcode too; until 6.16 mitigations=off beats that."""
    return kernel.gds_force & (kernel.attack_vectors | ~kernel.mitigations_off)


@rule(f"{_BUGS} gds_select_mitigation")
def gds_switched_off(kernel: Kernel) -> Node:
    """GDS is not mitigated: by its option or compiled off, by mitigations=off, or from 6.17 with no vector left."""
    vector = any_vector(kernel) | kernel.vector_cross_thread
    left = choose(kernel.attack_vectors, ~kernel.gds_force & ~vector, kernel.mitigations_off)
    return kernel.gds_off | left


@rule(f"{_BUGS} l1tf_select_mitigation, l1tf_apply_mitigation")
def x86_feature_l1tf_pteinv(cpu: Cpu, kernel: Kernel) -> Node:
    """PTEs of absent pages are inverted: L1TF, and no RAM that this would not reach."""
    return bugs.x86_bug_l1tf(cpu, kernel) & ~cpu.ram_above_half


@rule("Linux 7.1.5 arch/x86/kernel/cpu/feat_ctl.c init_ia32_feat_ctl")
def vmx_usable(cpu: Cpu, kernel: Kernel) -> Node:
    """VMX can be used: CPUID shows it and IA32_FEAT_CTL allows it, without which kvm_intel could not be loaded."""
    return cpu.vmx & (cpu.vmx_enabled | kernel.kvm_intel_loaded)


@rule("Linux 7.1.5 arch/x86/kvm/vmx/vmx.c vmx_setup_l1d_flush")
def kvm_intel_runs(cpu: Cpu, kernel: Kernel) -> Node:
    """kvm_intel is built, VMX is shown, and it is loaded: it has decided on flushing the L1D and on huge pages."""
    return kernel.kvm_intel_built & cpu.vmx & kernel.kvm_intel_loaded


@cache
def meltdown_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `meltdown` (source: cpu_show_common)."""
    return Choice.first_true(
        (
            (~kernel.has_earliest_files, NO_FILE),
            (~bugs.x86_bug_cpu_meltdown(cpu, kernel), NOT_AFFECTED),
            (x86_feature_pti(cpu, kernel), "Mitigation: PTI"),
            (kernel.xen_pv, XEN_PV),
            (TRUE, VULNERABLE),
        )
    )


@cache
def l1tf_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `l1tf` (source: l1tf_show_state); a guest says what SMT it sees itself."""
    active = sched_smt_active(cpu, kernel)
    vmx = f"{PTE_INVERSION}; VMX: "
    rows = [
        (~kernel.has_earliest_files, NO_FILE),
        (~bugs.x86_bug_l1tf(cpu, kernel), NOT_AFFECTED),
        (~x86_feature_l1tf_pteinv(cpu, kernel), VULNERABLE),
        (~kvm_intel_runs(cpu, kernel), PTE_INVERSION),
        (kernel.ept_off, f"{vmx}EPT disabled"),
    ]
    states = (
        (cpu.skip_l1dfl_vmentry, "flush not necessary"),
        (kernel.l1d_flush_never, "vulnerable"),
        (kernel.l1d_flush_always, "cache flushes"),
        (TRUE, "conditional cache flushes"),
    )
    for state, text in states:
        with_smt = f"{vmx}{text}" if text == "vulnerable" else f"{vmx}{text}, SMT vulnerable"
        rows += [(state & active, with_smt), (state, f"{vmx}{text}, SMT disabled")]
    return Choice.first_true(rows)


@cache
def itlb_multihit_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `itlb_multihit` (source: itlb_multihit_show_state)."""
    vmx = kernel.itlb_multihit_tells_vmx
    return Choice.first_true(
        (
            (~kernel.has_earliest_files, NO_FILE),
            (~bugs.x86_bug_itlb_multihit(cpu, kernel), NOT_AFFECTED),
            (~kernel.kvm_intel_built, "Processor vulnerable"),
            (vmx & ~vmx_usable(cpu, kernel), "KVM: Mitigation: VMX unsupported"),
            (vmx & ~kernel.vmx_on, "KVM: Mitigation: VMX disabled"),
            (kvm_intel_runs(cpu, kernel) & kernel.kvm_splits_huge_pages, "KVM: Mitigation: Split huge pages"),
            (TRUE, "KVM: Vulnerable"),
        )
    )


@cache
def srbds_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `srbds` (source: srbds_select_mitigation, srbds_show_state)."""
    return Choice.first_true(
        (
            (~kernel.has_srbds, NO_FILE),
            (~bugs.x86_bug_srbds(cpu, kernel), NOT_AFFECTED),
            (srbds_switched_off_first(kernel), VULNERABLE),
            (srbds_needs_tsx(cpu, kernel), TSX_DISABLED),
            (cpu.hypervisor, HOST_STATUS),
            (~cpu.srbds_ctrl, NO_MICROCODE),
            (srbds_switched_off(kernel), VULNERABLE),
            (TRUE, MICROCODE),
        )
    )


@cache
def gather_data_sampling_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `gather_data_sampling` (source: gds_select_mitigation, gds_show_state)."""
    return Choice.first_true(
        (
            (~kernel.has_gds, NO_FILE),
            (~bugs.x86_bug_gds(cpu, kernel), NOT_AFFECTED),
            (cpu.hypervisor, HOST_STATUS),
            (~cpu.gds_ctrl & gds_forced(kernel), "Mitigation: AVX disabled, no microcode"),
            (~cpu.gds_ctrl, NO_MICROCODE),
            (cpu.gds_mitg_locked, f"{MICROCODE} (locked)"),
            (gds_switched_off(kernel), VULNERABLE),
            (TRUE, MICROCODE),
        )
    )


@cache
def old_microcode_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `old_microcode` (source: old_microcode_show_state; its text for guests is never reached)."""
    return Choice.first_true(
        (
            (~kernel.has_old_microcode, NO_FILE),
            (~bugs.x86_bug_old_microcode(cpu, kernel), NOT_AFFECTED),
            (TRUE, VULNERABLE),
        )
    )


@cache
def ghostwrite_texts(cpu: Cpu, kernel: Kernel) -> Texts:
    """Return the text of `ghostwrite`, a bug of RISC-V (source: drivers/base/cpu.c cpu_show_not_affected)."""
    return Choice.first_true(((~kernel.has_ghostwrite, NO_FILE), (TRUE, NOT_AFFECTED)))


MEMORY_TEXTS = {
    "meltdown": meltdown_texts,
    "l1tf": l1tf_texts,
    "itlb_multihit": itlb_multihit_texts,
    "srbds": srbds_texts,
    "gather_data_sampling": gather_data_sampling_texts,
    "old_microcode": old_microcode_texts,
    "ghostwrite": ghostwrite_texts,
}
