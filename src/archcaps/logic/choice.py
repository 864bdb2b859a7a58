"""Choices: an ordered list of (condition, label) of which exactly one holds, such as the text of a sysfs file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Generic, TypeVar

from archcaps.logic.bitplanes import BitPlanes
from archcaps.logic.graph import FALSE, TRUE, Node, any_of
from archcaps.logic.ternary import Ternary

__all__ = ["Answer", "Choice"]

L = TypeVar("L")


@dataclass(frozen=True)
class Answer(Generic[L]):
    """What is known of a choice: the labels still possible (one: decided) and the inputs that decided or would.

    `complete` is False where there are more labels than are listed.
    """

    possible: tuple[L, ...]
    reasons: frozenset[str]
    complete: bool = True

    @property
    def decided(self) -> bool:
        """Whether one label is left."""
        return len(self.possible) == 1


@dataclass(frozen=True)
class Choice(Generic[L]):
    """Labels with the condition under which each is chosen.

    Made by `first_true` (the first condition that holds wins) or by `one_of` (the conditions exclude each other and
    cover everything).
    """

    rows: tuple[tuple[Node, L], ...]
    #: The conditions as they were given, where the first that holds wins; else nothing.
    ladder: tuple[tuple[Node, L], ...] = field(default=(), compare=False, repr=False)
    #: The choice in each case, where there are several.
    cases: tuple[tuple[Node, Choice[L]], ...] = field(default=(), compare=False, repr=False)
    _cache: dict[frozenset[L], Node] = field(default_factory=dict, compare=False, repr=False)
    _sides: dict[frozenset[L], tuple[Node, Node]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def first_true(cls, rows: Iterable[tuple[Node, L]]) -> Choice[L]:
        """Return the choice in which the first true condition gives the label; the last row must be `TRUE`."""
        ladder = tuple(rows)
        chosen: list[tuple[Node, L]] = []
        earlier = FALSE
        last = FALSE
        for condition, label in ladder:
            chosen.append((~earlier & condition, label))
            earlier |= condition
            last = condition
        if last is not TRUE:
            raise ValueError("the last row of a choice must be TRUE")
        return cls(tuple(chosen), ladder)

    @classmethod
    def one_of(cls, rows: Iterable[tuple[Node, L]]) -> Choice[L]:
        """Return the choice whose conditions exclude each other and of which one always holds."""
        return cls(tuple(rows))

    @classmethod
    def by_case(cls, cases: Iterable[tuple[Node, Choice[L]]]) -> Choice[L]:
        """Return the choice that is, in each case, another one; of the cases exactly one always holds.

        Written with the cases as more conditions of one choice, a case that is out would not rule its labels out
        wherever their own conditions are unknown.
        """
        each = tuple(cases)
        rows = tuple((case & condition, label) for case, choice in each for condition, label in choice.rows)
        return cls(rows, cases=each)

    @property
    def labels(self) -> tuple[L, ...]:
        """Every label, in order, once."""
        return tuple(dict.fromkeys(label for _, label in self.rows))

    def is_in(self, labels: Sequence[L]) -> Node:
        """Return the node that says the choice falls on one of `labels`.

        Said both ways round (one of these, or none of the others): either alone would stay unknown where the other
        is settled.
        """
        wanted = frozenset(labels)
        if wanted not in self._cache:
            these, others = self._split(wanted)
            self._cache[wanted] = these | ~others
        return self._cache[wanted]

    def where(self, accept: Callable[[L], bool]) -> Node:
        """Return the node that says the choice falls on a label that `accept` takes."""
        return self.is_in([label for label in self.labels if accept(label)])

    def answer(self, ternary: Ternary) -> Answer[L]:
        """Return the labels still possible in `ternary`, and the inputs behind that.

        A label is chosen where its own conditions or the failing of all others say so, and out where its own
        conditions fail or another label is chosen: no single formula would stay known in all of these.
        """
        out: frozenset[str] = frozenset()
        undecided: frozenset[str] = frozenset()
        possible = []
        for label in self.labels:
            chosen = self.is_in([label])
            if ternary.value(chosen) is True:
                return Answer((label,), ternary.reasons(chosen))
            permitted = self.permits(label)
            if ternary.value(permitted) is False:
                out |= ternary.reasons(permitted)
            else:
                possible.append(label)
                undecided |= ternary.reasons(permitted)
        return Answer(tuple(possible), out if len(possible) == 1 else out | undecided)

    def possible_rows(self, planes: BitPlanes) -> dict[L, int]:
        """Return for each label, in order, the rows of `planes` in which it is still possible.

        In every row these are the labels that `answer` gives: where one is chosen, the others are out.
        """
        undecided = planes.every
        chosen = {}
        for label in self.labels:
            true, _ = planes.planes(self.is_in([label]))
            chosen[label] = true & undecided
            undecided &= ~true
        return {label: rows | undecided & ~planes.planes(self.permits(label))[1] for label, rows in chosen.items()}

    def permits(self, label: L) -> Node:
        """Return the node that fails where the choice cannot fall on `label`."""
        own, others = self._split(frozenset((label,)))
        return own & ~others

    def _split(self, wanted: frozenset[L]) -> tuple[Node, Node]:
        """Return the nodes that say the choice falls on one of `wanted`, and that it falls on another label."""
        if wanted not in self._sides:
            self._sides[wanted] = self._both_sides(wanted)
        return self._sides[wanted]

    def _both_sides(self, wanted: frozenset[L]) -> tuple[Node, Node]:
        if self.ladder:
            return self._climb(wanted)
        if self.cases:
            sides = [(case, choice._split(wanted)) for case, choice in self.cases]
            return tuple(any_of(case & split[side] for case, split in sides) for side in (0, 1))  # type: ignore[return-value]  # two
        these = any_of(condition for condition, label in self.rows if label in wanted)
        others = any_of(condition for condition, label in self.rows if label not in wanted)
        return these, others

    def _climb(self, wanted: frozenset[L]) -> tuple[Node, Node]:
        """Return the nodes of `_split` with the rows of one side that follow each other taken together.

        Which of them it is does not matter: a row only has to come before all rows of the other side that hold. Where
        one of two may hold, and else the other does, one of them surely does.
        """
        sides = {True: FALSE, False: FALSE}
        earlier = {True: FALSE, False: FALSE}
        for side, run in groupby(self.ladder, lambda row: row[1] in wanted):
            together = any_of(condition for condition, _ in run)
            sides[side] |= ~earlier[not side] & together
            earlier[side] |= together
        return sides[True], sides[False]
