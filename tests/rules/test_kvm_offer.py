"""What KVM offers, against the kernel's functions read for each release."""

from __future__ import annotations

import archcaps
from archcaps.rules.kvm_offer import Kvm, forced_on, gds_mitigated, in_mask, kvm_get_supported_cpuid
from archcaps.rules.views import Cpu, Kernel
from archcaps.tables.bits import ARCH_CAPABILITIES
from tests.rules.facts import holds, holds_among

KVM = Kvm(Cpu("host"), Kernel("host_kernel"))
MICROCODE = ("host.arch_capabilities", "host.gds_ctrl")


def test_gds_is_mitigated_by_microcode_unless_it_is_off_and_not_locked() -> None:
    node = gds_mitigated(KVM)
    assert holds(node, *MICROCODE)
    assert not holds(node)
    assert not holds(node, *MICROCODE, "host_kernel.gds_off")
    assert holds(node, *MICROCODE, "host_kernel.gds_off", "host.gds_mitg_locked")


def test_a_host_under_a_hypervisor_does_not_mitigate_gds_itself() -> None:
    """Its state is HYPERVISOR, whatever GDS_CTRL it is shown: KVM in it does not offer GDS_NO for that."""
    assert not holds(gds_mitigated(KVM), *MICROCODE, "host.hypervisor")
    assert not holds(gds_mitigated(KVM), *MICROCODE, "host.hypervisor", "host.gds_mitg_locked")


#: KVM_SUPPORTED_ARCH_CAP as 0204750bd4c6 brought it.
MASK = {
    "rdcl_no", "ibrs_all", "rsba", "skip_l1dfl_vmentry", "ssb_no", "mds_no", "pschange_mc_no", "tsx_ctrl", "taa_no",
    "sbdr_ssdp_no", "fbsdp_no", "psdp_no", "fb_clear", "rrsba", "pbrsb_no",
}  # fmt: skip


def test_the_mask_bit_by_bit() -> None:
    """A bit of an absent bug KVM sets by itself too, so that only the mask tells whether it is passed on."""
    gds_no = in_mask(KVM, "gds_no")  # reads what says whether there is a mask
    for bit in ARCH_CAPABILITIES:
        assert holds_among((gds_no, in_mask(KVM, bit)), in_mask(KVM, bit), "host_kernel.arch_cap_mask") is (
            bit in MASK
        ), bit
        assert holds_among((gds_no, in_mask(KVM, bit)), in_mask(KVM, bit)), (
            bit
        )  # before there is a mask all is passed on
    for bit, offers in {
        "gds_no": "gds_no", "rfds_no": "rfds_bits", "rfds_clear": "rfds_bits", "bhi_no": "bhi_no", "its_no": "its_no",
    }.items():  # fmt: skip
        assert holds(in_mask(KVM, bit), "host_kernel.arch_cap_mask", f"host_kernel.offers_{offers}"), bit


def test_taa_no_is_set_only_on_a_host_that_uses_rtm() -> None:
    node = forced_on(KVM, "taa_no")
    assert holds(node, "host.rtm", "host.arch_capabilities", "host.taa_no")
    assert not holds(node, "host.rtm")
    assert not holds(node)


def test_tsa_bits_that_the_host_kernel_set_itself_are_offered_by_those_that_do() -> None:
    """Linux 6.1.152 offers only what CPUID itself has (kvm_set_cpu_caps); 6.1.153 the kernel's own bits too."""
    zen3 = ("host.vendor_amd", "host.family_0x19", "host.tsa_microcode", "host_kernel.has_tsa")
    verw_clear = kvm_get_supported_cpuid(KVM, "verw_clear")
    offering = (*zen3, "host_kernel.tests_tsa_microcode", "host_kernel.offers_verw_clear")
    assert not holds(verw_clear, *offering)
    assert holds(verw_clear, *offering, "host_kernel.offers_synthesised_tsa_bits")
    zen2 = ("host.vendor_amd", "host_kernel.has_tsa", "host_kernel.offers_tsa_no")
    for bit in ("tsa_sq_no", "tsa_l1_no"):
        node = kvm_get_supported_cpuid(KVM, bit)
        assert not holds(node, *zen2)
        assert holds(node, *zen2, "host_kernel.offers_synthesised_tsa_bits")


def test_the_cpuid_bits_whose_offer_is_modelled() -> None:
    host = archcaps.host(cpu="6/0x6a/6", flags="md_clear", kernel="6.12.117")
    assert set(archcaps.Kvm(host).get_supported_cpuid()) == {
        "md_clear", "flush_l1d", "rtm", "arch_capabilities", "verw_clear", "tsa_sq_no", "tsa_l1_no", "tsa_fill_no",
        "spec_ctrl", "intel_stibp", "ssbd", "srbds_ctrl", "rtm_always_abort", "tsx_force_abort", "hybrid",
        "core_capabilities",
    }  # fmt: skip
