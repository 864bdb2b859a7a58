"""The way into a guest, against the order of steps as read in each kernel: E0 to E4 of VMX, and SVM."""

from __future__ import annotations

import pytest

from archcaps.logic.graph import Node
from archcaps.rules import host_border as border
from archcaps.rules import kvm_vmx_entry as path
from archcaps.rules.shown import model
from archcaps.rules.verdict import Responsible
from archcaps.tables.names import VULNERABILITIES
from tests.rules.facts import holds_among

GUEST, KVM = model().guest, model().kvm
WORLD = tuple(border.exposes_host(GUEST, name) for name in VULNERABILITIES)
#: A host with MDS, its microcode, and a kernel that knows it; every other fact is false.
MDS = ("silicon.mds_published", "silicon.md_clear")
#: A host with MMIO stale data only, and FB_CLEAR.
MMIO = (
    "host.arch_capabilities", "host.mds_no", "host.taa_no", "host.listed_mmio", "host.fb_clear",
    "silicon.arch_capabilities", "silicon.mds_no", "silicon.mmio_published", "silicon.fb_clear",
    "host_kernel.has_mmio_stale_data",
)  # fmt: skip
#: MMIO stale data only, on hosts with FB_CLEAR_CTRL: KVM can set FB_CLEAR_DIS for a guest.
TOGGLED = (*MMIO, "host.fb_clear_ctrl", "host_kernel.toggles_fb_clear", "host_kernel.fb_clear_dis_spares_clearing_host")
#: Facts of L1TF that MDS hosts have here or not: with none of the white list's flags a part has Meltdown and L1TF.
NO_L1TF = ("host.listed_no_l1tf",)
ALWAYS = ("host_kernel.l1d_flush_always",)
E0 = E1 = ()
E2 = ("host_kernel.verw_in_entry_asm",)
E3 = (*E2, "host_kernel.gates_verw_by_host_mmio")
E4 = (*E3, "host_kernel.mmio_verw_in_entry_asm")
MAPPED = ("vm.has_mapped_host_mmio",)
BOTH = (*MAPPED, "vm.has_assigned_device")


def holds(node: Node, *true: str) -> bool:
    return holds_among((*WORLD, node), node, *true)


@pytest.mark.parametrize("kernel", [E1, E2, E3, E4])
def test_every_kernel_clears_for_mds_where_there_is_no_l1tf(kernel: tuple[str, ...]) -> None:
    assert holds(path.cleared_before_entry(GUEST, "mds"), *MDS, *NO_L1TF, *kernel)
    assert holds(border.exposes_host(GUEST, "mds"), *MDS, *NO_L1TF, *kernel, "host_kernel.mds_off")


def test_up_to_6_7_a_conditional_flush_takes_the_place_of_verw() -> None:
    """e6ff1d61de51: entries without a flush pending run no VERW either."""
    assert holds(path.vmx_l1d_flush_cond(KVM))
    assert not holds(path.verw_in_c(GUEST), *MDS)
    assert not holds(path.cleared_before_entry(GUEST, "mds"), *MDS)
    assert holds(border.exposes_host(GUEST, "mds"), *MDS)
    # a flush at every entry is enough on parts whose command overwrites the MDS buffers as well
    assert holds(path.cleared_before_entry(GUEST, "mds"), *MDS, *ALWAYS, "silicon.flush_l1d")
    assert not holds(path.cleared_before_entry(GUEST, "mds"), *MDS, *ALWAYS)
    # from 6.8 on VERW is run whatever the flush did
    assert holds(path.cleared_before_entry(GUEST, "mds"), *MDS, *E2)


@pytest.mark.parametrize(("kernel", "cleared"), [(E1, False), (E2, False), (E3, False), (E4, True)])
def test_the_same_for_mmio_stale_data_up_to_6_18(kernel: tuple[str, ...], cleared: bool) -> None:
    """A host with L1TF and MMIO stale data only, a device assigned and mapped."""
    assert holds(path.cleared_before_entry(GUEST, "mmio_stale_data"), *MMIO, *BOTH, *kernel) is cleared


