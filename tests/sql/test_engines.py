"""The SQL in real engines: row by row what the bit planes say, and for every example what check says.

Few rows by default, and Spark is asked once, about TSA; ARCHCAPS_SQL=full asks thousands, and everything of all.
"""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archcaps.logic.bitplanes import BitPlanes, pack
from archcaps.logic.sql import UNDECIDED, Inputs, identifier, layers
from archcaps.logic.sql_dialects import DIALECTS
from archcaps.machine.read import read_snapshot
from archcaps.machine.row import COLUMNS, row_of
from archcaps.questions.check import check
from archcaps.questions.many.columns import Machines
from archcaps.questions.many.judge import judge_pairs, questions
from archcaps.questions.sql.lookups import columns_of, used
from archcaps.questions.sql.lookups import rows_of as lookup_rows
from archcaps.questions.sql.query import query
from archcaps.questions.sql.tables import create_machines, load_lookups
from archcaps.report.rules import render_lookups
from tests.sql.engines import ENGINES, dialect_of, insert, rows_of
from tests.sql.machines import random_guests, random_hosts

FULL = os.environ.get("ARCHCAPS_SQL") == "full"
EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
ROWS = 4_000 if FULL else 300
Row = dict[str, Any]


def columns(engine: str) -> list[str]:
    """What is asked: Spark plans every column for half a minute."""
    every = list(questions())
    return every if FULL or engine != "spark" else ["tsa_safety"]


def decided(labels: Sequence[object]) -> str:
    if len(labels) != 1:
        return UNDECIDED
    return "" if labels[0] is None else str(labels[0])


