"""Worlds: a host and a guest after some changes, with the bits that may be changed besides; many evaluated at once.

A set of bits of a world is a row of the bit planes: row r of a world's block has the toggles whose bits are set in r.
What a set costs is worked out for all rows together too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from archcaps.logic.bitplanes import BitPlanes, Planes
from archcaps.questions.fix.changes import total
from archcaps.questions.fix.cpus import Form
from archcaps.questions.fix.flags import Toggle
from archcaps.questions.fix.hosts import Variant
from archcaps.questions.fix.results import Step

__all__ = ["MAX_ROWS", "MAX_TOGGLES", "Batch", "Parts", "World", "costs", "rows"]

#: So many bits may be free in a world.
MAX_TOGGLES: Final = 17
#: So many sets are evaluated at once, unless one world has more: for the whole model that takes about 40 MiB.
MAX_ROWS: Final = 1 << MAX_TOGGLES


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

    @property
    def cost(self) -> int:
        """What they cost together."""
        return total(self.steps)


@dataclass(frozen=True, slots=True)
class World:
    """Changes with what is known after them.

    `sides` are facts by name, each side the same object in every world that shares it; `observed` are rules that were
    observed, `doubted` such as are not known for that. `toggles` are free.
    """

    parts: Parts
    sides: tuple[Mapping[str, bool], ...]
    observed: Mapping[str, bool]
    doubted: frozenset[str]
    toggles: Sequence[Toggle]

    @property
    def sets(self) -> int:
        """How many sets of bits there are to change."""
        return 1 << len(self.toggles)

    def chosen(self, row: int) -> list[Toggle]:
        """Return the toggles of a set."""
        return [toggle for number, toggle in enumerate(self.toggles) if row >> number & 1]

    def now(self, bit: str) -> bool | None:
        """Return how the guest has a bit before any is changed."""
        return next((side[name] for side in self.sides if (name := f"guest.{bit}") in side), None)


@dataclass
class Batch:
    """Worlds whose sets are evaluated together; `most` changes a set may have."""

    worlds: Sequence[World]
    most: int
    starts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        place = 0
        for world in self.worlds:
            self.starts.append(place)
            place += world.sets
        self.sets = place

    def block(self, number: int) -> int:
        """Return the rows of a world."""
        return ((1 << self.worlds[number].sets) - 1) << self.starts[number]

    def at(self, row: int) -> tuple[World, list[Toggle]]:
        """Return the world and the toggles of a row."""
        number = bisect_right(self.starts, row) - 1
        world = self.worlds[number]
        return world, world.chosen(row - self.starts[number])

    def costs(self) -> dict[int, int]:
        """Return for each cost the rows of the sets that cost just that; a set of no changes at all is none."""
        found: dict[int, int] = {}
        for start, world in zip(self.starts, self.worlds, strict=True):
            for cost, plane in costs(world.toggles, self.most - len(world.parts.steps)).items():
                nothing = 0 if world.parts.steps or cost else 1
                whole = cost + world.parts.cost
                found[whole] = found.get(whole, 0) | (plane & ~nothing) << start
        return found

    @cached_property
    def planes(self) -> BitPlanes:
        """The model read for every set of every world."""
        facts = self._joined([world.sides for world in self.worlds])
        for number, world in enumerate(self.worlds):
            for position, toggle in enumerate(world.toggles):
                changed = _counting(position, world.sets) << self.starts[number]
                true, false = facts.get(f"guest.{toggle.bit}", (0, 0))
                true, false = true & ~changed, false & ~changed
                facts[f"guest.{toggle.bit}"] = (true | changed, false) if toggle.on else (true, false | changed)
        opaque: dict[str, int] = {}
        for number, world in enumerate(self.worlds):
            for name in world.doubted:
                opaque[name] = opaque.get(name, 0) | self.block(number)
        return BitPlanes(self.sets, facts, self._joined([(world.observed,) for world in self.worlds]), opaque)

    def _joined(self, sides: Sequence[Sequence[Mapping[str, bool]]]) -> dict[str, Planes]:
        """Return planes of values that are one for a whole world; worlds that share a side are done together."""
        shared: dict[int, tuple[Mapping[str, bool], int]] = {}
        for number, of_world in enumerate(sides):
            for side in of_world:
                shared[id(side)] = (side, shared.get(id(side), (side, 0))[1] | self.block(number))
        found: dict[str, Planes] = {}
        for side, block in shared.values():
            for name, value in side.items():
                true, false = found.get(name, (0, 0))
                found[name] = (true | block, false) if value else (true, false | block)
        return found


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
