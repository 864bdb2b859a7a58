"""Audits: planted lies are found, rows agree with check, and whatever is wrong with an inventory is said."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from archcaps.errors import InputError
from archcaps.fleet.audit import audit
from archcaps.fleet.duck import DuckDb
from archcaps.fleet.inventory import find
from archcaps.fleet.results import AuditResult
from archcaps.fleet.sample import sample_fleet
from archcaps.machine.read import read_snapshot
from archcaps.machine.row import snapshot_of
from archcaps.questions.check import check
from archcaps.tables.names import VULNERABILITIES

EXAMPLES = Path(__file__).parents[2] / "examples"
Row = dict[str, Any]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    assert sample_fleet(folder, 20_000, hosts=400)["guests"] == 20_000
    return folder


@pytest.fixture(scope="module")
def audited(fleet: Path) -> tuple[AuditResult, Path]:
    out = fleet / "out"
    return audit(find(str(fleet)), out, wide=True).result, out


def relation(sql: str) -> duckdb.DuckDBPyRelation:
    found = duckdb.sql(sql)
    assert found is not None
    return found


def query(sql: str) -> list[tuple[Any, ...]]:
    return relation(sql).fetchall()


def rows(sql: str) -> list[Row]:
    found = relation(sql)
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def test_every_planted_lie_is_found(fleet: Path, audited: tuple[AuditResult, Path]) -> None:
    _, out = audited
    seen = set()
    for name in VULNERABILITIES:
        found = query(f"""
            SELECT p.recipe, p.truth, p.safety, p.host_safety, v.{name}_truth, v.{name}_safety, v.{name}_host_safety
            FROM '{fleet}/planted.parquet' p LEFT JOIN '{out}/verdicts.parquet' v USING (guest_id)
            WHERE p.vulnerability = '{name}'""")
        assert found
        for recipe, truth, safety, host_safety, *verdict in found:
            seen.add(recipe)
            assert verdict[:2] == [truth, safety], (recipe, name)
            assert host_safety in ("", verdict[2]), (recipe, name)
    assert len(seen) == len({recipe for (recipe,) in query(f"SELECT recipe FROM '{fleet}/planted.parquet'")}) > 20


def test_random_rows_agree_with_check(fleet: Path, audited: tuple[AuditResult, Path]) -> None:
    _, out = audited
    number = int(os.environ.get("ARCHCAPS_ROWS", "25"))
    chosen = f"SELECT * FROM '{out}/verdicts.parquet' ORDER BY hash(guest_id) LIMIT {number}"
    verdicts = rows(chosen)
    machines = {
        role: {
            row[f"{role}_id"]: row
            for row in rows(f"FROM '{fleet}/{role}s.parquet' SEMI JOIN ({chosen}) USING ({role}_id)")
        }
        for role in ("host", "guest")
    }
    assert len(verdicts) == number
    for row in verdicts:
        guest = snapshot_of(machines["guest"][row["guest_id"]], "guest")
        said = check(snapshot_of(machines["host"][row["host_id"]], "host"), guest, brief=True)
        for name in VULNERABILITIES:
            for question in ("truth", "safety", "host_safety"):
                answer = getattr(said[name], question)
                fine = set(answer.possible) == {"truthful", "unsaid"}
                assert row[f"{name}_{question}"] == (answer.value or ("truthful or unsaid" if fine else "undecided"))
        words = {0: "truthful", 1: "untruthful", 2: "exposed", 3: "undecided"}
        code = said.exit_code if not (said.exit_code == 1 and not any(one.wrong for one in said.vulnerabilities)) else 0
        assert row["verdict"] == words[code]


def test_the_numbers_are_those_of_the_rows(audited: tuple[AuditResult, Path]) -> None:
    result, out = audited
    counts = dict(query(f"SELECT verdict, count(*) FROM '{out}/verdicts.parquet' GROUP BY ALL"))
    assert {word: count for word, count in result.verdicts.items() if count} == counts
    assert result.guests == sum(counts.values()) == 20_000
    for one in result.by_vulnerability:
        column = f"{one.vulnerability}_truth"
        assert one.truth == dict(query(f"SELECT {column}, count(*) FROM '{out}/verdicts.parquet' GROUP BY ALL"))
    assert query(f"SELECT count(*), sum(guests) FROM '{out}/classes.parquet'") == [(result.classes, 20_000)]
    assert sum(group.guests for group in result.by_host) == 20_000
    assert not query(f"SELECT class FROM '{out}/verdicts.parquet' EXCEPT SELECT class FROM '{out}/classes.parquet'")


@pytest.mark.parametrize("form", ["csv", "ndjson", "duckdb"])
def test_other_formats_say_the_same(fleet: Path, audited: tuple[AuditResult, Path], form: str, tmp_path: Path) -> None:
    result, _ = audited
    database = duckdb.connect(str(tmp_path / "fleet.duckdb") if form == "duckdb" else ":memory:")
    for table in ("hosts", "guests"):
        if form == "duckdb":
            database.execute(f"CREATE TABLE {table} AS FROM '{fleet}/{table}.parquet'")
        else:
            kind = "csv" if form == "csv" else "json"
            database.execute(f"COPY (FROM '{fleet}/{table}.parquet') TO '{tmp_path}/{table}.{form}' (FORMAT {kind})")
    database.close()
    where = tmp_path / "fleet.duckdb" if form == "duckdb" else tmp_path
    again = audit(find(str(where)), None).result
    # In CSV an empty text and no text are one, so a command line that is empty there is not known.
    if form == "csv":
        assert again.guests == result.guests
    else:
        assert again.verdicts == result.verdicts


def lines(*snapshots: Mapping[str, Any]) -> str:
    return "".join(json.dumps(snapshot) + "\n" for snapshot in snapshots)


def example(folder: str, name: str, **ids: str) -> Row:
    found: Row = msgspec.to_builtins(read_snapshot(EXAMPLES / folder / f"{name}.toml"))
    return {**found, **ids}


def test_probes_one_a_line_are_an_inventory(tmp_path: Path) -> None:
    path = tmp_path / "probes.ndjson"
    text = lines(
        example("thread", "host", id="h1"),
        example("tsa-no-always", "host", id="h2"),
        example("thread", "guest", id="g1", host="h1"),
        example("tsa-no-always", "guest", id="g2", host="h2"),
        example("thread", "guest", id="g3", host="h9"),
    )
    path.write_text(text + '{"role": "guest",\n' + '{"format_version": 1, "role": "guest", "cpuu": {}}\n')
    result = audit(find(str(path)), tmp_path / "out").result
    # The thread's case is a broken promise in which nothing leaks; S11 is exposed.
    assert result.verdicts == {"exposed": 1, "undecided": 0, "untruthful": 1, "truthful": 0}
    assert (result.hosts, result.guests, result.exit_code) == (2, 2, 2)
    rejected = query(f"SELECT id, reason FROM '{tmp_path}/out/rejected.parquet' ORDER BY reason")
    assert rejected[0][1].startswith("broken JSON")
    assert ("g3", "no usable host h9") in rejected
    assert any("unknown field `cpuu`" in reason and name == f"{path}:7" for name, reason in rejected)


def table(path: Path, sql: str) -> Path:
    relation(sql).write_parquet(str(path))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two hosts and three guests, as Parquet."""
    cpu = "'GenuineIntel' AS vendor, 6 AS family, 106 AS model, 6 AS stepping, '6.12.117' AS kernel, '' AS cmdline"
    word = "43 AS ia32_arch_capabilities"
    table(tmp_path / "hosts.parquet", f"SELECT 'h' || i AS host_id, {cpu}, {word} FROM range(2) t(i)")
    table(
        tmp_path / "guests.parquet", f"SELECT 'g' || i AS guest_id, 'h' || i % 2 AS host_id, {cpu} FROM range(3) t(i)"
    )
    return tmp_path


