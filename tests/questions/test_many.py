"""The verdicts on many pairs at once are those of check, one by one."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from archcaps.machine.read import read_snapshot
from archcaps.machine.row import COLUMNS, CPU_COLUMNS, WORDS, row_of, signed, snapshot_of
from archcaps.questions.check import check
from archcaps.questions.many import judge
from archcaps.questions.many.columns import Machines
from archcaps.questions.many.judge import QUESTIONS, Verdicts, judge_pairs
from archcaps.questions.results import NO_SUCH_FILE, CheckResult
from archcaps.tables.bits import REGISTERS
from archcaps.tables.names import VULNERABILITIES

EXAMPLES = Path(__file__).parents[2] / "examples"
Row = Mapping[str, Any]


def rows_of(role: Literal["host", "guest"]) -> list[Row]:
    return [row_of(read_snapshot(path)) for path in sorted(EXAMPLES.glob(f"*/{role}*.toml"))]


def machines(
    role: Literal["host", "guest"], rows: Sequence[Row], assumptions: frozenset[str] = frozenset()
) -> Machines:
    columns = {name: [row.get(name) for row in rows] for name in COLUMNS[role] if any(name in row for row in rows)}
    return Machines(role, len(rows), columns, assumptions)


def answers(verdicts: Verdicts, pair: int) -> dict[str, list[str]]:
    return {
        name: [label for number, label in enumerate(labels) if int(verdicts.possible[name][pair]) >> number & 1]
        for name, labels in verdicts.labels.items()
    }


def answers_of_check(result: CheckResult) -> dict[str, list[str]]:
    found = {}
    for name in VULNERABILITIES:
        for question in QUESTIONS:
            possible = getattr(result[name], question).possible
            found[f"{name}_{question}"] = ["" if label == NO_SUCH_FILE else label for label in possible]
    return found


def compare(hosts: list[Row], guests: list[Row], pairs: list[tuple[int, int]], assumptions: frozenset[str]) -> None:
    on, of = (np.array(side, dtype=np.intp) for side in zip(*pairs, strict=True))
    (verdicts,) = judge_pairs(machines("host", hosts, assumptions), machines("guest", guests, assumptions), on, of)
    for number, (host, guest) in enumerate(pairs):
        said = check(snapshot_of(hosts[host], "host"), snapshot_of(guests[guest], "guest"), assumptions, brief=True)
        expected = answers_of_check(said)
        if "vulnerabilities" in guests[guest]:  # check prints the text that was read
            expected = {name: value for name, value in expected.items() if not name.endswith("_concludes")}
        found = answers(verdicts, number)
        assert {name: found[name] for name in expected} == expected, (host, guest)


def test_examples_in_any_company_get_the_verdicts_of_check() -> None:
    hosts, guests = rows_of("host"), rows_of("guest")
    chance = random.Random(7)
    pairs = [(chance.randrange(len(hosts)), chance.randrange(len(guests))) for _ in range(40)]
    compare(hosts, guests, pairs, frozenset())
    compare(hosts, guests, pairs[:10], frozenset(("default-options", "user-mmio", "host-mmio")))


def test_random_rows_with_holes_get_the_verdicts_of_check() -> None:
    chance = random.Random(11)

    def spoilt(row: Row) -> Row:
        found = dict(row)
        for word in WORDS:
            if word in found and chance.random() < 0.7:
                width = REGISTERS[word].width
                found[word] = signed(chance.getrandbits(width) | found[word] & ((1 << width) - 1))
                known = chance.getrandbits(width) | chance.getrandbits(width) | chance.getrandbits(width)
                found[f"{word}_known"] = signed(known)
        for name in (*CPU_COLUMNS, "kernel", "cmdline", "config"):
            if chance.random() < 0.08:
                found.pop(name, None)
        return found

    hosts = [spoilt(chance.choice(rows_of("host"))) for _ in range(30)]
    guests = [spoilt(chance.choice(rows_of("guest"))) for _ in range(30)]
    guests[3] = {**guests[3], "system": "windows"}
    compare(hosts, guests, [(number, number) for number in range(30)], frozenset())


def test_more_pairs_than_are_read_at_once_keep_their_order(monkeypatch: Any) -> None:  # noqa: ANN401  # pytest's own
    monkeypatch.setattr(judge, "PAIRS_AT_ONCE", 7)
    hosts, guests = machines("host", rows_of("host")), machines("guest", rows_of("guest"))
    on, of = np.arange(20) % hosts.count, np.arange(20) * 3 % guests.count
    parts = list(judge_pairs(hosts, guests, on, of))
    assert [part.count for part in parts] == [7, 7, 6]
    monkeypatch.setattr(judge, "PAIRS_AT_ONCE", 100)
    (whole,) = judge_pairs(hosts, guests, on, of)
    assert np.array_equal(np.concatenate([part.possible["mds_truth"] for part in parts]), whole.possible["mds_truth"])
