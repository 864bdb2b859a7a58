"""What an audit says is to be collected: the same facts as for one pair, of every class, and the claims hold."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from archcaps.fleet import collecting, sample
from archcaps.fleet.audit import audit
from archcaps.fleet.classes import Classes, judge
from archcaps.fleet.inventory import Role, find
from archcaps.fleet.lacking import Lacking
from archcaps.fleet.results import AuditResult, Collect
from archcaps.machine.row import COLUMNS, CPU_COLUMNS, WORDS, row_of, signed, snapshot_of
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.check import check
from archcaps.questions.many.columns import Machines
from archcaps.questions.many.judge import Pairs, judge_pairs, questions
from archcaps.questions.many.missing import missing_rows
from archcaps.questions.reader import Reader
from archcaps.tables.bits import REGISTERS
from archcaps.tables.names import VULNERABILITIES
from tests.scenarios.running import EXAMPLES, machine

Row = dict[str, Any]


ROLES: tuple[Role, Role] = ("host", "guest")


def query(sql: str) -> list[tuple[Any, ...]]:
    return duckdb.execute(sql).fetchall()


def row_called(folder: Path, role: Role, name: str) -> Row:
    found = duckdb.execute(f"FROM '{folder}/{role}s.parquet' WHERE {role}_id = '{name}'")
    (row,) = found.fetchall()
    columns = [column[0] for column in found.description or []]
    return {column: value for column, value in zip(columns, row, strict=True) if value is not None}


def rows_of(role: Role) -> list[Row]:
    paths = sorted(EXAMPLES.glob(f"*/{role}*.toml"))
    return [row_of(machine(path.parent.name, path.stem)) for path in paths]


def machines(role: Role, rows: list[Row]) -> Machines:
    columns = {name: [row.get(name) for row in rows] for name in COLUMNS[role] if any(name in row for row in rows)}
    return Machines(role, len(rows), columns)


def missing(host: Snapshot, guest: Snapshot, asked: list[str]) -> frozenset[str]:
    """The facts of one pair that keep questions open, by the ternary reading."""
    ternary = Reader(host, guest).ternary
    nodes = [questions()[name].is_in([label]) for name in asked for label in questions()[name].labels]
    return frozenset().union(*(ternary.missing(node) for node in nodes))


def test_the_facts_that_are_missing_are_those_of_each_pair_alone() -> None:
    chance = random.Random(5)

    def spoilt(row: Row) -> Row:
        found = {name: value for name, value in row.items() if name not in CPU_COLUMNS or chance.random() > 0.1}
        for word in [word for word in WORDS if word in found and chance.random() < 0.5]:
            found[f"{word}_known"] = signed(chance.getrandbits(REGISTERS[word].width))
        return {name: value for name, value in found.items() if name[:4] != "kern" or chance.random() > 0.2}

    hosts = [spoilt(chance.choice(rows_of("host"))) for _ in range(40)]
    guests = [spoilt(chance.choice(rows_of("guest"))) for _ in range(40)]
    guests[3] = {**guests[3], "system": "windows"}
    on = np.arange(40)
    many = machines("host", hosts), machines("guest", guests)
    asked = {name: questions()[name] for name in collecting.ASKED}
    (verdicts,) = judge_pairs(*many, on, on, asked)
    still_open = {
        name: sum(1 << pair for pair in range(40) if verdicts.decided(name)[pair] < 0) for name in collecting.ASKED
    }
    found = missing_rows(Pairs(*many, asked).planes(on, on), asked, still_open)
    some = 0
    for pair in range(40):
        own = [name for name in asked if still_open[name] >> pair & 1]
        expected = missing(snapshot_of(hosts[pair], "host"), snapshot_of(guests[pair], "guest"), own)
        assert {fact for fact, rows in found.items() if rows >> pair & 1} == expected, pair
        some += bool(expected)
    assert some > 10


#: What a snapshot may leave out without leaving anything open, and what nobody has published.
NO_COLUMN = {
    "assume.user_mmio", "vm.has_assigned_device", "vm.has_mapped_host_mmio", "silicon.register_file_spared",
}  # fmt: skip


def test_every_fact_that_a_verdict_hangs_on_has_a_column() -> None:
    unknown = Machines("host", 1, {}), Machines("guest", 1, {})
    asked = {name: questions()[name] for name in collecting.ASKED}
    planes = Pairs(*unknown, asked).planes(np.array([0]), np.array([0]))
    facts = missing_rows(planes, asked, dict.fromkeys(asked, 1))
    assert len(facts) > 80
    for fact in facts:
        columns = [lack for lacks in Lacking(*unknown).of(fact) for lack in lacks if lack.classes.all()]
        names = {name for lack in columns for name in lack.column.split(", ")}
        assert bool(names) is (fact not in NO_COLUMN), fact
        assert all(set(lack.column.split(", ")) <= set(COLUMNS[lack.role]) for lack in columns), fact


def test_a_row_that_says_all_there_is_lacks_no_column() -> None:
    host, guest = row_of(machine("thread", "host")), row_of(machine("thread", "guest"))
    lacking = Lacking(machines("host", [host]), machines("guest", [guest]))
    assert not any(lack.classes.any() for fact in ("host.listed_mmio", "silicon.mds_published", "guest.vendor_amd")
                   for lack in lacking.of(fact)[0])  # fmt: skip


BLANKED: dict[str, tuple[str, ...]] = {
    "hosts": ("kernel", "cmdline", "config", "microcode", "cpuid_1_ecx", "ia32_arch_capabilities", "stepping",
              "cpuid_80000021_ecx"),
    "guests": ("kernel", "cmdline", "config", "cpuid_7_0_edx", "ia32_arch_capabilities", "cpuid_80000021_eax", "model"),
}  # fmt: skip


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet of which everything is known that any verdict needs: guests that stay open are left out."""
    folder = tmp_path_factory.mktemp("complete")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "_FORGETS", {})
        sample.sample_fleet(folder, 3_000, hosts=60)
    audit(find(str(folder)), folder / "out", wide=True)
    asked = [f"{name}_{question}" for name in VULNERABILITIES for question in ("truth", "safety", "host_safety")]
    decided = " AND ".join(f"{name} <> 'undecided'" for name in asked)
    duckdb.sql(f"""
        COPY (FROM '{folder}/guests.parquet' SEMI JOIN (FROM '{folder}/out/verdicts.parquet' WHERE {decided})
              USING (guest_id)) TO '{folder}/decided.parquet'""")
    (folder / "decided.parquet").replace(folder / "guests.parquet")
    return folder


