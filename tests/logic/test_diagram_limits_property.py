"""Decision diagrams under a limit of nodes or time: the right answer, or none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archcaps.logic.diagram import Diagrams, Function, NotDecidedError
from archcaps.logic.graph import Node, all_of, any_of, fact
from archcaps.logic.reading import Reading
from tests.logic.diagram_expressions import by_hand, nodes, read, where
from tests.logic.expressions import NAMES

#: Pairs that stand far apart in the order: their conjunctions joined need some 2 ** 8 nodes.
APART = [f"x{number}" for number in range(8)] + [f"y{number}" for number in range(8)]
PAIRS = any_of(fact(f"x{number}") & fact(f"y{number}") for number in range(8))


def _table(diagrams: Diagrams) -> Function:
    # Row i says whether the halves of i have a bit in common.
    return diagrams.table(APART, bytes(bool(number >> 8 & number & 0xFF) for number in range(1 << 16)))


def _chosen(diagrams: Diagrams) -> Function:
    # For each value of the first eight: some of the last eight.
    ys = [diagrams.variable(f"y{number}") for number in range(8)]
    rows = [diagrams.any_of(ys[place] for place in range(8) if row >> (7 - place) & 1) for row in range(1 << 8)]
    return diagrams.choice([f"x{number}" for number in range(8)], rows)


def _read(diagrams: Diagrams) -> Function:
    return Reading(diagrams, diagrams.variable).of(PAIRS)


def _read_negated(diagrams: Diagrams) -> Function:
    return Reading(diagrams, diagrams.variable).of(all_of(~part for part in PAIRS.args))


def _transferred(diagrams: Diagrams) -> Function:
    # In this order the function is small.
    order = [name for number in range(8) for name in (f"x{number}", f"y{number}")]
    source, function = read(PAIRS, order)
    return Reading(diagrams, diagrams.variable).of_function(function, source, diagrams.true)


def _equal(diagrams: Diagrams) -> Function:
    return diagrams.equal(APART[:8], APART[8:])


def _less(diagrams: Diagrams) -> Function:
    return diagrams.less(APART[:8], APART[8:])


def _negated(diagrams: Diagrams) -> Function:
    return Reading(diagrams, diagrams.variable).of(~PAIRS)


BUILDERS: list[Callable[[Diagrams], Function]] = [
    _table, _chosen, _read, _read_negated, _transferred, _equal, _less, _negated,
]  # fmt: skip


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__.strip("_"))
def test_there_is_an_answer_or_a_limit_whatever_the_budget(build: Callable[[Diagrams], Function]) -> None:
    expected = Diagrams(APART)
    count = expected.count(build(expected))
    reached = []
    for budget in (20, 30, 40, 60, 90, 140, 200, 300, 400, 600, 900, 1400, 2000, 3000, 5000):
        diagrams = Diagrams(APART, nodes=budget)
        try:
            assert diagrams.count(build(diagrams)) == count
        except NotDecidedError as error:
            assert str(error) == "not decided within 0 MiB"
            reached.append(budget)
    # 2 ** 8 nodes do not fit in 200.
    assert {20, 60, 200} <= set(reached)
    assert 5000 not in reached


@pytest.mark.parametrize("nodes", range(520, 3000, 40))
def test_minimal_and_fixed_values_keep_to_the_budget(nodes: int) -> None:
    # All pairs differ somewhere: the function itself fits, and what is made of it may not.
    diagrams = Diagrams(APART, nodes=nodes)
    try:
        function = _read(diagrams)
        least, upward = diagrams.minimal(function, APART)
        swapped = diagrams.exists(diagrams.all_of((least, upward)), APART[:3])
        assert diagrams.forall(swapped, APART) == diagrams.false
    except NotDecidedError as error:
        assert str(error) == "not decided within 0 MiB"
    else:
        # One pair and nothing else: eight assignments.
        assert diagrams.count(least) == 8


OPERATIONS: list[Callable[[Diagrams], object]] = [
    lambda diagrams: diagrams.all_of([diagrams.true]),
    lambda diagrams: diagrams.any_of([diagrams.true]),
    lambda diagrams: diagrams.choice(["a"], [diagrams.true, diagrams.false]),
    lambda diagrams: diagrams.table(["a"], b"\0\1"),
    lambda diagrams: diagrams.equal(["a"], ["b"]),
    lambda diagrams: diagrams.less(["a"], ["b"]),
    lambda diagrams: diagrams.exists(diagrams.variable("a"), ["a"]),
    lambda diagrams: diagrams.forall(diagrams.variable("a"), ["a"]),
    lambda diagrams: diagrams.with_values(diagrams.variable("a"), {"a": True}),
    lambda diagrams: diagrams.minimal(diagrams.variable("a"), ["a"]),
    lambda diagrams: Reading(diagrams, diagrams.variable).of(fact("a") & fact("b")),
    lambda diagrams: Reading(diagrams, diagrams.variable).of_function(diagrams.variable("a"), diagrams, diagrams.true),
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=range(len(OPERATIONS)))
def test_when_the_time_is_over_nothing_more_is_made(operation: Callable[[Diagrams], object]) -> None:
    operation(Diagrams(["a", "b"]))
    with pytest.raises(NotDecidedError, match="not decided within 0 s"):
        operation(Diagrams(["a", "b"], seconds=0))


@settings(max_examples=20)
@given(nodes, st.integers(0, 40))
def test_property_a_small_budget_never_makes_a_wrong_answer(node: Node, budget: int) -> None:
    try:
        diagrams = Diagrams(NAMES, nodes=budget)
        function = Reading(diagrams, diagrams.variable).of(node)
    except NotDecidedError:
        return
    assert where(diagrams, function) == by_hand(node, NAMES)
