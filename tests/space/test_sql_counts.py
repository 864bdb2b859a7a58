"""The space against a database: the same number of configurations, counted in tables.

The SQL is made here, from the nodes, the facts of snapshots and the axioms alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import duckdb
import pytest

from archcaps.logic.graph import TRUE, Kind, Node, walk
from archcaps.space.bounds import Shown
from archcaps.space.names import UNKNOWN
from archcaps.space.space import Space
from archcaps.tables.axioms import axioms
from archcaps.tables.bits import BITS
from archcaps.tables.names import SILICON_LOOKUPS
from tests.space.brute import Counts, Part, offer_of
from tests.space.choices import Values, choice_of, variable
from tests.space.test_brute_force import CASCADE_LAKE, MILAN, SKYLAKE, TURIN, Slice, counted, free_of, properties


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
    every = free_of(Space(root, cut.bounds({}), seconds=3600))
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
