"""The ternary interpretation against plain logic: sound, monotone, with reasons that suffice, and lawful."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from archcaps.logic.graph import Node, choose, fact, rule
from archcaps.logic.ternary import Because, Ternary
from tests.logic.expressions import NAMES, assignments, completions, evaluate, expressions

Known = dict[str, bool | None]


@given(expressions, assignments)
def test_property_a_definite_value_is_that_of_every_completion(node: Node, known: Known) -> None:
    value = Ternary(known).value(node)
    if value is not None:
        assert all(evaluate(node, full) is value for full in completions(known))


@given(expressions, assignments)
def test_property_complete_facts_give_the_two_valued_answer(node: Node, known: Known) -> None:
    for full in completions(known)[:4]:
        assert Ternary(full).value(node) is evaluate(node, full)


@given(expressions, assignments)
def test_property_reasons_alone_give_the_same_value(node: Node, known: Known) -> None:
    ternary = Ternary(known)
    reasons = ternary.reasons(node)
    only = {name: known[name] if name in reasons else None for name in NAMES}
    assert Ternary(only).value(node) is ternary.value(node)


@given(expressions, assignments)
def test_property_missing_facts_are_unknown_and_filling_them_in_decides(node: Node, known: Known) -> None:
    ternary = Ternary(known)
    missing = ternary.missing(node)
    assert all(known[name] is None for name in missing)
    assert bool(missing) is (ternary.value(node) is None)
    for values in product((True, False), repeat=len(missing)):
        filled = {**known, **dict(zip(sorted(missing), values, strict=True))}
        assert Ternary(filled).value(node) is not None


@given(expressions, expressions, expressions, assignments)
def test_property_laws(x: Node, y: Node, z: Node, known: Known) -> None:
    value = Ternary(known).value
    assert value(x & y) is value(y & x)
    assert value(x | y) is value(y | x)
    assert value(x & (y & z)) is value((x & y) & z)
    assert value(x | (y | z)) is value((x | y) | z)
    assert value(~(x & y)) is value(~x | ~y)
    assert value(~(x | y)) is value(~x & ~y)
    assert value(x & (y | z)) is value((x & y) | (x & z))
    assert value(x | (x & y)) is value(x)


@given(expressions, expressions, assignments)
def test_property_choose_is_exact_on_an_unknown_condition(x: Node, y: Node, known: Known) -> None:
    value = Ternary({**known, "unknown": None}).value
    chosen = value(choose(fact("unknown"), x, y))
    assert chosen is (value(x) if value(x) is value(y) else None)


@given(assignments, st.lists(expressions, min_size=2, max_size=4))
def test_property_costly_inputs_are_no_reason_where_a_cheap_one_settles(known: Known, nodes: list[Node]) -> None:
    dear, cheap = fact("dear"), fact("cheap")
    facts = {**known, "dear": False, "cheap": False}
    ternary = Ternary(facts, cost=lambda name: 100 if name == "dear" else 1)
    joined = dear & cheap
    for node in nodes:
        joined &= node
    assert "dear" not in ternary.reasons(joined)


class Scope:
    scope = "ternary_test"


@rule("a manual")
def both(cpu: Scope) -> Node:
    """Both are there."""
    return fact("a") & fact("b")


_BOTH = both(Scope())


def test_an_observation_beats_the_rule_and_the_difference_is_kept() -> None:
    ternary = Ternary({"a": True, "b": True}, {"ternary_test.both": False})
    assert ternary.value(_BOTH) is False
    assert ternary.modelled(_BOTH) is True
    assert ternary.reasons(_BOTH) == {"ternary_test.both"}
    assert ternary.differences((_BOTH | fact("c"),)) == [_BOTH]


def test_an_observation_that_agrees_or_can_not_be_modelled_is_no_difference() -> None:
    assert Ternary({"a": False}, {"ternary_test.both": False}).differences((_BOTH,)) == []
    assert Ternary({}, {"ternary_test.both": True}).differences((_BOTH,)) == []


def test_why_is_a_tree_of_rules_and_facts() -> None:
    steps = Ternary({"a": True, "b": True, "c": False}).why(_BOTH & ~fact("c"))
    assert [(step.name, step.value) for step in steps] == [("ternary_test.both", True), ("c", False)]
    assert [child.name for child in steps[0].children] == ["a", "b"]


def test_why_of_an_unknown_names_only_what_keeps_it_so() -> None:
    def leaves(steps: tuple[Because, ...]) -> set[str]:
        return {step.name for step in steps if not step.children} | {
            name for step in steps for name in leaves(step.children)
        }

    assert leaves(Ternary({"a": True}).why(_BOTH)) == {"b"}


@given(expressions, assignments, st.sets(st.sampled_from(NAMES)))
def test_property_facts_given_later_count_as_those_given_at_once(node: Node, known: Known, later: set[str]) -> None:
    ternary = Ternary({name: value for name, value in known.items() if name not in later})
    for value in (True, False, None):
        given_later = dict.fromkeys(later, value)
        assert ternary.value_with(node, given_later) is Ternary({**known, **given_later}).value(node)
