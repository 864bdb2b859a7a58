"""Decision diagrams against brute force: every assignment of a few variables, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcaps.logic.bitplanes import BitPlanes, pack
from archcaps.logic.diagram import Diagrams
from archcaps.logic.graph import Node, fact
from archcaps.logic.reading import Reading
from archcaps.logic.ternary import Ternary
from tests.logic.diagram_expressions import EVERY, Row, by_hand, nodes, orders, read, rows_of, some_names, where
from tests.logic.expressions import NAMES, evaluate, expressions_over

# --- reading the graph --------------------------------------------------------------------------------------------


@given(nodes, orders)
def test_property_a_reading_is_plain_logic_and_that_of_the_other_interpretations(node: Node, order: list[str]) -> None:
    diagrams, function = read(node, order)
    rows = rows_of(order)
    expected = by_hand(node, order)
    assert where(diagrams, function) == expected
    planes = BitPlanes(len(rows), pack(rows))
    assert [planes.value(node, number) for number in range(len(rows))] == expected
    assert [Ternary(row).value(node) for row in rows] == expected


@given(nodes, nodes, orders)
def test_property_functions_are_equal_just_where_nothing_tells_them_apart(
    one: Node, other: Node, order: list[str]
) -> None:
    diagrams = Diagrams(order)
    reading = Reading(diagrams, diagrams.variable)
    same = by_hand(one, order) == by_hand(other, order)
    assert (reading.of(one) == reading.of(other)) is same
    assert (reading.of(one) == reading.of(one)) is True


@given(nodes, orders, st.data())
def test_property_a_function_is_transferred_as_its_node_is_read(
    node: Node, order: list[str], data: st.DataObject
) -> None:
    # Each fact is some function of four other variables; the transfer holds where another one does.
    target = Diagrams(["p", "q", "r", "s"])
    over = expressions_over([fact(name) for name in target.names])
    own = Reading(target, target.variable)
    made = {name: data.draw(over) for name in NAMES}
    bound = data.draw(over)
    functions = {name: own.of(made[name]) for name in NAMES}
    source, function = read(node, order)
    moved = Reading(target, functions.__getitem__).of_function(function, source, own.of(bound))
    direct = Reading(target, functions.__getitem__).of(node)
    expected = [
        evaluate(bound, row) and evaluate(node, {name: evaluate(made[name], row) for name in NAMES})
        for row in rows_of(target.names)
    ]
    assert where(target, moved) == expected
    assert moved == target.all_of((direct, own.of(bound)))


# --- asking -------------------------------------------------------------------------------------------------------


@given(nodes, orders)
def test_property_counts_are_those_of_all_assignments(node: Node, order: list[str]) -> None:
    diagrams, function = read(node, order)
    count = sum(by_hand(node, order))
    assert diagrams.count(function) == count
    # No expression reads the last one.
    assert diagrams.count(function, 1) == sum(by_hand(node, NAMES)) == count // 2


@given(nodes, orders)
def test_property_the_support_is_what_a_flip_can_show(node: Node, order: list[str]) -> None:
    diagrams, function = read(node, order)
    deciding = {
        name
        for name in NAMES
        for row in rows_of(NAMES)
        if evaluate(node, row) != evaluate(node, {**row, name: not row[name]})
    }
    assert diagrams.support(function) == deciding


@given(nodes, orders, some_names)
def test_property_quantifying_goes_over_both_values(node: Node, order: list[str], names: list[str]) -> None:
    diagrams, function = read(node, order)
    found = {True: diagrams.exists(function, names), False: diagrams.forall(function, names)}
    for row in rows_of(order):
        values = [evaluate(node, {**row, **inner}) for inner in rows_of(names)]
        assert diagrams.evaluate(found[True], row) is any(values)
        assert diagrams.evaluate(found[False], row) is all(values)


@given(nodes, orders, st.dictionaries(st.sampled_from((*EVERY, "no variable")), st.booleans()))
def test_property_fixed_variables_have_their_values(node: Node, order: list[str], fixed: Row) -> None:
    diagrams, function = read(node, order)
    found = diagrams.with_values(function, fixed)
    known = {name: value for name, value in fixed.items() if name in order}
    assert where(diagrams, found) == [evaluate(node, {**row, **known}) for row in rows_of(order)]
    assert not diagrams.support(found) & set(fixed)


@given(nodes, orders, some_names)
def test_property_what_is_not_given_is_false(node: Node, order: list[str], names: list[str]) -> None:
    diagrams, function = read(node, order)
    values = dict.fromkeys(names, True)
    assert diagrams.evaluate(function, {**values, "no variable": True}) is evaluate(
        node, dict.fromkeys(EVERY, False) | values
    )


@given(nodes, orders, st.dictionaries(st.tuples(st.sampled_from(EVERY), st.booleans()), st.integers(-5, 5)))
def test_property_the_least_assignment_satisfies_and_none_costs_less(
    node: Node, order: list[str], costs: dict[tuple[str, bool], int]
) -> None:
    def cost(name: str, value: bool) -> int:
        return costs.get((name, value), 0)

    def total(row: Mapping[str, bool]) -> int:
        return sum(cost(name, value) for name, value in row.items())

    diagrams, function = read(node, order)
    found = diagrams.least(function, cost)
    satisfying = [row for row in rows_of(order) if evaluate(node, row)]
    if found is None:
        assert not satisfying
    else:
        assert found.keys() == set(order)
        assert evaluate(node, found)
        assert total(found) == min(map(total, satisfying))


@given(nodes, orders, st.lists(st.sampled_from((*EVERY, "no variable")), unique=True))
def test_property_minimal_is_without_anything_to_spare(node: Node, order: list[str], names: list[str]) -> None:
    diagrams, function = read(node, order)
    least, upward = diagrams.minimal(function, names)
    kept = [name for name in names if name in order]
    for row in rows_of(order):
        true = [name for name in kept if row[name]]
        fewer = [{**row, **dict(zip(true, values, strict=True))} for values in product((False, True), repeat=len(true))]
        holding = [other for other in fewer if evaluate(node, other)]
        assert diagrams.evaluate(least, row) is (holding == [row])
        assert diagrams.evaluate(upward, row) is bool(holding)


@given(nodes, orders, st.permutations(NAMES), st.sets(st.sampled_from(["idle"])))
def test_property_the_smallest_sets_come_first_and_each_once(
    node: Node, order: list[str], names: list[str], more: set[str]
) -> None:
    diagrams, function = read(node, order)
    asked = [*names, *sorted(more)]
    found = list(diagrams.smallest(function, asked))
    expected = {
        frozenset(name for name, value in row.items() if value) for row in rows_of(asked) if evaluate(node, row)
    }
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert [len(each) for each in found] == sorted(len(each) for each in found)


def test_the_smallest_sets_are_asked_of_what_decides() -> None:
    diagrams, function = read(fact("a") & fact("b"), NAMES)
    with pytest.raises(ValueError, match="other variables"):
        next(diagrams.smallest(function, ["a"]))
    assert list(diagrams.smallest(function, ["b", "a"])) == [{"a", "b"}]


# --- making -------------------------------------------------------------------------------------------------------


@given(orders, st.lists(st.sampled_from(EVERY), unique=True, max_size=4), st.data())
def test_property_a_table_holds_in_its_rows(order: list[str], names: list[str], data: st.DataObject) -> None:
    size = 1 << len(names)
    rows = data.draw(st.lists(st.sampled_from((0, 1, 7)), min_size=size, max_size=size))
    diagrams = Diagrams(order)
    function = diagrams.table(names, bytes(rows))
    for row in rows_of(order):
        number = sum(row[name] << place for place, name in enumerate(reversed(names)))
        assert diagrams.evaluate(function, row) is bool(rows[number])


@given(orders, st.lists(st.sampled_from(EVERY), unique=True, max_size=3), st.data())
def test_property_a_choice_is_the_function_of_its_assignment(
    order: list[str], names: list[str], data: st.DataObject
) -> None:
    size = 1 << len(names)
    parts = data.draw(st.lists(nodes, min_size=size, max_size=size))
    diagrams = Diagrams(order)
    reading = Reading(diagrams, diagrams.variable)
    function = diagrams.choice(names, [reading.of(part) for part in parts])
    for row in rows_of(order):
        number = sum(row[name] << place for place, name in enumerate(reversed(names)))
        assert diagrams.evaluate(function, row) is evaluate(parts[number], row)


@given(orders, st.integers(0, 3), st.permutations(EVERY))
def test_property_numbers_are_compared_by_their_bits(order: list[str], width: int, names: list[str]) -> None:
    one, other = names[:width], names[3 : 3 + width]
    diagrams = Diagrams(order)
    less, equal = diagrams.less(one, other), diagrams.equal(one, other)
    for row in rows_of(order):
        low, high = (int("0" + "".join(str(int(row[name])) for name in each), 2) for each in (one, other))
        assert diagrams.evaluate(less, row) is (low < high)
        assert diagrams.evaluate(equal, row) is (low == high)


@given(st.lists(nodes, max_size=4), orders)
def test_property_conjunction_and_disjunction(parts: list[Node], order: list[str]) -> None:
    diagrams = Diagrams(order)
    reading = Reading(diagrams, diagrams.variable)
    functions = [reading.of(part) for part in parts]
    for row in rows_of(order):
        values = [evaluate(part, row) for part in parts]
        assert diagrams.evaluate(diagrams.all_of(functions), row) is all(values)
        assert diagrams.evaluate(diagrams.any_of(functions), row) is any(values)


def test_what_does_not_fit_together_is_refused() -> None:
    diagrams = Diagrams(["a", "b"])
    assert "a" in diagrams
    assert "c" not in diagrams
    with pytest.raises(KeyError):
        diagrams.variable("c")
    with pytest.raises(ValueError, match="two variables have one name"):
        Diagrams(["a", "b", "a"])
    with pytest.raises(ValueError, match="3 functions for 1 variables"):
        diagrams.choice(["a"], [diagrams.true] * 3)
    with pytest.raises(ValueError, match="2 rows for 2 variables"):
        diagrams.table(["a", "b"], b"\0\1")
    with pytest.raises(ValueError, match="shorter"):
        diagrams.less(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="shorter"):
        diagrams.equal(["a", "b"], ["a"])
