"""Decision diagrams against brute force: every assignment of a few variables, one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archcaps.logic.bitplanes import BitPlanes, pack
from archcaps.logic.diagram import Diagrams, Function, NotDecidedError
from archcaps.logic.graph import FALSE, TRUE, Node, all_of, any_of, fact, rule
from archcaps.logic.reading import Reading
from archcaps.logic.ternary import Ternary
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


# --- limits -------------------------------------------------------------------------------------------------------

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
    for nodes in (20, 30, 40, 60, 90, 140, 200, 300, 400, 600, 900, 1400, 2000, 3000, 5000):
        diagrams = Diagrams(APART, nodes=nodes)
        try:
            assert diagrams.count(build(diagrams)) == count
        except NotDecidedError as error:
            assert str(error) == "not decided within 0 MiB"
            reached.append(nodes)
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
