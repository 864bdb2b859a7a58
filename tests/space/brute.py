"""Brute force: configurations of a space one by one, for one choice of parts and releases at a time.

Facts that tables give are those of snapshots made by hand; bits are columns of a table of every assignment, a plane
each. Nothing here reads decision diagrams or the look-ups of the space.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal

from archcaps.logic.bitplanes import BitPlanes, Planes
from archcaps.logic.graph import Kind, Node, fact, rule_called, walk
from archcaps.machine.facts import facts_of
from archcaps.machine.snapshot import Cpu, Cpuid, Kernel, Kvm, Snapshot
from archcaps.rules.kvm_offer import OFFERED_CPUID, kvm_get_arch_capabilities, kvm_get_supported_cpuid
from archcaps.rules.shown import model
from archcaps.tables.axioms import axioms
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS
from archcaps.tables.files import read_csv, read_toml
from archcaps.tables.linux_lists import Part as ListedPart
from archcaps.tables.names import KERNEL_LOOKUPS, SILICON_LOOKUPS

__all__ = ["Brute", "Counts", "Part", "offer_of", "revision", "table_values"]

#: What every VMM shows where it is asked for nothing else, whatever KVM offers.
ALWAYS = ("hypervisor", "rtm_disable")
#: Rows at a time.
WIDTH = 18


@dataclass(frozen=True)
class Part:
    """A CPU's signature, and the kind of its cores."""

    vendor: str
    family: int
    model: int
    stepping: int
    hybrid: bool = False
    atom: bool = False

    @property
    def plain(self) -> Part:
        return Part(self.vendor, self.family, self.model, self.stepping)


@cache
def _revisions() -> dict[tuple[int, ...], int]:
    rows, signature = read_csv("silicon/amd_tsa_microcode.csv"), ("family", "model", "stepping")
    return {tuple(int(row[name], 0) for name in signature): int(row["min_revision"], 0) for row in rows}


def revision(part: Part | ListedPart, *, recent: bool) -> int:
    """Return the newest or the oldest revision of a part: its upper bytes name the part, the last byte counts."""
    listed = _revisions().get((part.family or 0, part.model or 0, part.stepping or 0), 0)
    return listed | 0xFF if recent else listed & ~0xFF


@dataclass(frozen=True)
class Counts:
    """In how many configurations, of those that can be, a node surely holds, and in how many it is open."""

    possible: int
    sure: int
    open: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.possible + other.possible, self.sure + other.sure, self.open + other.open)


@dataclass
class Apart:
    """Configurations that deviate alike in the bits that are given: where they are, can be, hold and do not."""

    rows: int
    deviating: tuple[int, ...]
    possible: int = 0
    holding: int = 0
    failing: int = 0

    def add(self, possible: int, found: int) -> None:
        """Add what one way to set the unknowns makes of them."""
        self.possible |= possible
        self.holding |= possible & found
        self.failing |= possible & ~found

    @property
    def counts(self) -> Counts:
        sure, both = self.holding & ~self.failing, self.holding & self.failing
        return Counts(self.possible.bit_count(), sure.bit_count(), both.bit_count())


def machine(
    role: Literal["host", "guest"], part: Part, release: str, *, recent: bool, built: bool, cmdline: str = ""
) -> Snapshot:
    """Return a machine with a part and a kernel of upstream's configuration."""
    items = {
        key: value for key, value in read_toml("kernel_configs.toml")["upstream-defaults"].items() if key.isupper()
    }
    shown = ["hybrid"] * part.hybrid + ["hypervisor"] * (role == "guest")
    return Snapshot(
        format_version=1,
        role=role,
        cpu=Cpu(
            vendor=part.vendor, family=part.family, model=part.model, stepping=part.stepping,
            core_type=0x20 if part.atom else 0, microcode=revision(part, recent=recent),
        ),
        cpuid=Cpuid(shown=shown),
        kernel=Kernel(release=release, cmdline=cmdline, config={**items, "KVM": "y" if built else "n"}),
        kvm=Kvm(parameters={"vmentry_l1d_flush": "auto", "ept": "Y", "ignore_msrs": "N"} if role == "host" else {}),
    )  # fmt: skip


@cache
def table_values(
    host: Part, host_release: str, guest: Part, guest_release: str, built: bool, recent: bool
) -> Mapping[str, bool]:
    """Return the facts that two such machines have, but for their bits, which are anything."""
    facts = facts_of(
        machine("host", host, host_release, recent=recent, built=True),
        machine("guest", guest, guest_release, recent=recent, built=built),
    )
    kept = {}
    for name, value in facts.values.items():
        scope, _, what = name.partition(".")
        if what not in BITS and scope not in ("vm", "assume"):
            kept[name] = value
    return kept


