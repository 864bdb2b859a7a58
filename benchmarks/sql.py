"""Times the rules as SQL in DuckDB beside the bit planes: processor time of one thread, on the same random facts.

Every question of every vulnerability; then the same query cut into layers otherwise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median
from time import process_time

import duckdb
import numpy as np

from archcaps.logic.bitplanes import BitPlanes, Planes
from archcaps.logic.sql import Inputs, identifier, layers
from archcaps.logic.sql_dialects import DIALECTS
from archcaps.questions.many.judge import questions
from archcaps.questions.sql.lookups import used

RUNS = 3


def seconds(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(RUNS):
        start = process_time()
        work()
        taken.append(process_time() - start)
    return median(taken)


def query(written_again: int) -> str:
    facts = {name: f"facts.{identifier(name)}" for name in used()[0]}
    dialect = replace(DIALECTS["duckdb"], written_again=written_again)
    *inner, (_, last) = layers(questions(), Inputs("facts", facts, keep={"number": "facts.number"}), dialect)
    return f"WITH {', '.join(f'{name} AS ({text})' for name, text in inner)} {last}"


def planes_of(connection: duckdb.DuckDBPyConnection) -> dict[str, Planes]:
    found = {}
    for name in used()[0]:
        column = identifier(name)
        text = f"SELECT {column} IS TRUE AS t, {column} IS FALSE AS f FROM facts ORDER BY number"
        both = connection.execute(text).fetchnumpy()
        packed = [np.packbits(both[part], bitorder="little").tobytes() for part in ("t", "f")]
        found[name] = (int.from_bytes(packed[0], "little"), int.from_bytes(packed[1], "little"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1 << 16)
    rows: int = parser.parse_args().rows
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    connection.execute("SELECT setseed(0.5)")
    columns = (f"CASE WHEN random() < 0.8 THEN random() < 0.5 END AS {identifier(name)}" for name in sorted(used()[0]))
    connection.execute(f"CREATE TABLE facts AS SELECT range AS number, {', '.join(columns)} FROM range({rows})")
    facts = planes_of(connection)

    def read_planes() -> None:
        planes = BitPlanes(rows, facts)
        for choice in questions().values():
            choice.possible_rows(planes)

    of_planes = seconds(read_planes)
    print(f"{rows:,} rows, {len(questions())} columns, one thread\n")
    print(
        "| what | rows a second | times the bit planes | characters of SQL | layers |\n| --- | --- | --- | --- | --- |"
    )
    print(f"| bit planes | {rows / of_planes:,.0f} | 1 | | |")
    for written_again in (0, 1, 2, 4, 8):
        text = query(written_again)
        taken = seconds(partial(connection.execute, f"CREATE OR REPLACE TABLE found AS {text}"))
        print(
            f"| DuckDB, at most {written_again} inputs written again | {rows / taken:,.0f} | {taken / of_planes:,.0f} "
            f"| {len(text):,} | {text.count(' AS (SELECT')} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
