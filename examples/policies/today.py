"""Today's rule: FB_CLEAR_DIS for guests whose value has neither FB_CLEAR nor all five immunity bits."""

from archcaps.policies import clear_cpu_buf, noverw, on_svm, rule, vmx_setup_fb_clear_ctrl


@rule("Linux 7.3.4 arch/x86/kvm/vmx/vmx.c vmx_update_fb_clear_dis")
def vmx_update_fb_clear_dis(vcpu, kvm):
    """KVM sets FB_CLEAR_DIS where it can, the host needs no VERW itself, and the guest's value asks for none."""
    return ~on_svm(kvm) & ~clear_cpu_buf(kvm.host, kvm.kernel) & vmx_setup_fb_clear_ctrl(kvm) & ~noverw(vcpu)
