"""The real engines behind one function: run files of SQL, and return the rows of a query."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

__all__ = ["ENGINES", "dialect_of", "insert", "need", "rows_of"]

ENGINES = ("duckdb", "postgres", "clickhouse", "spark", "polars")
INSTALLER = "tools/debian/install.sh"
_HERE = Path(__file__).parent
#: Rows of one INSERT.
_AT_ONCE = 100


def dialect_of(engine: str) -> str:
    """Return the dialect that an engine reads: Polars has none of its own."""
    return "duckdb" if engine == "polars" else engine


@cache
def _postgres_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return None if initdb is None else Path(initdb).resolve().parent


def need(engine: str) -> None:
    """Skip where the engine is not there; in CI it has to be."""
    missing = None
    if engine == "spark" and shutil.which("java") is None:
        missing = f"Java is not there: {INSTALLER} installs it"
    if engine == "postgres" and (_postgres_programs() is None or shutil.which("psql") is None):
        missing = f"PostgreSQL is not there: {INSTALLER} installs it"
    modules = {"duckdb": "duckdb", "clickhouse": "chdb", "spark": "pyspark", "polars": "polars"}
    if engine in modules and find_spec(modules[engine]) is None:
        missing = f"{modules[engine]} is not there: requirements/dev.lock has it"
    if missing is None:
        return
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def rows_of(engine: str, folder: Path, scripts: Sequence[str], query: str) -> list[dict[str, str | bool | None]]:
    """Return what `query` gives after `scripts`, in a new database; `folder` is for files that takes."""
    need(engine)
    files = [folder / f"{number}.sql" for number in range(len(scripts) + 1)]
    for file, text in zip(files, [*scripts, query], strict=True):
        file.write_text(text, encoding="utf-8")
    if engine == "duckdb":
        return _duckdb(scripts, query)
    if engine == "polars":
        return _polars(folder, scripts, query)
    if engine == "postgres":
        with _server() as socket:
            return _psql(socket, files)
    done = subprocess.run(
        [sys.executable, _HERE / "run_engine.py", engine, *files],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def _duckdb(scripts: Sequence[str], query: str) -> list[dict[str, Any]]:
    import duckdb  # noqa: PLC0415  # only if this engine is asked for

    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        for script in scripts:
            connection.execute(script)
        result = connection.execute(query)
        names = [column[0] for column in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _polars(folder: Path, scripts: Sequence[str], query: str) -> list[dict[str, Any]]:
    """The query in Polars, over the tables that the scripts make in DuckDB: Polars makes none."""
    import duckdb  # noqa: PLC0415  # only if this engine is asked for
    import polars  # noqa: PLC0415  # as above

    frames = {}
    with duckdb.connect() as connection:
        for script in scripts:
            connection.execute(script)
        for (table,) in connection.execute("SHOW TABLES").fetchall():
            connection.execute(f"COPY {table} TO '{folder / table}.parquet' (FORMAT parquet)")
            frames[table] = polars.read_parquet(folder / f"{table}.parquet").lazy()
    return polars.SQLContext(frames).execute(query).collect().to_dicts()


@contextmanager
def _server() -> Iterator[str]:
    """A private PostgreSQL on a UNIX socket in a new folder, run by nobody if we are root: it refuses to be root."""
    programs = _postgres_programs()
    assert programs is not None, "need() was asked"
    as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []

    def run(program: str, *arguments: str) -> None:
        command = [*as_nobody, str(programs / program), *arguments]
        log = Path(folder) / "server.log"
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 0, done.stderr + (log.read_text() if log.exists() else "")

    with tempfile.TemporaryDirectory() as folder:  # not pytest's: a socket's path has at most 107 bytes
        Path(folder).chmod(0o777)
        data = f"{folder}/data"
        run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "--no-locale", "-E", "UTF8")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        run("pg_ctl", "-D", data, "-l", f"{folder}/server.log", "-w", "-o", options, "start")
        try:
            yield folder
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def _psql(socket: str, files: Sequence[Path]) -> list[dict[str, Any]]:
    command = ["psql", "-h", socket, "-U", "postgres", "-d", "postgres", "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    for file in files[:-1]:
        done = subprocess.run([*command, "-f", file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    null = "a NULL"
    done = subprocess.run(
        [*command, "--csv", "-P", f"null={null}", "-f", files[-1]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    booleans: Mapping[str, bool | None] = {"t": True, "f": False, null: None}
    return [
        {name: booleans.get(value, value) for name, value in row.items()}
        for row in csv.DictReader(done.stdout.splitlines())
    ]


def insert(table: str, names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return statements that put rows into a table, for every engine."""
    lines = ["(" + ", ".join(_value(row.get(name)) for name in names) + ")" for row in rows]
    parts = (lines[start : start + _AT_ONCE] for start in range(0, len(lines), _AT_ONCE))
    return "".join(f"INSERT INTO {table} ({', '.join(names)}) VALUES\n" + ",\n".join(part) + ";\n" for part in parts)


def _value(value: str | int | bool | None) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case int():
            return str(value) if value > -(1 << 63) else f"({value + 1} - 1)"
        case _:
            return "'" + value.replace("'", "''") + "'"