def reasons(folder: Path) -> dict[str, int]:
    result = audit(find(str(folder)), None).result
    return {f"{one.role} {one.example}: {one.reason}": one.rows for one in result.rejected}


def test_bad_rows_are_counted_and_listed(small: Path) -> None:
    extra = "'GenuineIntel' AS vendor, 6 AS family, 106 AS model, 6 AS stepping"
    table(
        small / "guests.parquet",
        f"""SELECT * FROM '{small}/guests.parquet' UNION ALL BY NAME SELECT 'g0' AS guest_id, 'h0' AS host_id, {extra}
        UNION ALL BY NAME SELECT NULL AS guest_id, 'h0' AS host_id, {extra}
        UNION ALL BY NAME SELECT 'lost' AS guest_id, 'nowhere' AS host_id, {extra}
        UNION ALL BY NAME SELECT 'homeless' AS guest_id, NULL AS host_id, {extra}
        UNION ALL BY NAME SELECT 'odd' AS guest_id, 'h0' AS host_id, {extra}, 'six' AS kernel""",
    )
    found = reasons(small)
    assert found == {
        "guest g0: the id of 2 guests": 2,
        "guest : no guest_id": 1,
        "guest lost: no usable host nowhere": 1,
        "guest homeless: no host_id": 1,
        next(name for name in found if name.startswith("guest odd: guest: kernel.release:")): 1,
    }


