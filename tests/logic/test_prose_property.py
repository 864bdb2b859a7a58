"""The prose interpretation against plain logic: formula, line, table and shortest formula say what the graph says."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given

from archcaps.logic.graph import FALSE, TRUE, Kind, Node, choose, fact, rule
from archcaps.logic.prose import Formula, Row, inputs_of, prose, simplest, table, vector
from tests.logic.expressions import NAMES, evaluate, expressions

EVERY = [dict(zip(NAMES, values, strict=True)) for values in product((True, False), repeat=len(NAMES))]
A, B, C, D = (fact(name) for name in "abcd")


def read_back(line: str, values: dict[str, bool]) -> bool:
    """Evaluate a formula's line, which is also Python."""
    return bool(eval(line, {"__builtins__": {}}, {**values, "always": True, "never": False}))


def words(name: str, wanted: bool) -> str:
    return f"<{name}>" if wanted else f"no <{name}>"


def shapes(formula: Formula) -> set[str]:
    return {formula.shape}.union(*(shapes(part) for part in formula.parts))


@given(expressions)
def test_property_the_formula_is_the_graph(node: Node) -> None:
    formula = prose(node)
    for values in EVERY:
        assert formula.evaluate(values) is evaluate(node, values)


@given(expressions)
def test_property_the_line_read_back_is_the_graph(node: Node) -> None:
    line = prose(node).text()
    for values in EVERY:
        assert read_back(line, values) is evaluate(node, values)


@given(expressions)
def test_property_the_outline_names_every_input(node: Node) -> None:
    formula = prose(node)
    text = " ".join(line for _, line in formula.outline(words))
    assert {name for name in NAMES if f"<{name}>" in text} == set(formula.inputs) <= set(inputs_of(node))


@given(expressions)
def test_property_the_table_covers_everything_once(node: Node) -> None:
    inputs, rows = table(node)
    for values in EVERY:
        fitting = [row for row in rows if fits(row, inputs, values)]
        assert [row.result for row in fitting] == [evaluate(node, values)]


def fits(row: Row, inputs: list[str], values: dict[str, bool]) -> bool:
    return all(cell is None or cell is values[name] for name, cell in zip(inputs, row.values, strict=True))


@given(expressions)
def test_property_the_vector_is_the_graph(node: Node) -> None:
    truth = vector(node, NAMES)
    for values in EVERY:
        place = sum(1 << len(NAMES) - 1 - index for index, name in enumerate(NAMES) if values[name])
        assert bool(truth >> place & 1) is evaluate(node, values)


@given(expressions)
def test_property_the_shortest_formula_is_the_graph(node: Node) -> None:
    formula = simplest(node)
    for values in EVERY:
        assert formula.evaluate(values) is evaluate(node, values)
    if all(evaluate(node, values) for values in EVERY):
        assert formula.shape == "always"
    if not any(evaluate(node, values) for values in EVERY):
        assert formula.shape == "never"


@given(expressions, expressions)
def test_property_the_shortest_formula_holds_under_its_assumption(node: Node, assume: Node) -> None:
    formula = simplest(node, assume)
    for values in EVERY:
        if evaluate(assume, values):
            assert formula.evaluate(values) is evaluate(node, values)


@given(expressions)
def test_property_the_shortest_formula_names_no_input_that_does_not_matter(node: Node) -> None:
    for name in simplest(node).inputs:
        assert any(
            evaluate(node, {**values, name: True}) != evaluate(node, {**values, name: False}) for values in EVERY
        )


@pytest.mark.parametrize("wanted", [True, False])
def test_a_choice_reads_as_one(wanted: bool) -> None:
    node = choose(A, B & C, D)
    formula = prose(node if wanted else ~node)
    assert formula.shape == "if"
    assert formula.text() == ("((b and c) if a else d)" if wanted else "((not b or not c) if a else not d)")


def test_a_choice_with_a_fixed_branch_reads_as_one() -> None:
    assert prose(choose(A, B, TRUE)).text() == "(b if a else always)"
    assert prose(choose(A, B, FALSE)).text() == "a and b"


def test_lists_of_negations_are_said_at_once() -> None:
    assert prose(~A & ~B).outline(words) == [(0, "none of these:"), (1, "<a>"), (1, "<b>")]
    assert prose(~(A & B)).outline(words) == [(0, "not all of these:"), (1, "<a>"), (1, "<b>")]


@given(expressions)
def test_property_not_stands_before_inputs_only(node: Node) -> None:
    for part in parts_of(prose(node)):
        assert part.shape != "not" or (part.name and not part.parts)


def parts_of(formula: Formula) -> list[Formula]:
    return [formula, *(inner for part in formula.parts for inner in parts_of(part))]


class Scope:
    scope = "prose_test"


@rule("a manual")
def inner(cpu: Scope) -> Node:
    """Both are there."""
    return A & B


@rule("a manual")
def outer(cpu: Scope) -> Node:
    """The inner rule, or the third."""
    return inner(cpu) | C


def test_a_rule_is_read_one_level_deep() -> None:
    node = outer(Scope())
    assert node.kind is Kind.RULE
    assert prose(node).text() == "prose_test.inner or c"
    assert inputs_of(node) == ["prose_test.inner", "c"]
    assert sorted(inputs_of(node, {"inner"})) == ["a", "b", "c"]
    names = ["a", "b", "c"]
    assert vector(node, names, {"inner"}) == vector((A & B) | C, names)
