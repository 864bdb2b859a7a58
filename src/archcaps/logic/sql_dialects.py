"""What engines call the few things that the SQL of a graph needs, and in how many layers each likes its query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DIALECTS", "Dialect"]


@dataclass(frozen=True)
class Dialect:
    """One engine's SQL. Templates are filled with `str.format`.

    `and_mask` is the bitwise and of a signed 64-bit word and a mask, `as_text` a number as text; `unknown` is a Boolean
    NULL; `boolean`, `text` and `integer` are types of columns that may be NULL.

    A shared expression of at most `written_again` inputs is written out wherever it is used, a longer one is a column
    of a subquery. `fence` ends such a subquery, where the planner would otherwise write its columns out again itself;
    `cte` goes between AS and the subquery; `end` ends the query.
    """

    name: str
    written_again: int
    and_mask: str = "({word} & {mask})"
    as_text: str = "CAST({value} AS VARCHAR)"
    unknown: str = "CAST(NULL AS BOOLEAN)"
    boolean: str = "BOOLEAN"
    text: str = "VARCHAR"
    integer: str = "BIGINT"
    fence: str = ""
    cte: str = ""
    end: str = ""


#: By name. How many inputs to write again was measured with benchmarks/sql.py.
DIALECTS: Final = {
    dialect.name: dialect
    for dialect in (
        Dialect("duckdb", written_again=2),
        # Spark's optimiser merges layers whose columns are used once; each layer that is left costs little.
        Dialect("spark", written_again=2, as_text="CAST({value} AS STRING)", text="STRING"),
        # PostgreSQL pulls subqueries up, and a shared column's text with them, unless they have an OFFSET.
        Dialect("postgres", written_again=2, fence="OFFSET 0", text="TEXT"),
        Dialect(
            "clickhouse",
            written_again=2,
            and_mask="bitAnd({word}, {mask})",
            as_text="CAST({value} AS Nullable(String))",
            unknown="CAST(NULL AS Nullable(Bool))",
            boolean="Nullable(Bool)",
            text="Nullable(String)",
            integer="Nullable(Int64)",
            # What an outer join does not find is otherwise false and empty there, not NULL.
            end="SETTINGS join_use_nulls = 1",
        ),
    )
}
