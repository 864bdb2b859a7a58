"""One host and one guest with some changes made, and every set of bits that may be changed besides, evaluated at once.

A set is a row of the bit planes: row r has the toggles whose bits are set in r. What a set costs is worked out for all
rows together too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from archcaps.logic.bitplanes import BitPlanes, Planes
from archcaps.questions.fix.changes import total
from archcaps.questions.fix.cpus import Form
from archcaps.questions.fix.flags import Toggle
from archcaps.questions.fix.hosts import Variant
from archcaps.questions.fix.results import Step
from archcaps.questions.reader import Reader

__all__ = ["MAX_TOGGLES", "Parts", "World", "costs", "rows"]

#: So many bits may be free at once: 2^17 rows take about 40 MiB for the whole model.
MAX_TOGGLES: Final = 17


@dataclass(frozen=True, slots=True)
class Parts:
    """The changes that a world is made of: of the host, of the guest's kernel, of its CPU as a whole."""

    host: Variant
    guest: Variant
    cpu: Form

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them."""
        return (*self.host.steps, *self.guest.steps, *self.cpu.steps)


class World:
    """A host and a guest after some changes, with the toggles that are free there."""

    def __init__(self, parts: Parts, reader: Reader, toggles: Sequence[Toggle]) -> None:
        self.parts = parts
        self.steps = parts.steps
        self.reader = reader
        self.toggles = tuple(toggles[:MAX_TOGGLES])
        self.cost = total(self.steps)

    @property
    def sets(self) -> int:
        """How many sets of bits there are to change."""
        return 1 << len(self.toggles)

    @cached_property
    def planes(self) -> BitPlanes:
        """The model read for every set of bits."""
        every = (1 << self.sets) - 1

        def constant(value: bool) -> Planes:
            return (every, 0) if value else (0, every)

        facts = {name: constant(value) for name, value in self.reader.facts.values.items()}
        for number, toggle in enumerate(self.toggles):
            changed = _counting(number, self.sets)
            now = self.reader.facts.values.get(f"guest.{toggle.bit}")
            kept = (0, 0) if now is None else (every ^ changed if now else 0, 0 if now else every ^ changed)
            facts[f"guest.{toggle.bit}"] = (
                kept[0] | (changed if toggle.on else 0),
                kept[1] | (0 if toggle.on else changed),
            )
        observed = {name: constant(datum.value) for name, datum in self.reader.observed.items()}
        return BitPlanes(self.sets, facts, observed)

    def chosen(self, row: int) -> list[Toggle]:
        """Return the toggles of a set."""
        return [toggle for number, toggle in enumerate(self.toggles) if row >> number & 1]


def _counting(number: int, sets: int) -> int:
    """Return the rows below `sets` whose bit `number` is set."""
    plane, width = ((1 << (1 << number)) - 1) << (1 << number), 2 << number
    while width < sets:
        plane |= plane << width
        width *= 2
    return plane


def costs(toggles: Sequence[Toggle], most: int) -> dict[int, int]:
    """Return for each cost the rows of the sets of at most `most` toggles that cost just that."""
    found = {(0, 0): 1}
    for number, toggle in enumerate(toggles):
        for (cost, count), plane in list(found.items()):
            if count < most:
                key = (cost + toggle.step.cost, count + 1)
                found[key] = found.get(key, 0) | plane << (1 << number)
    by_cost: dict[int, int] = {}
    for (cost, _), plane in found.items():
        by_cost[cost] = by_cost.get(cost, 0) | plane
    return by_cost


def rows(plane: int) -> Iterator[int]:
    """Yield the rows of a plane, lowest first."""
    while plane:
        lowest = plane & -plane
        yield lowest.bit_length() - 1
        plane ^= lowest
