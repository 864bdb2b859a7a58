"""FB_CLEAR_DIS and TSX in guests, against the kernel's functions read for each release."""

from __future__ import annotations

import pytest

from archcaps.rules.kvm_entry import noverw, vcpu_arch_capabilities, vmx_update_fb_clear_dis
from archcaps.rules.kvm_offer import Kvm, kvm_get_supported_cpuid
from archcaps.rules.kvm_tsx import rtm_executes
from archcaps.rules.views import Cpu, Kernel
from tests.rules.facts import holds

KVM = Kvm(Cpu("host"), Kernel("host_kernel"))
VCPU = Cpu("some_vcpu")
#: A host on which FB_CLEAR_DIS can be used: no MDS, no TAA, FB_CLEAR_CTRL.
CAN = ("host.arch_capabilities", "host.mds_no", "host.taa_no", "host.fb_clear_ctrl", "host_kernel.toggles_fb_clear")
FIVE = ("some_vcpu.mds_no", "some_vcpu.taa_no", "some_vcpu.psdp_no", "some_vcpu.fbsdp_no", "some_vcpu.sbdr_ssdp_no")


def test_noverw_is_fb_clear_or_all_five_no_bits() -> None:
    assert holds(noverw(VCPU), "some_vcpu.fb_clear")
    assert holds(noverw(VCPU), *FIVE)
    for left_out in FIVE:
        assert not holds(noverw(VCPU), *(bit for bit in FIVE if bit != left_out))


def test_fb_clear_dis_is_set_for_a_value_that_asks_for_nothing() -> None:
    node = vmx_update_fb_clear_dis(VCPU, KVM)
    assert holds(node, *CAN)
    assert not holds(node, *CAN, "some_vcpu.fb_clear")
    assert not holds(node, *CAN, *FIVE)


@pytest.mark.parametrize("missing", ["host.mds_no", "host.fb_clear_ctrl", "host_kernel.toggles_fb_clear"])
def test_fb_clear_dis_needs_an_immune_host_and_the_control(missing: str) -> None:
    assert not holds(vmx_update_fb_clear_dis(VCPU, KVM), *(fact for fact in CAN if fact != missing))


def test_a_host_with_the_taa_bug_keeps_verw_working_even_with_tsx_off() -> None:
    without_taa_no = tuple(fact for fact in CAN if fact != "host.taa_no")
    assert holds(vmx_update_fb_clear_dis(VCPU, KVM), *without_taa_no)  # neither RTM nor TSX_CTRL: no bug
    assert not holds(vmx_update_fb_clear_dis(VCPU, KVM), *without_taa_no, "host.tsx_ctrl")


def test_svm_never_toggles() -> None:
    assert not holds(vmx_update_fb_clear_dis(VCPU, KVM), *CAN, "host.vendor_amd")


def test_a_host_that_runs_verw_itself_is_spared_since_6_8() -> None:
    clears = ("host_kernel.has_rfds", "host.rfds_clear")
    assert holds(vmx_update_fb_clear_dis(VCPU, KVM), *CAN, *clears)
    assert not holds(vmx_update_fb_clear_dis(VCPU, KVM), *CAN, *clears, "host_kernel.fb_clear_dis_spares_clearing_host")


def test_the_vcpu_holds_what_was_written_and_from_6_13_only_with_the_cpuid_bit() -> None:
    node = vcpu_arch_capabilities(VCPU, KVM, "pschange_mc_no")  # KVM always offers this bit
    assert not holds(node)
    assert holds(node, "some_vcpu.pschange_mc_no")
    assert holds(node, "host_kernel.arch_cap_needs_cpuid")  # the write of 0 is ignored, the default stays
    assert not holds(node, "host_kernel.arch_cap_needs_cpuid", "some_vcpu.arch_capabilities")


class TestRtmExecutes:
    """Linux arch/x86/kvm/vmx/vmx.c vmx_setup_uret_msrs, vmx_vcpu_after_set_cpuid."""

    NODE = rtm_executes(Cpu("guest"), Kernel("guest_kernel"), KVM)
    H = "host.arch_capabilities"

    def test_a_host_without_tsx_ctrl_can_not_stop_it(self) -> None:
        assert holds(self.NODE, "host.rtm", "guest.rtm_disable")

    def test_a_host_with_tsx_off_never_lets_it_run(self) -> None:
        assert not holds(self.NODE, self.H, "host.rtm", "host.tsx_ctrl", "guest.rtm")

    def test_with_tsx_on_and_tsx_ctrl_the_guest_s_cpuid_decides(self) -> None:
        on = (self.H, "host.rtm", "host.tsx_ctrl", "host_kernel.tsx_on")
        assert holds(self.NODE, *on, "guest.rtm")
        assert not holds(self.NODE, *on, "guest.rtm_disable")
        assert holds(self.NODE, *on)  # a VMM that wrote 0 to MSR 0x122 after the CPUID undid RTM_DISABLE

    def test_a_guest_that_is_shown_tsx_ctrl_decides_itself(self) -> None:
        shown = (self.H, "host.rtm", "host.tsx_ctrl", "host_kernel.tsx_on", "guest.arch_capabilities", "guest.tsx_ctrl")
        assert not holds(self.NODE, *shown, "guest.rtm")  # tsx=off is the default
        assert holds(self.NODE, *shown, "guest_kernel.tsx_on")


def test_the_offer_of_an_unmodelled_cpuid_bit_is_an_error() -> None:
    with pytest.raises(ValueError, match="avx"):
        kvm_get_supported_cpuid(KVM, "avx")
