"""archcaps rules as a user runs it: the list, the query, the look-up tables, the errors."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import duckdb
import jsonschema
import msgspec
import pytest

from archcaps.machine.read import read_snapshot
from archcaps.machine.row import COLUMNS
from archcaps.questions.check import check
from archcaps.report.rules import rules_schema
from tests.cli.running import ROOT, archcaps, assert_refused

HOSTS, GUESTS = "examples/sql/hosts.ndjson", "examples/sql/guests.ndjson"
#: The example folders behind the rows of examples/sql.
PAIRS = {
    "thread": ("thread/host.toml", "thread/guest.toml"),
    "tsa-no-always": ("tsa-no-always/host.toml", "tsa-no-always/guest.toml"),
    "moved": ("fb-clear-to-sapphire-rapids/host-cascade-lake.toml", "fb-clear-to-sapphire-rapids/guest.toml"),
}


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    return archcaps("rules", *arguments, stdin=stdin)


def test_the_list_has_every_column_and_rule_with_its_sentence() -> None:
    text = run().stdout
    assert "\n  mds_safety " in text
    assert "exposed, safe" in text
    assert "\n  guest.clear_cpu_buf  " in text
    assert "The kernel runs VERW on exit to user" in text


def test_the_list_of_some_as_json() -> None:
    listed = json.loads(run("--json", "tsa_truth", "vcpu.noverw").stdout)
    jsonschema.validate(listed, rules_schema())
    assert [column["name"] for column in listed["columns"]] == ["tsa_truth"]
    assert "withheld" in listed["columns"][0]["labels"]
    (rule,) = listed["rules"]
    assert rule["name"] == "vcpu.noverw"
    assert "vmx_update_fb_clear_dis" in rule["source"]


def database(folder: Path, *more: str) -> duckdb.DuckDBPyConnection:
    """The example's machines with their look-ups, as a team loads them."""
    done = run("--sql", "duckdb", "--lookups", str(folder), "--hosts", HOSTS, "--guests", GUESTS, *more)
    assert (done.returncode, done.stdout) == (0, "")
    assert "3 host_cpus" in done.stderr
    connection = duckdb.connect()
    for name in ("machines.sql", "lookups.sql"):
        connection.execute((folder / name).read_text(encoding="utf-8"))
    for table, file in (("hosts", HOSTS), ("guests", GUESTS)):
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM read_json('{ROOT / file}', format = 'nd')")
    return connection


def answers(connection: duckdb.DuckDBPyConnection, *arguments: str) -> dict[str, dict[str, object]]:
    result = connection.execute(run("--sql", "duckdb", *arguments).stdout)
    names = [column[0] for column in result.description or ()]
    return {row[0]: dict(zip(names, row, strict=True)) for row in result.fetchall()}


def test_the_query_says_what_check_says(tmp_path: Path) -> None:
    found = answers(database(tmp_path))
    assert set(found) == set(PAIRS)
    for guest, (host_file, guest_file) in PAIRS.items():
        example = ROOT / "examples"
        expected = check(read_snapshot(example / host_file, "host"), read_snapshot(example / guest_file, "guest"))
        row = found[guest]
        assert row["complete"] is True
        for verdict in expected.vulnerabilities:
            for question in ("truth", "safety", "responsible", "host_safety"):
                answer = getattr(verdict, question)
                assert row[f"{verdict.vulnerability}_{question}"] == (answer.value if answer.decided else "undecided")
    assert found["tsa-no-always"]["tsa_truth"] == "false-immunity"
    assert found["thread"]["mds_truth"] == "broken-promise"


def test_rules_and_possible_labels(tmp_path: Path) -> None:
    connection = database(tmp_path)
    found = answers(connection, "--possible", "tsa_safety", "vcpu.noverw")
    assert list(found["thread"]) == ["guest", "host", "complete", "tsa_safety", "tsa_safety_possible", "vcpu_noverw"]
    assert found["tsa-no-always"]["tsa_safety_possible"] == "|exposed|"
    assert found["moved"]["vcpu_noverw"] is True  # it is shown FB_CLEAR
    assert found["thread"]["vcpu_noverw"] is False


def test_an_assumption_changes_the_query(tmp_path: Path) -> None:
    connection = database(tmp_path)
    column = "mmio_stale_data_safety"
    # A guest on Cascade Lake that is not shown FB_CLEAR, as in examples/fb-clear-not-shown.
    connection.execute("UPDATE guests SET ia32_arch_capabilities = ia32_arch_capabilities & ~131072")
    assert answers(connection, column)["moved"][column] == "safe"
    assert answers(connection, "--assume", "user-mmio", column)["moved"][column] == "exposed"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE guests SET kernel = '6.6.150'",
        "UPDATE guests SET cmdline = NULL",
        "UPDATE hosts SET microcode = 77",
        "UPDATE guests SET host = 'no such'",
        "UPDATE guests SET host = NULL",
        "UPDATE hosts SET cpuid_1_ecx = NULL",
        'UPDATE guests SET vulnerabilities = \'{"mds":"Not affected"}\'',
    ],
)
def test_what_was_not_looked_up_is_undecided_and_never_safe(change: str, tmp_path: Path) -> None:
    connection = database(tmp_path)
    connection.execute(change)
    for row in answers(connection, "mds_safety", "mds_claim", "tsa_host_safety", "guest.exposed[mds]").values():
        assert row["complete"] is False
        assert row["mds_safety"] == row["mds_claim"] == row["tsa_host_safety"] == "undecided"
        assert row["guest_exposed_mds"] is None


