"""The way into a guest: what KVM overwrites before VM entry, in which order, and who is protected by it.

Kernels differ in where VERW stands. Before 6.8 it stands in C code, as an alternative to the L1D flush and before
FB_CLEAR_DIS is set. From 6.8 on the host kernel's own VERW stands in the entry assembly, after FB_CLEAR_DIS; the one
for MMIO stale data follows it there in 6.19.
"""

from __future__ import annotations

from archcaps.logic.graph import FALSE, Node, choose, rule
from archcaps.rules import linux_bugs as bugs
from archcaps.rules import silicon as hardware
from archcaps.rules.kvm_offer import Kvm, l1tf_vmx_mitigation_needed, l1tf_vmx_mitigation_never, on_svm
from archcaps.rules.linux_mitigations import clear_cpu_buf, switched_off, tsa_verw_before_vmrun
from archcaps.rules.shown import Case
from archcaps.rules.views import Cpu, Kernel, Vm

__all__ = [
    "can_reach_mmio",
    "cleared_before_entry",
    "host_mmio_is_noted",
    "l1d_flush_is_enough",
    "mmio_verw_for_vms",
    "verw_before_any_guest",
    "verw_before_vmrun",
    "verw_in_c",
    "verw_in_entry_asm",
    "verw_with_fb_clear_dis",
    "vmx_l1d_flush_cond",
    "vmx_l1d_should_flush",
]  # fmt: skip

_ENTER = "Linux 5.10.223 to 7.3.4 arch/x86/kvm/vmx/vmx.c vmx_vcpu_enter_exit"
_ASM = "Linux 6.8.0 to 7.3.4 arch/x86/kvm/vmx/vmenter.S __vmx_vcpu_run (43fb862de8f6; 6.19: e6ff1d61de51)"
_FLUSH = "Linux 5.10.223 to 7.3.4 arch/x86/kvm/vmx/vmx.c vmx_setup_l1d_flush, vmx_l1d_flush"
_MMIO = (
    "Linux 5.19.0 to 6.15 arch/x86/kernel/cpu/bugs.c mmio_select_mitigation (mmio_stale_data_clear); 6.16.1 to 7.1.5 "
    "mmio_apply_mitigation (cpu_buf_vm_clear, CLEAR_CPU_BUF_VM_MMIO)"
)
_GATE = "Linux 5.19.0 to 6.16.1 kvm_arch_has_assigned_device; 6.17.0 to 7.3.4 kvm_vcpu_can_access_host_mmio"


_ROOTS = (
    "Linux 6.17.0 to 7.3.4 arch/x86/kvm/mmu/spte.c kvm_track_host_mmio_mapping, spte.h kvm_vcpu_can_access_host_mmio"
)


@rule(_FLUSH)
def vmx_l1d_should_flush(kvm: Kvm) -> Node:
    """The L1D flush at VM entry is switched on: the host needs it, and nobody set it to never."""
    return l1tf_vmx_mitigation_needed(kvm) & ~l1tf_vmx_mitigation_never(kvm)


@rule(_FLUSH)
def vmx_l1d_flush_cond(kvm: Kvm) -> Node:
    """The flush is conditional: an entry flushes only after the host did something that may leave secrets."""
    return vmx_l1d_should_flush(kvm) & ~kvm.kernel.l1d_flush_always


@rule(_MMIO)
def mmio_verw_for_vms(kvm: Kvm) -> Node:
    """VERW is run for MMIO stale data at VM entry alone: it is mitigated, and nothing else asks for VERW."""
    host, kernel = kvm.host, kvm.kernel
    bug = bugs.x86_bug_mmio_stale_data(host, kernel) & ~bugs.x86_bug_mmio_unknown(host, kernel)
    return kernel.has_mmio_stale_data & bug & ~switched_off(kernel, "mmio") & ~clear_cpu_buf(host, kernel)


@rule(_ROOTS)
def host_mmio_is_noted(guest: Cpu, kvm: Kvm) -> Node:
    """KVM knows of the host MMIO that is mapped, under whatever page-table root the guest's vCPUs run.

    From 6.17 on it keeps that for each root. A guest without VMX has no guests of its own, and with EPT one root.
    """
    one_root = ~guest.vmx & ~kvm.kernel.shadow_paging
    return ~kvm.kernel.host_mmio_per_root | one_root | kvm.kernel.notes_host_mmio_for_any_root


