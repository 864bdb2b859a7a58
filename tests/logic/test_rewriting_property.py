from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archcaps.logic.graph import FALSE, TRUE, Node, fact, rule
from archcaps.logic.rewriting import rewritten
from tests.logic.expressions import NAMES, evaluate, expressions

SOME = st.dictionaries(st.sampled_from(NAMES), st.booleans())
ALL = st.fixed_dictionaries({name: st.booleans() for name in NAMES})


class _World:
    scope = "rewriting"


@rule("a test")
def both(world: _World) -> Node:
    """Both of two facts."""
    return fact("a") & fact("b")


@given(expressions, SOME, ALL)
def test_property_facts_replaced_by_values_have_these_values(
    node: Node, fixed: dict[str, bool], values: dict[str, bool]
) -> None:
    constants = {name: TRUE if value else FALSE for name, value in fixed.items()}
    assert evaluate(rewritten(node, constants), values) is evaluate(node, {**values, **fixed})


@given(expressions)
def test_property_nothing_replaced_is_the_same_node(node: Node) -> None:
    assert rewritten(node, {}) is node


@given(expressions, expressions, ALL)
def test_property_a_fact_can_be_any_node(node: Node, other: Node, values: dict[str, bool]) -> None:
    inside = {**values, "a": evaluate(other, values)}
    assert evaluate(rewritten(node, {"a": other}), values) is evaluate(node, inside)


def test_a_rule_stands_in_for_another_and_may_use_it() -> None:
    node = both(_World()) | fact("c")
    assert rewritten(node, {}, {"both": lambda _: FALSE}) is fact("c")
    assert rewritten(node, {}, {"both": lambda world: ~both(world)}) is ~both(_World()) | fact("c")
    assert rewritten(node, {"c": FALSE}, {"another": lambda _: FALSE}) is both(_World())


def test_facts_below_a_rule_are_replaced_too() -> None:
    assert rewritten(both(_World()), {"b": TRUE}) is fact("a")
