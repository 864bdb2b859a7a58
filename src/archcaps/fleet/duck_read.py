"""An inventory's files as DuckDB reads them: each source becomes a view of rows, every column as a row has it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from archcaps.errors import InputError
from archcaps.fleet.classes import Progress
from archcaps.fleet.columns import bad_values, check, normal
from archcaps.fleet.interrupts import interrupts
from archcaps.fleet.inventory import IDS, Source
from archcaps.fleet.snapshots import BadLine, holds_snapshots, rows_of
from archcaps.machine.row import COLUMNS

__all__ = ["known_rows", "quoted", "readable", "view_of"]

Bad = list[tuple[str, str, str]]


def view_of(
    database: duckdb.DuckDBPyConnection, source: Source, work: Path, progress: Progress, *, again: bool
) -> tuple[list[str], Bad]:
    """Make the view `host_rows` or `guest_rows`; return its columns, and role, place and reason of each bad line.

    The view has the ids, the columns, and `bad`: the columns of a row that can not be read. `again`: an earlier run
    has made its files in `work` already, and told the bad lines.

    Raises:
        InputError: the source can not be read, lacks a column, or has one of a wrong type.
    """
    with readable(source.where):
        relation, told = _relation(database, source, work, progress, again=again)
        database.execute(f"CREATE OR REPLACE VIEW raw_{source.role} AS SELECT * FROM {relation}")
        described = database.execute(f"DESCRIBE raw_{source.role}").fetchall()
    types = {name: kind for name, kind, *_ in described}
    columns = check(source, types)
    ids = [f'CAST("{name}" AS VARCHAR) AS {name}' for name in IDS[source.role]]
    values = [f"{normal(source, name, types[name])} AS {name}" for name in columns]
    selected = ", ".join([*ids, *values, f"{bad_values(source, columns, types)} AS bad"])
    database.execute(f"CREATE OR REPLACE VIEW {source.role}_rows AS SELECT {selected} FROM raw_{source.role}")
    return columns, told


def known_rows(database: duckdb.DuckDBPyConnection, source: Source) -> int | None:
    """Return how many rows a source has, where its files say so themselves; to count them would be to read them."""
    if source.format not in ("parquet", "duckdb"):
        return None
    with readable(source.where):
        row = database.execute(f"SELECT count(*) FROM raw_{source.role}").fetchone()
    return int(row[0]) if row else None


def _relation(
    database: duckdb.DuckDBPyConnection, source: Source, work: Path, progress: Progress, *, again: bool
) -> tuple[str, Bad]:
    files = "[" + ", ".join(quoted(path) for path in source.paths) + "]"
    if source.format == "parquet":
        return f"read_parquet({files}, union_by_name=true)", []
    if source.format == "csv":
        return f"read_csv({files}, all_varchar=true, union_by_name=true, header=true)", []
    if source.format == "duckdb":
        name = f"inventory_{source.role}"
        database.execute(f"ATTACH {quoted(source.paths[0])} AS {name} (READ_ONLY)")
        return f'{name}."{source.table}"', []
    if holds_snapshots(source.paths[0]):
        return _flattened(source, work / f"{source.role}s.rows.ndjson", progress, again=again)
    return (
        f"read_json({files}, format='newline_delimited', columns={_struct(dict.fromkeys(source.columns, 'VARCHAR'))})",
        [],
    )


def _flattened(source: Source, path: Path, progress: Progress, *, again: bool) -> tuple[str, Bad]:
    """Write the snapshots' rows where DuckDB reads them; lines that can not be read are told."""
    told: Bad = []
    if not again:
        with path.open("w", encoding="utf-8") as file:
            for row in rows_of(source, lambda done: progress(f"reading snapshots of {source.role}s", done)):
                if isinstance(row, BadLine):
                    told.append((row.role, row.where, row.reason))
                else:
                    file.write(json.dumps(row) + "\n")
    kinds = dict.fromkeys(IDS[source.role], "VARCHAR") | dict(COLUMNS[source.role])
    return f"read_json([{quoted(str(path))}], format='newline_delimited', columns={_struct(kinds)})", told


def quoted(value: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def _struct(kinds: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in kinds.items()) + "}"


@contextmanager
def readable(where: str) -> Iterator[None]:
    """Turn DuckDB's errors into one line, and its word for an interrupt into Python's.

    Raises:
        InputError: DuckDB can not read or write what it should.
        KeyboardInterrupt: the user does not want to wait.
    """
    try:
        with interrupts():
            yield
    except duckdb.InterruptException:
        raise KeyboardInterrupt from None
    except duckdb.Error as error:
        raise InputError(_first_line(error), where) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kind, _, said = (lines[0] if lines else type(error).__name__).partition(": ")
    return said or kind
