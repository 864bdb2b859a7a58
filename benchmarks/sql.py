"""Times the rules evaluated in every row: bit planes, their SQL in Polars and in DuckDB, and a loop in Python.

Every question of every vulnerability on the same random facts, in processor time of one thread; the answers have to be
the same. Polars is given the SQL that is written for DuckDB.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time

import duckdb
import numpy as np
from numpy.typing import NDArray

from archcaps.logic.bitplanes import BitPlanes, Planes
from archcaps.logic.sql import UNDECIDED, Inputs, identifier, layers
from archcaps.logic.sql_dialects import DIALECTS
from archcaps.logic.ternary import Ternary
from archcaps.questions.many.judge import questions
from archcaps.questions.sql.lookups import used

os.environ["POLARS_MAX_THREADS"] = "1"  # read when Polars is imported
import polars

RUNS = 3
#: The loop goes through these rows only: each takes it milliseconds.
LOOPED = 200
#: By question, a label for each row: the empty text for None, `UNDECIDED` where more than one is possible.
Answers = dict[str, NDArray[np.object_]]
#: By question and label, the plane of the rows where the label is possible.
Possible = dict[str, dict[str | None, int]]


class Facts:
    """The same random facts for all, four in five known."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.duck = duckdb.connect()
        self.duck.execute("SET threads = 1")
        self.duck.execute("SELECT setseed(0.5)")
        values = (
            f"CASE WHEN random() < 0.8 THEN random() < 0.5 END AS {identifier(name)}" for name in sorted(used()[0])
        )
        self.duck.execute(f"CREATE TABLE facts AS SELECT range AS number, {', '.join(values)} FROM range({rows})")
        with TemporaryDirectory() as folder:
            path = Path(folder) / "facts.parquet"
            self.duck.execute(f"COPY (SELECT * FROM facts ORDER BY number) TO '{path}' (FORMAT parquet)")
            self.frame = polars.read_parquet(path)
        self.planes = self.packed()

    def packed(self) -> dict[str, Planes]:
        return {name: self._planes(identifier(name)) for name in used()[0]}

    def _planes(self, column: str) -> Planes:
        both = [self.frame[column].eq_missing(value).to_numpy() for value in (True, False)]
        true, false = (int.from_bytes(np.packbits(each, bitorder="little").tobytes(), "little") for each in both)
        return true, false

    def first(self, rows: int) -> list[dict[str, bool | None]]:
        columns = {name: self.frame[identifier(name)].head(rows).to_list() for name in used()[0]}
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@dataclass
class Way:
    """A way of evaluating the rules in `rows` rows: `run`, and then `answers` of the first so many rows."""

    name: str
    rows: int
    run: Callable[[], object]
    answers: Callable[[], Answers]
    text: str = ""


def query(written_again: int) -> str:
    facts = {name: f"facts.{identifier(name)}" for name in used()[0]}
    dialect = replace(DIALECTS["duckdb"], written_again=written_again)
    *inner, (_, last) = layers(questions(), Inputs("facts", facts, keep={"number": "facts.number"}), dialect)
    return f"WITH {', '.join(f'{name} AS ({text})' for name, text in inner)} {last}"


def bit_planes(facts: Facts) -> Way:
    found: Possible = {}

    def run() -> None:
        found.update(possible(facts, facts.planes))

    return Way("bit planes, from planes to planes", facts.rows, run, lambda: labelled(found, facts.rows))


def from_columns(facts: Facts) -> Way:
    """The bit planes from what the engines get, columns, to what they give: a text in each row."""
    found: Answers = {}

    def run() -> None:
        found.update(labelled(possible(facts, facts.packed()), facts.rows))

    return Way("bit planes, from columns to columns", facts.rows, run, lambda: found)


def possible(facts: Facts, planes: dict[str, Planes]) -> Possible:
    read = BitPlanes(facts.rows, planes)
    return {name: choice.possible_rows(read) for name, choice in questions().items()}


def labelled(found: Possible, rows: int) -> Answers:
    return {name: texts(planes, rows) for name, planes in found.items()}