def test_hosts_with_one_id_are_set_aside_and_their_guests_too(small: Path) -> None:
    table(
        small / "hosts.parquet",
        f"FROM '{small}/hosts.parquet' UNION ALL FROM '{small}/hosts.parquet' WHERE host_id = 'h1'",
    )
    assert reasons(small) == {"host h1: the id of more than one host": 2, "guest g1: no usable host h1": 1}


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("CAST('nan' AS DOUBLE) AS family", "family: a value that cannot be read"),
        ("6.5 AS family", "family: a value that cannot be read"),
        ("'0x2c' AS ia32_arch_capabilities", None),
        ("'seven' AS ia32_arch_capabilities", "ia32_arch_capabilities: a value that cannot be read"),
        ("CAST(18446744073709551614 AS UBIGINT) AS ia32_arch_capabilities", None),
        ("-5 AS family", "does not fit"),
        ("'debain' AS config", "config"),
        ("'CentaurHauls' AS vendor", "FCR4"),
        ("'{' AS behaviours", "JSON"),
    ],
)
def test_a_value_that_can_not_be_is_named(small: Path, column: str, reason: str | None) -> None:
    name = column.rpartition(" ")[2]
    has = name in relation(f"FROM '{small}/guests.parquet'").columns
    sql = f"SELECT * {'REPLACE' if has else ','} {f'({column})' if has else column} FROM '{small}/guests.parquet'"
    first = f"FROM '{small}/guests.parquet' WHERE guest_id = 'g0'"
    table(
        small / "guests.parquet",
        f"{first} UNION ALL BY NAME (SELECT * REPLACE ('g9' AS guest_id) FROM ({sql}) LIMIT 1)",
    )
    found = audit(find(str(small)), None).result
    if reason is None:
        assert (found.rejected, found.guests) == ([], 2)
    else:
        (one,) = found.rejected
        assert (one.example, one.rows) == ("g9", 1)
        assert reason in one.reason


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * EXCLUDE guest_id", "guests.parquet: no column guest_id"),
        ("SELECT * RENAME (guest_id AS gest_id)", "did you mean gest_id?"),
        ("SELECT guest_id, host_id", "no column that speaks of a guest's CPU or kernel"),
        ("SELECT * REPLACE ([6] AS family)", "column family is INTEGER[] (expected BIGINT)"),
        ("SELECT * REPLACE ('nowhere' AS host_id)", "no guest that can be judged"),
    ],
)
def test_a_table_that_can_not_be_read_is_refused_in_one_line(small: Path, sql: str, message: str) -> None:
    table(small / "guests.parquet", f"{sql} FROM '{small}/guests.parquet'")
    with pytest.raises(InputError) as error:
        audit(find(str(small)), small / "out")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert list((small / "out").iterdir()) == []


