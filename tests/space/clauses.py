"""A node as clauses, for solvers that know nothing of decision diagrams.

The clauses are made from the nodes, the facts of snapshots and the axioms alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from pysat.solvers import Cadical153  # type: ignore[import-untyped]  # python-sat has no types

from archcaps.logic.graph import TRUE, Kind, Node, fact, rule_called, walk
from archcaps.space.bounds import Shown
from archcaps.tables.axioms import axioms
from archcaps.tables.bits import BITS
from archcaps.tables.names import SILICON_LOOKUPS
from tests.space.brute import ALWAYS, offer_of
from tests.space.choices import Values, variable
from tests.space.test_brute_force import Slice


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


def satisfiable(clauses: Clauses, *literals: int) -> dict[str, bool] | None:
    """Return an assignment by name; None where there is none."""
    with Cadical153(bootstrap_with=clauses.clauses) as solver:
        if not solver.solve(assumptions=literals):
            return None
        true = {number for number in solver.get_model() if number > 0}
    return {name: number in true for name, number in clauses.numbers.items()}