@pytest.mark.parametrize(("kernel", "cleared"), [(E1, False), (E2, False), (E3, True), (E4, True)])
def test_up_to_6_16_mapped_mmio_of_a_device_that_is_not_counted_is_missed(
    kernel: tuple[str, ...], cleared: bool
) -> None:
    """83ebe7157483: KVM_DEV_VFIO_FILE_ADD is optional."""
    facts = (*MMIO, *NO_L1TF, *MAPPED, *kernel)
    assert holds(path.cleared_before_entry(GUEST, "mmio_stale_data"), *facts) is cleared
    assert holds(border.exposes_host(GUEST, "mmio_stale_data"), *facts) is not cleared
    assert holds(path.cleared_before_entry(GUEST, "mmio_stale_data"), *MMIO, *NO_L1TF, *BOTH, *kernel)


@pytest.mark.parametrize(("kernel", "cleared"), [(E2, True), (E3, True), (E4, False)])
def test_from_6_19_the_host_s_own_verw_comes_after_fb_clear_dis(kernel: tuple[str, ...], cleared: bool) -> None:
    facts = (*TOGGLED, *NO_L1TF, *BOTH, *kernel)
    assert holds(GUEST.disable_fb_clear, *facts)
    assert holds(path.verw_with_fb_clear_dis(GUEST), *facts) is not cleared
    assert holds(path.cleared_before_entry(GUEST, "mmio_stale_data"), *facts) is cleared
    # a guest whose value has FB_CLEAR is no danger
    assert holds(path.cleared_before_entry(GUEST, "mmio_stale_data"), *facts, "guest.fb_clear")


def test_mmio_stale_data_needs_host_mmio_or_another_bug_to_be_sampled() -> None:
    node = border.guest_can_sample(GUEST, "mmio_stale_data")
    assert not holds(node, *MMIO)
    assert holds(node, *MMIO, *MAPPED)
    assert holds(node, *(fact for fact in MMIO if fact != "silicon.mds_no"), "silicon.mds_published")


TSA = (
    "host.vendor_amd", "host.family_0x19", "host.listed_tsa", "host.verw_clear", "host_kernel.has_tsa", "host_kernel.reads_verw_clear",
    "silicon.tsa_published", "silicon.verw_clear",
)  # fmt: skip


def test_tsa_is_cleared_right_before_vmrun() -> None:
    assert holds(path.cleared_before_entry(GUEST, "tsa"), *TSA, "host_kernel.svm_verw_before_vmrun")
    assert not holds(path.cleared_before_entry(GUEST, "tsa"), *TSA)
    off = (*TSA, "host_kernel.svm_verw_before_vmrun", "host_kernel.tsa_user")
    assert holds(border.exposes_host(GUEST, "tsa"), *off)


def test_no_verw_of_vmx_on_amd() -> None:
    assert holds(path.verw_in_entry_asm(GUEST), *MDS, *E2)
    assert not holds(path.verw_in_entry_asm(GUEST), *MDS, *E2, "host.vendor_amd")
    assert holds(path.verw_in_c(GUEST), *MDS, *NO_L1TF)
    assert not holds(path.verw_in_c(GUEST), *MDS, *NO_L1TF, "host.vendor_amd")


def test_who_left_the_host_open() -> None:
    def by(*facts: str) -> str:
        choice = border.host_responsible(GUEST, "mds")
        return next(label.value for node, label in choice.rows if holds(node, *facts))

    assert by(*MDS, *NO_L1TF) == Responsible.NOBODY.value
    assert by(*MDS) == Responsible.KVM.value  # the conditional flush
    assert by(*MDS, *NO_L1TF, "host_kernel.mds_off") == Responsible.HOST_KERNEL.value
    assert by(MDS[0], *NO_L1TF) == Responsible.MICROCODE.value
