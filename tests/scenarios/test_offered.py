"""What KVM offers: S13, S15, S16, S22, S23, S24, S27."""

from __future__ import annotations

from pathlib import Path

import pytest

import archcaps
from archcaps.machine.inline import InlineMachine, overlay
from archcaps.machine.snapshot import number
from tests.scenarios.running import ATTEMPTED, CLEAR, EXAMPLES, FINE, NO_FILE, Case, Name, ask, holds, kvm, machine

TAA_NO, GDS_NO, ITS_NO = 1 << 8, 1 << 26, 1 << 62

CASES: dict[Name, Case] = {
    # S13. TAA_NO silicon without RTM: KVM hides TAA_NO and shows TSX_CTRL. With tsx=on the guest turns RTM on and
    # clears for TAA, which is not there.
    ("taa-no-hidden", "host", "guest-tsx-on"): Case(
        1,
        False,
        {
            "tsx_async_abort": (CLEAR, "mitigated A0 R1 K1", "needless-work safe KVM"),
            "mmio_stale_data": (CLEAR, "mitigated A1 R1 K1", FINE),
        },
    ),
    # S22. 0204750bd4c6: the guest is told of MSRs that fault.
    ("bits-without-msrs", "host", "guest"): Case(1, False),
    # S23. What the guest is told of GDS depends on the host's mitigation; of the VERW family it is told the truth.
    ("gds-no-made-up", "host", "guest"): Case(0, False, {"mmio_stale_data": (CLEAR, "mitigated A1 R0 K1", FINE)}),
    ("gds-no-made-up", "host-off", "guest"): Case(0, False, {"mmio_stale_data": (CLEAR, "mitigated A1 R0 K1", FINE)}),
    # S24. Sapphire Rapids: immune to the whole VERW family. Whether it has FB_CLEAR_CTRL no dump tells.
    ("its-no-missing", "host", "guest"): Case(0, None, {"mds": ("Not affected", "not-affected A0 R0 K0", FINE)}),
    # S27. KVM 5.4 hides MDS_NO on a TAA host that runs with TSX: the guest trusts MD_CLEAR against TAA. 5.4 has no file
    # for RFDS and TSA. This register has no FB_CLEAR, but VERW clears by the TAA microcode's promise.
    ("mds-no-dropped-for-taa", "host", "guest"): Case(
        1,
        False,
        {
            "mds": (CLEAR, "mitigated A0 R1 K1", "needless-work safe KVM"),
            "tsx_async_abort": (CLEAR, "mitigated A1 R1 K1", FINE),
            "mmio_stale_data": (ATTEMPTED, "no-microcode A1 R1 K1", "false-alarm safe KVM"),
            "reg_file_data_sampling": (NO_FILE, "none A0 R1 K0", "unsaid safe nobody"),
            "tsa": (NO_FILE, "none A0 R1 K0", "unsaid safe nobody"),
        },
    ),
    # With MDS_NO and without TSX_CTRL the guest takes VERW for too old: the text that the change avoids.
    ("mds-no-dropped-for-taa", "host", "guest-mds-no"): Case(
        1,
        False,
        {
            "mds": ("Not affected", "not-affected A0 R1 K1", FINE),
            "tsx_async_abort": (ATTEMPTED, "no-microcode A1 R1 K1", "false-alarm safe userspace"),
            "mmio_stale_data": (ATTEMPTED, "no-microcode A1 R1 K1", "false-alarm safe KVM"),
            "reg_file_data_sampling": (NO_FILE, "none A0 R1 K0", "unsaid safe nobody"),
            "tsa": (NO_FILE, "none A0 R1 K0", "unsaid safe nobody"),
        },
    ),
}


@pytest.mark.parametrize("name", CASES, ids="/".join)
def test_a_case(name: Name) -> None:
    holds(name, CASES[name])


OBSERVED = [
    path for path in sorted(EXAMPLES.glob("*/host*.toml"))
    if "ia32_arch_capabilities" in machine(path.parent.name, path.stem).kvm.offered
]  # fmt: skip


