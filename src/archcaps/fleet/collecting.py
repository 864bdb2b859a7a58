"""What to collect: which columns keep questions open, for every class of which one is, and which to fill in first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archcaps.fleet.classes import Classes, Judged, Progress
from archcaps.fleet.inventory import Role
from archcaps.fleet.lacking import Lack, Lacking
from archcaps.fleet.results import Collect, OpenQuestions
from archcaps.questions.many.judge import PAIRS_AT_ONCE, Pairs, questions
from archcaps.questions.many.missing import missing_rows
from archcaps.tables.names import VULNERABILITIES

__all__ = ["ASKED", "collect", "lacks_of", "open_questions"]

Mask = npt.NDArray[np.bool_]
#: A column of a role; or, of no role, a fact that no column says.
Key = tuple[Role | str, str]

#: The questions that a verdict depends on.
ASKED: Final = tuple(
    f"{name}_{question}" for name in VULNERABILITIES for question in ("truth", "safety", "host_safety")
)


@dataclass
class _Marks:
    """For each column, and each fact that no column says, the pairs whose open questions depend on it."""

    pairs: int
    by_key: dict[Key, Mask] = field(default_factory=dict)

    def add(self, key: Key, start: int, rows: Mask) -> None:
        mask = self.by_key.setdefault(key, np.zeros(self.pairs, dtype=bool))
        mask[start : start + len(rows)] |= rows


def open_questions(
    classes: Classes, judged: Judged, progress: Progress = lambda _, __: None
) -> tuple[OpenQuestions, list[Collect]]:
    """Return how many guests have a question open, and what to collect for them, the most telling first.

    Every class is looked at. A guest counts whose truth or safety over a border is undecided for some vulnerability,
    also where it is surely exposed besides.
    """
    is_open = np.logical_or.reduce([judged.is_open(name) for name in ASKED]) & (judged.verdict >= 0)
    chosen = np.flatnonzero(is_open)
    weights = classes.guests_of_pair[chosen]
    lacks = lacks_of(classes, judged, chosen, progress)
    columns = {key: rows for key, rows in lacks.items() if key[0]}
    beyond = {fact: rows for (role, fact), rows in lacks.items() if not role}
    without_column = np.zeros(len(chosen), dtype=bool)
    for rows in beyond.values():
        without_column |= rows
    guests_beyond = {fact: int(weights[rows].sum()) for fact, rows in beyond.items()}
    found = OpenQuestions(
        guests=int(weights.sum()),
        classes=len(chosen),
        beyond_guests=int(weights[without_column].sum()),
        beyond=dict(sorted(guests_beyond.items(), key=lambda item: (-item[1], item[0]))),
    )
    return found, collect(columns, without_column, weights)


def lacks_of(
    classes: Classes, judged: Judged, chosen: npt.NDArray[np.intp], progress: Progress = lambda _, __: None
) -> dict[Key, Mask]:
    """Return for each column, and each fact that no column says, which pairs depend on it with an open question.

    `chosen` are the pairs that are looked at. With all its columns filled in a pair that depends on nothing else is
    decided, as far as the tables know what they are filled in with.
    """
    marks = _Marks(len(chosen))
    if not len(chosen):
        return {}
    asked = {name: choice for name, choice in questions().items() if name in ASKED}
    open_ = {name: judged.is_open(name) for name in asked}
    pairs, lacking = Pairs(judged.hosts, judged.guests, asked), Lacking(judged.hosts, judged.guests)
    for start in range(0, len(chosen), PAIRS_AT_ONCE):
        part = chosen[start : start + PAIRS_AT_ONCE]
        on, of = classes.pair_host[part], classes.pair_guest[part]
        still_open = {name: _plane(open_[name][part]) for name in asked}
        for fact, plane in missing_rows(pairs.planes(on, of), asked, still_open).items():
            rows = _rows(plane, len(part))
            for columns in lacking.of(fact):
                rows = _mark(marks, start, rows, columns, {"host": on, "guest": of})
            if rows.any():
                marks.add(("", fact), start, rows)
        progress("looking for what is missing", (start + len(part)) / len(chosen))
    return marks.by_key


def _mark(marks: _Marks, start: int, rows: Mask, columns: list[Lack], index: dict[Role, Any]) -> Mask:
    """Mark the columns that pairs lack; return the pairs that lack none of them."""
    left = rows.copy()
    for lack in columns:
        hanging = rows & lack.classes[index[lack.role]]
        left &= ~hanging
        if hanging.any():
            marks.add((lack.role, lack.column), start, hanging)
    return left


def _plane(rows: Mask) -> int:
    return int.from_bytes(np.packbits(rows, bitorder="little").tobytes(), "little")


def _rows(plane: int, count: int) -> Mask:
    raw = np.frombuffer(plane.to_bytes((count + 7) // 8, "little"), dtype=np.uint8)
    return np.unpackbits(raw, count=count, bitorder="little").astype(bool)


def collect(columns: dict[Key, Mask], without_column: Mask, weights: npt.NDArray[np.int64]) -> list[Collect]:
    """Return the columns to fill in, each time the one with which the most guests are settled or come nearest to it.

    `columns` says for each which open pairs lack it, `without_column` which pairs depend on something besides that no
    column says, `weights` the guests of each pair. A pair counts as settled when all its columns are there and there is
    nothing besides: then it surely is, though fewer may do.
    """
    keys = sorted(columns)
    if not keys:
        return []
    lacks = np.stack([columns[key] for key in keys], axis=1)
    # Pairs that lack the same are one: there are few different ones.
    packed, index = np.unique(
        np.packbits(np.column_stack([lacks, without_column]), axis=1), axis=0, return_inverse=True
    )
    guests = np.bincount(index.ravel(), weights=weights, minlength=len(packed)).astype(np.int64)
    bits = np.unpackbits(packed, axis=1, count=len(keys) + 1).astype(bool)
    lacks, never = bits[:, :-1], bits[:, -1]
    hang = guests @ lacks
    found = []
    while lacks.any():
        left = lacks.sum(axis=1) + never
        settles = (guests * ((left == 1) & ~never)) @ lacks
        nearer = (guests / np.maximum(left, 1)) @ lacks
        best = max(np.flatnonzero(lacks.any(axis=0)).tolist(), key=lambda at: (settles[at], nearer[at], keys[at]))
        role, column = keys[best]
        found.append(Collect(column, role, int(settles[best]), int(hang[best])))
        lacks = lacks.copy()
        lacks[:, best] = False
    return found