def test_no_guest_gets_lost_or_doubled(tmp_path: Path) -> None:
    connection = database(tmp_path)
    connection.execute("INSERT INTO guests SELECT * REPLACE (name || ' again' AS name) FROM guests")
    connection.execute("INSERT INTO guests (name) VALUES ('of which nothing is known')")
    assert len(answers(connection, "mds_truth")) == 7


def test_snapshots_are_machines_too(tmp_path: Path) -> None:
    snapshots = []
    for role, file in (("host", "thread/host.toml"), ("guest", "thread/guest.toml")):
        path = tmp_path / f"{role}s.ndjson"
        path.write_bytes(msgspec.json.encode(read_snapshot(ROOT / "examples" / file, role)))
        snapshots.append(str(path))
    folder = tmp_path / "lookups"
    done = run("--sql", "spark", "--lookups", str(folder), "--hosts", snapshots[0], "--guests", snapshots[1])
    assert done.returncode == 0
    (row,) = csv.DictReader((folder / "host_cpus.csv").read_text(encoding="utf-8").splitlines())
    assert row["lookup_key"].startswith("=GenuineIntel|=6|=143|=8|")
    assert (row["silicon_mds_published"], row["silicon_register_file_spared"]) == ("false", "")


def test_standard_input_can_be_one_of_them(tmp_path: Path) -> None:
    guests = (ROOT / GUESTS).read_bytes()
    done = archcaps(
        "rules", "--sql", "duckdb", "--lookups", str(tmp_path), "--hosts", HOSTS, "--guests", "-", stdin=guests
    )
    assert done.returncode == 0
    assert "3 guest_cpus" in done.stderr


def test_the_tables_have_the_documented_columns(tmp_path: Path) -> None:
    connection = database(tmp_path)
    for role in ("host", "guest"):
        names = [row[0] for row in connection.execute(f"DESCRIBE {role}s").fetchall()]
        assert names == ["name", *(["host"] if role == "guest" else []), *COLUMNS[role]]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--possible"], "--sql is missing"),
        (["--sql", "oracle"], "'oracle' is not one of"),
        (["--sql", "duckdb", "--json"], "--json is for the list"),
        (["--sql", "duckdb", "--hosts", HOSTS], "are for --lookups"),
        (["--sql", "duckdb", "--lookups", "x"], "--hosts and --guests"),
        (["--sql", "duckdb", "--lookups", "x", "--hosts", HOSTS, "--guests", GUESTS, "mds_truth"], "no columns"),
        (["--sql", "duckdb", "--lookups", "x", "--hosts", "-", "--guests", "-"], "are the same"),
    ],
)
def test_wrong_usage(arguments: list[str], line: str) -> None:
    assert_refused(run(*arguments), 64, line)


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("[1]", "line 1: not a JSON object"),
        ('{"famly": 6}', "did you mean family?"),
        ('{"family": "6x"}', "line 1: family: '6x', expected a number"),
        ('{"family": 18446744073709551616}', "line 1: family: "),
        ('{"family": -6}', "only words have a sign"),
        ('{"smt_active": 1}', "line 1: smt_active: '1', expected true or false or null"),
        ('{"kernel": "newest"}', "line 1: kernel: 'newest' is not a kernel release"),
        ('{"config": "nosuch"}', "line 1: config: unknown kernel configuration"),
        ('{"behaviours": "{"}', "line 1: host: behaviours: "),
        ('{"format_version": 1, "role": "guest"}', "line 1"),
    ],
)
def test_a_row_that_can_not_be(row: str, line: str, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.ndjson"
    hosts.write_text(row + "\n", encoding="utf-8")
    done = run("--sql", "duckdb", "--lookups", str(tmp_path / "out"), "--hosts", str(hosts), "--guests", GUESTS)
    assert_refused(done, 65, line)
    assert not (tmp_path / "out").exists()


def test_names_that_are_not_there() -> None:
    assert_refused(run("mds_saftey"), 65, "did you mean mds_safety?")
    assert_refused(run("--sql", "spark", "guest.exposed[mms]"), 65, "did you mean guest.exposed[mds]?")


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    inputs = ("--hosts", HOSTS, "--guests", GUESTS)
    assert_refused(run("--sql", "duckdb", "--lookups", str(tmp_path / "file"), *inputs), 64, "is a file")
    assert_refused(run("--sql", "duckdb", "--lookups", str(tmp_path / "file/x"), *inputs), 65, "cannot be written")
    odd = f"{tmp_path}{os.sep}a\\b"
    assert_refused(run("--sql", "duckdb", "--lookups", odd, *inputs), 65, "not the same in all dialects")
