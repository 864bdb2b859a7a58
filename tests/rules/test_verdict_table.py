"""The verdict table: each combination of A, C, R, K falls in exactly one truth, and in the one the table gives."""

from __future__ import annotations

from itertools import product

import pytest

from archcaps.logic.ternary import Ternary
from archcaps.rules import verdict
from archcaps.rules.linux_mitigations import TEXTS, clear_cpu_buf
from archcaps.rules.shown import model
from archcaps.rules.verdict import Claim, Safety, Truth, claim_of
from archcaps.tables.names import VULNERABILITIES
from tests.rules.facts import holds_among

#: (claim, affected, runs VERW, VERW works) -> truth; "-" stands for either. Written from the table in
#: docs/architecture/verdict.md, row by row.
TABLE = """
not-affected  0 - -  truthful
not-affected  1 - -  false-immunity
avoided       0 - -  truthful
avoided       1 - -  broken-promise
mitigated     - - 0  broken-promise
mitigated     1 - 1  truthful
mitigated     0 - 1  needless-work
no-microcode  0 - -  false-alarm
no-microcode  1 1 1  false-alarm
no-microcode  1 - 0  truthful
no-microcode  1 0 1  withheld
vulnerable    0 - -  false-alarm
vulnerable    1 1 1  false-alarm
vulnerable    1 0 -  truthful
vulnerable    1 1 0  truthful
none          - - -  unsaid
says-unknown  - - -  unsaid
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]
COMBINATIONS = list(product(Claim, (False, True), (False, True), (False, True)))


def expected(claim: Claim, affected: bool, runs: bool, works: bool) -> str:
    found = {
        truth
        for said, a, r, k, truth in ROWS
        if said == claim.value
        and all(cell in ("-", str(int(value))) for cell, value in ((a, affected), (r, runs), (k, works)))
    }
    assert len(found) == 1, "the table above must have one row for each combination"
    return found.pop()


def read(vulnerability: str, claim: Claim, affected: bool, runs: bool, works: bool) -> Ternary:
    """Read the verdict with its four inputs given as observations."""
    case = model().guest
    observed = {f"guest.concludes[{vulnerability},{each.value}]": each is claim for each in Claim}
    observed[case.affected[vulnerability].name] = affected
    observed[f"guest.verw_works[{vulnerability}]"] = works
    observed[clear_cpu_buf(case.cpu, case.kernel).name] = runs
    return Ternary({"assume.user_mmio": False}, observed)


@pytest.mark.parametrize("vulnerability", VULNERABILITIES)
@pytest.mark.parametrize(("claim", "affected", "runs", "works"), COMBINATIONS)
def test_each_combination_falls_in_exactly_one_row(
    vulnerability: str, claim: Claim, affected: bool, runs: bool, works: bool
) -> None:
    ternary = read(vulnerability, claim, affected, runs, works)
    choice = verdict.truth(model().guest, vulnerability)
    holding = [label for condition, label in choice.rows if ternary.value(condition)]
    assert holding == [Truth(expected(claim, affected, runs, works))]
    assert choice.answer(ternary).possible == tuple(holding)


@pytest.mark.parametrize("vulnerability", [name for name in VULNERABILITIES if name != "mmio_stale_data"])
@pytest.mark.parametrize(("affected", "runs", "works"), list(product((False, True), repeat=3)))
def test_exposed_is_affected_without_a_verw_that_works(
    vulnerability: str, affected: bool, runs: bool, works: bool
) -> None:
    ternary = read(vulnerability, Claim.MITIGATED, affected, runs, works)
    leaks = affected and not (runs and works)
    answer = verdict.safety(model().guest, vulnerability).answer(ternary)
    assert answer.possible == (Safety.EXPOSED if leaks else Safety.SAFE,)


@pytest.mark.parametrize(("mds", "user_mmio", "leaks"), [(0, 0, False), (1, 0, True), (0, 1, True), (1, 1, True)])
def test_mmio_leaks_only_with_mds_or_with_mmio_mapped_to_user_code(mds: int, user_mmio: int, leaks: bool) -> None:
    case = model().guest
    ternary = Ternary(
        {"assume.user_mmio": bool(user_mmio)},
        {
            case.affected["mmio_stale_data"].name: True,
            case.affected["mds"].name: bool(mds),
            case.affected["tsx_async_abort"].name: False,
            "guest.verw_works[mmio_stale_data]": False,
        },
    )
    answer = verdict.safety(case, "mmio_stale_data").answer(ternary)
    assert answer.possible == (Safety.EXPOSED if leaks else Safety.SAFE,)


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        (None, "none"),
        ("Not affected", "not-affected"),
        ("Mitigation: TSX disabled", "avoided"),
        ("Mitigation: Clear CPU buffers; SMT Host state unknown", "mitigated"),
        ("Mitigation: Clear CPU buffers: user/kernel boundary", "mitigated"),
        ("Mitigation: Clear Register File", "mitigated"),
        ("Vulnerable: Clear CPU buffers attempted, no microcode; SMT vulnerable", "no-microcode"),
        ("Vulnerable: No microcode", "no-microcode"),
        ("Vulnerable; SMT disabled", "vulnerable"),
        ("Vulnerable", "vulnerable"),
        ("Unknown: No mitigations", "says-unknown"),
        ("Unknown: Dependent on hypervisor status", "says-unknown"),
    ],
)
def test_the_class_of_a_text(text: str | None, claim: str) -> None:
    assert claim_of(text) == claim


@pytest.mark.parametrize("vulnerability", VULNERABILITIES)
def test_every_text_a_kernel_can_print_has_a_class_that_is_not_a_guess(vulnerability: str) -> None:
    case = model().guest
    for text in TEXTS[vulnerability](case.cpu, case.kernel).labels:
        claim = claim_of(text)
        assert (claim is Claim.VULNERABLE) is (text is not None and text.split(";")[0] == "Vulnerable")


def test_a_false_alarm_on_immune_silicon_is_the_guest_kernel_s_whatever_the_microcode() -> None:
    """A kernel that has TSA but does not read the NO bits (5.15.187): the truth itself would not silence it."""
    model_of = model()
    choice = verdict.responsible(model_of.guest, model_of.offered, model_of.true, "tsa")
    facts = (
        "host.vendor_amd", "guest.vendor_amd", "guest.hypervisor", "guest_kernel.has_tsa", "guest.listed_tsa",
        "offered.listed_tsa", "true.listed_tsa",
    )  # fmt: skip
    world = tuple(node for node, _ in choice.rows)
    assert [label.value for node, label in choice.rows if holds_among(world, node, *facts)] == ["guest kernel"]
    # where the silicon is affected the microcode is what is missing
    affected = (*facts, "silicon.tsa_published")
    assert [label.value for node, label in choice.rows if holds_among(world, node, *affected)] == ["microcode"]
