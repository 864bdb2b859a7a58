"""A space gone through once: how many configurations there are, in how many a node holds, and the least deviations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from archcaps.logic.diagram import Function
from archcaps.space.cells import Cell, GuestClass, HostClass
from archcaps.space.lookups import Kernels, PartClass
from archcaps.space.names import OTHER_PART
from archcaps.space.space import Space

__all__ = ["Group", "Survey"]


@dataclass(eq=False)
class Group:
    """Cells that are alike: where the node surely holds in them, and where that hangs on what nobody knows.

    `least` are the configurations of `sure` from which nothing can be taken that deviates from the default. `weight` is
    how many choices of signatures and releases the cells are; `cells` are all of them.
    """

    sure: Function
    open: Function
    least: Function
    weight: int = 0
    cells: list[Cell] = field(default_factory=list)


class Survey:
    """What there is to say of a whole space.

    `configurations` counts every one, `sure` those where the node holds whatever nobody knows, `open` those where it
    hangs on that; `groups` are the cells in which either is the case.

    Raises:
        NotDecidedError: a limit was reached.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self._diagrams = space.diagrams
        self._split: dict[tuple[Function, Function], tuple[Function, Function]] = {}
        self._minimal: dict[Function, tuple[Function, Function]] = {}
        self._kernels: dict[GuestClass, frozenset[Kernels]] = {}
        totals: dict[Function, int] = {}
        found: dict[object, Group] = {}
        own: dict[HostClass, dict[tuple[PartClass, Kernels], Function]] = {}
        for cell in space.cells():
            totals[cell.possible] = totals.get(cell.possible, 0) + cell.weight
            sure, opened = self._sure_and_open(cell)
            if not cell.other_part:
                own.setdefault(cell.host, {}).update(dict.fromkeys(cell.guest.own_members, sure))
            if sure == opened == self._diagrams.false:
                continue
            key = (sure, opened, cell.other_part)
            group = found.get(key) or found.setdefault(key, Group(sure, opened, self._diagrams.false))
            group.weight += cell.weight
            group.cells.append(cell)
        self.groups = list(found.values())
        self.configurations = sum(
            weight * space.count(self._diagrams.exists(possible, space.unknowns)) for possible, weight in totals.items()
        )
        self.sure = sum(group.weight * space.count(group.sure) for group in self.groups)
        self.open = sum(group.weight * space.count(group.open) for group in self.groups)
        for group in self.groups:
            group.least = self._least(group, own)

    def _sure_and_open(self, cell: Cell) -> tuple[Function, Function]:
        """Return where the node holds whatever the unknowns are, and where it holds for some of them only."""
        key = (cell.possible, cell.found)
        if key not in self._split:
            self._split[key] = self.space.sure_and_open(cell)
        return self._split[key]

    def _least(self, group: Group, own: dict[HostClass, dict[tuple[PartClass, Kernels], Function]]) -> Function:
        """Return what is left of a group if nothing deviates needlessly, another part among it."""
        deviations = [name for name in self.space.deviations if name != OTHER_PART]
        least, _ = self._deviating(group.sure, deviations)
        other = self._diagrams.variable(OTHER_PART)
        if not group.cells[0].other_part or least == self._diagrams.false:
            return least & ~other
        # Shown the host's own part, it would be so with these deviations or fewer.
        needless = self._diagrams.true
        seen: set[object] = set()
        for cell in group.cells:
            key = (cell.host, cell.guest)
            for function in self._shown_own_part(cell, own.get(cell.host, {})) if key not in seen else ():
                needless = needless & self._deviating(function, deviations)[1]
            seen.add(key)
        return least & ~needless & other

    def _shown_own_part(self, cell: Cell, own: dict[tuple[PartClass, Kernels], Function]) -> Iterator[Function]:
        """Yield where the node surely holds for the same hosts and guest kernels, with the host's part shown."""
        if cell.guest not in self._kernels:
            self._kernels[cell.guest] = frozenset(kernels for _, kernels in cell.guest.members)
        found = {own.get((part, kernels)) for part in cell.host.parts for kernels in self._kernels[cell.guest]}
        yield from (self._diagrams.false if function is None else function for function in found)

    def _deviating(self, function: Function, deviations: list[str]) -> tuple[Function, Function]:
        if function not in self._minimal:
            self._minimal[function] = self._diagrams.minimal(function, deviations)
        return self._minimal[function]

    # --- deviations -----------------------------------------------------------------------------------------------

    def deviation_sets(self) -> Function:
        """Return the sets of deviations that are least somewhere, as a function of the deviations alone."""
        others = [name for name in self._diagrams.names if name not in self.space.deviations]
        each = {self._diagrams.exists(least, others) for least in {group.least for group in self.groups}}
        return self._diagrams.any_of(each)

    def just(self, chosen: frozenset[str]) -> Iterator[tuple[Group, Function]]:
        """Yield each group with its least configurations that deviate just so."""
        exact = {name: name in chosen for name in self.space.deviations}
        cube = self._diagrams.all_of(
            self._diagrams.variable(name) if value else ~self._diagrams.variable(name)
            for name, value in reversed(exact.items())
        )
        for group in self.groups:
            if group.cells[0].other_part is (OTHER_PART in chosen):
                with self._diagrams.limits():
                    here = group.least & cube
                if here != self._diagrams.false:
                    yield group, here