def test_a_truncated_file_is_refused(small: Path) -> None:
    data = (small / "guests.parquet").read_bytes()
    (small / "guests.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"guests\.parquet"):
        audit(find(str(small)), None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None,), "which hosts"),
        (("nowhere",), "no such file or folder"),
        ((None, "a*.parquet", "b"), "no file matches"),
    ],
)
def test_what_is_not_there_is_said(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find(*arguments)


def archcaps(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401  # as subprocess.run takes them
    program = [sys.executable, "-c", "from archcaps.cli.main import main; main()", *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False, **options)


def test_a_full_disk_is_one_line_and_leaves_nothing(fleet: Path, tmp_path: Path) -> None:
    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    done = archcaps("audit", str(fleet), "--out", str(tmp_path / "out"), preexec_fn=little_room)
    assert done.returncode >= 64
    assert done.stderr.startswith("archcaps: ")
    assert len(done.stderr.splitlines()) == 1
    assert not [path for path in (tmp_path / "out").iterdir() if path.suffix == ".parquet"]


def test_an_interrupt_leaves_nothing_half_written(fleet: Path, tmp_path: Path) -> None:
    program = [sys.executable, "-c", "from archcaps.cli.main import main; main()"]
    out = tmp_path / "out"
    with subprocess.Popen([*program, "audit", str(fleet), "--out", str(out)], stderr=subprocess.PIPE, text=True) as run:
        while not (out.exists() and any(out.iterdir())) and run.poll() is None:
            time.sleep(0.005)
        run.send_signal(signal.SIGINT)
        _, error = run.communicate()
    assert (run.returncode, error) == (130, "")
    assert [path for path in out.iterdir() if not path.name.startswith(".audit-")] == []


def test_an_interrupted_audit_goes_on_where_it_was(
    fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory, out = find(str(fleet)), tmp_path / "out"

    def interrupt(phase: str, _: float) -> None:
        if phase.startswith("writing verdicts"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit(inventory, out, progress=interrupt)
    (kept,) = out.iterdir()
    assert kept.name.startswith(".audit-")
    whole = audit(inventory, None).result
    monkeypatch.setattr(DuckDb, "_group_guests", lambda _: pytest.fail("grouped again"))
    again = audit(inventory, out).result
    assert msgspec.structs.replace(again, files={}) == whole
    assert sorted(path.name for path in out.iterdir()) == ["classes.parquet", "verdicts.parquet"]


def test_other_files_are_another_audit(small: Path) -> None:
    def interrupt(phase: str, _: float) -> None:
        if phase.startswith("writing verdicts"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit(find(str(small)), small / "out", progress=interrupt)
    table(small / "guests.parquet", f"SELECT * FROM '{small}/guests.parquet' WHERE guest_id <> 'g0'")
    assert audit(find(str(small)), small / "out").result.guests == 2


def test_guests_of_a_host_that_can_not_be_judged_are_listed_with_it(small: Path) -> None:
    for role, machine, column, value in (("host", "h1", "vendor", "CentaurHauls"), ("guest", "g1", "kernel", "six")):
        path = small / f"{role}s.parquet"
        changed = f"CASE WHEN {role}_id = '{machine}' THEN '{value}' ELSE {column} END AS {column}"
        table(path, f"SELECT * REPLACE ({changed}) FROM '{path}'")
    result = audit(find(str(small)), None).result
    assert result.guests == 2
    assert {(one.role, one.example, one.rows) for one in result.rejected} == {("host", "h1", 1), ("guest", "g1", 1)}
    assert [one.reason for one in result.rejected if one.role == "guest"] == ["no usable host h1"]


def test_a_host_without_a_name_is_one_beside_a_host_without_an_id(small: Path) -> None:
    path = small / "hosts.parquet"
    nameless = "CASE WHEN host_id = 'h0' THEN '' END AS host_id"
    table(path, f"FROM '{path}' UNION ALL SELECT * REPLACE ({nameless}) FROM '{path}'")
    result = audit(find(str(small)), None).result
    assert (result.hosts, [(one.reason, one.rows) for one in result.rejected]) == (3, [("no host_id", 1)])


@pytest.mark.parametrize("text", ["6.5", "1e3", "0b101", "1_000", "+6", "0x", "six"])
def test_texts_that_are_no_numbers_are_not_read_as_some(tmp_path: Path, text: str) -> None:
    (tmp_path / "hosts.csv").write_text("host_id,vendor,family\nh,GenuineIntel,6\n")
    (tmp_path / "guests.csv").write_text(
        f"guest_id,host_id,vendor,family\ng,h,GenuineIntel,{text}\nk,h,GenuineIntel, 6 \n"
    )
    (one,) = audit(find(str(tmp_path)), None).result.rejected
    assert (one.example, one.reason) == ("g", "family: a value that cannot be read")
