"""Clearing is on if the guest is shown FB_CLEAR, or what implies it: MD_CLEAR and L1D_FLUSH without MDS_NO."""

from archcaps.policies import clear_cpu_buf, on_svm, rule, vmx_setup_fb_clear_ctrl


@rule("Xiaoyao Li, kvm mailing list, 2023-05-22 and 2023-05-25")
def vmx_update_fb_clear_dis(vcpu, kvm):
    """KVM sets FB_CLEAR_DIS where it can and the host needs no VERW itself, unless the guest may count on FB_CLEAR."""
    told = vcpu.fb_clear | (vcpu.md_clear & vcpu.flush_l1d & ~vcpu.mds_no)
    return ~on_svm(kvm) & ~clear_cpu_buf(kvm.host, kvm.kernel) & vmx_setup_fb_clear_ctrl(kvm) & ~told