def with_columns(complete: Path, folder: Path, filled: list[Collect]) -> AuditResult:
    """An audit of the fleet with values blanked at random, but for the columns that were collected."""
    for table, columns in BLANKED.items():
        key = f"{table[:-1]}_id"
        kept = {name for one in filled if f"{one.role}s" == table for name in one.column.split(", ")}
        blank = ", ".join(
            f"CASE WHEN hash({key} || '{name}') % 100 >= 12 THEN {name} END AS {name}"
            for name in columns if name not in kept
        )  # fmt: skip
        replaced = f"REPLACE ({blank})" if blank else ""
        duckdb.sql(f"COPY (SELECT * {replaced} FROM '{complete}/{table}.parquet') TO '{folder}/{table}.parquet'")
    return audit(find(str(folder)), None).result


def test_a_column_that_is_collected_settles_as_many_guests_as_was_claimed(complete: Path, tmp_path: Path) -> None:
    first = with_columns(complete, tmp_path, [])
    assert (first.open_questions.classes, first.guests) > (200, 2_000)
    assert len(first.collect) > 8
    assert first.collect[0].settles > 0
    settled = claimed = 0
    for number, one in enumerate(first.collect):
        claimed += one.settles
        again = with_columns(complete, tmp_path, first.collect[: number + 1])
        settled = first.open_questions.guests - again.open_questions.guests
        assert settled >= claimed, one
    assert settled == first.open_questions.guests
    assert claimed == settled - first.open_questions.beyond_guests


