"""The table of reasons: with its facts alone a class gets the same answers, and none of them is left over."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest

from archcaps.fleet.audit import audit
from archcaps.fleet.classes import NO_MATTER
from archcaps.fleet.inventory import find
from archcaps.fleet.sample import sample_fleet
from archcaps.logic.ternary import Ternary
from archcaps.questions.many.judge import questions
from archcaps.questions.results import FINE
from archcaps.tables.names import VULNERABILITIES

QUESTIONS = ("truth", "safety", "host_safety")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reasons")
    sample_fleet(folder, 3_000, hosts=60)
    files = audit(find(str(folder)), folder / "out", reasons=True).result.files
    assert files["reasons"] == str(folder / "out" / "reasons.parquet")
    return folder / "out"


def query(sql: str, *values: str) -> list[tuple[Any, ...]]:
    return duckdb.execute(sql, list(values)).fetchall()


def reasons(out: Path, name: str, vulnerability: str) -> dict[str, bool]:
    rows = query(
        f"SELECT fact, value FROM '{out}/reasons.parquet' WHERE class = ? AND vulnerability = ? AND value IS NOT NULL",
        name,
        vulnerability,
    )
    return {fact: value == "true" for fact, value in rows}


def answers(facts: dict[str, bool], vulnerability: str) -> list[str]:
    # A name is a fact's or that of an observed rule; the reading looks each up where it belongs.
    reading = Ternary(facts, facts)
    found = []
    for question in QUESTIONS:
        answer = questions()[f"{vulnerability}_{question}"].answer(reading)
        neither = question == "truth" and {str(value) for value in answer.possible} <= set(FINE)
        found.append(str(answer.possible[0]) if answer.decided else NO_MATTER if neither else "undecided")
    return found


def test_the_facts_of_a_class_give_its_answers(written: Path) -> None:
    columns = ", ".join(f"{name}_{question}" for name in VULNERABILITIES for question in QUESTIONS)
    classes = query(f"SELECT class, {columns} FROM '{written}/classes.parquet' ORDER BY 1")
    assert len(classes) > 100
    compared = 0
    for name, *said in Random(6).sample(classes, 60):
        for place, vulnerability in enumerate(VULNERABILITIES):
            in_table = said[3 * place : 3 * place + 3]
            assert answers(reasons(written, name, vulnerability), vulnerability) == in_table, (name, vulnerability)
            compared += 1
    assert compared == 60 * len(VULNERABILITIES)


def test_a_fact_less_is_an_answer_less_somewhere(written: Path) -> None:
    # Each table row is there because some answer depends on it: without any of a class's facts nothing is decided.
    decided = query(f"SELECT class FROM '{written}/classes.parquet' WHERE mds_truth <> 'undecided' ORDER BY 1 LIMIT 20")
    for (name,) in decided:
        facts = reasons(written, name, "mds")
        assert facts
        before = answers(facts, "mds")
        lost = [fact for fact in facts if answers({k: v for k, v in facts.items() if k != fact}, "mds") != before]
        assert lost, name


def test_an_unknown_fact_has_no_value_and_says_why(written: Path) -> None:
    unknown = query(f"SELECT value, source FROM '{written}/reasons.parquet' WHERE provenance = 'unknown'")
    assert unknown
    assert all(value is None and source for value, source in unknown)


def test_every_class_of_an_audit_has_its_reasons(written: Path) -> None:
    classes, named = query(
        f"SELECT (SELECT count(*) FROM '{written}/classes.parquet'), count(DISTINCT class) "
        f"FROM '{written}/reasons.parquet'"
    )[0]
    assert classes == named
