"""Random expressions with rules, read as decision diagrams in random orders, and their values by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from hypothesis import strategies as st

from archcaps.logic.diagram import Diagrams, Function
from archcaps.logic.graph import FALSE, TRUE, Node, fact, rule
from archcaps.logic.reading import Reading
from tests.logic.expressions import NAMES, evaluate, expressions_over

Row = dict[str, bool]

#: More than the expressions read: one variable is there and decides nothing.
EVERY = (*NAMES, "idle")


class Scope:
    scope = "diagram_test"


@rule("a manual")
def either(cpu: Scope) -> Node:
    """One of two, not both."""
    return (fact("a") & ~fact("b")) | (~fact("a") & fact("b"))


@rule("a manual")
def never(cpu: Scope) -> Node:
    """It does not hold."""
    return FALSE


nodes = expressions_over([*(fact(name) for name in NAMES), either(Scope()), never(Scope()), TRUE])
orders = st.permutations(EVERY)
some_names = st.lists(st.sampled_from(EVERY), unique=True, max_size=4)


def rows_of(names: Sequence[str]) -> list[Row]:
    return [dict(zip(names, values, strict=True)) for values in product((False, True), repeat=len(names))]


def where(diagrams: Diagrams, function: Function) -> list[bool]:
    return [diagrams.evaluate(function, row) for row in rows_of(diagrams.names)]


def by_hand(node: Node, names: Sequence[str]) -> list[bool]:
    return [evaluate(node, row) for row in rows_of(names)]


def read(node: Node, names: Sequence[str]) -> tuple[Diagrams, Function]:
    diagrams = Diagrams(names)
    return diagrams, Reading(diagrams, diagrams.variable).of(node)