def offer_of(bit: str) -> Node | None:
    """Return what a guest is shown of a bit where its VMM takes what KVM offers; None: it is always shown."""
    if bit in ALWAYS:
        return None
    if bit in ARCH_CAPABILITIES:
        return kvm_get_arch_capabilities(model().kvm, bit)
    return kvm_get_supported_cpuid(model().kvm, bit) if bit in OFFERED_CPUID else fact(f"host.{bit}")


@cache
def facts_under(node: Node) -> tuple[str, ...]:
    return tuple(part.name for part in walk((node,)) if part.kind is Kind.FACT)


@cache
def patterns(width: int) -> tuple[int, ...]:
    """Return for each bit of a row's number the rows where it is set."""
    found = []
    for place in range(width):
        half = 1 << place
        plane, length = ((1 << half) - 1) << half, 2 * half
        while length < 1 << width:
            plane |= plane << length
            length *= 2
        found.append(plane)
    return tuple(found)


class Brute:
    """All assignments of the bits `free`, with what is `given` (facts and rules by name).

    What is neither free nor in a table is set at random: nothing may depend on it. `shown`: ``any``, ``subset`` or
    ``offered``, as bounds have it.
    """

    def __init__(
        self, root: Node, free: Sequence[str], given: Mapping[str, bool], *, shown: str = "any", silicon: bool = True
    ) -> None:
        self.root = root
        self.options = {name: value for name, value in given.items() if name.partition(".")[2] in KERNEL_LOOKUPS}
        self.given = {name: value for name, value in given.items() if name not in self.options}
        self.rules = [(node, value) for name, value in self.given.items() if (node := rule_called(name)) is not None]
        # A guest's bit that is given says how it deviates.
        said = {f"deviates:{name[6:]}" for name in self.given if name.startswith("guest.") and name[6:] in BITS}
        self.free = [name for name in free if name not in self.given and name not in said]
        if shown == "offered":  # nothing deviates: one value of each, that makes the guest's bit what is offered
            self.free = [name for name in self.free if not name.startswith("deviates:")]
        self.every = frozenset(free)
        self.shown = shown
        self.silicon = silicon
        names = {name for node in (root, *(node for node, _ in self.rules)) for name in facts_under(node)}
        names |= self.given.keys() - {node.name for node, _ in self.rules}
        self.bits = sorted(name[6:] for name in names if name.startswith("guest.") and name[6:] in BITS)
        self.offers = {bit: offer for bit in self.bits if (offer := offer_of(bit)) is not None}
        self.names = sorted(names.union(*map(facts_under, self.offers.values())))
        self.read = frozenset(self.names)
        self.compared = 0
        self.random = random.Random(len(self.names))

    def counts(self, host: Part, host_release: str, guest: Part, guest_release: str, built: bool) -> Counts:
        """Return the counts for one choice of parts and kernels."""
        old, new = (table_values(host, host_release, guest, guest_release, built, recent) for recent in (False, True))
        old, new = {**old, **self.options}, {**new, **self.options}
        total = Counts(0, 0, 0)
        width = min(WIDTH, len(self.free))
        for high in product((False, True), repeat=len(self.free) - width):
            rows = 1 << width
            every = (1 << rows) - 1
            columns = dict(zip(self.free, patterns(width), strict=False))
            columns |= {name: every if value else 0 for name, value in zip(self.free[width:], high, strict=True)}
            total += self._chunk(rows, columns, old, new)
        return total

    def _chunk(self, rows: int, columns: Mapping[str, int], old: Mapping[str, bool], new: Mapping[str, bool]) -> Counts:
        every = (1 << rows) - 1
        known = {name: plane for name, plane in columns.items() if not name.startswith("deviates:")}
        known |= {name: every if value else 0 for name, value in self.given.items()}
        for name in old.keys() | new.keys():
            if name in old and name in new and old[name] is new[name]:
                known[name] = every if old[name] else 0
            elif name in self.read:  # the microcode decides: a part of which the table says from which revision on
                assert (old.get(name), new.get(name)) == (False, True), name
                whose = "guest" if name.startswith("guest.") else "host"
                # A variable that the space has not: it may be anything.
                known[name] = columns.get(f"{whose}.recent_microcode", 0)
        unknown = []
        for name in self.names:
            scope, _, what = name.partition(".")
            if what in BITS and scope == "guest":
                continue
            variable = f"host.{what}" if what in BITS and scope == "silicon" else name
            if variable == "host.hypervisor":
                known[name] = 0  # bare metal
            elif variable in self.given:
                known[name] = every if self.given[variable] else 0
            elif variable in columns:
                known[name] = columns[variable]
            elif name not in known and self._is_free(scope, what):
                known[variable] = known[name] = known.get(variable, self.random.getrandbits(rows))
            elif name not in known:
                unknown.append(name)
        # Where an offer is unknown, a guest's bit that is given deviates from it or not as the unknown is: these are
        # different configurations, in one row.
        apart: list[Apart] = []
        for values in product((0, every), repeat=len(unknown)):
            here, found, deviating = self._evaluate(rows, columns, {**known, **dict(zip(unknown, values, strict=True))})
            left = every
            for each in apart:
                same = each.rows & left
                for one, other in zip(each.deviating, deviating, strict=True):
                    same &= ~(one ^ other)
                each.add(here & same, found)
                left &= ~same
            if left:
                apart.append(Apart(left, deviating))
                apart[-1].add(here & left, found)
            self.compared += rows
        return sum((each.counts for each in apart), Counts(0, 0, 0))

    @staticmethod
    def _is_free(scope: str, what: str) -> bool:
        """Whether no table and no release decides it."""
        return what in BITS or scope in ("vm", "assume") or what == "smt_active"

    def _evaluate(
        self, rows: int, columns: Mapping[str, int], known: Mapping[str, int]
    ) -> tuple[int, int, tuple[int, ...]]:
        """Return the rows that can be, those where the node holds, and how the bits that are given deviate."""
        every = (1 << rows) - 1
        facts: dict[str, Planes] = {name: (plane, every & ~plane) for name, plane in known.items() if name in self.read}
        reader = BitPlanes(rows, facts)
        possible = every
        deviating = []
        for bit in self.bits:
            name, deviates = f"guest.{bit}", f"deviates:{bit}"
            offered, unoffered = reader.planes(self.offers[bit]) if bit in self.offers else (every, 0)
            assert offered ^ unoffered == every, f"{bit} is offered or not"
            if name in self.given:
                shown = every if self.given[name] else 0
                deviating.append(shown ^ offered)
            elif self.shown == "offered" and deviates in self.every:
                shown = offered
            elif deviates in columns:
                shown = offered ^ columns[deviates]
            else:
                shown = self.random.getrandbits(rows)
            facts[name] = (shown, every & ~shown)
            if self.shown == "offered" or (self.shown == "subset" and bit not in self.offers):
                possible &= ~(shown ^ offered) if deviates in self.every else every
            elif self.shown == "subset" and deviates in self.every:
                possible &= ~shown | offered
        reader = BitPlanes(rows, facts)
        for node, value in self.rules:
            possible &= reader.planes(node)[0 if value else 1]
        if self.silicon:
            possible &= self._real(rows, known)
        holds, fails = reader.planes(self.root)
        assert holds ^ fails == every, "every fact is set"
        return possible, holds, tuple(deviating)

    def _real(self, rows: int, known: Mapping[str, int]) -> int:
        """Return the rows in which every axiom can hold; bits that are no variables are 0."""
        every = (1 << rows) - 1
        possible = every
        for axiom in axioms():
            when, then = every, every
            for literal in axiom.when:
                when &= self._literal(literal.name, literal.value, known, every, unknown=0)
            for literal in axiom.then:
                then &= self._literal(literal.name, literal.value, known, every, unknown=every)
            possible &= ~when | then
        return possible & every

    def _literal(self, name: str, value: bool, known: Mapping[str, int], every: int, *, unknown: int) -> int:
        full = f"silicon.{name}" if name in SILICON_LOOKUPS else f"host.{name}"
        if name in BITS:
            plane = known[full] if full in self.every or full in self.given else 0
        elif full in known:
            plane = known[full]
        else:
            return unknown
        return plane if value else every & ~plane

    def unknown(self, host: Part, host_release: str, guest: Part, guest_release: str, built: bool) -> Iterator[str]:
        """Yield the facts of the rules that no table knows for this choice."""
        values = {**table_values(host, host_release, guest, guest_release, built, True), **self.options}
        for name in self.names:
            scope, _, what = name.partition(".")
            if name not in values and not self._is_free(scope, what):
                yield name
