"""FB_CLEAR_DIS: when KVM switches VERW's clearing of the fill buffers off while a guest runs."""

from __future__ import annotations

from archcaps.logic.graph import Node, choose, rule
from archcaps.rules import linux_bugs as bugs
from archcaps.rules.kvm_offer import Kvm, kvm_get_arch_capabilities, on_svm
from archcaps.rules.linux_mitigations import clear_cpu_buf
from archcaps.rules.views import Cpu

__all__ = ["FIVE_NO", "noverw", "vcpu_arch_capabilities", "vmx_setup_fb_clear_ctrl", "vmx_update_fb_clear_dis"]

_SETUP = "Linux 5.19.0 to 7.3.4 arch/x86/kvm/vmx/vmx.c vmx_setup_fb_clear_ctrl (027bbb884be0)"
_UPDATE = "Linux 5.19.0 to 7.3.4 arch/x86/kvm/vmx/vmx.c vmx_update_fb_clear_dis (027bbb884be0, 43fb862de8f6)"

#: The five immunity bits that make FB_CLEAR_DIS needless in vmx_update_fb_clear_dis.
FIVE_NO = ("mds_no", "taa_no", "psdp_no", "fbsdp_no", "sbdr_ssdp_no")


@rule(_SETUP)
def vmx_setup_fb_clear_ctrl(kvm: Kvm) -> Node:
    """The control can be used: the host has FB_CLEAR_CTRL and neither the MDS nor the TAA bug."""
    host, kernel = kvm.host, kvm.kernel
    return host.fb_clear_ctrl & ~bugs.x86_bug_mds(host, kernel) & ~bugs.x86_bug_taa(host, kernel)


@rule("Linux 6.13 arch/x86/kvm/x86.c kvm_set_msr_common (a5d563890b8f, dcb988cdac85)")
def vcpu_arch_capabilities(vcpu: Cpu, kvm: Kvm, bit: str) -> Node:
    """The vCPU holds this bit: as written, or KVM's default where a write without the CPUID bit is ignored (6.13)."""
    ignored = kvm.kernel.arch_cap_needs_cpuid & ~vcpu.arch_capabilities
    return choose(ignored, kvm_get_arch_capabilities(kvm, bit), vcpu.stored(bit))


@rule(_UPDATE)
def noverw(vcpu: Cpu) -> Node:
    """The guest's value makes the toggle needless: it has FB_CLEAR, or all five of the immunity bits."""
    fb_clear, mds, taa, psdp, fbsdp, sbdr = (vcpu.stored(bit) for bit in ("fb_clear", *FIVE_NO))
    return fb_clear | (mds & taa & psdp & fbsdp & sbdr)


@rule(_UPDATE)
def vmx_update_fb_clear_dis(vcpu: Cpu, kvm: Kvm) -> Node:
    """KVM sets FB_CLEAR_DIS while this vCPU runs: it can, the host needs no VERW, the guest's value asks for none."""
    host, kernel = kvm.host, kvm.kernel
    host_clears = kernel.fb_clear_dis_spares_clearing_host & clear_cpu_buf(host, kernel)
    return kernel.toggles_fb_clear & ~on_svm(kvm) & ~host_clears & vmx_setup_fb_clear_ctrl(kvm) & ~noverw(vcpu)
