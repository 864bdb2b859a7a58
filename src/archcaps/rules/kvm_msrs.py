"""KVM's answers to accesses of MSRs 0x10a, 0x10b, 0x122 and 0x123: by userspace through a vCPU, and by the guest.

An MSR that KVM does not support at all is where `ignore_msrs` counts; what KVM refuses by itself it refuses always.
"""

from __future__ import annotations

from archcaps.logic.graph import Node, choose, rule
from archcaps.rules.kvm_offer import Kvm, kvm_get_arch_capabilities, on_svm
from archcaps.rules.linux_bugs import x86_feature_rtm
from archcaps.rules.views import Access

_SET = "Linux 5.10.265, 6.1.166, 6.6.150, 6.12.15, 7.1.5 arch/x86/kvm/x86.c kvm_set_msr_common (a5d563890b8f, v6.13)"
_GET = "Linux 5.10.265, 6.1.166, 6.6.150, 6.12.15, 7.1.5 arch/x86/kvm/x86.c kvm_get_msr_common (a5d563890b8f, v6.13)"
_DO_SET = "Linux 6.6.150, 6.12.15, 7.1.5 arch/x86/kvm/x86.c do_set_msr (0094f62c7eaa, v6.4)"
_IGNORED = "Linux 5.10.265, 6.1.166, 6.6.150 arch/x86/kvm/x86.c kvm_msr_ignored_check; 6.12.15, 7.1.5 kvm_do_msr_access"
_CREATE = "Linux 6.1.166, 7.1.5 arch/x86/kvm/x86.c kvm_arch_vcpu_create (dcb988cdac85, v6.13)"
_FLUSH = "Linux 6.6.150, 7.1.5 arch/x86/kvm/x86.c kvm_set_msr_common, vmx/vmx.c, svm/svm.c (da3db168fb67, v6.4)"
_TSX = "Linux 5.10.265, 6.1.166, 7.1.5 arch/x86/kvm/vmx/vmx.c vmx_get_msr, vmx_set_msr, vmx_vcpu_after_set_cpuid"
_LIST = "Linux 6.4.4, 7.1.5 arch/x86/kvm/x86.c kvm_probe_msr_to_save"


@rule(_SET)
def arch_cap_unsupported(access: Access, kvm: Kvm) -> Node:
    """MSR 0x10a is none of this vCPU's MSRs: its CPUID does not show it, and this KVM asks that."""
    return kvm.kernel.arch_cap_needs_cpuid & ~access.cpuid_arch_capabilities


@rule(_DO_SET)
def feature_msr_frozen(access: Access, kvm: Kvm) -> Node:
    """The write comes too late: the vCPU has run, and the value is another one than KVM_GET_MSRS gives."""
    return kvm.kernel.feature_msrs_immutable & access.has_run & ~access.value_is_the_same


@rule(_SET + "; " + _DO_SET)
def host_writes_arch_cap(access: Access, kvm: Kvm) -> Node:
    """KVM_SET_MSRS succeeds for MSR 0x10a: any bits, in time; where it is unsupported only 0, or with ignore_msrs."""
    ignored = kvm.kernel.ignore_msrs_covers_arch_cap & kvm.kernel.ignore_msrs
    tolerated = ~arch_cap_unsupported(access, kvm) | access.value_is_zero | ignored
    return ~feature_msr_frozen(access, kvm) & tolerated


@rule(_SET + "; " + _DO_SET)
def host_write_is_stored(access: Access, kvm: Kvm) -> Node:
    """KVM_SET_MSRS changes the MSR 0x10a that the vCPU holds: it succeeds, and the MSR is supported."""
    return host_writes_arch_cap(access, kvm) & ~arch_cap_unsupported(access, kvm)


@rule(_GET)
def guest_reads_arch_cap(access: Access, kvm: Kvm) -> Node:
    """RDMSR 0x10a gives the guest the value that the vCPU holds: its CPUID shows the MSR."""
    return access.cpuid_arch_capabilities


@rule(_GET + "; " + _IGNORED)
def guest_read_of_arch_cap_faults(access: Access, kvm: Kvm) -> Node:
    """RDMSR 0x10a faults: CPUID does not show the MSR, and ignore_msrs does not cover it."""
    return ~guest_reads_arch_cap(access, kvm) & guest_write_of_arch_cap_faults(kvm)


@rule(_SET + "; " + _IGNORED)
def guest_write_of_arch_cap_faults(kvm: Kvm) -> Node:
    """WRMSR 0x10a faults in a guest, unless ignore_msrs covers it (then nothing happens)."""
    return ~(kvm.kernel.ignore_msrs_covers_arch_cap & kvm.kernel.ignore_msrs)


