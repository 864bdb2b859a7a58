"""Clearing is on if and only if the guest's value has FB_CLEAR."""

from archcaps.policies import clear_cpu_buf, on_svm, rule, vmx_setup_fb_clear_ctrl


@rule("Sean Christopherson, kvm mailing list, 2023-05-18: the sketch at the end")
def vmx_update_fb_clear_dis(vcpu, kvm):
    """KVM sets FB_CLEAR_DIS where it can and the host needs no VERW itself, unless the guest's value has FB_CLEAR."""
    return ~on_svm(kvm) & ~clear_cpu_buf(kvm.host, kvm.kernel) & vmx_setup_fb_clear_ctrl(kvm) & ~vcpu.fb_clear
