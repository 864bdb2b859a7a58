"""Verdicts in two readings of a guest: what changes, and whether it gets worse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from archcaps.logic.choice import Choice
from archcaps.logic.graph import Node
from archcaps.questions.results import CheckResult, FurtherVerdict, Possible, Verdict
from archcaps.questions.two_readings import TwoReadings
from archcaps.questions.upgrade_results import Judged, VerdictChange
from archcaps.rules import further, verdict

__all__ = [
    "change", "choices", "conditions", "further_changes", "judged", "stops_working_verw", "verdict_changes",
]  # fmt: skip

#: Truths from what a guest should be told to the worst; those of one number are alike.
_WORSE: Final = {
    "truthful": 0, "unsaid": 0, "needless-work": 1, "false-alarm": 2, "withheld": 3, "broken-promise": 4,
    "false-immunity": 5,
}  # fmt: skip


def verdict_changes(readings: TwoReadings, before: CheckResult, after: CheckResult) -> list[VerdictChange]:
    """Return the verdicts on the VERW family in both readings."""
    found = []
    for was, now in zip(before.vulnerabilities, after.vulnerabilities, strict=True):
        stops = stops_working_verw(was.runs_verw, now.runs_verw, judged(now))
        found.append(change(readings, was.vulnerability, judged(was), judged(now), stops))
    return found


def further_changes(readings: TwoReadings, before: CheckResult, after: CheckResult) -> list[VerdictChange]:
    """Return the verdicts on what else IA32_ARCH_CAPABILITIES speaks of in both readings."""
    pairs = zip(before.further, after.further, strict=True)
    return [change(readings, was.subject, judged(was), judged(now), stops=False) for was, now in pairs]


def conditions(readings: TwoReadings, subject: str) -> list[Node]:
    """Return the conditions that decide truth and safety of a subject of either kind."""
    truth, safety, _ = choices(readings, subject)
    return [condition for choice in (truth, safety) for condition, _ in choice.rows]


def stops_working_verw(ran: bool | None, runs: bool | None, now: Judged) -> bool | None:
    """Return whether a VERW stops that works on an affected part."""
    return _and(_and(ran, _not(runs)), _and(now.works, now.affected))


def change(readings: TwoReadings, subject: str, was: Judged, now: Judged, stops: bool | None) -> VerdictChange:
    """Return how a verdict changes. `stops`: a VERW stops that works on an affected part."""
    truth, safety, responsible = choices(readings, subject)
    worse: bool | None = False
    newly: bool | None = False
    if not readings.alike_all(truth, safety):
        before, after = ([_WORSE[each] for each in judged.truth.possible] for judged in (was, now))
        newly = _and(_only("safe", was.safety), _only("exposed", now.safety))
        worse = True if min(after) > max(before) else False if max(after) <= min(before) else None
        worse = _or(worse, _or(newly, stops))
    changes = _or(_differ(readings, was.truth, now.truth, truth), _differ(readings, was.safety, now.safety, safety))
    changes = _or(changes, _differ(readings, was.responsible, now.responsible, responsible))
    return VerdictChange(subject, was, now, changes, worse, newly)


def choices(readings: TwoReadings, subject: str) -> Sequence[Choice[Any]]:
    """Return truth, safety and responsible of a subject as choices."""
    case, model = readings.case, readings.before.model
    if subject in further.SPEAK_OF:
        return (
            further.further_truth(case, subject), further.further_safety(case, subject),
            further.further_responsible(case, subject),
        )  # fmt: skip
    return (
        verdict.truth(case, subject), verdict.safety(case, subject),
        verdict.responsible(case, model.offered, model.true, subject),
    )  # fmt: skip


def judged(found: Verdict | FurtherVerdict) -> Judged:
    """Return a verdict of `check` without what led to it."""
    works = found.verw_works if isinstance(found, Verdict) else found.works
    return Judged(found.claim, works, found.affected, found.truth, found.safety, found.responsible)


def _differ(readings: TwoReadings, was: Possible, now: Possible, choice: Choice[Any]) -> bool | None:
    """Return whether this part of a verdict is another one."""
    if was.decided and now.decided:
        return was.value != now.value
    if not set(was.possible) & set(now.possible):
        return True
    return False if readings.alike_all(choice) else None


def _only(word: str, found: Possible) -> bool | None:
    """Return whether the one value that is possible is this one."""
    return True if found.possible == [word] else None if word in found.possible else False


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _and(one: bool | None, other: bool | None) -> bool | None:
    return False if False in (one, other) else None if None in (one, other) else True


def _or(one: bool | None, other: bool | None) -> bool | None:
    return _not(_and(_not(one), _not(other)))
