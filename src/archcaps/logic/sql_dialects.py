"""What engines call the few things that the SQL of a graph needs, and in how many layers each likes its query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DIALECTS", "Dialect"]


@dataclass(frozen=True)
class Dialect:
    """One engine's SQL. Templates are filled with `str.format`.

    `matches` is whether a regular expression is found in a text, and `group` a text with each match of an expression
    replaced by its first group. `and_mask` is the bitwise and of a signed 64-bit word and a mask, `as_text` a number as
    text; `unknown` is a Boolean NULL; `boolean`, `text` and `integer` are types of columns that may be NULL, `key` of
    one that may not; `create` makes a table, and `load` one from a CSV file with a header, in which nothing is NULL.

    A shared expression of at most `written_again` inputs is written out wherever it is used, a longer one is a column
    of a subquery. `fence` ends such a subquery, where the planner would otherwise write its columns out again itself;
    `start` goes before the query, and `end` ends it.
    """

    name: str
    written_again: int
    load: str
    matches: str = "REGEXP_MATCHES({text}, {pattern})"
    group: str = "REGEXP_REPLACE({text}, {pattern}, '\\1', 'g')"
    create: str = "CREATE TABLE {table} (\n{columns}\n);"
    and_mask: str = "({word} & {mask})"
    as_text: str = "CAST({value} AS VARCHAR)"
    unknown: str = "CAST(NULL AS BOOLEAN)"
    boolean: str = "BOOLEAN"
    text: str = "VARCHAR"
    integer: str = "BIGINT"
    key: str = "VARCHAR"
    fence: str = ""
    start: str = ""
    end: str = ""


_CREATE: Final = Dialect.create
_CLICKHOUSE: Final = "CREATE TABLE {table} (\n{columns}\n) ENGINE = MergeTree ORDER BY tuple();"

#: By name. How many inputs to write again was measured with benchmarks/sql.py.
DIALECTS: Final = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "duckdb",
            written_again=1,
            load=f"{_CREATE}\nCOPY {{table}} FROM {{path}} (FORMAT csv, HEADER);",
            # Polars runs the same text. It has REGEXP_REPLACE alone in common with DuckDB, and writes a group as $1;
            # neither $1 nor \\1 stands in a text that is asked about.
            matches="REGEXP_REPLACE({text}, {pattern}, '', 'g') <> {text}",
            group="REPLACE(REPLACE(REGEXP_REPLACE({text}, {pattern}, '$1\\1', 'g'), '$1', ''), '\\1', '')",
        ),
        Dialect(
            "spark",
            written_again=4,  # each layer costs its planner time
            as_text="CAST({value} AS STRING)",
            matches="({text} RLIKE {pattern})",
            group="REGEXP_REPLACE({text}, {pattern}, '$1')",
            text="STRING",
            key="STRING",
            load="CREATE OR REPLACE TEMPORARY VIEW {table} (\n{columns}\n) USING csv\n"
            "OPTIONS (path {path}, header 'true', quote '\"', escape '\"', multiLine 'true');",
        ),
        Dialect(
            "postgres",
            written_again=2,
            text="TEXT",
            key="TEXT",
            matches="({text} ~ {pattern})",
            # It pulls subqueries up, and a shared column's text with them, unless they have an OFFSET.
            fence="OFFSET 0",
            # Compiling the expressions takes minutes, and they are worth it only for millions of rows.
            start="SET jit = off;\n",
            load=f"{_CREATE}\n\\copy {{table}} FROM {{path}} WITH (FORMAT csv, HEADER)",
        ),
        Dialect(
            "clickhouse",
            written_again=2,
            and_mask="bitAnd({word}, {mask})",
            matches="match({text}, {pattern})",
            group="replaceRegexpAll({text}, {pattern}, '\\\\1')",
            as_text="CAST({value} AS Nullable(String))",
            unknown="CAST(NULL AS Nullable(Bool))",
            boolean="Nullable(Bool)",
            text="Nullable(String)",
            integer="Nullable(Int64)",
            key="String",
            create=_CLICKHOUSE,
            load=f"{_CLICKHOUSE}\nINSERT INTO {{table}} FROM INFILE {{path}} FORMAT CSVWithNames;",
            start="SET max_query_size = 4194304;\n",
            # What an outer join does not find is otherwise false and empty there, not NULL. Merging the layers'
            # expressions takes minutes and saves nothing; the others make each small query slow to start.
            end="SETTINGS join_use_nulls = 1, query_plan_merge_expressions = 0,\n"
            "  short_circuit_function_evaluation = 'disable', compile_expressions = 0",
        ),
    )
}
