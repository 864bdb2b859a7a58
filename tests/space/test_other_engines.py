"""The space against engines that know nothing of decision diagrams: SAT, exact model counting, and SQL.

The clauses and the SQL are made here, from the nodes, the facts of snapshots and the axioms alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import duckdb
import pyganak  # type: ignore[import-not-found]  # a module without types
import pytest
from pysat.solvers import Cadical153  # type: ignore[import-untyped]  # python-sat has no types

from archcaps.logic.graph import TRUE, Kind, Node, fact, rule_called, walk
from archcaps.space.bounds import Shown
from archcaps.space.cells import Cell
from archcaps.space.lookups import Kernels, PartClass
from archcaps.space.names import UNKNOWN
from archcaps.space.releases import releases
from archcaps.space.space import Space
from archcaps.tables.axioms import axioms
from archcaps.tables.bits import BITS
from archcaps.tables.names import SILICON_LOOKUPS
from tests.space.brute import ALWAYS, Counts, Part, offer_of, table_values
from tests.space.test_brute_force import (
    ALDER_LAKE,
    CASCADE_LAKE,
    DHYANA,
    GOLDMONT,
    HASWELL,
    ICE_LAKE,
    MILAN,
    SKYLAKE,
    TURIN,
    Slice,
    counted,
    free_of,
    properties,
)  # fmt: skip

FULL = os.environ.get("ARCHCAPS_SPACE") == "full"

Values = Mapping[str, bool | str]


# --- one choice of a cell, and its facts --------------------------------------------------------------------------


def choice_of(cell: Cell) -> Values:
    """Return the facts of one choice of a cell: values, or the variable that says which."""
    part, kernels = cell.host.members[-1]
    if cell.other_part:
        host = next(signatures(part))
        guest, guest_kernels = next(
            (each, own) for other, own in cell.guest.members for each in signatures(other) if each != host.plain
        )
    else:
        part, kernels, guest_kernels = next(
            (part, kernels, own)
            for part, kernels in cell.host.members
            for same, own in cell.guest.own_members
            if same is part
        )
        host = next(signatures(part))
        guest = host.plain
    return facts_of_choice(
        host, release_of(kernels, "host_kernel"), guest, release_of(guest_kernels, "guest_kernel"), guest_kernels.built
    )


def signatures(found: PartClass) -> Iterator[Part]:
    """Yield the signatures of a class of parts, the last of each box first."""
    for box in reversed(found.boxes):
        for stepping in reversed(box.steppings):
            yield Part(box.vendor, box.families[-1], box.models[-1], stepping, box.hybrid, box.atom)
        yield Part(box.vendor, box.families[0], box.models[0], box.steppings[0], box.hybrid, box.atom)


def release_of(kernels: Kernels, kernel: str) -> str:
    return releases()[kernels.places[kernel][-1] if kernel in kernels.places else -1].text


def facts_of_choice(host: Part, kvm: str, guest: Part, kernel: str, built: bool) -> Values:
    old, new = (table_values(host, kvm, guest, kernel, built, recent) for recent in (False, True))
    found: dict[str, bool | str] = {}
    for name in old.keys() & new.keys():
        whose = "guest" if name.startswith("guest.") else "host"
        found[name] = old[name] if old[name] is new[name] else f"{whose}.recent_microcode"
    return found


def variable(name: str, values: Values) -> bool | str:
    """Return a fact's value, or the variable that it is; not for bits of a guest."""
    scope, _, what = name.partition(".")
    if what in BITS:
        return False if what == "hypervisor" else f"host.{what}"
    if scope in ("vm", "assume") or what == "smt_active":
        return name
    return values.get(name, UNKNOWN + name)


# --- clauses ------------------------------------------------------------------------------------------------------


