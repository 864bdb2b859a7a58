"""FB_CLEAR_DIS and what guests are told of VERW: S01, S02, S04, S05, S17, S26, S29, and Firecracker's T2S."""

from __future__ import annotations

import pytest

from tests.scenarios.running import ATTEMPTED, CLEAR, FINE, NO_FILE, Case, Name, ask, holds, kvm

CASES: dict[Name, Case] = {
    # S02. The host has the NO bits, FB_CLEAR and FB_CLEAR_CTRL; the guest is shown MD_CLEAR and L1D_FLUSH and none of
    # those bits. KVM sets FB_CLEAR_DIS; by Intel's definition the guest may expect VERW to clear.
    ("thread", "host", "guest"): Case(
        1,
        True,
        {
            "mds": (CLEAR, "mitigated A0 R1 K0", "broken-promise safe userspace"),
            "tsx_async_abort": ("Not affected", "not-affected A0 R1 K0", FINE),
            "mmio_stale_data": (CLEAR, "mitigated A0 R1 K0", "broken-promise safe userspace"),
            "reg_file_data_sampling": ("Not affected", "not-affected A0 R1 K0", FINE),
            "tsa": ("Not affected", "not-affected A0 R1 K0", FINE),
        },
    ),
    # S04. Cascade Lake with FB_CLEAR, a model that shows MDS_NO but not FB_CLEAR. The host has the TAA bug bit
    # (TSX_CTRL, no TAA_NO), so KVM never sets FB_CLEAR_DIS. MMIO alone turns no VERW on; it leaks only where user code
    # maps MMIO.
    ("fb-clear-not-shown", "host", "guest"): Case(
        1,
        False,
        {
            "mds": ("Not affected", "not-affected A0 R0 K1", FINE),
            "tsx_async_abort": ("Not affected", "not-affected A0 R0 K1", FINE),
            "mmio_stale_data": (ATTEMPTED, "no-microcode A1 R0 K1", "withheld safe userspace"),
        },
    ),
    # S01. Ice Lake, old client model, all three texts as reported. VERW is in vain (FB_CLEAR_DIS): for MMIO "no
    # microcode" is then true, for MDS and TAA there is nothing to fear.
    ("old-model-on-ice-lake", "host", "guest"): Case(
        1,
        True,
        {
            "mds": (ATTEMPTED, "no-microcode A0 R1 K0", "false-alarm safe userspace"),
            "tsx_async_abort": (ATTEMPTED, "no-microcode A0 R1 K0", "false-alarm safe userspace"),
            "mmio_stale_data": (ATTEMPTED, "no-microcode A1 R1 K0", FINE),
        },
    ),
    # S05. MSR 0x10a was read before CPUID was set, as 0, and written back. MDS_NO is lost; MD_CLEAR and FLUSH_L1D are
    # shown, so the guest infers FB_CLEAR. Ice Lake: none of the five bits, no FB_CLEAR, so KVM sets FB_CLEAR_DIS.
    ("read-before-cpuid", "host-ice-lake", "guest-on-ice-lake"): Case(
        1,
        True,
        {
            "mds": (CLEAR, "mitigated A0 R1 K0", "broken-promise safe userspace"),
            "mmio_stale_data": (CLEAR, "mitigated A1 R1 K0", "broken-promise safe userspace"),
        },
    ),
    # Cascade Lake cannot: it has TSX_CTRL and no TAA_NO.
    ("read-before-cpuid", "host-cascade-lake", "guest-on-cascade-lake"): Case(
        1,
        False,
        {
            "mds": (CLEAR, "mitigated A0 R1 K1", "needless-work safe userspace"),
            "mmio_stale_data": (CLEAR, "mitigated A1 R1 K1", FINE),
        },
    ),
    # S17. Without MD_CLEAR, and with nothing known of the host, it stays open whether VERW clears.
    ("md-clear-hidden", "host", "guest"): Case(
        3,
        None,
        {
            "mds": (
                ATTEMPTED,
                "no-microcode A? R1 K?",
                "truthful or false-alarm exposed or safe nobody or userspace or KVM or microcode or guest kernel",
            ),
            "tsx_async_abort": (
                "Not affected",
                "not-affected A? R1 K?",
                "truthful or false-immunity exposed or safe nobody or userspace or KVM or microcode or guest kernel",
            ),
            "mmio_stale_data": (
                ATTEMPTED,
                "no-microcode A? R1 K?",
                "truthful or false-alarm exposed or safe nobody or userspace or KVM or microcode or guest kernel",
            ),
            "reg_file_data_sampling": (
                NO_FILE,
                "none A? R1 K?",
                "unsaid exposed or safe nobody or userspace or KVM or microcode or guest kernel",
            ),
            "tsa": (NO_FILE, "none A0 R1 K?", "unsaid safe nobody"),
        },
        decided=False,
    ),
    # With the microcode that the report names VERW clears, and the guest runs it. The host's kernel stays unknown.
    ("md-clear-hidden", "host-updated", "guest"): Case(
        3,
        False,
        {
            "mds": (ATTEMPTED, "no-microcode A1 R1 K1", "false-alarm safe userspace"),
            "mmio_stale_data": (
                ATTEMPTED,
                "no-microcode A1 R1 K1",
                "false-alarm safe userspace or KVM or guest kernel",
            ),
            "reg_file_data_sampling": (NO_FILE, "none A0 R1 K0", "unsaid safe nobody"),
            "tsa": (NO_FILE, "none A0 R1 K0", "unsaid safe nobody"),
        },
        decided=False,
    ),
    # S26. RFDS under KVM 6.8, which passes neither bit: VERW clears, and the guest does not know; or it is immune,
    # likewise. Linux 6.8 does not know RFDS either: the host itself runs no VERW for it.
    ("rfds-bits-not-passed", "host-affected", "guest-on-affected"): Case(
        2,
        False,
        {"reg_file_data_sampling": ("Vulnerable: No microcode", "no-microcode A1 R0 K1", "withheld exposed KVM")},
        {"reg_file_data_sampling": "host kernel"},
    ),
    ("rfds-bits-not-passed", "host-immune", "guest-on-immune"): Case(
        1,
        False,
        {"reg_file_data_sampling": ("Vulnerable: No microcode", "no-microcode A0 R0 K0", "false-alarm safe KVM")},
    ),
    # S29. The VMM writes 0 to an MSR that CPUID hides. Up to 6.12 that is stored: FB_CLEAR_DIS is set. MD_CLEAR without
    # FLUSH_L1D does not imply FB_CLEAR, so for MMIO the guest takes VERW for useless, and is right.
    ("upgrade-across-6.13", "host-6.12", "guest"): Case(
        1,
        True,
        {
            "mds": (CLEAR, "mitigated A0 R1 K0", "broken-promise safe userspace"),
            "mmio_stale_data": (ATTEMPTED, "no-microcode A1 R1 K0", FINE),
        },
    ),
    # From 6.13 on the write is ignored and KVM's default kept, which has FB_CLEAR: VERW works.
    ("upgrade-across-6.13", "host-6.13", "guest"): Case(
        1,
        False,
        {
            "mds": (CLEAR, "mitigated A0 R1 K1", "needless-work safe userspace"),
            "mmio_stale_data": (ATTEMPTED, "no-microcode A1 R1 K1", "false-alarm safe userspace"),
        },
    ),
    # Firecracker's T2S on Cascade Lake, before and after FB_CLEAR was added to its value.
    ("firecracker-t2s", "host-cascade-lake", "guest-old"): Case(
        1,
        False,
        {
            "mds": (CLEAR, "mitigated A0 R1 K1", "needless-work safe userspace"),
            "tsx_async_abort": ("Not affected", "not-affected A0 R1 K1", FINE),
            "mmio_stale_data": (ATTEMPTED, "no-microcode A1 R1 K1", "false-alarm safe userspace"),
        },
    ),
    ("firecracker-t2s", "host-cascade-lake", "guest-new"): Case(
        1,
        False,
        {
            "mds": (CLEAR, "mitigated A0 R1 K1", "needless-work safe userspace"),
            "mmio_stale_data": (CLEAR, "mitigated A1 R1 K1", FINE),
        },
    ),
    # The same on Ice Lake, supposing that it has FB_CLEAR_CTRL: the old value gets VERW switched off.
    ("firecracker-t2s", "host-ice-lake", "guest-old"): Case(
        1,
        True,
        {
            "mds": (CLEAR, "mitigated A0 R1 K0", "broken-promise safe userspace"),
            "tsx_async_abort": ("Not affected", "not-affected A0 R1 K0", FINE),
            "mmio_stale_data": (ATTEMPTED, "no-microcode A1 R1 K0", FINE),
        },
    ),
    ("firecracker-t2s", "host-ice-lake", "guest-new"): Case(
        1,
        False,
        {
            "mds": (CLEAR, "mitigated A0 R1 K1", "needless-work safe userspace"),
            "mmio_stale_data": (CLEAR, "mitigated A1 R1 K1", FINE),
        },
    ),
}


