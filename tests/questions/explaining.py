"""Asking explain for one thing, and reading its tables."""

from __future__ import annotations

from archcaps.questions.explain import explain
from archcaps.questions.explain_results import Explanation, TruthTable


def one(asked: str, kind: str) -> Explanation:
    found = [item for item in explain(asked).explanations if item.kind == kind]
    assert len(found) == 1, (asked, [item.kind for item in explain(asked).explanations])
    return found[0]


def table_of(name: str) -> TruthTable:
    facts = one(name, "rule").rule
    assert facts is not None
    assert len(facts.formulas) == 1
    table = facts.formulas[0].table
    assert table is not None
    return table


def result(table: TruthTable, *true: str) -> bool:
    """Return the result of the one row that fits where just the named inputs are true."""
    names = [name.rpartition(".")[2] for name in table.inputs]
    assert set(true) <= set(names), names
    fitting = [
        row for row in table.rows if all(cell in (None, name in true) for name, cell in zip(names, row, strict=False))
    ]
    assert len(fitting) == 1
    assert fitting[0][-1] is not None
    return fitting[0][-1]