def test_with_the_columns_that_a_pair_lacks_filled_in_it_is_decided(complete: Path) -> None:
    chance = random.Random(3)
    whole, blanked = [], []
    sql = f"""SELECT g.guest_id, g.host_id FROM '{complete}/guests.parquet' g ORDER BY hash(guest_id) LIMIT 150"""
    for guest_id, host_id in query(sql):
        pair = [row_called(complete, "host", host_id), row_called(complete, "guest", guest_id)]
        whole.append(pair)
        spoilt = zip(pair, BLANKED.values(), strict=True)
        blanked.append([
            {name: value for name, value in row.items() if name not in columns or chance.random() > 0.3}
            for row, columns in spoilt
        ])  # fmt: skip
    every = np.arange(len(blanked))
    hosts, guests = (machines(role, [pair[at] for pair in blanked]) for at, role in enumerate(ROLES))
    classes = Classes(hosts, guests, every, every, np.ones(len(every), dtype=np.int64))
    judged = judge(classes)
    lacks = collecting.lacks_of(classes, judged, every)
    some = 0
    for number, pair in enumerate(blanked):
        wanted = [key for key, rows in lacks.items() if rows[number]]
        some += bool(wanted)
        for at, role in enumerate(ROLES):
            names = [name for of, column in wanted if of == role for name in column.split(", ")]
            pair[at] |= {name: whole[number][at][name] for name in names if name in whole[number][at]}
        said = check(snapshot_of(pair[0], "host"), snapshot_of(pair[1], "guest"), brief=True)
        assert not any(one.undecided for one in said.vulnerabilities), wanted
    assert some > 80


def test_every_class_with_an_open_question_is_looked_at(complete: Path, tmp_path: Path) -> None:
    with_columns(complete, tmp_path, [])
    result = audit(find(str(tmp_path)), tmp_path / "out", wide=True).result
    asked = [f"{name}_{question}" for name in VULNERABILITIES for question in ("truth", "safety", "host_safety")]
    still_open = " OR ".join(f"{name} = 'undecided'" for name in asked)
    (row,) = query(f"""
        SELECT count(*), count(DISTINCT class), count(*) FILTER (verdict = 'undecided'),
               count(*) FILTER (verdict = 'exposed')
        FROM '{tmp_path}/out/verdicts.parquet' WHERE {still_open}""")
    found = result.open_questions
    assert (found.guests, found.classes) == row[:2]
    assert (result.verdicts["undecided"], found.guests - result.verdicts["undecided"]) == row[2:]
    assert all(0 <= one.settles <= one.hang_on_it <= found.guests for one in result.collect)


def test_many_classes_are_looked_at_in_parts(complete: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = with_columns(complete, tmp_path, [])
    monkeypatch.setattr(collecting, "PAIRS_AT_ONCE", 37)
    assert audit(find(str(tmp_path)), None).result.collect == whole.collect


def test_the_greedy_choice_by_hand() -> None:
    """Three kinds of guests: 10 lack a, 7 lack a and b, 100 lack c and depend on what no column says."""
    columns = {("host", "a"): [1, 1, 0], ("host", "b"): [0, 1, 0], ("guest", "c"): [0, 0, 1]}
    masks = {key: np.array(lacks, dtype=bool) for key, lacks in columns.items()}
    found = collecting.collect(masks, np.array([0, 0, 1], dtype=bool), np.array([10, 7, 100]))
    assert [(one.column, one.settles, one.hang_on_it) for one in found] == [("a", 10, 17), ("b", 7, 7), ("c", 0, 100)]