@pytest.mark.parametrize("name", CASES, ids="/".join)
def test_a_case(name: Name) -> None:
    holds(name, CASES[name])


@pytest.mark.parametrize("kernel", ["5.19.0", "6.5.0", "6.6.9", "6.8.0", "6.12.117", "7.3.4"])
def test_s02_is_so_in_every_kvm_since_5_19(kernel: str) -> None:
    assert kvm("thread", kernel=kernel).vcpu(0).disable_fb_clear is True


def test_s02_before_5_19_nothing_is_switched_off() -> None:
    assert kvm("thread", kernel="5.17-rc5").vcpu(0).disable_fb_clear is False


def test_what_the_examples_assume_is_said() -> None:
    texts = [each.text for each in ask("firecracker-t2s", "host-ice-lake", "guest-old").assumptions]
    assert any("FB_CLEAR_CTRL (UNVERIFIED)" in text for text in texts)
    assert any("no guest user maps MMIO" in text for text in texts)


def test_with_mmio_mapped_to_user_code_a_vain_verw_leaks() -> None:
    result = ask("firecracker-t2s", "host-ice-lake", "guest-old", "user-mmio")
    assert result["mmio_stale_data"].safety.value == "exposed"
    assert result["mmio_stale_data"].truth.value == "truthful"
    # Even shown all that KVM offers, Linux runs no VERW on exit to user for MMIO alone: it would leak just as well.
    assert result["mmio_stale_data"].responsible.value == "guest kernel"
    assert result.exit_code == 2


def test_bits_of_msrs_that_the_guest_can_not_reach_are_noticed() -> None:
    texts = [notice.text for notice in ask("firecracker-t2s", "host-cascade-lake", "guest-new").notices]
    assert texts == [
        "the guest is shown misc_package_ctls, whose MSR it cannot reach",
        "the guest is shown energy_filtering_ctl, whose MSR it cannot reach",
    ]