@pytest.mark.parametrize("path", OBSERVED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_published_value_is_what_the_rules_give(path: Path) -> None:
    """Fingerprints of real hosts against the formula, as far as their registers are told."""
    host = machine(path.parent.name, path.stem)
    published = host.kvm.offered["ia32_arch_capabilities"].value
    assert published is not None
    word = kvm(path.parent.name, path.stem).modelled().supported_arch_cap
    assert word.value == number(published, 64, "offered") & word.known
    assert bin(word.known).count("1") >= 61  # GDS_NO, RFDS_NO and ITS_NO may depend on bits that no dump tells


@pytest.mark.parametrize(
    ("kernel", "without_rtm"), [("5.19.0", True), ("6.1.192", True), ("6.12.117", True), ("7.2.13", None)]
)
def test_s13_s15_s16_without_rtm_taa_no_goes_and_tsx_ctrl_stays(kernel: str, without_rtm: bool | None) -> None:
    """7131636e7ea5, v5.11. 7.2.13 is built with tsx=auto, which turns RTM on where TSX_CTRL and TAA_NO are there."""
    word = kvm("taa-no-hidden", kernel=kernel).modelled().supported_arch_cap
    assert word.bit(1 << 7) is True
    assert word.bit(TAA_NO) is (not without_rtm)


def test_s22_the_msrs_that_fault_are_noticed() -> None:
    names = ["misc_package_ctls", "energy_filtering_ctl", "doitm", "mcu_extended_service", "overclocking_status"]
    # bits 10, 11, 12, 22, 23
    texts = [notice.text for notice in ask("bits-without-msrs", "host", "guest").notices]
    assert texts == [f"the guest is shown {name}, whose MSR it cannot reach" for name in names]


@pytest.mark.parametrize(
    ("kernel", "offered"),
    [
        ("5.17-rc5", 0xCC8FC6B),  # raw H, without TAA_NO: the part runs without RTM
        ("5.19.0", 0xCC8FC6B),
        ("6.1-rc7", 0x8E06B),  # 0x10ae1ff
        ("6.5.0", 0x408E06B),  # + 26
        ("6.9.0", 0xC08E06B),  # + 20, 27, 28
    ],
)
def test_s22_the_mask_of_each_kernel(kernel: str, offered: int) -> None:
    assert kvm("bits-without-msrs", kernel=kernel).supported_arch_cap == offered


def test_s23_gds_no_is_offered_while_the_host_mitigates() -> None:
    assert kvm("gds-no-made-up").modelled().supported_arch_cap.bit(GDS_NO) is True
    assert kvm("gds-no-made-up", "host-off").supported_arch_cap.bit(GDS_NO) is False


@pytest.mark.parametrize(("kernel", "offered"), [("6.4.4", False), ("6.5.0", True)])
def test_s23_from_6_5_on(kernel: str, offered: bool) -> None:
    assert kvm("gds-no-made-up", kernel=kernel).modelled().supported_arch_cap.bit(GDS_NO) is offered


@pytest.mark.parametrize(
    ("kernel", "offered"),
    [("6.12.0", 0xC08E0EB), ("6.14.0", 0xC08E0EB), ("6.16.1", 0x400000000C08E0EB), ("6.12.117", 0x400000000C08E0EB)],
)
def test_s24_its_no_is_there_from_6_15_on_and_in_stable_lines(kernel: str, offered: int) -> None:
    word = kvm("its-no-missing", kernel=kernel).supported_arch_cap
    assert word.bit(ITS_NO) is bool(offered & ITS_NO)
    assert word.value == offered & word.known


def test_s27_what_kvm_5_4_offers_on_a_taa_host_with_tsx() -> None:
    """0xab without MDS_NO and TSX_CTRL, with PSCHANGE_MC_NO (bit 6)."""
    assert kvm("mds-no-dropped-for-taa").supported_arch_cap == 0x4B


def test_s27_without_tsx_mds_no_stays() -> None:
    host = overlay(machine("mds-no-dropped-for-taa", "host"), InlineMachine("host", cmdline="tsx=off"))
    offered = archcaps.Kvm(host).supported_arch_cap
    assert offered.bit(1 << 5) is True
    assert offered.bit(1 << 7) is False


def test_s27_from_5_10_on_both_bits_are_offered() -> None:
    word = kvm("mds-no-dropped-for-taa", kernel="5.10.265").supported_arch_cap
    assert word.bit(1 << 5) is True
    assert word.bit(1 << 7) is True


def test_s27_a_kernel_that_was_not_read_gives_no_answer() -> None:
    assert kvm("mds-no-dropped-for-taa", kernel="5.4.0").supported_arch_cap.bit(1 << 5) is None
