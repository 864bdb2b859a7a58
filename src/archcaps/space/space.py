"""The space of configurations: hosts, KVMs, guest CPUs and guest kernels, and where nodes of the graph hold among them.

What is looked up by part and release is gone through class by class: those that a node cannot tell apart are one. All
else is symbolic, at once: the bits of the host's hardware, and for each thing that a VMM chooses whether it *deviates*
from what KVM offers by default. What no table knows is a variable too: a proof then holds whatever it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from archcaps.logic.diagram import Diagrams, Function
from archcaps.logic.graph import TRUE, Kind, Node, all_of, fact, rule_called, walk
from archcaps.logic.reading import Reading
from archcaps.space.axioms import axioms_about
from archcaps.space.bounds import Bounds, Shown
from archcaps.space.cells import Cell, GuestClass, HostClass
from archcaps.space.choices import Choices, first
from archcaps.space.classes import Classes
from archcaps.space.facts import BARE_METAL, baseline, default_of, fact_in
from archcaps.space.lookups import Kernels, PartClass, kernel_classes, part_classes, value_of_kernel, value_of_part
from archcaps.space.names import (
    CPUS,
    DEVIATES,
    KERNELS,
    OTHER_PART,
    PART_LOOKUPS,
    UNKNOWN,
    is_deviation,
    is_looked_up,
    microcode_of,
    split,
    variable_of,
)  # fmt: skip
from archcaps.tables.bits import BITS
from archcaps.tables.names import KERNEL_LOOKUPS

__all__ = ["Space"]


class Space:
    """The configurations within `bounds`, as far as the node `root` can tell them apart.

    `deciding` are the facts on which it really depends; `axioms` are those that bear on them. What the nodes `beside`
    depend on tells configurations apart too, so that counts of several roots are of the same configurations.

    Raises:
        NotDecidedError: a limit was reached.
    """

    def __init__(self, root: Node, bounds: Bounds, seconds: float = 60, beside: Iterable[Node] = ()) -> None:
        self.bounds = bounds
        given = [(node, bounds.given[name]) for name in bounds.given if (node := _named(name)) is not None]
        nodes = (all_of([TRUE, *(node if value else ~node for node, value in given)]), root)
        beside = tuple(beside)
        every = (*nodes, *beside)
        defaults = {name: node for name in _facts_under(every) if (node := baseline(name)) is not None}
        # Over the facts alone the diagrams are small, and show which facts matter at all.
        self._read = Diagrams(_with_microcode(_facts_under([*every, *defaults.values()])), seconds)
        reading = Reading(self._read, self._read.variable)
        self._over_facts = (self._fixed(reading.of(nodes[0])), self._fixed(reading.of(nodes[1])))
        self.deciding = self._support((*self._over_facts, *(self._fixed(reading.of(node)) for node in beside)))
        self._defaults = {name: self._fixed(reading.of(defaults[name])) for name in defaults if name in self.deciding}
        needed = self.deciding | self._support(tuple(self._defaults.values()))
        self.axioms, self._axiom = ((), TRUE) if bounds.any_silicon else axioms_about(needed)
        in_order = [name for name in self._read.names if name in needed]
        self.facts = tuple(dict.fromkeys([*_facts_under([self._axiom]), *in_order]))
        self.diagrams = Diagrams(self._variables(), seconds)
        self.deviations = tuple(filter(is_deviation, self.diagrams.names))
        self.unknowns = tuple(name for name in self.diagrams.names if name.startswith(UNKNOWN))
        self._divided: dict[tuple[Function, Function], tuple[Function, Function]] = {}

    def _fixed(self, function: Function) -> Function:
        """Return a function of facts with the options that are given in place."""
        return self._read.with_values(function, self.bounds.fixed)

    def _support(self, functions: Iterable[Function]) -> frozenset[str]:
        """Return the facts on which one of these functions depends."""
        return frozenset[str]().union(*map(self._read.support, functions))

    # --- facts and variables --------------------------------------------------------------------------------------

    def _looked_up(self, *signatures: str) -> list[str]:
        """Return the facts that are looked up by a part; only by those of `signatures` where some are named."""
        pairs = [(name, *split(name)) for name in self.facts]
        return [
            name
            for name, scope, what in pairs
            if scope in CPUS and what in PART_LOOKUPS and (not signatures or CPUS[scope][0] in signatures)
        ]

    def _variables(self) -> tuple[str, ...]:
        """Return the variables of configurations: what facts are made of that are not looked up, and unknowns.

        In the order in which the root reads the facts: so its diagrams over them are read without being turned round.
        """
        found: dict[str, None] = {}
        for name in (*(name for name in self._read.names if name in self.facts), *self.facts):
            if is_looked_up(name):
                found[UNKNOWN + name] = None
                if split(name)[1] == "tsa_microcode":
                    found[microcode_of(name)] = None
            elif variable_of(name) != BARE_METAL:
                found[variable_of(name)] = None
        return (OTHER_PART, *found)

    # --- cells ----------------------------------------------------------------------------------------------------

    def _decided_by(self, side: str) -> list[str]:
        """Return the facts that part and kernels of ``host`` or ``guest`` decide."""
        host = side == "host"
        kernels = [name for name in self.facts if KERNELS.get(split(name)[0]) is host]
        return [*kernels, *(self._looked_up("host") if host else self._looked_up("guest", "own"))]

    def _choices(self, parts: Sequence[PartClass], side: str) -> Choices:
        kernels = kernel_classes(self.facts, self.bounds, hosts=side == "host")
        if side == "host":
            return Choices(kernels, [(part, False) for part in parts if part.hosts], self.bounds)
        return Choices(
            kernels, [(part, own) for part in parts for own in (False, True) if part.hosts or not own], self.bounds
        )

    @cached_property
    def hosts(self) -> tuple[HostClass, ...]:
        """The classes of hosts, those of the newest releases first.

        Raises:
            NotDecidedError: a limit was reached.
        """
        parts = part_classes(self._looked_up(), self.bounds)
        host, guest = ((self._choices(parts, side), self._decided_by(side)) for side in ("host", "guest"))
        classes = Classes(self._read, self.diagrams, host, guest, at_once=self.bounds.shown is not Shown.ANY)
        found = classes.of(self._over_facts, self._defaults, self._axiom, self._may_be_shown)
        return tuple(sorted(found, key=lambda host: first(host.chosen)))

    def _may_be_shown(self, defaults: Mapping[str, Function]) -> Function:
        """Return that the guest is shown what KVM offers, or less of that, where only such guests are asked about."""
        if self.bounds.shown is Shown.ANY:
            return self.diagrams.true
        found = []
        for variable in self.deviations:
            if variable.startswith(DEVIATES) and variable != OTHER_PART:
                deviates, name = self.diagrams.variable(variable), f"guest.{variable.removeprefix(DEVIATES)}"
                may_be_left_out = self.bounds.shown is Shown.SUBSET and name in defaults
                found.append(~deviates | defaults[name] if may_be_left_out else ~deviates)
        return self.diagrams.all_of(found)

    def unknown_of(self, side: str, part: PartClass, kernels: Kernels, *, own: bool) -> list[str]:
        """Return the facts that nobody knows of a part and kernels of ``host`` or ``guest``."""
        box = part.own if own else part.boxes[0]
        values = {
            name: value_of_kernel(name, kernels, self.bounds)
            if split(name)[0] in KERNELS
            else value_of_part(name, box, kernels)
            for name in self._decided_by(side)
        }
        return [name for name, value in values.items() if value == UNKNOWN + name]

    def cells(self) -> Iterator[Cell]:
        """Yield every cell that has a configuration.

        Raises:
            NotDecidedError: a limit was reached.
        """
        other_parts = self.bounds.shown is Shown.ANY
        if other_parts and self._looked_up("own"):
            raise ValueError("a guest with the host's part is compared with: ask of what is offered, or of a subset")
        for host in self.hosts:
            every = sum(host.parts.values())
            for guest in host.guests:
                # Shown the very part of the host, and no kind of core, it is not shown another one.
                same = sum(ways * guest.own.get(part, 0) for part, ways in host.parts.items())
                other = every * guest.ways - same if other_parts else 0
                if same or other:
                    yield from self._cells_of(host, guest, same, other)

    def _cells_of(self, host: HostClass, guest: GuestClass, same: int, other: int) -> Iterator[Cell]:
        given, root = (host.shows.read(each) for each in (guest.given, guest.root))
        with self.diagrams.limits():
            possible = given & host.possible
            found = root & possible
        if possible == self.diagrams.false:
            return
        for weight, other_part in ((same, False), (other, True)):
            if weight:
                yield Cell(host, guest, other_part, weight, (possible, found))

    # --- asking them ----------------------------------------------------------------------------------------------

    def directions(self, cell: Cell, deviation: str) -> Iterator[tuple[str, Function]]:
        """Yield in words what a deviation is, each with where it is so: a bit is hidden from the guest, or added."""
        name = f"guest.{deviation.removeprefix(DEVIATES)}"
        if not deviation.startswith(DEVIATES) or deviation == OTHER_PART:
            yield ("another part" if deviation == OTHER_PART else deviation), self.diagrams.true
            return
        what = split(name)[1]
        default = default_of(self.diagrams, name, cell.host.defaults)
        yield f"{what}=0", default
        yield f"{what}=1", ~default

    def bits_of(self, cell: Cell, values: Mapping[str, bool]) -> dict[str, bool]:
        """Return the bits of host and guest, as facts by name, where the variables have these values."""
        names = [
            name for name in self.facts if split(name)[1] in BITS and split(name)[0] in ("host", "silicon", "guest")
        ]
        as_host = [f"host.{split(name)[1]}" if split(name)[0] == "silicon" else name for name in names]
        return {name: self.diagrams.evaluate(self._bit(name, cell), values) for name in as_host}

    def _bit(self, name: str, cell: Cell) -> Function:
        variable = fact_in(self.diagrams, name)
        guest = split(name)[0] == "guest"
        return variable ^ default_of(self.diagrams, name, cell.host.defaults) if guest else variable

    def sure_and_open(self, possible: Function, found: Function) -> tuple[Function, Function]:
        """Return where a root that is `found` holds whatever the unknowns are, and where for some of them only."""
        if (possible, found) not in self._divided:
            some = self.diagrams.exists(found, self.unknowns)
            with self.diagrams.limits():
                otherwise = self.diagrams.exists(possible & ~found, self.unknowns)
                self._divided[possible, found] = some & ~otherwise, some & otherwise
        return self._divided[possible, found]

    def count(self, function: Function) -> int:
        """Return for how many configurations of a cell, for one choice of signatures and releases, a function holds.

        Where it depends on unknowns: for some value of them. Whether the part is another one is the cell's to say.
        """
        free = (OTHER_PART, *self.unknowns)
        return self.diagrams.count(self.diagrams.exists(function, free), len(free))


def _facts_under(nodes: Iterable[Node]) -> list[str]:
    return [node.name for node in walk(nodes) if node.kind is Kind.FACT]


def _named(name: str) -> Node | None:
    """Return the rule or fact called `name`; None for an option of a kernel, which is set and not asked for."""
    if split(name)[1] in KERNEL_LOOKUPS:
        return None
    rule = rule_called(name)
    return fact(name) if rule is None else rule


def _with_microcode(names: Iterable[str]) -> list[str]:
    """Return names of facts, with the variables after them that some may be."""
    found: dict[str, None] = {}
    for name in names:
        found[name] = None
        if split(name)[1] == "tsa_microcode":
            found[microcode_of(name)] = None
    return list(found)
