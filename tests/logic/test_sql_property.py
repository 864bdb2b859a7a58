"""The SQL of random expressions in DuckDB against the ternary interpretation; the other engines: tests/sql."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archcaps.logic.choice import Choice
from archcaps.logic.graph import FALSE, TRUE, Node, choose, fact, rule
from archcaps.logic.sql import UNDECIDED, Inputs, bit, identifier, is_identifier, layers, literal
from archcaps.logic.sql_dialects import DIALECTS
from archcaps.logic.ternary import Ternary
from tests.logic.expressions import NAMES, expressions_over

DUCKDB = DIALECTS["duckdb"]
#: Every assignment of three values to the facts.
ROWS = [dict(zip(NAMES, values, strict=True)) for values in product((True, False, None), repeat=len(NAMES))]


class Scope:
    scope = "sql_test"


@rule("a manual")
def both(cpu: Scope) -> Node:
    """Both are there."""
    return fact("a") & fact("b")


@rule("a manual")
def either(cpu: Scope) -> Node:
    """One of two is there, or both others."""
    return choose(fact("c"), ~both(cpu), fact("d") | both(cpu))


_nodes = expressions_over([*(fact(name) for name in NAMES), both(Scope()), either(Scope()), TRUE, FALSE])
_labels = st.sampled_from(["x", "it's", None])


@pytest.fixture(scope="module")
def database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE t (row INTEGER, {', '.join(f'{name} BOOLEAN' for name in NAMES)})")
    connection.executemany(
        f"INSERT INTO t VALUES (?, {', '.join('?' for _ in NAMES)})",
        [[number, *row.values()] for number, row in enumerate(ROWS)],
    )
    return connection


def asked(
    database: duckdb.DuckDBPyConnection,
    outputs: dict[str, Node | Choice[str | None]],
    inputs: Inputs,
    written_again: int,
    *,
    possible: bool = False,
) -> list[tuple[object, ...]]:
    *inner, (_, last) = layers(outputs, inputs, replace(DUCKDB, written_again=written_again), possible=possible)
    query = f"WITH {', '.join(f'{name} AS ({text})' for name, text in inner)} {last} ORDER BY row"
    return database.execute(query).fetchall()


def inputs_of(observed: dict[str, str], opaque: dict[str, str]) -> Inputs:
    # e is a fact that no table has
    return Inputs("t", {name: f"t.{name}" for name in NAMES[:-1]}, observed, opaque, {"row": "t.row"})


@given(st.lists(_nodes, min_size=1, max_size=4), st.sampled_from([0, 1, 3, 50]), st.booleans(), st.booleans())
@settings(max_examples=40)
def test_property_every_row_has_its_ternary_value(
    database: duckdb.DuckDBPyConnection, nodes: list[Node], again: int, watched: bool, other: bool
) -> None:
    observed = {"sql_test.both": "t.e"} if watched else {}
    opaque = {"sql_test.either": "t.d IS NOT DISTINCT FROM TRUE"} if other else {}
    found = asked(database, {f"out_{n}": node for n, node in enumerate(nodes)}, inputs_of(observed, opaque), again)
    for row, (number, *values) in zip(ROWS, found, strict=True):
        seen = {"sql_test.both": row["e"]} if watched and row["e"] is not None else {}
        out = ("sql_test.either",) if other and row["d"] else ()
        ternary = Ternary({**row, "e": None}, seen, opaque=out)
        assert values == [ternary.value(node) for node in nodes], (number, row)


@given(st.lists(st.tuples(_nodes, _labels), max_size=4), st.booleans(), st.sampled_from([0, 2, 50]))
@settings(max_examples=40)
def test_property_every_row_has_the_labels_of_its_answer(
    database: duckdb.DuckDBPyConnection, rows: list[tuple[Node, str | None]], exclusive: bool, again: int
) -> None:
    make = Choice.first_true if exclusive else Choice.one_of
    choice = make([*rows, (TRUE, "last")])
    found = asked(database, {"out": choice}, inputs_of({}, {}), again, possible=True)
    for row, (_, label, listed) in zip(ROWS, found, strict=True):
        possible = choice.answer(Ternary({**row, "e": None})).possible
        texts = ["" if each is None else each for each in possible]
        assert label == (texts[0] if len(texts) == 1 else UNDECIDED)
        assert listed == "|" + "".join(f"{text}|" for text in texts)


def test_without_its_inputs_nothing_is_known(database: duckdb.DuckDBPyConnection) -> None:
    inputs = replace(inputs_of({}, {}), complete="t.a IS NOT NULL")
    outputs: dict[str, Node | Choice[str | None]] = {
        "choice": Choice.first_true([(fact("b"), "yes"), (TRUE, "no")]),
        "always": Choice.first_true([(TRUE, "yes")]),
        "node": fact("b"),
    }
    for row, (_, complete, choice, always, node) in zip(ROWS, asked(database, outputs, inputs, 1), strict=True):
        assert complete is (row["a"] is not None)
        assert node is (row["b"] if complete else None)
        assert choice == (UNDECIDED if not complete or row["b"] is None else "yes" if row["b"] else "no")
        assert always == "yes"  # whatever the inputs are


@pytest.mark.parametrize("place", [0, 1, 31, 32, 40, 62, 63])
def test_bits_of_signed_words(database: duckdb.DuckDBPyConnection, place: int) -> None:
    mask = 1 << place
    words = [0, -1, 1, (mask ^ 1 << 63) - (1 << 63), ~((mask ^ 1 << 63) - (1 << 63)), None]
    for word, known in product(words, words):
        has = None if word is None else bool(word & mask)
        text = "SELECT " + bit(DUCKDB, "CAST(? AS BIGINT)", mask, "CAST(? AS BIGINT)")
        expected = has if known is None or known & mask else None
        assert database.execute(text, [known, word]).fetchall() == [(expected,)]


def test_a_graph_of_shared_nodes_is_not_written_as_a_tree() -> None:
    node = fact("a")
    for number in range(60):  # a tree of 2^60 inputs
        node = (node & fact(f"b{number}")) | (~node & fact(f"c{number}"))
    names = ["a", *(f"{letter}{number}" for letter in "bc" for number in range(60))]
    for dialect in DIALECTS.values():
        texts = [text for _, text in layers({"out": node}, Inputs("t", {name: name for name in names}), dialect)]
        assert sum(map(len, texts)) < 40_000


def test_names_and_literals() -> None:
    assert identifier("guest.concludes[mds,not-affected]") == "guest_concludes_mds_not_affected"
    assert not is_identifier("a" * 64)  # PostgreSQL would cut it off
    assert not is_identifier("Upper")
    with pytest.raises(ValueError, match="cannot be a column"):
        identifier("a" * 64)
    assert literal("it's") == "'it''s'"
    for text in ("a\\n", "a\nb"):
        with pytest.raises(ValueError, match="not the same in all dialects"):
            literal(text)


def test_two_inputs_that_would_be_one_column_are_refused() -> None:
    node = fact("x.y") & fact("x_y")
    with pytest.raises(ValueError, match=re.escape("two columns are called x_y")):
        list(layers({"out": node}, Inputs("t", {"x.y": "a", "x_y": "b"}), DUCKDB))
