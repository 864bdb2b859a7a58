"""The graph: one object for one expression, no guessing, rules with a name and a source."""

from __future__ import annotations

import pytest

from archcaps.logic.graph import FALSE, TRUE, Kind, Node, all_of, any_of, choose, fact, rule, walk


class Scope:
    def __init__(self, scope: str) -> None:
        self.scope = scope


def test_equal_expressions_are_the_same_object() -> None:
    a, b = fact("a"), fact("b")
    assert (a & b) is (fact("a") & fact("b"))
    assert (a | b | a) is (a | b)
    assert ~~a is a


def test_constants_fold() -> None:
    a = fact("a")
    assert (a & TRUE) is a
    assert (a & FALSE) is FALSE
    assert (a | FALSE) is a
    assert (a | TRUE) is TRUE
    assert ~TRUE is FALSE
    assert ~FALSE is TRUE
    assert all_of(()) is TRUE
    assert any_of(()) is FALSE


def test_nested_operands_of_one_kind_are_flat() -> None:
    a, b, c = fact("a"), fact("b"), fact("c")
    assert ((a & b) & c).args == (a, b, c)


@pytest.mark.parametrize("guess", [bool, lambda node: node and node, lambda node: not node])
def test_a_node_never_guesses_its_truth(guess: object) -> None:
    with pytest.raises(TypeError, match=r"use & \| ~"):
        guess(fact("a"))  # type: ignore[operator]  # each is callable


def test_choose_keeps_what_both_branches_say() -> None:
    condition, a = fact("condition"), fact("a")
    assert a in choose(condition, a, a).args


def test_a_rule_carries_its_name_meaning_and_source() -> None:
    @rule("a manual, section 1")
    def named_rule(cpu: Scope) -> Node:
        """The CPU does it: as the manual says.

        And more words.
        """
        return fact("a") & fact("b")

    node = named_rule(Scope("host_named"))
    assert node.kind is Kind.RULE
    assert node.name == "host_named.named_rule"
    assert node.info is not None
    assert node.info.meaning == "The CPU does it: as the manual says."
    assert node.info.source == "a manual, section 1"


def test_text_arguments_tell_rules_apart() -> None:
    @rule("a manual")
    def per_bit(cpu: Scope, bit: str) -> Node:
        """This bit is there."""
        return fact(bit)

    scope = Scope("per_bit")
    assert per_bit(scope, "x").name == "per_bit.per_bit[x]"
    assert per_bit(scope, "x") is not per_bit(scope, "y")


def test_a_rule_without_source_or_sentence_is_refused() -> None:
    with pytest.raises(ValueError, match="source"):
        rule(" ")

    with pytest.raises(ValueError, match="docstring"):

        @rule("a manual")
        def silent(cpu: Scope) -> Node:
            return fact("a")


def test_a_rule_needs_a_scope() -> None:
    @rule("a manual")
    def scopeless(cpu: object) -> Node:
        """It is so."""
        return fact("a")

    with pytest.raises(TypeError, match="scope"):
        scopeless(object())


def test_two_rules_of_one_name_are_refused() -> None:
    def make(name: str) -> None:
        @rule("a manual")
        def twice(cpu: Scope) -> Node:
            """It is so."""
            return fact(name)

        twice(Scope("two_rules"))

    make("first")
    with pytest.raises(ValueError, match=r"two different rules are called two_rules\.twice"):
        make("second")


def test_a_name_is_a_rule_or_a_fact() -> None:
    def make() -> None:
        @rule("a manual")
        def clash(cpu: Scope) -> Node:
            """It is so."""
            return TRUE

        clash(Scope("name_clash"))

    fact("name_clash.clash")
    with pytest.raises(ValueError, match=r"name_clash\.clash is a fact"):
        make()
    with pytest.raises(ValueError, match=r"is a rule and cannot be a fact too"):
        fact("name_clash.clash")


def test_walk_gives_operands_first_and_each_node_once() -> None:
    a, b = fact("a"), fact("b")
    root = (a & b) | ~a
    found = walk((root, a))
    assert len(found) == len(set(found))
    assert all(found.index(arg) < found.index(node) for node in found for arg in node.args)
    assert found[-1] is root


def test_nodes_print_as_they_are_written() -> None:
    assert repr((fact("a") & ~fact("b")) | TRUE) == "true"
    assert repr((fact("a") & ~fact("b")) | fact("c")) == "((a & ~b) | c)"