@pytest.mark.parametrize("engine", ENGINES if FULL else [engine for engine in ENGINES if engine != "spark"])
def test_every_row_of_random_facts_has_the_labels_of_its_bit_planes(engine: str, tmp_path: Path) -> None:
    dice = random.Random(engine)
    facts, rules = used()
    observed = sorted({*columns_of("host_texts").values(), *columns_of("guest_texts").values()})
    opaque = [name for name in rules if name.startswith("guest.verw_works[")]
    inputs = Inputs(
        source="facts",
        keep={"number": "facts.number"},
        facts={name: f"facts.{identifier(name)}" for name in facts},
        observed={name: f"facts.{identifier(f'seen {name}')}" for name in observed},
        opaque={name: f"facts.{identifier(f'out {name}')}" for name in opaque},
    )

    def three(known: float) -> bool | None:
        return dice.random() < 0.5 if dice.random() < known else None

    cases = [
        (
            {name: three(known) for name in sorted(facts)},
            {name: three(0.02) for name in observed},
            {name: dice.random() < 0.1 for name in opaque},
        )
        for known in dice.choices((0.3, 0.6, 0.9, 1), k=ROWS)
    ]
    given = [inputs.facts, inputs.observed, inputs.opaque]
    names = ["number", *(column.partition(".")[2] for each in given for column in each.values())]
    with (tmp_path / "facts.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for number, case in enumerate(cases):
            values = [case[which][name] for which, each in enumerate(given) for name in each]
            writer.writerow([number, *("" if value is None else str(value).lower() for value in values)])
    dialect = DIALECTS[dialect_of(engine)]
    types = {"number": dialect.integer} | dict.fromkeys(names[1:], dialect.boolean)
    load = dialect.load.format(
        table="facts",
        columns=",\n".join(f"{name} {kind}" for name, kind in types.items()),
        path=f"'{tmp_path / 'facts.csv'}'",
    )
    asked = {name: questions()[name] for name in columns(engine)}
    *inner, (_, last) = layers(asked, inputs, dialect)
    subqueries = ",\n".join(f"{name} AS ({text})" for name, text in inner)
    found = rows_of(engine, tmp_path, [load], f"{dialect.start}WITH {subqueries}\n{last}\n{dialect.end};\n")

    planes = BitPlanes(
        ROWS,
        pack([case[0] for case in cases]),
        pack([case[1] for case in cases]),
        {name: true for name, (true, _) in pack([case[2] for case in cases]).items()},
    )
    assert sorted(int(str(row["number"])) for row in found) == list(range(ROWS))
    by_number = {int(str(row["number"])): row for row in found}
    kinds = set()
    for name, choice in asked.items():
        possible = choice.possible_rows(planes)
        for number in range(ROWS):
            expected = decided([label for label, rows in possible.items() if rows >> number & 1])
            kinds.add((name, expected))
            assert by_number[number][name] == expected, (name, number)
    # It tells only where it had something to tell apart.
    assert all((name, UNDECIDED) in kinds and len({kind for kind in kinds if kind[0] == name}) > 2 for name in asked)


def asked_in(engine: str, folder: Path, hosts: list[Row], guests: list[Row], names: Sequence[str]) -> dict[str, Row]:
    """Return the answers by guest, from the tables that a team would make and load."""
    machines = machines_from(hosts, guests)
    for name, text in render_lookups(lookup_rows(*machines)).items():
        (folder / name).write_text(text, encoding="utf-8")
    scripts = [
        create_machines(dialect_of(engine)),
        load_lookups(dialect_of(engine), str(folder)),
        insert("hosts", ["name", *COLUMNS["host"]], hosts),
        insert("guests", ["name", "host", *COLUMNS["guest"]], guests),
    ]
    return {str(row["guest"]): row for row in rows_of(engine, folder, scripts, query(names, dialect_of(engine)))}


def machines_from(hosts: list[Row], guests: list[Row]) -> tuple[Machines, Machines]:
    return (
        Machines("host", len(hosts), {name: [row.get(name) for row in hosts] for name in COLUMNS["host"]}),
        Machines("guest", len(guests), {name: [row.get(name) for row in guests] for name in COLUMNS["guest"]}),
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_every_random_guest_has_the_verdict_of_the_bit_planes(engine: str, tmp_path: Path) -> None:
    dice = random.Random(engine)
    hosts = random_hosts(dice, 400 if FULL and engine != "spark" else 40)
    guests = random_guests(dice, 2_000 if FULL and engine != "spark" else 120, hosts)
    names = columns(engine)
    rule = "guest.exposed[tsa]"
    found = asked_in(engine, tmp_path, hosts, guests, [*names, rule])
    assert set(found) == {row["name"] for row in guests}
    assert all(row["complete"] for row in found.values())
    place = {row["name"]: number for number, row in enumerate(hosts)}
    host_of = np.array([place[row["host"]] for row in guests], dtype=np.intp)
    (verdicts,) = judge_pairs(*machines_from(hosts, guests), host_of, np.arange(len(guests)))
    for name in names:
        for guest, mask in zip(guests, verdicts.possible[name].tolist(), strict=True):
            possible = [label for number, label in enumerate(verdicts.labels[name]) if mask >> number & 1]
            assert found[guest["name"]][name] == decided(possible), (name, guest)
    for row in found.values():
        assert row["guest_exposed_tsa"] == {"exposed": True, "safe": False}.get(str(row["tsa_safety"]))


@cache
def examples() -> tuple[list[Row], list[Row], dict[tuple[str, str], str]]:
    """Every guest of an example on every host of it, and what check says by guest and column."""
    hosts, guests, expected = [], [], {}
    for path in sorted(EXAMPLES.glob("*/host*.toml")):
        host = read_snapshot(path, "host")
        hosts.append({"name": str(path), **row_of(host)})
        for other in sorted(path.parent.glob("guest*.toml")):
            guest, name = read_snapshot(other, "guest"), f"{other} on {path}"
            guests.append({"name": name, "host": str(path), **row_of(guest)})
            for verdict in check(host, guest).vulnerabilities:
                for question in ("truth", "safety", "host_safety"):
                    answer = getattr(verdict, question)
                    value = answer.value if answer.decided else UNDECIDED
                    expected[name, f"{verdict.vulnerability}_{question}"] = value
    return hosts, guests, expected


@pytest.mark.parametrize("engine", ENGINES if FULL else ["duckdb"])
def test_every_example_has_the_verdict_of_check(engine: str, tmp_path: Path) -> None:
    hosts, guests, expected = examples()
    assert len(guests) > 40
    asked = list(dict.fromkeys(column for _, column in expected))
    found = asked_in(engine, tmp_path, hosts, guests, asked)
    for (guest, column), value in expected.items():
        assert found[guest][column] == value, (guest, column)
