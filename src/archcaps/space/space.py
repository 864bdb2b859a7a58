"""The space of configurations: hosts, KVMs, guest CPUs and guest kernels, and where nodes of the graph hold among them.

What is looked up by part and release is gone through class by class: those that a node can not tell apart are one. All
else is symbolic, at once: the bits of the host's hardware, and for each thing that a VMM chooses whether it *deviates*
from what KVM offers by default. What no table knows is a variable too: a proof then holds whatever it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from archcaps.logic.diagram import Diagrams, Function, Reading
from archcaps.logic.graph import TRUE, Kind, Node, all_of, fact, rule_called, walk
from archcaps.rules.kvm_offer import OFFERED_CPUID, kvm_get_arch_capabilities, kvm_get_supported_cpuid
from archcaps.rules.shown import model
from archcaps.space.axioms import axioms_about
from archcaps.space.bounds import Bounds, Shown
from archcaps.space.cells import Cell, GuestClass, HostClass
from archcaps.space.lookups import (
    Kernels,
    PartClass,
    Value,
    kernel_classes,
    part_classes,
    value_of_kernel,
    value_of_part,
)
from archcaps.space.names import (
    CPUS,
    DEVIATES,
    KERNELS,
    OTHER_PART,
    PART_LOOKUPS,
    UNKNOWN,
    is_deviation,
    split,
    variable_of,
)  # fmt: skip
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS
from archcaps.tables.names import KERNEL_LOOKUPS

__all__ = ["BASELINE", "Space", "baseline"]

#: What a guest is shown by default of bits that neither KVM's offer nor the host decides.
BASELINE = {"hypervisor": True, "rtm_disable": True}
#: The one bit of a host that is no variable: the host is bare metal, and does not show it.
_BARE_METAL = "host.hypervisor"


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
        self._read = Diagrams(_facts_under([*every, *defaults.values()]), seconds)
        reading = Reading(self._read, self._read.variable)
        self._supports: dict[object, frozenset[str]] = {}
        self._over_facts = (self._fixed(reading.of(nodes[0])), self._fixed(reading.of(nodes[1])))
        self.deciding = self._support((*self._over_facts, *(self._fixed(reading.of(node)) for node in beside)))
        self._defaults = {name: self._fixed(reading.of(defaults[name])) for name in defaults if name in self.deciding}
        needed = self.deciding | self._support(tuple(self._defaults.values()))
        self.axioms, self._axiom = ((), TRUE) if bounds.any_silicon else axioms_about(needed)
        in_order = [name for name in self._read.names if name in needed]
        self.facts = tuple(dict.fromkeys([*_facts_under([self._axiom]), *in_order]))
        self.diagrams = Diagrams(self._variables(), seconds)
        self._parts = part_classes(self._looked_up(), bounds)
        self._guests: tuple[GuestClass, ...] | None = None
        self._grouped: dict[tuple[Function, Function], list[GuestClass]] = {}
        self._settled: dict[tuple[Function, GuestClass], Function] = {}
        self._ordered: dict[Function, tuple[str, ...]] = {}
        self._transferred: dict[object, Function] = {}

    def _fixed(self, function: Function) -> Function:
        """Return a function of facts with the options that are given in place."""
        return self._read.with_values(function, self.bounds.fixed)

    def _support(self, functions: tuple[Function, ...]) -> frozenset[str]:
        """Return the facts on which one of these functions depends."""
        if functions not in self._supports:
            self._supports[functions] = frozenset().union(*map(self._read.support, functions))
        return self._supports[functions]

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
            scope, what = split(name)
            if scope in KERNELS or (scope in CPUS and what in PART_LOOKUPS):
                found[UNKNOWN + name] = None
                if what == "tsa_microcode":
                    found[f"{'guest' if CPUS[scope][0] == 'guest' else 'host'}.recent_microcode"] = None
            elif variable_of(name) != _BARE_METAL:
                found[variable_of(name)] = None
        return (OTHER_PART, *found)

    @property
    def deviations(self) -> tuple[str, ...]:
        """The variables that say how a guest, or the situation it is in, deviates from the default."""
        return tuple(filter(is_deviation, self.diagrams.names))

    @property
    def unknowns(self) -> tuple[str, ...]:
        """The variables for what nobody knows."""
        return tuple(name for name in self.diagrams.names if name.startswith(UNKNOWN))

    # --- classes --------------------------------------------------------------------------------------------------

    def hosts(self) -> list[HostClass]:
        """Return the classes of hosts, those of the newest releases first.

        Raises:
            NotDecidedError: a limit was reached.
        """
        return self._alike(list(self._each_host()))

    def _each_host(self) -> Iterator[HostClass]:
        """Yield hosts with other values of their facts one by one, as soon as each is found; its members grow later."""
        facts = self._decided_by("host")
        found: dict[tuple[Value, ...], HostClass] = {}
        for kernels in kernel_classes(self.facts, self.bounds, hosts=True):
            for part in self._parts:
                if part.hosts:
                    values = self._values(facts, part, kernels)
                    host = found.get(tuple(values.values()))
                    if host is not None:
                        host.add(part, kernels)
                        continue
                    host = found[tuple(values.values())] = self._host(values)
                    host.add(part, kernels)
                    yield host

    def _decided_by(self, side: str) -> list[str]:
        """Return the facts that part and kernels of ``host`` or ``guest`` decide."""
        host = side == "host"
        kernels = [name for name in self.facts if KERNELS.get(split(name)[0]) is host]
        return [*kernels, *(self._looked_up("host") if host else self._looked_up("guest", "own"))]

    def unknown_of(self, side: str, part: PartClass, kernels: Kernels, *, own: bool) -> list[str]:
        """Return the facts that nobody knows of a part and kernels of ``host`` or ``guest``."""
        values = self._values(self._decided_by(side), part, kernels, own=own)
        return [name for name, value in values.items() if value == UNKNOWN + name]

    def _values(
        self, facts: Iterable[str], part: PartClass, kernels: Kernels, *, own: bool = False
    ) -> dict[str, Value]:
        box = part.own if own else part.boxes[0]
        return {
            name: value_of_kernel(name, kernels, self.bounds)
            if split(name)[0] in KERNELS
            else value_of_part(name, box, kernels)
            for name in facts
        }

    def _host(self, values: Mapping[str, Value]) -> HostClass:
        constants = {name: value for name, value in values.items() if isinstance(value, bool)}
        given, root = (self._read.with_values(each, constants) for each in self._over_facts)
        reading = Reading(self.diagrams, lambda name: self._host_fact(name, values))
        defaults = {
            name: reading.of_function(self._read.with_values(each, constants), self._read, self.diagrams.true)
            for name, each in self._defaults.items()
        }
        possible = self.diagrams.all_of(chain((reading.of(self._axiom),), self._of_the_offer(defaults)))
        return HostClass(values, possible, defaults, (given, root))

    def _alike(self, hosts: Iterable[HostClass]) -> list[HostClass]:
        """Return hosts with those put together that nothing tells apart, whatever their values."""
        found: dict[object, HostClass] = {}
        for host in hosts:
            support = self._support(host.over_facts)
            values = (value for name, value in host.values.items() if name in support)
            defaults = (default for name, default in host.defaults.items() if name in support)
            key = (host.possible, *host.over_facts, *defaults, *values)
            if key in found:
                found[key].join(host)
            else:
                found[key] = host
        return list(found.values())

    def _host_fact(self, name: str, values: Mapping[str, Value]) -> Function:
        value = values.get(name, variable_of(name))
        if isinstance(value, bool):
            return self.diagrams.true if value else self.diagrams.false
        return self.diagrams.false if value == _BARE_METAL else self.diagrams.variable(value)

    def _of_the_offer(self, defaults: Mapping[str, Function]) -> Iterator[Function]:
        """Yield that the guest is shown what KVM offers, or less of that, where only such guests are asked about."""
        if self.bounds.shown is Shown.ANY:
            return
        for variable in self.diagrams.names:
            if variable.startswith(DEVIATES) and variable != OTHER_PART:
                deviates, name = self.diagrams.variable(variable), f"guest.{variable.removeprefix(DEVIATES)}"
                may_be_left_out = self.bounds.shown is Shown.SUBSET and name in defaults
                yield ~deviates | defaults[name] if may_be_left_out else ~deviates

    def guests(self) -> tuple[GuestClass, ...]:
        """Return the classes of guests.

        Raises:
            NotDecidedError: a limit was reached.
        """
        if self._guests is None:
            facts = self._decided_by("guest")
            found: dict[tuple[Value, ...], GuestClass] = {}
            for kernels in kernel_classes(self.facts, self.bounds, hosts=False):
                for part in self._parts:
                    values = self._values(facts, part, kernels)
                    found.setdefault(tuple(values.values()), GuestClass(values)).add(part, kernels)
                    if part.hosts:
                        values = self._values(facts, part, kernels, own=True)
                        found.setdefault(tuple(values.values()), GuestClass(values)).add_own(part, kernels)
            self._guests = tuple(found.values())
        return self._guests

    # --- cells ----------------------------------------------------------------------------------------------------

    def cells(self, *, whole: bool = True) -> Iterator[Cell]:
        """Yield every cell that has a configuration.

        Not `whole`: as soon as each is found; hosts that are alike are then apart, and the weights are too small.

        Raises:
            NotDecidedError: a limit was reached.
        """
        other_parts = self.bounds.shown is Shown.ANY
        if other_parts and self._looked_up("own"):
            raise ValueError("a guest with the host's part is compared with: ask of what is offered, or of a subset")
        for host in self.hosts() if whole else self._each_host():
            every = sum(host.parts.values())
            for guest in self._groups(host.over_facts):
                # Shown the very part of the host, and no kind of core, it is not shown another one.
                same = sum(ways * guest.own.get(part, 0) for part, ways in host.parts.items())
                other = every * guest.ways - same if other_parts else 0
                yield from self._cells_of(host, guest, same, other)

    def _cells_of(self, host: HostClass, guest: GuestClass, same: int, other: int) -> Iterator[Cell]:
        if not same and not other:
            return
        possible, found = self._in_cell(host, guest)
        if possible == self.diagrams.false:
            return
        for weight, other_part in ((same, False), (other, True)):
            if weight:
                yield Cell(host, guest, other_part, weight, possible, found)

    def _in_cell(self, host: HostClass, guest: GuestClass) -> tuple[Function, Function]:
        """Return where there are configurations of two classes, and where the root holds among them."""
        given, root = (self._settle(each, guest) for each in host.over_facts)
        possible = self._transfer(given, host, guest, host.possible)
        return possible, self._transfer(root, host, guest, possible)

    def _settle(self, function: Function, guest: GuestClass) -> Function:
        """Return a function of facts with the values that a class of guests has."""
        key = (function, guest)
        if key not in self._settled:
            self._settled[key] = self._read.with_values(
                function, {name: value for name, value in guest.values.items() if isinstance(value, bool)}
            )
        return self._settled[key]

    def _transfer(self, function: Function, host: HostClass, guest: GuestClass, where: Function) -> Function:
        """Return a function of facts as one of configurations, where `where` holds."""
        if function in (self._read.true, self._read.false):
            return where if function == self._read.true else self.diagrams.false
        with self.diagrams.limits():
            functions = {name: self._fact(name, host, guest) for name in self._names(function)}
        key = (function, where, *functions.values())
        if key not in self._transferred:
            reading = Reading(self.diagrams, functions.__getitem__)
            self._transferred[key] = reading.of_function(function, self._read, where)
        return self._transferred[key]

    def _names(self, function: Function) -> tuple[str, ...]:
        if function not in self._ordered:
            self._ordered[function] = tuple(sorted(self._read.support(function)))
        return self._ordered[function]

    def _groups(self, over_facts: tuple[Function, Function]) -> list[GuestClass]:
        """Return the guests in classes of those that make the same of functions of facts."""
        if over_facts not in self._grouped:
            found: dict[object, GuestClass] = {}
            for guest in self.guests():
                settled = tuple(self._settle(each, guest) for each in over_facts)
                # A fact that is left is a variable; which one, the class of guests says.
                left = tuple((name, guest.values.get(name)) for name in sorted(self._support(settled)))
                found.setdefault((settled, left), GuestClass(guest.values)).join(guest)
            self._grouped[over_facts] = list(found.values())
        return self._grouped[over_facts]

    def _fact(self, name: str, host: HostClass, guest: GuestClass) -> Function:
        scope, what = split(name)
        if name in guest.values:
            value = guest.values[name]
            return self.diagrams.variable(str(value)) if isinstance(value, str) else self._constant(value)
        if scope == "guest" and what in BITS:
            default = host.defaults[name] if name in host.defaults else self._constant(BASELINE[what])
            return default ^ self.diagrams.variable(DEVIATES + what)
        return self._host_fact(name, host.values)

    def directions(self, cell: Cell, deviation: str) -> Iterator[tuple[str, Function]]:
        """Yield in words what a deviation is, each with where it is so: a bit is hidden from the guest, or added."""
        name = f"guest.{deviation.removeprefix(DEVIATES)}"
        if not deviation.startswith(DEVIATES) or deviation == OTHER_PART:
            yield ("another part" if deviation == OTHER_PART else deviation), self.diagrams.true
            return
        what = split(name)[1]
        default = cell.host.defaults[name] if name in cell.host.defaults else self._constant(BASELINE[what])
        yield f"{what}=0", default
        yield f"{what}=1", ~default

    def bits_of(self, cell: Cell, values: Mapping[str, bool]) -> dict[str, bool]:
        """Return the bits of host and guest, as facts by name, where the variables have these values."""
        names = [
            name for name in self.facts if split(name)[1] in BITS and split(name)[0] in ("host", "silicon", "guest")
        ]
        as_host = [f"host.{split(name)[1]}" if split(name)[0] == "silicon" else name for name in names]
        return {name: self.diagrams.evaluate(self._fact(name, cell.host, cell.guest), values) for name in as_host}

    def sure_and_open(self, cell: Cell) -> tuple[Function, Function]:
        """Return where the root holds in a cell whatever the unknowns are, and where for some of them only."""
        some = self.diagrams.exists(cell.found, self.unknowns)
        with self.diagrams.limits():
            otherwise = self.diagrams.exists(cell.possible & ~cell.found, self.unknowns)
            return some & ~otherwise, some & otherwise

    def _constant(self, value: bool) -> Function:
        return self.diagrams.true if value else self.diagrams.false

    def count(self, function: Function) -> int:
        """Return for how many configurations of a cell, for one choice of signatures and releases, a function holds.

        Where it depends on unknowns: for some value of them. Whether the part is another one is the cell's to say.
        """
        free = (OTHER_PART, *self.unknowns)
        return self.diagrams.count(self.diagrams.exists(function, free), len(free))


def baseline(name: str) -> Node | None:
    """Return what a guest is shown by default of the bit that is the fact `name`: what KVM offers, else the host's own.

    None for facts that are no bits of a guest, and for those that have a fixed default.
    """
    scope, what = split(name)
    if scope != "guest" or what not in BITS or what in BASELINE:
        return None
    if what in ARCH_CAPABILITIES:
        return kvm_get_arch_capabilities(model().kvm, what)
    return kvm_get_supported_cpuid(model().kvm, what) if what in OFFERED_CPUID else fact(f"host.{what}")


def _facts_under(nodes: Iterable[Node]) -> list[str]:
    return [node.name for node in walk(nodes) if node.kind is Kind.FACT]


def _named(name: str) -> Node | None:
    """Return the rule or fact called `name`; None for an option of a kernel, which is set and not asked for."""
    if split(name)[1] in KERNEL_LOOKUPS:
        return None
    rule = rule_called(name)
    return fact(name) if rule is None else rule