class Clauses:
    """A node, the axioms, what is given and what may be shown, as clauses; one variable for each node."""

    def __init__(self, values: Values, cut: Slice, given: Mapping[str, bool]) -> None:
        self.numbers: dict[str, int] = {}
        self.clauses: list[list[int]] = []
        self._nodes: dict[Node, int] = {}
        self._values = values
        self.true = self.new()
        self.clauses.append([self.true])
        if cut.silicon:
            self._axioms()
        for name, value in given.items():
            node = rule_called(name)
            literal = self.of(fact(name) if node is None else node)
            self.clauses.append([literal if value else -literal])
        self._shown = cut.shown

    def new(self) -> int:
        number = len(self.numbers) + 1
        self.numbers[f"#{number}"] = number
        return number

    def named(self, name: str) -> int:
        if name not in self.numbers:
            self.numbers[name] = len(self.numbers) + 1
        return self.numbers[name]

    def _fact(self, name: str) -> int:
        scope, _, what = name.partition(".")
        if scope == "guest" and what in BITS:
            offer = offer_of(what)
            default = self.true if offer is None else self.of(offer)
            deviates = self.named(f"deviates:{what}")
            if self._shown is Shown.OFFERED or (self._shown is Shown.SUBSET and what in ALWAYS):
                self.clauses.append([-deviates])
            elif self._shown is Shown.SUBSET:
                self.clauses.append([-deviates, default])
            return self.differ(default, deviates)
        value = variable(name, self._values)
        if isinstance(value, bool):
            return self.true if value else -self.true
        return self.named(value)

    def differ(self, one: int, other: int) -> int:
        found = self.new()
        self.clauses += [[-found, one, other], [-found, -one, -other], [found, -one, other], [found, one, -other]]
        return found

    def of(self, root: Node) -> int:
        """Return the literal that is true just where a node holds."""
        for node in walk((root,), self._nodes):
            self._nodes[node] = self._of(node)
        return self._nodes[root]

    def _of(self, node: Node) -> int:
        match node.kind:
            case Kind.CONSTANT:
                return self.true if node is TRUE else -self.true
            case Kind.FACT:
                return self._fact(node.name)
            case Kind.RULE:
                return self._nodes[node.args[0]]
            case Kind.NOT:
                return -self._nodes[node.args[0]]
        # Or: some operand; and: not some operand that fails.
        sign = 1 if node.kind is Kind.OR else -1
        found = self.new()
        args = [sign * self._nodes[arg] for arg in node.args]
        self.clauses.append([-found, *args])
        self.clauses += [[found, -arg] for arg in args]
        return sign * found

    def _axioms(self) -> None:
        for axiom in axioms():
            when = [-self._literal(literal.name, literal.value) for literal in axiom.when]
            self.clauses += [[*when, self._literal(literal.name, literal.value)] for literal in axiom.then]

    def _literal(self, name: str, value: bool) -> int:
        found = self._fact(f"silicon.{name}" if name in SILICON_LOOKUPS else f"host.{name}")
        return found if value else -found


# --- (a) satisfiable or not ---------------------------------------------------------------------------------------

WIDE = [
    ("broken-promise-mds", Slice((CASCADE_LAKE, SKYLAKE, GOLDMONT, ICE_LAKE), "6.1.192,6.12.117", "5.10.265,7.1.5")),
    ("exposed-mds", Slice((CASCADE_LAKE,), "7.1.5", "5.10.265,6.12.117", Shown.SUBSET)),
    ("exposes-host-mmio_stale_data", Slice((CASCADE_LAKE, HASWELL, MILAN), "5.10-5.15,7.1", "6.12.117")),
    ("false-alarm-tsa", Slice((MILAN, TURIN, DHYANA, SKYLAKE), "6.12,7.1", "6.1.192,6.12.117")),
    ("exposed-tsa", Slice((MILAN, TURIN), "6.12.117", "6.6.150,7.1.5", Shown.OFFERED)),
    ("false-immunity-reg_file_data_sampling", Slice((ALDER_LAKE, GOLDMONT), "6.6,6.12", "6.6.150,7.1.5")),
    ("false-immunity-tsx_async_abort", Slice((SKYLAKE, CASCADE_LAKE), "6.6.150,7.1", "6.1.192", silicon=False)),
]  # fmt: skip


def satisfiable(clauses: Clauses, *literals: int) -> dict[str, bool] | None:
    """Return an assignment by name; None where there is none."""
    with Cadical153(bootstrap_with=clauses.clauses) as solver:
        if not solver.solve(assumptions=literals):
            return None
        true = {number for number in solver.get_model() if number > 0}
    return {name: number in true for name, number in clauses.numbers.items()}