@rule(_CREATE)
def starts_with_offer(access: Access, kvm: Kvm) -> Node:
    """A new vCPU holds what KVM offers as its MSR 0x10a; otherwise 0, where the quirk is there and switched off."""
    return ~kvm.kernel.stuff_feature_msrs_quirk | access.quirk_stuff_feature_msrs


@rule(_IGNORED)
def unsupported_msr_faults(kvm: Kvm) -> Node:
    """An MSR that KVM does not know at all, as 0x123, fails for userspace and faults in the guest: no ignore_msrs."""
    return ~kvm.kernel.ignore_msrs


@rule(_FLUSH)
def host_writes_flush_cmd(access: Access, kvm: Kvm) -> Node:
    """KVM_SET_MSRS succeeds for MSR 0x10b: this KVM has it, the host has FLUSH_L1D, and only bit 0 is written."""
    return choose(kvm.kernel.offers_flush_l1d, kvm.host.flush_l1d & access.value_fits, ~unsupported_msr_faults(kvm))


@rule(_FLUSH)
def guest_flush_cmd_faults(access: Access, kvm: Kvm) -> Node:
    """WRMSR 0x10b faults in the guest: this KVM has it not, CPUID does not show it, or another bit is written."""
    works = kvm.host.flush_l1d & access.cpuid_flush_l1d & access.value_fits
    return choose(kvm.kernel.offers_flush_l1d, ~works, unsupported_msr_faults(kvm))


@rule(_TSX)
def keeps_tsx_ctrl(kvm: Kvm) -> Node:
    """KVM keeps an MSR 0x122 for each vCPU: VMX, on hardware that has it (not yet in 5.4)."""
    return ~on_svm(kvm) & ~kvm.kernel.hides_tsx_ctrl & kvm.host.tsx_ctrl


@rule(_LIST)
def saves_tsx_ctrl(kvm: Kvm) -> Node:
    """KVM_GET_MSR_INDEX_LIST names MSR 0x122: this KVM lists it, and offers TSX_CTRL."""
    return kvm.kernel.tsx_ctrl_in_save_list & kvm_get_arch_capabilities(kvm, "tsx_ctrl")


@rule(_TSX)
def host_writes_tsx_ctrl(access: Access, kvm: Kvm) -> Node:
    """KVM_SET_MSRS succeeds for MSR 0x122: only bits 0 and 1, whatever MSR 0x10a the vCPU holds."""
    kept = keeps_tsx_ctrl(kvm) | ~unsupported_msr_faults(kvm)
    return choose(on_svm(kvm), ~unsupported_msr_faults(kvm), access.value_fits & kept)


@rule(_TSX)
def guest_tsx_ctrl_faults(access: Access, kvm: Kvm) -> Node:
    """RDMSR or WRMSR 0x122 faults in the guest: the vCPU's MSR 0x10a has no TSX_CTRL, or another bit is written."""
    kept = keeps_tsx_ctrl(kvm) | ~unsupported_msr_faults(kvm)
    return choose(on_svm(kvm), unsupported_msr_faults(kvm), ~(access.holds_tsx_ctrl & access.value_fits & kept))


@rule(_TSX)
def set_cpuid_writes_tsx_ctrl(kvm: Kvm) -> Node:
    """KVM_SET_CPUID2 writes MSR 0x122 again, where the host uses RTM: 0 with CPUID RTM, RTM_DISABLE without."""
    return keeps_tsx_ctrl(kvm) & x86_feature_rtm(kvm.host, kvm.kernel)


@rule("Linux 6.6.9 arch/x86/kvm/x86.c, not in 6.5.0 (a2fd5d02bad6, v6.6)")
def host_arch_cap_read_anew(kvm: Kvm) -> Node:
    """KVM reads the host's MSR 0x10a each time it says what it offers: a late microcode load shows in the offer."""
    return ~kvm.kernel.snapshots_host_arch_cap


@rule("Linux 5.10.265, 6.1.166, 6.5.0, 6.6.9 arch/x86/kvm/vmx/vmx.c vmx_setup_fb_clear_ctrl, vmx_update_fb_clear_dis")
def fb_clear_ctrl_read_anew(kvm: Kvm) -> Node:
    """KVM reads FB_CLEAR_CTRL for each vCPU again; no kernel read does: decided at load, or from the MSR read then."""
    return kvm.kernel.toggles_fb_clear & host_arch_cap_read_anew(kvm) & ~kvm.kernel.fb_clear_control_at_load