def texts(planes: dict[str | None, int], rows: int) -> NDArray[np.object_]:
    count, last = np.zeros(rows, dtype=np.uint8), np.zeros(rows, dtype=np.uint8)
    for number, plane in enumerate(planes.values(), 1):
        packed = np.frombuffer(plane.to_bytes(-(-rows // 8), "little"), dtype=np.uint8)
        here = np.unpackbits(packed, bitorder="little", count=rows)
        count += here
        last += number * here
    last[count != 1] = 0
    return np.array([UNDECIDED, *(label or "" for label in planes)], dtype=object)[last]


def in_polars(facts: Facts, written_again: int) -> Way:
    text = query(written_again)
    found = [polars.DataFrame()]

    def run() -> None:
        found[0] = polars.SQLContext(facts=facts.frame.lazy()).execute(text).collect()

    def answers() -> Answers:
        ordered = found[0].sort("number")
        return {name: np.array(ordered[name].to_list(), dtype=object) for name in questions()}

    return Way(f"Polars, at most {written_again} inputs written again", facts.rows, run, answers, text)


def in_duckdb(facts: Facts, written_again: int) -> Way:
    text = query(written_again)

    def run() -> None:
        facts.duck.execute(f"CREATE OR REPLACE TABLE found AS {text}")

    def answers() -> Answers:
        return dict(facts.duck.execute("SELECT * EXCLUDE number FROM found ORDER BY number").fetchnumpy())

    return Way(f"DuckDB, at most {written_again} inputs written again", facts.rows, run, answers, text)


def loop(facts: Facts) -> Way:
    rows = facts.first(LOOPED)
    asked = {
        name: [(label or "", choice.is_in([label]), choice.permits(label)) for label in choice.labels]
        for name, choice in questions().items()
    }
    found: list[dict[str, str]] = []

    def run() -> None:
        found.clear()
        for row in rows:
            value = Ternary(row).value
            answer = {}
            for name, labels in asked.items():
                chosen = [label for label, here, _ in labels if value(here)]
                possible = chosen or [label for label, _, permitted in labels if value(permitted) is not False]
                answer[name] = possible[0] if len(possible) == 1 else UNDECIDED
            found.append(answer)

    def answers() -> Answers:
        return {name: np.array([answer[name] for answer in found], dtype=object) for name in asked}

    return Way("a loop in Python, three-valued", len(rows), run, answers)


def seconds(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(RUNS):
        start = process_time()
        work()
        taken.append(process_time() - start)
    return median(taken)


def ways(facts: Facts, cuts: Sequence[int]) -> list[Way]:
    engines = [engine(facts, cut) for engine in (in_polars, in_duckdb) for cut in cuts]
    return [bit_planes(facts), from_columns(facts), *engines, loop(facts)]


def compare(way: Way, expected: Answers) -> None:
    """Every answer is that of the bit planes."""
    for name, answers in way.answers().items():
        wrong = np.flatnonzero(answers != expected[name][: way.rows])
        if len(wrong):
            row = wrong[0]
            raise SystemExit(f"{way.name}: {name} of row {row} is {answers[row]!r}, not {expected[name][row]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1 << 16)
    parser.add_argument("--cuts", type=int, nargs="+", default=[0, 1, 2, 4, 8], help="inputs written again at most")
    asked = parser.parse_args()
    print(f"{asked.rows:,} rows, {len(questions())} columns, one thread, median of {RUNS} runs\n")
    print("| what | rows a second | times the bit planes | s for one row | characters of SQL | layers |")
    print("| --- | --- | --- | --- | --- | --- |")
    expected: Answers = {}
    fastest = 0.0
    for way, of_one in zip(ways(Facts(asked.rows), asked.cuts), ways(Facts(1), asked.cuts), strict=True):
        alone, taken = seconds(of_one.run), seconds(way.run)
        expected = expected or way.answers()
        compare(way, expected)
        fastest = fastest or way.rows / taken
        size = f"{len(way.text):,} | {way.text.count(' AS (SELECT')}" if way.text else "|"
        slower = fastest * taken / way.rows
        print(f"| {way.name} | {way.rows / taken:,.0f} | {slower:,.0f} | {alone:.3f} | {size} |", flush=True)


if __name__ == "__main__":
    main()
