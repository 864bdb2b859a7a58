"""A space gone through once: how many configurations there are, in how many a node holds, and the least deviations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from archcaps.logic.diagram import Function
from archcaps.space.cells import Cell, HostClass
from archcaps.space.names import OTHER_PART
from archcaps.space.space import Space

__all__ = ["Group", "Survey"]


@dataclass(eq=False)
class Group:
    """Cells that are alike: where the node surely holds in them, and where that depends on what nobody knows.

    `sure` is somewhere. `least` are the configurations of it from which nothing can be taken that deviates from the
    default; `cells` are all of the cells.
    """

    sure: Function
    open: Function
    least: Function
    cells: list[Cell] = field(default_factory=list)


class Survey:
    """What there is to say of a whole space.

    `configurations` counts every one, `sure` those where the node holds whatever nobody knows, `open` those where it
    depends on that; `groups` are the cells where there are some of `sure`.

    Raises:
        NotDecidedError: a limit was reached.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self._diagrams = space.diagrams
        self._minimal: dict[Function, tuple[Function, Function]] = {}
        self._own: dict[HostClass, int] = {}
        self._cells = list(space.cells())
        #: Over what guests are shown: it takes fewer functions, and they hold in as many configurations.
        configurations, sure, opened = dict[Function, int](), dict[Function, int](), dict[Function, int]()
        for cell in self._cells:
            for function, totals in zip(
                (cell.shown[0], *space.sure_and_open(*cell.shown)), (configurations, sure, opened), strict=True
            ):
                totals[function] = totals.get(function, 0) + cell.weight
        self.configurations, self.sure, self.open = map(self._total, (configurations, sure, opened))

    def _total(self, totals: dict[Function, int]) -> int:
        return sum(weight * self.space.count(function) for function, weight in totals.items())

    @cached_property
    def groups(self) -> list[Group]:
        """The groups of cells in which the node surely holds somewhere."""
        own: dict[HostClass, list[tuple[int, Function]]] = {}
        holding: list[tuple[Cell, Function, Function]] = []
        for cell in self._cells:
            shown, opened = self.space.sure_and_open(*cell.shown)
            sure = cell.host.deviating(shown)
            if not cell.other_part:
                own.setdefault(cell.host, []).append((cell.guest.chosen, sure))
            if sure != self._diagrams.false:
                holding.append((cell, sure, cell.host.deviating(opened)))
        found: dict[object, Group] = {}
        for cell, sure, opened in holding:
            # Whether another part is needed depends on what holds without it: that is a mark of a group too.
            without = frozenset(self._shown_own_part(cell, own.get(cell.host, []))) if cell.other_part else None
            key = (sure, opened, without)
            group = found.get(key)
            if group is None:
                group = found[key] = Group(sure, opened, self._least(sure, without))
            group.cells.append(cell)
        return list(found.values())

    def _least(self, sure: Function, without: frozenset[Function] | None) -> Function:
        """Return what is left of `sure` if nothing deviates needlessly, another part among it.

        `without`: where it holds with the host's own part shown; None: that is what is shown.
        """
        deviations = [name for name in self.space.deviations if name != OTHER_PART]
        least, _ = self._deviating(sure, deviations)
        other = self._diagrams.variable(OTHER_PART)
        if without is None or least == self._diagrams.false:
            return least & ~other
        # Shown the host's own part, it would be so with these deviations or fewer.
        needless = self._diagrams.true
        for function in without:
            needless = needless & self._deviating(function, deviations)[1]
        return least & ~needless & other

    def _shown_own_part(self, cell: Cell, own: Iterable[tuple[int, Function]]) -> Iterator[Function]:
        """Yield where the node surely holds for the same hosts and guest kernels, with the host's part shown."""
        left = cell.guest.beside_others & self._with_own_part(cell)
        for chosen, sure in own:
            if left & chosen:
                left &= ~chosen
                yield sure
        if left:
            yield self._diagrams.false

    def _with_own_part(self, cell: Cell) -> int:
        """Return the choices in which the hosts of a cell show their own part."""
        if cell.host not in self._own:
            self._own[cell.host] = cell.guest.choices.of_columns((part, True) for part in cell.host.parts)
        return self._own[cell.host]

    def _deviating(self, function: Function, deviations: list[str]) -> tuple[Function, Function]:
        if function not in self._minimal:
            self._minimal[function] = self._diagrams.minimal(function, deviations)
        return self._minimal[function]

    def hanging(self) -> Iterator[Function]:
        """Yield where the node holds in configurations in which that depends on what nobody knows, of each cell.

        Over what guests are shown: what deviates is no unknown, and there are fewer functions.
        """
        for possible, found in dict.fromkeys(cell.shown for cell in self._cells):
            _, opened = self.space.sure_and_open(possible, found)
            if opened != self._diagrams.false:
                with self._diagrams.limits():
                    where = found & opened
                yield where

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
