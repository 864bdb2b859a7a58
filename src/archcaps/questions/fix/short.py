"""Verdicts in short, without reasons: quick enough for every set of changes that is given."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar

from archcaps.logic.bitplanes import BitPlanes
from archcaps.logic.choice import Choice
from archcaps.questions.fix.results import Judged
from archcaps.questions.reader import Reader
from archcaps.questions.results import NO_SUCH_FILE, Possible, Verdict
from archcaps.rules import host_border, verdict
from archcaps.rules import linux_mitigations as linux
from archcaps.tables.names import VULNERABILITIES

__all__ = ["in_short", "judged"]

L = TypeVar("L", bound=StrEnum | str | None)


def in_short(verdicts: Sequence[Verdict]) -> list[Judged]:
    """Return the verdicts of `check` in short."""
    return [Judged(each.vulnerability, each.concludes, each.truth, each.safety, each.host_safety) for each in verdicts]


def judged(reader: Reader) -> list[Judged]:
    """Return the verdict on each vulnerability: the values that `check` gives, by one row of bit planes."""
    planes = BitPlanes(
        1,
        {name: (int(value), int(not value)) for name, value in reader.facts.values.items()},
        {name: (int(datum.value), int(not datum.value)) for name, datum in reader.observed.items()},
        dict.fromkeys(reader.doubted, 1),
    )
    case = reader.model.guest
    return [
        Judged(
            name,
            _concludes(reader, planes, name),
            _possible(verdict.truth(case, name), planes),
            _possible(verdict.safety(case, name), planes),
            _possible(host_border.host_safety(case, name), planes),
        )
        for name in VULNERABILITIES
    ]


def _concludes(reader: Reader, planes: BitPlanes, name: str) -> Possible:
    case = reader.model.guest
    return reader.said(name, _possible(linux.TEXTS[name](case.cpu, case.kernel), planes))


def _possible(choice: Choice[L], planes: BitPlanes) -> Possible:
    labels = [_said(label) for label, rows in choice.possible_rows(planes).items() if rows]
    return Possible(labels[0] if len(labels) == 1 else None, labels)


def _said(label: StrEnum | str | None) -> str:
    return NO_SUCH_FILE if label is None else label.value if isinstance(label, StrEnum) else label
