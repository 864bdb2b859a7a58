"""Mutants of a table of (condition, label): two rows that change places, and a row left out.

Where the first condition that holds wins the order counts; where the conditions exclude each other only which label
goes with which condition does, so there the labels change places.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

__all__ = ["is_table", "table_mutants"]

_ORDER_IS_NOTHING = ("one_of", "by_case")


def is_table(node: ast.expr) -> bool:
    """Whether this is a list of at least two rows of two parts."""
    rows = node.elts if isinstance(node, ast.Tuple | ast.List) else []
    return len(rows) > 1 and all(isinstance(row, ast.Tuple) and len(row.elts) == 2 for row in rows)


def table_mutants(node: ast.expr, parent: ast.AST | None) -> Iterator[tuple[str, str, tuple[str, str]]]:
    """Yield the kind, the new text, and what is shown of it."""
    assert isinstance(node, ast.Tuple | ast.List)
    rows = [row for row in node.elts if isinstance(row, ast.Tuple)]
    ordered = not (isinstance(parent, ast.Call) and ast.unparse(parent.func).rpartition(".")[2] in _ORDER_IS_NOTHING)
    for place, (row, following) in enumerate(pairwise(rows)):
        if ordered and ast.unparse(following.elts[0]) != "TRUE":
            pair = [following, row]
        else:
            pair = [_row(row.elts[0], following.elts[1]), _row(following.elts[0], row.elts[1])]
        swapped = [*rows[:place], *pair, *rows[place + 2 :]]
        kind = "rows" if pair[0] is following else "labels"
        yield kind, _text(node, swapped), (_shown(row), f"changed with {_shown(following)}")
    for place, row in enumerate(rows):
        if ast.unparse(row.elts[0]) != "TRUE":
            rest = [*rows[:place], *rows[place + 1 :]]
            yield "row", _text(node, rest), (_shown(row), "left out")


def _row(condition: ast.expr, label: ast.expr) -> ast.Tuple:
    return ast.Tuple([condition, label], ast.Load())


def _text(node: ast.Tuple | ast.List, rows: list[ast.Tuple]) -> str:
    return ast.unparse(type(node)(elts=list(rows), ctx=ast.Load()))


def _shown(row: ast.Tuple) -> str:
    return ast.unparse(row).strip("()")
