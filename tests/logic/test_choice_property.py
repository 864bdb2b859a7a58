"""Choices: exactly one label, and every label that is still possible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcaps.logic.choice import Choice
from archcaps.logic.graph import TRUE, Node, fact
from archcaps.logic.ternary import Ternary
from tests.logic.expressions import assignments, completions, evaluate, expressions

_rows = st.lists(st.tuples(expressions, st.sampled_from("xyz")), max_size=4)


def _choice(rows: list[tuple[Node, str]]) -> Choice[str]:
    return Choice.first_true([*rows, (TRUE, "last")])


def _expected(rows: list[tuple[Node, str]], full: dict[str, bool]) -> str:
    return next((label for condition, label in rows if evaluate(condition, full)), "last")


@given(_rows, assignments)
def test_property_complete_facts_give_the_first_true_row(
    rows: list[tuple[Node, str]], known: dict[str, bool | None]
) -> None:
    for full in completions(known)[:4]:
        answer = _choice(rows).answer(Ternary(full))
        assert answer.decided
        assert answer.possible == (_expected(rows, full),)


@given(_rows, assignments)
def test_property_no_label_of_a_completion_is_left_out(
    rows: list[tuple[Node, str]], known: dict[str, bool | None]
) -> None:
    possible = _choice(rows).answer(Ternary(known)).possible
    assert {_expected(rows, full) for full in completions(known)} <= set(possible)


@given(_rows, assignments)
def test_property_reasons_alone_leave_the_same_labels(
    rows: list[tuple[Node, str]], known: dict[str, bool | None]
) -> None:
    answer = _choice(rows).answer(Ternary(known))
    only = {name: value if name in answer.reasons else None for name, value in known.items()}
    assert set(_choice(rows).answer(Ternary(only)).possible) == set(answer.possible)


def test_a_class_of_labels_is_decided_where_its_members_are_not() -> None:
    choice = Choice.first_true([(fact("a"), "x"), (fact("b"), "y"), (fact("c"), "z"), (TRUE, "z")])
    ternary = Ternary({"a": False, "b": True, "c": None})
    assert ternary.value(choice.is_in(["y"])) is True
    both = Choice.first_true([(fact("u"), "x"), (TRUE, "y")])
    assert Ternary({}).value(both.is_in(["x", "y"])) is True


def test_the_last_row_must_always_hold() -> None:
    with pytest.raises(ValueError, match="last row"):
        Choice.first_true([(fact("a"), "x")])
