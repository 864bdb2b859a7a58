"""The search: all sets of changes by cost, each set of bits of a world at once; what is found is proven cheapest.

A world is a host and a guest with some changes of which each needs look-ups of its own (kernels, options, microcode,
another CPU); worlds whose facts are the same where the goals look are one, and the cheaper of them counts. In a world
every set of bits is evaluated, whatever it costs. So a set that is cheaper than the answer was either evaluated and
is worse, or holds a world's changes alone that cost more.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from archcaps.guest_cpu.asked import Asked
from archcaps.logic.graph import Kind, walk
from archcaps.machine.facts import facts_of
from archcaps.machine.observations import observations_of
from archcaps.machine.snapshot import FORMAT_VERSION, Snapshot
from archcaps.questions.fix.changes import Rules, total
from archcaps.questions.fix.configured import ConfiguredCpu
from archcaps.questions.fix.cpus import GuestCpu, SnapshotCpu
from archcaps.questions.fix.flags import Toggle, shown
from archcaps.questions.fix.goals import TOP, Rank, further_goals, goals, named, ranked
from archcaps.questions.fix.guests import facts_of_guest, guest_variants
from archcaps.questions.fix.hosts import Variant, host_variants
from archcaps.questions.fix.results import Step, Text
from archcaps.questions.fix.worlds import Parts, World, costs, rows
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
        return [*self.world.steps, *(toggle.step for toggle in self.chosen)]

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
        self._cpu: GuestCpu = (
            SnapshotCpu(self._bare, rules, follows=start.follows)
            if start.asked is None
            else ConfiguredCpu(self._bare, rules, start.asked)
        )
        self._run()

    def _run(self) -> None:
        for world in self._worlds():
            top = self.best.get(TOP)
            if top is not None and world.cost > top.cost:
                break  # worlds come by cost: none that follows can be as cheap
            self._evaluate(world)

    @property
    def tried(self) -> int:
        """How many sets were evaluated."""
        return sum(self.by_cost.values())

    def cheaper(self, cost: int) -> int:
        """Return how many sets were evaluated that cost less."""
        return sum(count for each, count in self.by_cost.items() if each < cost)

    # --- worlds ---------------------------------------------------------------------------------------------------

    def _worlds(self) -> Iterator[World]:
        """Yield every world, the cheapest first, each that looks the same to the goals once."""
        hosts, guests = host_variants(self.start.host, self.rules), guest_variants(self.start.guest, self.rules)
        looks_of_host, looks_of_guest = _Looks(self._facts_of_host), _Looks(self._facts_of_guest)
        worlds = [Parts(host, guest, cpu) for host in hosts for guest in guests for cpu in self._cpu.forms()]
        for parts in sorted(worlds, key=lambda parts: total(parts.steps)):
            if len(parts.steps) > self.rules.max_changes or (self._known and not parts.host.steps):
                continue
            if looks_of_host.first(parts.host) and looks_of_guest.first(parts.guest):
                reader = self.reader(parts)
                yield World(parts, reader, self._cpu.toggles(parts.cpu, parts.host, reader))

    def reader(self, parts: Parts) -> Reader:
        """Return the model read after the changes `parts`."""
        guest = self._cpu.shown(parts.cpu, parts.host, parts.guest.machine)
        return Reader(parts.host.machine, guest, self.start.assumptions)

    def made(self, parts: Parts, chosen: Sequence[Toggle]) -> tuple[Reader, Text | None]:
        """Return the model read anew with bits changed besides, and the configuration that makes it so."""
        guest, text = self._cpu.made(parts.cpu, chosen, parts.host, parts.guest.machine)
        return Reader(parts.host.machine, guest, self.start.assumptions), text

    def has(self, bit: str) -> bool:
        """Return whether the guest surely is shown a bit as it is now."""
        return shown(self._bare)[bit] is True

    @property
    def unwritable(self) -> Mapping[str, str]:
        """The changes that the guest's configuration has no words for, with why."""
        return self._cpu.unwritable if isinstance(self._cpu, ConfiguredCpu) else {}

    def _facts_of_host(self, host: Snapshot) -> Hashable:
        observed = observations_of(host, _NO_GUEST)
        facts = facts_of(host, _NO_GUEST, self.start.assumptions).values
        return _projected(facts), frozenset((name, datum.value) for name, datum in observed.items())

    def _facts_of_guest(self, guest: Snapshot) -> Hashable:
        return _projected(facts_of_guest(guest, self.start.assumptions))

    # --- sets of bits ---------------------------------------------------------------------------------------------

    def _evaluate(self, world: World) -> None:
        """Note the cheapest sets of this world for every rank that is better than now."""
        planes = world.planes
        by_cost = costs(world.toggles, self.rules.max_changes - len(world.steps))
        if not world.steps:
            by_cost[0] &= ~1  # no change at all is what it is now
        for cost, plane in by_cost.items():
            self.by_cost[world.cost + cost] = self.by_cost.get(world.cost + cost, 0) + plane.bit_count()
        better = 0
        allowed = sum(by_cost.values())
        for rank, reached in ranked(planes, self.start.rank, allowed):
            if reached and not better:
                allowed &= ~self._worse(world)
            better |= reached
            self._note(rank, world, reached & allowed, by_cost)
        for name in VULNERABILITIES:
            if name not in self.mendable and planes.planes(named(name, 1))[0] & allowed:
                self.mendable.add(name)

    def _worse(self, world: World) -> int:
        """Return the rows in which something else that the register speaks of gets worse by the bits that change."""
        planes, found = world.planes, 0
        replaced = any(step.kind in ("model", "machine") for step in world.steps)
        for subject, node in further_goals().items():
            false = planes.planes(node)[1]
            was = subject in self.start.further_bad if replaced else bool(false & 1)
            found |= 0 if was else false
        return found

    def _note(self, rank: Rank, world: World, reached: int, by_cost: dict[int, int]) -> None:
        for cost in sorted(by_cost):
            plane = by_cost[cost] & reached
            if not plane:
                continue
            whole = world.cost + cost
            best = self.best.get(rank)
            if best is None or whole < best.cost:
                best = self.best[rank] = Best(whole)
            if whole == best.cost:
                for number, row in enumerate(rows(plane)):
                    if number >= MOST or len(best.sets) >= MOST:
                        best.more += plane.bit_count() - number
                        break
                    best.sets.append(Found(world, tuple(world.chosen(row))))
            return


class _Looks:
    """Which variants look like a cheaper one; they come by cost."""

    def __init__(self, facts: Callable[[Snapshot], Hashable]) -> None:
        self._facts = facts
        self._first: dict[Hashable, Variant] = {}
        self._known: dict[tuple[Step, ...], bool] = {}

    def first(self, variant: Variant) -> bool:
        """Return whether no variant that came before, and is another, looks the same."""
        if variant.steps not in self._known:
            cheapest = self._first.setdefault(self._facts(variant.machine), variant)
            self._known[variant.steps] = cheapest is variant
        return self._known[variant.steps]


@cache
def _cone() -> frozenset[str]:
    """Return the facts that the goals hang on."""
    roots = [*goals().values(), *further_goals().values()]
    return frozenset(node.name for node in walk(roots) if node.kind is Kind.FACT)


def _projected(facts: dict[str, bool]) -> Hashable:
    cone = _cone()
    return frozenset((name, value) for name, value in facts.items() if name in cone)
