"""The words of the verdict explained: which rows of its table give them, read off the graph."""

from __future__ import annotations

from functools import cache
from typing import Final

from archcaps.logic.graph import TRUE, Node, any_of
from archcaps.logic.prose import Formula, prose, simplest
from archcaps.questions.explain_results import Case, Condition, VerdictRow
from archcaps.questions.explain_rules import case, in_words
from archcaps.rules import verdict
from archcaps.rules.host_border import host_responsible
from archcaps.rules.shown import model
from archcaps.rules.verdict import Claim, Responsible, Safety, Truth
from archcaps.tables.words import words

__all__ = ["cases_of", "rows_of"]

#: Any of them will do: the table is the same for all.
_ONE: Final = "mds"
#: The inputs of the table for any vulnerability, by the rules that compute them for this one: name, yes, no.
_INPUTS: Final = {
    "affected_by_mds": ("affected", "the silicon is affected", "the silicon is not affected"),
    f"verw_works[{_ONE}]": (
        "verw_works",
        "VERW in this guest is guaranteed to overwrite what is sampled",
        "VERW in this guest is not guaranteed to overwrite what is sampled",
    ),
    "clear_cpu_buf": (
        "clear_cpu_buf",
        "the guest runs VERW on exit to user",
        "the guest runs no VERW on exit to user",
    ),
    f"has_to_be_cleared[{_ONE}]": (
        "has_to_be_cleared",
        "guest user code could sample it: the silicon is affected (MMIO stale data: and MDS or TAA is there too, or "
        "guest user code can map MMIO)",
        "guest user code could not sample it",
    ),
    f"wrong[{_ONE}]": (
        "wrong",
        "there is something to answer for",
        "the guest is told the truth, or nothing, and no data can leak",
    ),
    f"same_verdict[{_ONE},offered]": (
        "same_verdict[offered]",
        "the verdict would be the same with everything that KVM offers",
        "the verdict would be another with everything that KVM offers",
    ),
    f"same_verdict[{_ONE},true]": (
        "same_verdict[true]",
        "with the truth about the hardware it would be the same as with what KVM offers",
        "with the truth about the hardware it would be another than with what KVM offers",
    ),
}


def _in_words(name: str, wanted: bool) -> str:
    rest = name.partition(".")[2]
    if rest in _INPUTS:
        return _INPUTS[rest][1 if wanted else 2]
    return in_words(name, wanted)


def _condition(formula: Formula) -> Condition:
    return Condition(_named(formula).text(), formula.outline(_in_words))


def _named(formula: Formula) -> Formula:
    rest = formula.name.partition(".")[2]
    name = _INPUTS[rest][0] if rest in _INPUTS else rest
    return Formula(formula.shape, name, tuple(_named(part) for part in formula.parts))


def _says(claim: Claim) -> Node:
    return verdict.concludes(case(), _ONE, claim.value)


@cache
def _rows(claim: Claim) -> dict[Truth, Formula]:
    """Return for a claim when it comes to each truth."""
    assume = _says(claim) & ~any_of(_says(other) for other in Claim if other is not claim)
    found = {}
    for node, truth in verdict.truth(case(), _ONE).rows:
        formula = simplest(node, assume)
        if formula.shape != "never":
            found[truth] = formula
    return found


def _advice(truth: Truth) -> str:
    return next(word.what_to_do for word in words() if word.kind == "truth" and word.name == truth.value)


def cases_of(claim: Claim) -> list[Case]:
    """Return what a claim means for the truth, in each case."""
    return [Case(truth.value, _condition(formula), _advice(truth)) for truth, formula in _rows(claim).items()]


def rows_of(kind: str, name: str) -> list[VerdictRow]:
    """Return the rows of the verdict's table that give a word: what is claimed, and the condition beside it."""
    match kind:
        case "truth":
            found: dict[Formula, list[str]] = {}
            for claim in Claim:
                formula = _rows(claim).get(Truth(name))
                if formula is not None:
                    found.setdefault(formula, []).append(claim.value)
            return [VerdictRow(claims, _condition(formula)) for formula, claims in found.items()]
        case "safety" if name in list(Safety):
            leaks = verdict.exposed(case(), _ONE)
            formula = prose(leaks if name == Safety.EXPOSED.value else ~leaks.args[0])
            return [VerdictRow([], _condition(formula))]
        case "responsible":
            cases = model()
            choices = (
                verdict.responsible(cases.guest, cases.offered, cases.true, _ONE),
                host_responsible(cases.guest, _ONE),
            )
            nodes = [node for choice in choices for node, label in choice.rows if label is Responsible(name)]
            return [VerdictRow([], _condition(simplest(node, TRUE))) for node in nodes]
        case _:
            return []
