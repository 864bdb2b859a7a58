"""The search: all sets of changes by cost, each set of bits of a world at once; what is found is proven cheapest.

A world is a host and a guest with some changes of which each needs look-ups of its own (kernels, options, microcode,
another CPU); worlds whose facts are the same where the goals look are one, and the cheaper of them counts. In a world
every set of bits is evaluated, whatever it costs. So a set that is cheaper than the answer was either evaluated and
is worse, or holds a world's changes alone that cost more.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from archcaps.guest_cpu.asked import Asked
from archcaps.machine.snapshot import FORMAT_VERSION, Snapshot
from archcaps.questions.fix.changes import Rules, total
from archcaps.questions.fix.configured import ConfiguredCpu
from archcaps.questions.fix.cpus import GuestCpu, SnapshotCpu
from archcaps.questions.fix.flags import Toggle, shown
from archcaps.questions.fix.goals import TOP, Rank, further_goals, named, ranked
from archcaps.questions.fix.guests import guest_variants
from archcaps.questions.fix.hosts import host_variants
from archcaps.questions.fix.looks import Looks
from archcaps.questions.fix.results import Step, Text
from archcaps.questions.fix.sides import Sides
from archcaps.questions.fix.worlds import MAX_ROWS, Batch, Parts, World, rows
from archcaps.questions.reader import Reader
from archcaps.tables.names import VULNERABILITIES

__all__ = ["Best", "Found", "Search", "Start"]

#: Cheapest sets are kept up to this many for each level.
MOST: Final = 64

_NO_GUEST: Final = Snapshot(format_version=FORMAT_VERSION, role="guest")


@dataclass(frozen=True, slots=True)
class Found:
    """One set of changes that reaches a rank: a world's steps, and toggles."""

    world: World
    chosen: tuple[Toggle, ...]

    @property
    def steps(self) -> list[Step]:
        """All changes, those of bits last."""
        return [*self.world.parts.steps, *(toggle.step for toggle in self.chosen)]

    @property
    def cost(self) -> int:
        """What they cost together."""
        return total(self.steps)


@dataclass
class Best:
    """The cheapest sets that reach a rank: what they cost, the sets, how many there are beyond those kept."""

    cost: int
    sets: list[Found] = field(default_factory=list)
    more: int = 0


@dataclass(frozen=True)
class Start:
    """What is to be mended: host and guest as they are, the assumptions, how good it is now.

    `follows`: the guest is shown what KVM offers, and will be when that is something else. `further_bad`: what else the
    register speaks of that is not as it should be. `asked`: the configuration that the guest comes from.
    """

    host: Snapshot
    guest: Snapshot
    assumptions: frozenset[str]
    rank: Rank
    follows: bool
    further_bad: frozenset[str]
    asked: Asked | None = None


