"""What a later vCPU, a later guest's kernel and a later host's kernel change, against the kernel's functions."""

from __future__ import annotations

import pytest

from archcaps.logic.graph import Kind, walk
from archcaps.rules.kvm_offer import Kvm
from archcaps.rules.later import after_guest_upgrade, after_host_upgrade, newly_exposed, vcpu_bit_differs
from archcaps.rules.shown import model
from archcaps.rules.views import Cpu, Kernel
from tests.rules.facts import holds_among

KVM = Kvm(Cpu("host"), Kernel("host_kernel"))
#: Every fact that some bit's comparison reads.
WORLD = tuple(vcpu_bit_differs(KVM, bit) for bit in ("fb_clear", "skip_l1dfl_vmentry", "taa_no", "gds_no", "mds_no"))
#: a2fd5d02bad6, in 6.6: kvm.host.arch_capabilities is read once, when the module is loaded.
SINCE_6_6 = "host_kernel.snapshots_host_arch_cap"
ANNOUNCED = "host.arch_capabilities"


def differs(bit: str, *true: str) -> bool:
    return holds_among(WORLD, vcpu_bit_differs(KVM, bit), *true)


@pytest.mark.parametrize("had", [(), (ANNOUNCED, "host.fb_clear")])
def test_until_6_5_a_bit_that_microcode_changes_is_another_for_a_later_vcpu(had: tuple[str, ...]) -> None:
    """kvm_get_arch_capabilities reads MSR 0x10a of the host for every vCPU (kvm_arch_vcpu_create)."""
    assert differs("fb_clear", *had, "changed.fb_clear")
    assert not differs("fb_clear", *had)
    assert not differs("fb_clear", *had, "changed.fb_clear", SINCE_6_6)
    assert not differs("fb_clear", *had, SINCE_6_6)


def test_the_flush_that_root_switches_off_hides_the_bit_from_later_vcpus() -> None:
    """KVM sets SKIP_VMENTRY_L1DFLUSH unless l1tf_vmx_mitigation is VMENTER_L1D_FLUSH_NEVER (vmentry_l1d_flush_set)."""
    for kernel in ((), (SINCE_6_6,)):
        assert differs("skip_l1dfl_vmentry", *kernel, "changed.l1d_flush_never")
        assert differs("skip_l1dfl_vmentry", *kernel, "changed.l1d_flush_never", "host_kernel.l1d_flush_never")
        assert not differs("skip_l1dfl_vmentry", *kernel)
        # The hardware's own bit is passed on whatever KVM does.
        own = (ANNOUNCED, "host.skip_l1dfl_vmentry", "changed.l1d_flush_never")
        assert not differs("skip_l1dfl_vmentry", *kernel, *own)


def test_taa_no_stays_hidden_on_a_host_without_rtm() -> None:
    """7131636e7ea5: without X86_FEATURE_RTM ARCH_CAP_TAA_NO is taken away, new microcode or not."""
    assert not differs("taa_no", "changed.taa_no")
    assert differs("taa_no", "host.rtm", "changed.taa_no")


def test_a_bit_outside_the_mask_is_passed_on_to_nobody() -> None:
    """KVM_SUPPORTED_ARCH_CAP (0204750bd4c6); before there was a mask every bit of the register was passed on."""
    assert not differs("gds_no", "changed.gds_no", "host_kernel.arch_cap_mask")
    assert differs(
        "gds_no",
        "changed.gds_no",
        "host_kernel.arch_cap_mask",
        "host_kernel.offers_gds_no",
        "host.listed_gds",
        "host.avx",
        "host_kernel.has_gds",
    )
    assert differs("gds_no", "changed.gds_no")


def test_what_kvm_sets_by_itself_new_microcode_does_not_change() -> None:
    """boot_cpu_has_bug(X86_BUG_MDS) is decided at boot."""
    assert not differs("mds_no", "host.listed_no_mds", "changed.mds_no")
    assert differs("mds_no", "changed.mds_no")


# --- another kernel -----------------------------------------------------------------------------------------------


def test_a_later_guest_kernel_sees_what_was_shown_by_its_own_lists() -> None:
    later = after_guest_upgrade()
    assert later.cpu.md_clear is Cpu("guest").md_clear
    assert later.cpu.listed_no_mds.name == "later.listed_no_mds"
    assert later.cpu.old_microcode.name == "later.old_microcode"
    assert later.kernel.mds_off.name == "later_kernel.mds_off"
    assert later.kvm is model().kvm


def test_a_later_host_kernel_has_its_own_lists_and_behaviours_and_the_same_hardware() -> None:
    moved = after_host_upgrade()
    assert moved.kvm.host.md_clear is Cpu("host").md_clear
    assert moved.kvm.host.listed_mmio.name == "later_host.listed_mmio"
    assert moved.kvm.kernel.toggles_fb_clear.name == "later_host_kernel.toggles_fb_clear"
    # The guest's own kernel and lists stay.
    assert moved.cpu.listed_no_mds is Cpu("guest").listed_no_mds
    assert moved.kernel is model().guest.kernel
    read = {part.name for part in walk((moved.disable_fb_clear,)) if part.kind is Kind.FACT}
    assert "later_host_kernel.toggles_fb_clear" in read
    assert not [name for name in read if name.startswith("host_kernel.")]


@pytest.mark.parametrize(
    ("off", "newly"),
    [
        ((), False),
        (("later_kernel.mds_off",), True),
        (("guest_kernel.mds_off",), False),  # it was exposed before, and is no more
        (("guest_kernel.mds_off", "later_kernel.mds_off"), False),  # it was exposed before
    ],
)
def test_newly_exposed_is_who_was_not_before(off: tuple[str, ...], newly: bool) -> None:
    """mds=off makes the one kernel, or the other, run no VERW that would work."""
    node = newly_exposed(after_guest_upgrade(), model().guest, "mds")
    assert holds_among((node,), node, "silicon.mds_published", "silicon.md_clear", *off) is newly
