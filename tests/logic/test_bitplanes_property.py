"""Bit planes against the ternary interpretation, row by row: facts, unknowns, observations and choices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcaps.logic.bitplanes import BitPlanes, pack
from archcaps.logic.choice import Choice
from archcaps.logic.graph import FALSE, TRUE, Node, choose, fact, rule
from archcaps.logic.ternary import Ternary
from tests.logic.expressions import NAMES, assignments, expressions_over


class Scope:
    scope = "bitplanes_test"


@rule("a manual")
def both(cpu: Scope) -> Node:
    """Both are there."""
    return fact("a") & fact("b")


@rule("a manual")
def either(cpu: Scope) -> Node:
    """One of two is there, or both others."""
    return choose(fact("c"), ~both(cpu), fact("d") | both(cpu))


@rule("a manual")
def always(cpu: Scope) -> Node:
    """It holds."""
    return TRUE


_RULES = (both(Scope()), either(Scope()), always(Scope()))

_nodes = expressions_over([*(fact(name) for name in NAMES), *_RULES])
_observations = st.dictionaries(st.sampled_from([rule.name for rule in _RULES]), st.booleans())
Row = tuple[dict[str, bool | None], dict[str, bool]]
_rows: st.SearchStrategy[list[Row]] = st.lists(st.tuples(assignments, _observations), max_size=70)
_choices = st.lists(st.tuples(_nodes, st.sampled_from("xyz")), max_size=4)


def _read(rows: list[Row]) -> BitPlanes:
    return BitPlanes(len(rows), pack([facts for facts, _ in rows]), pack([observed for _, observed in rows]))


@given(_nodes, _rows)
def test_property_every_row_has_its_ternary_value(node: Node, rows: list[Row]) -> None:
    planes = _read(rows)
    true, false = planes.planes(node)
    for number, (facts, observed) in enumerate(rows):
        expected = Ternary(facts, observed).value(node)
        assert planes.value(node, number) is expected
        assert (true >> number & 1, false >> number & 1) == (expected is True, expected is False)
    assert not (true | false) >> len(rows)


@given(st.lists(_nodes, min_size=1, max_size=4), _rows)
def test_property_reading_one_node_first_changes_no_other(nodes: list[Node], rows: list[Row]) -> None:
    together = _read(rows)
    for node in nodes:
        assert together.planes(node) == _read(rows).planes(node)


@given(_choices, _rows, st.booleans())
def test_property_every_row_has_the_labels_of_its_answer(
    rows_of_choice: list[tuple[Node, str]], rows: list[Row], exclusive: bool
) -> None:
    # Without exclusion two labels can be chosen at once: the first counts, as in an answer.
    make = Choice.first_true if exclusive else Choice.one_of
    choice = make([*rows_of_choice, (TRUE, "last")])
    possible = choice.possible_rows(_read(rows))
    assert tuple(possible) == choice.labels
    for number, (facts, observed) in enumerate(rows):
        expected = choice.answer(Ternary(facts, observed)).possible
        assert tuple(label for label, plane in possible.items() if plane >> number & 1) == expected
    assert not any(plane >> len(rows) for plane in possible.values())


def test_constants_and_facts_nobody_gave() -> None:
    planes = BitPlanes(3, {})
    assert planes.planes(TRUE) == (0b111, 0)
    assert planes.planes(FALSE) == (0, 0b111)
    assert planes.planes(fact("a")) == (0, 0)


def test_an_observation_counts_in_its_rows_only() -> None:
    facts = {"a": (0b111, 0), "b": (0b111, 0)}
    assert BitPlanes(3, facts, {"bitplanes_test.both": (0b001, 0b010)}).planes(_RULES[0]) == (0b101, 0b010)


def test_a_deep_graph_is_read_without_recursion() -> None:
    node = fact("a")
    for number in range(5_000):
        node = ~(node & fact(f"deep{number % 7}")) if number % 2 else node | fact(f"deep{number % 5}")
    assert BitPlanes(1, {}).planes(node) == (0, 0)


@pytest.mark.parametrize(
    ("rows", "facts", "message"),
    [
        (2, {"a": (0b01, 0b11)}, "a is both true and false"),
        (2, {"a": (0b100, 0)}, "a has a row beyond the 2"),
        (-1, {}, "-1 rows"),
    ],
)
def test_planes_that_can_not_be_are_refused(rows: int, facts: dict[str, tuple[int, int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BitPlanes(rows, facts)
    if facts:
        with pytest.raises(ValueError, match=message):
            BitPlanes(rows, {}, facts)


def test_there_is_no_value_of_a_row_that_is_not_there() -> None:
    for row in (-1, 2):
        with pytest.raises(IndexError, match="of 2"):
            BitPlanes(2, {}).value(TRUE, row)