class Search:
    """All sets of changes that the rules allow, the best of them by rank, and how many were evaluated.

    `before` is a search with the same start and rules, but without changes of the host: what it found holds here.
    """

    def __init__(self, start: Start, rules: Rules, before: Search | None = None) -> None:
        self.start = start
        self.rules = rules
        self.best: dict[Rank, Best] = (
            {}
            if before is None
            else {rank: Best(each.cost, list(each.sets), each.more) for rank, each in before.best.items()}
        )
        self.by_cost: dict[int, int] = {} if before is None else dict(before.by_cost)
        self.mendable: set[str] = set() if before is None else set(before.mendable)
        self._known = before is not None
        self._bare = Reader(start.host, start.guest, start.assumptions)
        self._shown = shown(self._bare)
        self._cpu: GuestCpu = (
            SnapshotCpu(self._bare, rules, follows=start.follows)
            if start.asked is None
            else ConfiguredCpu(self._bare, rules, start.asked)
        )
        self._sides = Sides(self._cpu, rules, start.assumptions)
        self._kept: set[Hashable] = set()
        self._looks = (
            Looks(_host, lambda parts: len(parts.host.steps), self._sides.look_of_host),
            Looks(self._sides.kernel_of, lambda parts: len(parts.guest.steps), self._sides.look_of_kernel),
            Looks(_cpu_on_host, lambda parts: len(parts.cpu.steps), self._sides.look_of_cpu),
        )
        every = self._worlds()
        self._run(every[: rules.max_worlds])
        beyond = [] if rules.max_worlds is None else every[rules.max_worlds :]
        #: Worlds beyond the limit that could do as well as what was found.
        self.left_out: int = sum(not self._done(parts.cost) for parts in beyond) + (before.left_out if before else 0)

    def _run(self, every: list[Parts]) -> None:
        """Evaluate worlds by cost, those of one cost together; then those that only looked like cheaper ones."""
        skipped: list[Parts] = []
        for cost, worlds in groupby(every, key=lambda parts: parts.cost):
            if self._done(cost):
                break  # none that follows can be as cheap
            fresh: list[Parts] = []
            for parts in worlds:
                same = [not looks.first(parts) for looks in self._looks]
                (skipped if any(same) else fresh).append(parts)
            self._evaluate_all(fresh)
        again = [parts for parts in skipped if self._look(parts) in self._kept]
        self._evaluate_all([parts for parts in again if not self._done(parts.cost)])

    def _done(self, cost: int) -> bool:
        top = self.best.get(TOP)
        return top is not None and cost > top.cost

    def _look(self, parts: Parts) -> Hashable:
        return tuple(looks.of(parts) for looks in self._looks)

    def _evaluate_all(self, found: list[Parts]) -> None:
        batch: list[World] = []
        for parts in found:
            world = self._sides.world(parts)
            if batch and sum(each.sets for each in batch) + world.sets > MAX_ROWS:
                self._evaluate(Batch(batch, self.rules.max_changes))
                batch = []
            batch.append(world)
        if batch:
            self._evaluate(Batch(batch, self.rules.max_changes))

    @property
    def bare(self) -> Reader:
        """The model read for host and guest as they are."""
        return self._bare

    @property
    def tried(self) -> int:
        """How many sets were evaluated."""
        return sum(self.by_cost.values())

    def cheaper(self, cost: int) -> int:
        """Return how many sets were evaluated that cost less."""
        return sum(count for each, count in self.by_cost.items() if each < cost)

    # --- worlds ---------------------------------------------------------------------------------------------------

    def _worlds(self) -> list[Parts]:
        """Return every combination of changes that have facts of their own, the cheapest first."""
        hosts, guests = host_variants(self.start.host, self.rules), guest_variants(self.start.guest, self.rules)
        forms = self._cpu.forms()
        worlds = [Parts(host, guest, cpu) for host in hosts for guest in guests for cpu in forms]
        if self._known:
            worlds = [parts for parts in worlds if parts.host.steps]
        fitting = [parts for parts in worlds if len(parts.steps) <= self.rules.max_changes]
        return sorted(fitting, key=lambda parts: parts.cost)

    def made(self, parts: Parts, chosen: Sequence[Toggle]) -> tuple[Reader, Text | None]:
        """Return the model read again with bits changed besides, and the configuration that makes it so."""
        guest, text = self._cpu.made(parts.cpu, chosen, parts.host, parts.guest.machine)
        return Reader(parts.host.machine, guest, self.start.assumptions), text

    def has(self, bit: str) -> bool:
        """Return whether the guest surely is shown a bit as it is now."""
        return self._shown[bit] is True

    @property
    def unwritable(self) -> Mapping[str, str]:
        """The changes that the guest's configuration has no words for, with why."""
        return self._cpu.unwritable if isinstance(self._cpu, ConfiguredCpu) else {}

    # --- sets of bits ---------------------------------------------------------------------------------------------

    def _evaluate(self, batch: Batch) -> None:
        """Note the cheapest sets for every rank that is better than now."""
        by_cost = batch.costs()
        for cost, plane in by_cost.items():
            self.by_cost[cost] = self.by_cost.get(cost, 0) + plane.bit_count()
        allowed = sum(by_cost.values())
        worse: int | None = None
        for rank, reached in ranked(batch.planes, self.start.rank, allowed):
            if not reached:
                continue
            if worse is None:
                worse = self._worse(batch)
            if reached & worse:  # a costlier world that looks the same may do without getting worse
                hit = (world for number, world in enumerate(batch.worlds) if reached & worse & batch.block(number))
                self._kept.update(self._look(world.parts) for world in hit)
            self._note(rank, batch, reached & ~worse, by_cost)
        for name in VULNERABILITIES:
            if name not in self.mendable and batch.planes.planes(named(name, 1))[0] & allowed & ~(worse or 0):
                self.mendable.add(name)

    def _worse(self, batch: Batch) -> int:
        """Return the rows in which something else that the register speaks of gets worse by the bits that change."""
        found = 0
        for subject, node in further_goals().items():
            false = batch.planes.planes(node)[1]
            for number, world in enumerate(batch.worlds):
                replaced = any(step.kind in ("model", "machine") for step in world.parts.steps)
                before = subject in self.start.further_bad if replaced else bool(false >> batch.starts[number] & 1)
                if before:
                    false &= ~batch.block(number)
            found |= false
        return found

    def _note(self, rank: Rank, batch: Batch, reached: int, by_cost: dict[int, int]) -> None:
        """Note the cheapest sets among the rows `reached`, if none of this rank is cheaper."""
        cost = next((cost for cost in sorted(by_cost) if by_cost[cost] & reached), None)
        best = self.best.get(rank)
        if cost is None or (best is not None and best.cost < cost):
            return
        if best is None or cost < best.cost:
            best = self.best[rank] = Best(cost)
        plane = by_cost[cost] & reached
        best.more += plane.bit_count()
        for row in rows(plane):
            if len(best.sets) >= MOST:
                return
            world, chosen = batch.at(row)
            best.sets.append(Found(world, tuple(chosen)))
            best.more -= 1


def _host(parts: Parts) -> Hashable:
    return parts.host.steps


def _cpu_on_host(parts: Parts) -> Hashable:
    return parts.host.steps, parts.cpu.steps