@rule(_GATE)
def can_reach_mmio(guest: Cpu, kvm: Kvm, vm: Vm) -> Node:
    """KVM takes the guest as able to reach MMIO: by host MMIO that is mapped, before 6.17 by an assigned device."""
    mapped = vm.has_mapped_host_mmio & host_mmio_is_noted(guest, kvm)
    return choose(kvm.kernel.gates_verw_by_host_mmio, mapped, vm.has_assigned_device)


@rule(_ENTER)
def verw_in_c(case: Case) -> Node:
    """VERW is run before FB_CLEAR_DIS is set, and only where no L1D flush is switched on.

    For the host's own bugs up to 6.7, for MMIO stale data up to 6.18.
    """
    kvm, kernel = case.kvm, case.kvm.kernel
    own = ~kernel.verw_in_entry_asm & clear_cpu_buf(kvm.host, kernel)
    mmio = ~kernel.mmio_verw_in_entry_asm & mmio_verw_for_vms(kvm) & can_reach_mmio(case.cpu, kvm, case.vm)
    return ~on_svm(kvm) & ~vmx_l1d_should_flush(kvm) & (own | mmio)


@rule(_ASM)
def verw_in_entry_asm(case: Case) -> Node:
    """VERW is the last thing before VM entry, with FB_CLEAR_DIS as this guest has it.

    For the host's own bugs from 6.8, for MMIO stale data from 6.19.
    """
    kvm, kernel = case.kvm, case.kvm.kernel
    own = kernel.verw_in_entry_asm & clear_cpu_buf(kvm.host, kernel)
    mmio = kernel.mmio_verw_in_entry_asm & mmio_verw_for_vms(kvm) & can_reach_mmio(case.cpu, kvm, case.vm)
    return ~on_svm(kvm) & (own | mmio)


@rule(_ASM)
def verw_with_fb_clear_dis(case: Case) -> Node:
    """The host's own VERW before VM entry is run with FB_CLEAR_DIS set, so that it does not reach the fill buffers.

    Derived from the order of the steps in 6.19.9, 7.1.3, 7.2.13 and 7.3.4; not confirmed on hardware.
    """
    return verw_in_entry_asm(case) & case.disable_fb_clear


@rule(f"{_ENTER}; {_ASM}; Linux 6.16.1 to 7.3.4 arch/x86/kvm/svm/vmenter.S __svm_vcpu_run (d8010d4ba43e)")
def verw_before_any_guest(cpu: Cpu, kernel: Kernel) -> Node:
    """As a hypervisor this kernel runs VERW before every guest: under VMX if on exit to user, under SVM for TSA.

    For its own bugs; under VMX before 6.8 an L1D flush that is switched on takes its place. Guests that reach MMIO have
    one more reason, `mmio_verw_for_vms`.
    """
    svm = cpu.vendor_amd | cpu.vendor_hygon
    return choose(svm, kernel.svm_verw_before_vmrun & tsa_verw_before_vmrun(cpu, kernel), clear_cpu_buf(cpu, kernel))


@rule("Linux 6.16.1 to 7.3.4 arch/x86/kvm/svm/vmenter.S __svm_vcpu_run (d8010d4ba43e)")
def verw_before_vmrun(case: Case) -> Node:
    """VERW is run right before VMRUN, for TSA."""
    kvm = case.kvm
    return on_svm(kvm) & kvm.kernel.svm_verw_before_vmrun & tsa_verw_before_vmrun(kvm.host, kvm.kernel)


@rule(_FLUSH)
def l1d_flush_is_enough(case: Case, vulnerability: str) -> Node:
    """Every VM entry flushes the L1D, and on this silicon the flush overwrites what this vulnerability samples."""
    if vulnerability not in ("mds", "tsx_async_abort", "mmio_stale_data"):
        return FALSE
    every = vmx_l1d_should_flush(case.kvm) & ~vmx_l1d_flush_cond(case.kvm)
    return every & hardware.l1d_flush_overwrites_mds_buffers(case.silicon)


@rule(_ENTER + "; " + _ASM)
def cleared_before_entry(case: Case, vulnerability: str) -> Node:
    """On every VM entry KVM overwrites what this vulnerability samples, so that the guest finds nothing of the host."""
    affected, silicon = case.affected[vulnerability], case.silicon
    early = hardware.verw_reaches(vulnerability, silicon, affected, FALSE)
    late = hardware.verw_reaches(vulnerability, silicon, affected, case.disable_fb_clear)
    return (
        (verw_in_c(case) & early)
        | (verw_in_entry_asm(case) & late)
        | (verw_before_vmrun(case) & early)
        | l1d_flush_is_enough(case, vulnerability)
    )
