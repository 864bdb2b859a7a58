"""Real cases, each as snapshot files in examples/: what was reported or observed, written down by hand.

Each row: C, the class of the guest's text; A, the silicon is affected; R, the guest runs VERW on exit to user; K, VERW
in this guest is guaranteed to overwrite what the vulnerability samples; truth; safety; who is responsible.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from archcaps.machine.read import read_snapshot
from archcaps.questions.check import check
from archcaps.questions.results import CheckResult

EXAMPLES = Path(__file__).parents[2] / "examples"
FINE = "truthful safe nobody"
CLEAR = "Mitigation: Clear CPU buffers; SMT Host state unknown"
ATTEMPTED = "Vulnerable: Clear CPU buffers attempted, no microcode; SMT Host state unknown"

Expected = dict[str, tuple[str, str, str]]

CASES: dict[tuple[str, str, str], tuple[int, bool, Expected]] = {
    # The thread: the host has the NO bits, FB_CLEAR and FB_CLEAR_CTRL; the guest is shown MD_CLEAR and L1D_FLUSH and
    # none of those bits. KVM sets FB_CLEAR_DIS; by Intel's definition the guest may expect VERW to clear.
    ("thread", "host", "guest"): (
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
    # AMD Milan with the microcode (0xa0011de, 0x0a0011d7 is the first), KVM 6.18 sets the NO bits on every host.
    ("tsa-no-always", "host", "guest"): (
        2,
        False,
        {
            "mds": ("Not affected", "not-affected A0 R0 K?", FINE),
            "tsx_async_abort": ("Not affected", "not-affected A0 R0 K?", FINE),
            "mmio_stale_data": ("Not affected", "not-affected A0 R0 K?", FINE),
            "reg_file_data_sampling": ("Not affected", "not-affected A0 R0 K0", FINE),
            "tsa": ("Not affected", "not-affected A1 R0 K1", "false-immunity exposed KVM"),
        },
    ),
    # The same part under KVM 6.1.152, which drops VERW_CLEAR: a 6.12 guest runs VERW all the same, a 6.18 guest stops.
    ("tsa-verw-clear-dropped", "host", "guest-6.12"): (
        1,
        False,
        {
            "tsa": (
                "Vulnerable: Clear CPU buffers attempted, no microcode",
                "no-microcode A1 R1 K1",
                "false-alarm safe KVM",
            )
        },
    ),
    ("tsa-verw-clear-dropped", "host", "guest-6.18"): (
        2,
        False,
        {"tsa": ("Vulnerable: No microcode", "no-microcode A1 R0 K1", "withheld exposed KVM")},
    ),
    # Cascade Lake with FB_CLEAR, a model that shows MDS_NO but not FB_CLEAR. The host has the TAA bug bit (TSX_CTRL,
    # no TAA_NO), so KVM never sets FB_CLEAR_DIS. MMIO alone turns no VERW on; it leaks only where user code maps MMIO.
    ("fb-clear-not-shown", "host", "guest"): (
        1,
        False,
        {
            "mds": ("Not affected", "not-affected A0 R0 K1", FINE),
            "tsx_async_abort": ("Not affected", "not-affected A0 R0 K1", FINE),
            "mmio_stale_data": (ATTEMPTED, "no-microcode A1 R0 K1", "withheld safe userspace"),
        },
    ),
    # Ice Lake, old client model, all three texts as reported. VERW is in vain (FB_CLEAR_DIS): for MMIO "no microcode"
    # is then true, for MDS and TAA there is nothing to fear.
    ("old-model-on-ice-lake", "host", "guest"): (
        1,
        True,
        {
            "mds": (ATTEMPTED, "no-microcode A0 R1 K0", "false-alarm safe userspace"),
            "tsx_async_abort": (ATTEMPTED, "no-microcode A0 R1 K0", "false-alarm safe userspace"),
            "mmio_stale_data": (ATTEMPTED, "no-microcode A1 R1 K0", FINE),
        },
    ),
    # RFDS under KVM 6.8, which passes neither bit: VERW clears, and the guest does not know; or it is immune, likewise.
    ("rfds-bits-not-passed", "host-affected", "guest-on-affected"): (
        2,
        False,
        {"reg_file_data_sampling": ("Vulnerable: No microcode", "no-microcode A1 R0 K1", "withheld exposed KVM")},
    ),
    ("rfds-bits-not-passed", "host-immune", "guest-on-immune"): (
        1,
        False,
        {"reg_file_data_sampling": ("Vulnerable: No microcode", "no-microcode A0 R0 K0", "false-alarm safe KVM")},
    ),
    # Firecracker's T2S on Cascade Lake, before and after FB_CLEAR was added to its value.
    ("firecracker-t2s", "host-cascade-lake", "guest-old"): (
        1,
        False,
        {
            "mds": (CLEAR, "mitigated A0 R1 K1", "needless-work safe userspace"),
            "tsx_async_abort": ("Not affected", "not-affected A0 R1 K1", FINE),
            "mmio_stale_data": (ATTEMPTED, "no-microcode A1 R1 K1", "false-alarm safe userspace"),
        },
    ),
    ("firecracker-t2s", "host-cascade-lake", "guest-new"): (
        1,
        False,
        {
            "mds": (CLEAR, "mitigated A0 R1 K1", "needless-work safe userspace"),
            "mmio_stale_data": (CLEAR, "mitigated A1 R1 K1", FINE),
        },
    ),
    # The same on Ice Lake, supposing that it has FB_CLEAR_CTRL: the old value gets VERW switched off.
    ("firecracker-t2s", "host-ice-lake", "guest-old"): (
        1,
        True,
        {
            "mds": (CLEAR, "mitigated A0 R1 K0", "broken-promise safe userspace"),
            "tsx_async_abort": ("Not affected", "not-affected A0 R1 K0", FINE),
            "mmio_stale_data": (ATTEMPTED, "no-microcode A1 R1 K0", FINE),
        },
    ),
    ("firecracker-t2s", "host-ice-lake", "guest-new"): (
        1,
        False,
        {
            "mds": (CLEAR, "mitigated A0 R1 K1", "needless-work safe userspace"),
            "mmio_stale_data": (CLEAR, "mitigated A1 R1 K1", FINE),
        },
    ),
}


def ask(folder: str, host: str, guest: str, *assumptions: str) -> CheckResult:
    return check(
        read_snapshot(EXAMPLES / folder / f"{host}.toml", "host"),
        read_snapshot(EXAMPLES / folder / f"{guest}.toml", "guest"),
        assumptions,
    )


def bit(value: bool | None) -> str:
    return {True: "1", False: "0", None: "?"}[value]


@pytest.mark.parametrize("case", CASES, ids="/".join)
def test_a_real_case(case: tuple[str, str, str]) -> None:
    result = ask(*case)
    exit_code, disable_fb_clear, expected = CASES[case]
    for name, (text, inputs, answer) in expected.items():
        verdict = result[name]
        assert str(verdict.concludes) == text
        found = (
            f"{verdict.claim} A{bit(verdict.affected)} R{bit(verdict.runs_verw)} K{bit(verdict.verw_works)}",
            f"{verdict.truth} {verdict.safety} {verdict.responsible}",
        )
        assert (name, *found) == (name, inputs, answer)
    for verdict in result.vulnerabilities:
        if verdict.vulnerability not in expected:
            assert f"{verdict.truth} {verdict.safety} {verdict.responsible}" == FINE, verdict.vulnerability
    assert result.exit_code == exit_code
    assert result.disable_fb_clear is disable_fb_clear


@pytest.mark.parametrize("case", CASES, ids="/".join)
def test_a_real_case_has_no_undecided_value(case: tuple[str, str, str]) -> None:
    for verdict in ask(*case).vulnerabilities:
        for answer in (verdict.concludes, verdict.claim, verdict.truth, verdict.safety, verdict.responsible):
            assert answer.decided, (verdict.vulnerability, answer)
        assert verdict.missing == {}


def test_every_example_is_a_case() -> None:
    files = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.toml")}
    used = {f"{folder}/{name}.toml" for folder, *names in CASES for name in names}
    assert files == used


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


def test_the_contradiction_of_the_tsa_bits_is_noticed() -> None:
    texts = [notice.text for notice in ask("tsa-no-always", "host", "guest").notices]
    assert texts == ["the guest is shown VERW_CLEAR together with a TSA NO bit"]


def test_bits_of_msrs_that_the_guest_can_not_reach_are_noticed() -> None:
    texts = [notice.text for notice in ask("firecracker-t2s", "host-cascade-lake", "guest-new").notices]
    assert texts == [
        "the guest is shown misc_package_ctls, whose MSR it can not reach",
        "the guest is shown energy_filtering_ctl, whose MSR it can not reach",
    ]
