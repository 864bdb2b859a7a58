"""Verdicts without what led to them: for questions that read many variants of one guest and compare them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from archcaps.logic.choice import Choice
from archcaps.logic.ternary import Ternary
from archcaps.questions.reader import Reader
from archcaps.questions.results import Possible
from archcaps.questions.two_readings import TwoReadings
from archcaps.questions.upgrade_results import Judged, VerdictChange
from archcaps.questions.upgrade_verdicts import change, choices, stops_working_verw
from archcaps.rules import further
from archcaps.rules.linux_mitigations import clear_cpu_buf
from archcaps.tables.names import FURTHER, VULNERABILITIES

__all__ = ["brief_changes"]


def brief_changes(readings: TwoReadings) -> Iterator[VerdictChange]:
    """Yield the verdicts whose truth or safety is another in the second reading, or may be.

    As `upgrade_verdicts` has them. Who is responsible, and the claim, are left out of them.
    """
    subjects = (*VULNERABILITIES, *(FURTHER if readings.before.guest.kernel.system == "linux" else ()))
    for subject in subjects:
        truth, safety, _ = choices(readings, subject)
        if readings.alike_all(truth, safety):
            continue
        was, now = (_judged(reader, subject, truth, safety) for reader in readings.readers)
        stops: bool | None = False
        if subject in VULNERABILITIES:
            runs = [_runs_verw(reader) for reader in readings.readers]
            stops = stops_working_verw(runs[0], runs[1], now)
        found = change(readings, subject, was, now, stops)
        if found.changes is not False:
            yield found


def _judged(reader: Reader, subject: str, truth: Choice[Any], safety: Choice[Any]) -> Judged:
    case, ternary, nothing = reader.model.guest, reader.ternary, Possible(None, [])
    if subject in FURTHER:
        works, affected = further.mitigation_works(case, subject), further.further_affected(case, subject)
    else:
        works, affected = case.verw_works[subject], case.affected[subject]
    return Judged(
        nothing, ternary.value(works), ternary.value(affected), _possible(truth, ternary), _possible(safety, ternary),
        nothing,
    )  # fmt: skip


def _runs_verw(reader: Reader) -> bool | None:
    case = reader.model.guest
    return reader.ternary.value(clear_cpu_buf(case.cpu, case.kernel))


def _possible(choice: Choice[Any], ternary: Ternary) -> Possible:
    """Return the labels still possible, as `Choice.answer` has them."""
    possible: list[str] = []
    for label in choice.labels:
        if ternary.value(choice.is_in([label])):
            return Possible(label.value, [label.value])
        if ternary.value(choice.permits(label)) is not False:
            possible.append(label.value)
    return Possible(possible[0] if len(possible) == 1 else None, possible)
