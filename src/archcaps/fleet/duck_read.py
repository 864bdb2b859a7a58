"""An inventory's files as DuckDB reads them: each source becomes a view of rows, every column as a row has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from archcaps.errors import InputError
from archcaps.fleet.classes import Progress
from archcaps.fleet.columns import bad_values, check, normal, passed_over
from archcaps.fleet.interrupts import interrupts
from archcaps.fleet.inventory import IDS, Inventory, Source
from archcaps.fleet.results import PassedOver
from archcaps.fleet.text_rows import LONGEST, TextFile, text_rows

__all__ = ["known_rows", "locked", "quoted", "readable", "view_of"]

Bad = list[tuple[str, str, str]]


def view_of(
    database: duckdb.DuckDBPyConnection, source: Source, work: Path, progress: Progress, *, again: bool
) -> tuple[list[str], Bad, list[PassedOver]]:
    """Make the view `host_rows` or `guest_rows`; return its columns, what is no row, and the columns passed over.

    The view has the ids, the columns, and `bad`: the columns of a row that cannot be read. What is no row is told as
    role, place and reason. `again`: an earlier run has made its files in `work` already.

    Raises:
        InputError: the source cannot be read, lacks a column, or has one of a wrong type.
    """
    with readable(source.where):
        relation, names, told = _relation(database, source, work, progress, again=again)
        database.execute(f"CREATE OR REPLACE VIEW raw_{source.role} AS SELECT * FROM {relation}")
        described = database.execute(f"DESCRIBE raw_{source.role}").fetchall()
    types = {name: kind for name, kind, *_ in described}
    if names is not None:  # of text: those that occur; the others are there as nulls
        types = {name: types.get(name, "VARCHAR") for name in names}
    columns = check(source, types)
    ids = [f'CAST("{name}" AS VARCHAR) AS {name}' for name in IDS[source.role]]
    values = [f"{normal(source, name, types[name])} AS {name}" for name in columns]
    selected = ", ".join([*ids, *values, f"{bad_values(source, columns, types)} AS bad"])
    database.execute(f"CREATE OR REPLACE VIEW {source.role}_rows AS SELECT {selected} FROM raw_{source.role}")
    return columns, told, passed_over(source, types)


def known_rows(database: duckdb.DuckDBPyConnection, source: Source) -> int | None:
    """Return how many rows a source has, where its files say so themselves; to count them would be to read them."""
    if source.format not in ("parquet", "duckdb"):
        return None
    with readable(source.where):
        row = database.execute(f"SELECT count(*) FROM raw_{source.role}").fetchone()
    return int(row[0]) if row else None


def locked(path: Path, work: Path, inventory: Inventory, *, memory: str, threads: int) -> duckdb.DuckDBPyConnection:
    """Return a connection to the database `path` that reaches the inventory's files and `work`, and nothing else.

    It loads and installs no extension, and no statement can change that: what a stranger's database holds may run, but
    reads no file. The settings go in as values, never as SQL.

    Raises:
        InputError: a setting is none.
    """
    config: dict[str, Any] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": str(work / "spill"),
        "preserve_insertion_order": False,
    }
    config |= ({"memory_limit": memory} if memory else {}) | ({"threads": threads} if threads else {})
    with readable(f"--memory {memory}" if memory else "duckdb"):
        # To DuckDB a question mark ends a file's name: it would look for its log in another folder.
        database = duckdb.connect(":memory:" if "?" in str(path) else str(path), config=config)
    paths = [file for source in filter(None, (inventory.hosts, inventory.guests)) for file in source.paths]
    with readable("duckdb"):
        database.execute(f"SET allowed_directories={_listed([str(work)])}")
        database.execute(f"SET allowed_paths={_listed([*paths, *(f'{file}.wal' for file in paths)])}")
        database.execute("SET enable_external_access=false")
        database.execute("SET python_enable_replacements=false")
        database.execute("SET enable_progress_bar_print=false")
        # Of a column of long texts it would hold more than the piece that is read.
        database.execute("SET disable_parquet_prefetching=true")
    return database


def _listed(texts: Sequence[str]) -> str:
    return "[" + ", ".join(quoted(text) for text in texts) + "]"


def _relation(
    database: duckdb.DuckDBPyConnection, source: Source, work: Path, progress: Progress, *, again: bool
) -> tuple[str, Sequence[str] | None, Bad]:
    """Return what to read from, the columns that occur where the engine cannot say, and what is no row."""
    if source.format == "parquet":
        # Folders that are called column=value are folders: a column of the file is what the file says.
        options = "union_by_name=true, hive_partitioning=false, filename=false"
        _columns_once(database, source)
        return f"read_parquet({_listed(source.paths)}, {options})", None, []
    if source.format == "duckdb":
        return _table(database, source), None, []
    phase = f"reading lines of {source.role}s"
    found = text_rows(source, work, lambda done: progress(phase, done), again=again)
    told = [] if again else [(line.role, line.where, line.reason) for line in found.bad]
    names = list(dict.fromkeys(name for file in found.files for name in file.columns))
    read = _read_csv if source.format == "csv" else _read_json
    every = " UNION ALL BY NAME ".join(f"SELECT * FROM {read(source, file)}" for file in found.files)
    return f"({every})", names, told


def _read_csv(source: Source, file: TextFile) -> str:
    known = source.columns
    kinds = {name if name in known else f"other {number}": "VARCHAR" for number, name in enumerate(file.columns)}
    return (
        f"read_csv([{quoted(file.path)}], auto_detect=false, header=false, delim=',', quote='\"', escape='\"', "
        f"comment='', nullstr='', allow_quoted_nulls=false, new_line='\\n', max_line_size={2 * LONGEST}, "
        f"parallel=false, columns={_struct(kinds)})"
    )


def _read_json(source: Source, file: TextFile) -> str:
    kinds = dict.fromkeys(source.columns, "VARCHAR")
    return (
        f"read_json([{quoted(file.path)}], format='newline_delimited', maximum_object_size={8 * LONGEST}, "
        f"columns={_struct(kinds)})"
    )


def _columns_once(database: duckdb.DuckDBPyConnection, source: Source) -> None:
    """Refuse Parquet files with two columns of one name: DuckDB would give the second another.

    Raises:
        InputError: a file has such columns.
    """
    query = """SELECT file_name, name FROM parquet_schema(?) WHERE num_children IS NULL OR num_children = 0
        GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL LIMIT 1"""
    row = database.execute(query, [list(source.paths)]).fetchone()
    if row is not None and row[1] in source.columns:
        raise InputError(f"two columns are called {row[1]!r} (expected each once)", str(row[0]))


def _table(database: duckdb.DuckDBPyConnection, source: Source) -> str:
    """Open a database and return the name of its table; a view runs what a stranger wrote, so it has to be asked for.

    Raises:
        InputError: there is no such table, or it is a view, or has columns that are worked out.
    """
    name = f"inventory_{source.role}"
    database.execute(f"ATTACH {quoted(source.paths[0])} AS {name} (READ_ONLY)")
    tables = "SELECT sql FROM duckdb_tables() WHERE database_name = ? AND schema_name = 'main' AND table_name = ?"
    found = database.execute(tables, [name, source.table]).fetchone()
    views = "SELECT 1 FROM duckdb_views() WHERE database_name = ? AND schema_name = 'main' AND view_name = ?"
    view = database.execute(views, [name, source.table]).fetchone() is not None
    if found is None and not view:
        raise InputError(f"no table {source.table} (expected tables hosts and guests)", source.paths[0])
    if not source.views and (view or "GENERATED ALWAYS" in str(found).upper()):
        what = "a view" if view else "a table with columns that are worked out"
        raise InputError(
            f"{source.table} is {what}, which runs what whoever made the file wrote (export it as Parquet, or, for "
            "audit and roll-out, give --views if you trust them)",
            source.paths[0],
        )
    return f'{name}."{source.table}"'


def quoted(value: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def _struct(kinds: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{quoted(name)}: {quoted(kind)}" for name, kind in kinds.items()) + "}"


@contextmanager
def readable(where: str) -> Iterator[None]:
    """Turn DuckDB's errors into one line, and its word for an interrupt into Python's.

    Raises:
        InputError: DuckDB cannot read or write what it should.
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