@pytest.mark.parametrize(("name", "cut"), WIDE, ids=lambda value: value if isinstance(value, str) else "")
def test_a_solver_finds_configurations_just_where_there_are_some(name: str, cut: Slice) -> None:
    root = properties()[name]
    space = Space(root, cut.bounds({}), seconds=3600)
    cells = list(space.cells())
    seen = set()
    for cell in cells if FULL else cells[:: 1 + len(cells) // 60]:
        clauses = Clauses(choice_of(cell), cut, {})
        holds = clauses.of(root)
        for literals, function in (
            ((), cell.possible),
            ((holds,), cell.found),
            ((-holds,), space.diagrams.all_of((cell.possible, ~cell.found))),
        ):
            found = satisfiable(clauses, *literals)
            assert (found is not None) is (function != space.diagrams.false)
            # The solver's configuration is one of the diagram's.
            assert found is None or space.diagrams.evaluate(function, found)
            # And the diagram's is one of the solver's.
            if function != space.diagrams.false:
                least = space.diagrams.least(function, lambda name, value: value)
                assert least is not None
                known = [
                    clauses.numbers[each] * (1 if least[each] else -1) for each in least if each in clauses.numbers
                ]
                assert satisfiable(clauses, *literals, *known) is not None
            seen.add((bool(literals), function == space.diagrams.false))
    assert (True, False) in seen


# --- (b) exact counts ---------------------------------------------------------------------------------------------


def models(clauses: Clauses, over: list[str], *literals: int) -> int:
    """Return how many assignments of the variables `over` can be completed."""
    numbers = [clauses.named(name) for name in over]
    counter = pyganak.Counter()
    counter.new_vars(len(clauses.numbers))
    counter.add_clauses([*clauses.clauses, *([literal] for literal in literals)])
    counter.set_sampling_set(numbers)
    found: int = counter.count()
    return found


def by_models(root: Node, clauses: Clauses, over: list[str]) -> Counts:
    holds = clauses.of(root)
    possible, some, fails = (models(clauses, over, *literals) for literals in ((), (holds,), (-holds,)))
    # What can be holds or fails, for some value of the unknowns; what does both is open.
    both = some + fails - possible
    return Counts(possible, some - both, both)


LARGE = [
    ("broken-promise-mds", Slice((CASCADE_LAKE,), "7.1.5", "6.12.117")),
    ("exposed-mds", Slice((CASCADE_LAKE,), "6.12.117", "6.1.192")),
    ("exposes-host-mds", Slice((SKYLAKE,), "6.6.150", "6.1.192")),
    ("exposed-mmio_stale_data", Slice((CASCADE_LAKE,), "6.1.192", "7.1.5", Shown.SUBSET)),
    ("broken-promise-reg_file_data_sampling", Slice((GOLDMONT,), "6.12.117", "6.12.117")),
    ("false-immunity-tsx_async_abort", Slice((SKYLAKE,), "6.12.117", "5.10.265", silicon=False)),
    ("exposed-tsa", Slice((MILAN,), "7.1.5", "6.12.117")),
    ("false-alarm-tsa", Slice((TURIN,), "6.12.117", "6.1.192", silicon=False)),
]  # fmt: skip


def spread(cells: list[Cell], space: Space, number: int) -> list[Cell]:
    """Return some of the cells: where the node holds in some configurations, and not in all, first."""
    mixed = [cell for cell in cells if cell.found not in (space.diagrams.false, cell.possible)]
    others = [cell for cell in cells if cell not in mixed]
    return [*mixed[:: 1 + len(mixed) // number], *others[:: 1 + len(others)]]


@pytest.mark.parametrize(("name", "cut"), LARGE, ids=lambda value: value if isinstance(value, str) else "")
def test_a_model_counter_counts_the_same(name: str, cut: Slice) -> None:
    root = properties()[name]
    space = Space(root, cut.bounds({}), seconds=3600)
    over = free_of(space)
    # Of most of these no brute force goes through every assignment.
    assert len(over) > 10
    for cell in spread(list(space.cells()), space, 40 if FULL else 3):
        assert counted(space, cell) == by_models(root, Clauses(choice_of(cell), cut, {}), over)


# --- (c) SQL ------------------------------------------------------------------------------------------------------


class Query:
    """A node as columns of tables: each table has what the one before has, and the nodes above it."""

    def __init__(self, values: Values, given: Mapping[str, bool], over: list[str]) -> None:
        self._values = values
        self._given = given
        self.variables = [name for name in over if name not in given]
        self._terms: dict[object, tuple[str, int]] = {}
        self.levels: dict[int, list[str]] = {}

    def of(self, root: Node) -> tuple[str, int]:
        """Return the term that is a node, and the level of the table that has it."""
        for node in walk((root,)):
            if node not in self._terms:
                self._terms[node] = self._of(node)
        return self._terms[root]

    def column(self, sign: str, terms: list[tuple[str, int]]) -> tuple[str, int]:
        """Return the term of an operation, as a new column."""
        absorbing, neutral = ("false", "true") if sign == "AND" else ("true", "false")
        left = [term for term in terms if sign == "<>" or term[0] != neutral]
        if sign != "<>" and any(term == absorbing for term, _ in left):
            return absorbing, 0
        if not left:
            return neutral, 0
        level = max(level for _, level in left) + 1
        columns = self.levels.setdefault(level, [])
        name = f"n{level}_{len(columns)}"
        columns.append("(" + f" {sign} ".join(term for term, _ in left) + f") AS {name}")
        return name, level

    def variable(self, name: str) -> tuple[str, int]:
        if name in self._given:
            return str(self._given[name]).lower(), 0
        if name not in self.variables:
            if not name.startswith(UNKNOWN):
                return "false", 0  # the space has no such variable: any value will do
            self.variables.append(name)
        return f"v{self.variables.index(name)}", 0

    def fact(self, name: str) -> tuple[str, int]:
        scope, _, what = name.partition(".")
        if scope == "guest" and what in BITS:
            offer = offer_of(what)
            default = ("true", 0) if offer is None else self.of(offer)
            return self.column("<>", [default, self.variable(f"deviates:{what}")])
        value = variable(name, self._values)
        return (str(value).lower(), 0) if isinstance(value, bool) else self.variable(value)

    def _of(self, node: Node) -> tuple[str, int]:
        match node.kind:
            case Kind.CONSTANT:
                return ("true" if node is TRUE else "false"), 0
            case Kind.FACT:
                return self.fact(node.name)
            case Kind.RULE:
                return self._terms[node.args[0]]
            case Kind.NOT:
                return self.negated(self._terms[node.args[0]])
        return self.column("AND" if node.kind is Kind.AND else "OR", [self._terms[arg] for arg in node.args])

    def negated(self, term: tuple[str, int]) -> tuple[str, int]:
        fixed = {"true": "false", "false": "true"}
        return (fixed[term[0]], 0) if term[0] in fixed else (f"(NOT {term[0]})", term[1])

    def axiom_terms(self, bits: set[str]) -> Iterator[tuple[str, int]]:
        """Yield each axiom, with the bits that are no variables at 0."""

        def term(name: str, value: bool) -> tuple[str, int]:
            if name in BITS:
                found = self.variable(f"host.{name}") if f"host.{name}" in bits else ("false", 0)
            else:
                found = self.fact(f"silicon.{name}" if name in SILICON_LOOKUPS else f"host.{name}")
            return found if value else self.negated(found)

        for axiom in axioms():
            when = [self.negated(term(literal.name, literal.value)) for literal in axiom.when]
            then = self.column("AND", [term(literal.name, literal.value) for literal in axiom.then])
            yield self.column("OR", [*when, then])


def by_sql(root: Node, values: Values, given: Mapping[str, bool], over: list[str]) -> Counts:
    query = Query(values, given, over)
    free = [f"v{number}" for number in range(len(query.variables))]
    possible = query.column("AND", list(query.axiom_terms(set(over))))
    found = query.of(root)
    with duckdb.connect() as database:
        database.execute("SET threads = 1")
        columns = ", ".join(f"g{number}.bit = 1 AS v{number}" for number in range(len(query.variables)))
        tables = ", ".join(f"generate_series(0, 1) AS g{number}(bit)" for number in range(len(query.variables)))
        database.execute(f"CREATE TABLE t0 AS SELECT {columns} FROM {tables}")
        for level in range(1, max(query.levels, default=0) + 1):
            made = ", ".join(query.levels.get(level, ["true AS nothing"]))
            database.execute(f"CREATE TABLE t{level} AS SELECT *, {made} FROM t{level - 1}")
            database.execute(f"DROP TABLE t{level - 1}")
        row = database.execute(
            f"""
            SELECT count(*) FILTER (possible), count(*) FILTER (holds AND NOT fails), count(*) FILTER (holds AND fails)
            FROM (
                SELECT bool_or({possible[0]}) AS possible, bool_or({possible[0]} AND {found[0]}) AS holds,
                    bool_or({possible[0]} AND NOT {found[0]}) AS fails
                FROM t{max(query.levels, default=0)} GROUP BY {", ".join(free)}
            )
            """
        ).fetchone()
    assert row is not None
    return Counts(*row)


#: Of the host's bits these are free, all others are given.
SMALL = [
    ("false-alarm-tsa", MILAN, "6.12.117", Shown.OFFERED, ("tsa_sq_no", "tsa_l1_no", "tsa_fill_no", "flush_l1d")),
    ("broken-promise-tsa", TURIN, "7.1.5", Shown.OFFERED, ("verw_clear", "tsa_sq_no", "tsa_l1_no", "tsa_fill_no")),
    ("broken-promise-mds", CASCADE_LAKE, "7.1.5", Shown.ANY, ("mds_no", "md_clear")),
    ("exposes-host-mds", SKYLAKE, "6.12.117", Shown.ANY, ("fb_clear", "md_clear", "flush_l1d", "rtm")),
    ("exposed-mmio_stale_data", CASCADE_LAKE, "6.6.150", Shown.OFFERED, ("psdp_no", "fb_clear", "md_clear", "rtm")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "host", "kvm", "shown", "free"), SMALL, ids=lambda value: str(value)[:40])
def test_a_database_counts_the_same(name: str, host: Part, kvm: str, shown: Shown, free: tuple[str, ...]) -> None:
    root = properties()[name]
    cut = Slice((host,), kvm, "6.1.192", shown)
    every = free_of(Space(root, cut.bounds({})))
    bits = [each.removeprefix("host.") for each in every if each.startswith("host.")]
    # Of Intel's hosts what every one of them has that has the register, and nothing else.
    has = {"arch_capabilities", "rdcl_no", "avx", "avx2"} if host.vendor == "GenuineIntel" else set()
    given = {f"host.{bit}": bit in has for bit in bits if bit not in free and bit != "recent_microcode"}
    space = Space(root, cut.bounds(given), seconds=3600)
    # Where just what is offered is shown nothing deviates.
    fixed = {each: False for each in every if shown is Shown.OFFERED and each.startswith("deviates:")}
    total = Counts(0, 0, 0)
    for cell in space.cells():
        if not cell.other_part:
            expected = by_sql(root, choice_of(cell), given | fixed, free_of(space))
            assert counted(space, cell) == expected
            total += expected
    assert total.possible > 0


# --- the axioms that are left out ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(properties()) if FULL else [each for each, _ in LARGE])
def test_axioms_that_are_left_out_forbid_nothing(name: str) -> None:
    # Of every axiom at once: each host that the chosen ones allow can be completed by bits that are all 0.
    space = Space(properties()[name], Slice((CASCADE_LAKE,), "6.12.117", "6.12.117").bounds({}))
    everything = Clauses({}, Slice(()), {})
    chosen = everything.of(space._axiom)
    # All axioms imply the chosen ones.
    assert satisfiable(everything, -chosen) is None
    alone = Clauses({}, Slice((), silicon=False), {})
    alone.clauses.append([alone.of(space._axiom)])
    kept = {each for each in space.facts if each.startswith("host.")}
    zero = [-alone.named(f"host.{bit}") for bit in BITS if f"host.{bit}" not in kept and bit != "hypervisor"]
    broken = {
        (axiom.name, str(literal)): [
            *(alone._literal(other.name, other.value) for other in axiom.when),
            -alone._literal(literal.name, literal.value),
        ]
        for axiom in axioms()
        for literal in axiom.then
        # What look-ups alone say of each other the tables keep to.
        if literal.name in BITS or any(other.name in BITS for other in axiom.when)
    }
    with Cadical153(bootstrap_with=alone.clauses) as solver:
        assert [which for which, literals in broken.items() if solver.solve(assumptions=[*literals, *zero])] == []
        assert solver.solve(assumptions=zero)
