"""No toggling at all: KVM never sets FB_CLEAR_DIS, as before Linux 5.19."""

from archcaps.policies import FALSE, rule


@rule("Sean Christopherson, kvm mailing list, 2023-05-18: no reason was given for the toggling")
def vmx_update_fb_clear_dis(vcpu, kvm):
    """KVM sets FB_CLEAR_DIS for no guest."""
    return FALSE
