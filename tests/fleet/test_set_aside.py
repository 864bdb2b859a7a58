"""Rows that cannot be judged: a roll-out sets aside what an audit does, tells of it, and counts it in nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from archcaps.errors import InputError
from archcaps.fleet.audit import audit
from archcaps.fleet.changes import Change, Only
from archcaps.fleet.inventory import find
from archcaps.fleet.roll_out import Plan, roll_out
from archcaps.fleet.roll_out_results import RollOutResult
from archcaps.report.roll_out import render

CPU = "'GenuineIntel' AS vendor, 6 AS family, 106 AS model, 6 AS stepping, '6.12.117' AS kernel, '' AS cmdline"
WORD = "43 AS ia32_arch_capabilities"
#: Rows of guests that are wrong, each in a way of its own, by id; the last is a class that no rule can judge.
BAD = {
    "g0": "'h0' AS host_id",
    "": "'h0' AS host_id",
    "lost": "'nowhere' AS host_id",
    "homeless": "NULL AS host_id",
    "odd": "'h0' AS host_id, 'six' AS family",
    "on-via": "'via' AS host_id",
    "six": "'h0' AS host_id, 'six' AS kernel",
}


def query(sql: str) -> list[tuple[Any, ...]]:
    return duckdb.execute(sql).fetchall()


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Three hosts and ten guests that can be judged, and rows that cannot: hosts of one id, of another maker."""
    hosts = [f"SELECT 'h' || i AS host_id, {CPU}, {WORD} FROM range(3) t(i)"]
    hosts += [f"SELECT 'twin' AS host_id, {CPU}, {WORD}"] * 2
    hosts.append(f"SELECT 'via' AS host_id, {CPU.replace('GenuineIntel', 'CentaurHauls')}, {WORD}")
    texts = CPU.replace("6 AS family", "'6' AS family")
    guests = [f"SELECT 'g' || i AS guest_id, 'h' || i % 3 AS host_id, {texts} FROM range(11) t(i)"]
    for name, other in BAD.items():
        own = ", ".join(
            one for one in texts.split(", ") if one.rpartition(" ")[2] not in other.replace(",", "").split()
        )
        guests.append(f"SELECT nullif('{name}', '') AS guest_id, {other}, {own}")
    for role, selected in (("hosts", hosts), ("guests", guests)):
        sql = " UNION ALL BY NAME ".join(selected)
        duckdb.execute(f"COPY ({sql}) TO '{tmp_path}/{role}.parquet' (FORMAT parquet)")
    return tmp_path


def asked(fleet: Path, *changes: Change, only: str = "", out: Path | None = None) -> RollOutResult:
    return roll_out(find(str(fleet)), Plan(changes, [Only.parse(only)] if only else []), out=out)


def rows_in(fleet: Path, role: str) -> int:
    return int(query(f"SELECT count(*) FROM '{fleet}/{role}s.parquet'")[0][0])


def rejected(result: RollOutResult, role: str) -> int:
    return sum(one.rows for one in result.rejected if one.role == role)


def test_a_roll_out_sets_aside_what_an_audit_does(fleet: Path, tmp_path: Path) -> None:
    # A value that no fleet has: nobody changes, so that what is set aside is what is wrong with the rows.
    plan, only = Change.parse("guest-cmdline=quiet"), "guest.kernel=nobody"
    said, result = (
        audit(find(str(fleet)), tmp_path / "audit").result,
        asked(fleet, plan, only=only, out=tmp_path / "out"),
    )
    assert {(one.role, one.example) for one in result.rejected} == {
        ("guest", name) for name in BAD
    } | {("host", "twin"), ("host", "via")}  # fmt: skip
    assert result.rejected == said.rejected
    assert query(f"FROM '{tmp_path}/out/rejected.parquet'") == query(f"FROM '{tmp_path}/audit/rejected.parquet'")
    assert result.files == {name: f"{tmp_path}/out/{name}.parquet" for name in ("roll-out", "rejected")}
    # Nothing moves, but who was not judged may be worse off.
    assert (result.moves, result.exit_code) == ({}, 1)


def test_every_row_is_judged_or_set_aside(fleet: Path, tmp_path: Path) -> None:
    result = asked(fleet, Change.parse("host-kernel=6.18.35"), out=tmp_path / "out")
    assert result.guests + rejected(result, "guest") == rows_in(fleet, "guest") == 18
    assert result.guests == sum(result.before.values()) == sum(result.after.values()) == 10
    # Hosts that are set aside are not counted as changed, and guests that are get no verdict.
    assert (result.cost["hosts changed"], rejected(result, "host"), rows_in(fleet, "host")) == (3, 3, 6)
    ids = [row[0] for row in query(f"SELECT guest_id FROM '{tmp_path}/out/roll-out.parquet' ORDER BY ALL")]
    assert ids == sorted(f"g{number}" for number in range(1, 11))
    listed = query(f"SELECT count(*) FROM '{tmp_path}/out/rejected.parquet' WHERE role = 'guest'")
    assert listed == [(rejected(result, "guest"),)]


def test_an_audit_counts_no_host_that_it_set_aside(fleet: Path) -> None:
    result = audit(find(str(fleet)), None).result
    lost = sum(one.rows for one in result.rejected if one.role == "host")
    assert (result.hosts, result.hosts + lost) == (3, rows_in(fleet, "host"))


def test_a_guest_that_could_not_be_judged_before_is_not_newly_anything(fleet: Path) -> None:
    # The guest of kernel "six" can be judged as it will be; there is no verdict to compare that with.
    result = asked(fleet, Change.parse("guest-kernel=6.12.117"), only="guest.kernel=six")
    (one,) = (one for one in result.rejected if one.example == "six")
    assert one.reason.startswith("guest: kernel.release: ")
    newly = (result.newly_exposed, result.newly_open_hosts, result.newly_lied_to, result.newly_undecided, result.cured)
    assert (newly, result.moves, result.by_vulnerability) == ((0,) * 5, {}, [])
    assert result.cost["guests changed"] == 0


@pytest.mark.parametrize(
    ("what", "only"), [("host-kernel", "host.ia32_arch_capabilities=11"), ("guest-kernel", "guest.model=85")]
)
def test_what_can_be_judged_only_before_the_change_says_so(fleet: Path, tmp_path: Path, what: str, only: str) -> None:
    # The command refuses such a release; from Python it can be asked for.
    query(f"COPY (SELECT * REPLACE (CASE WHEN host_id = 'h1' THEN 11 ELSE 43 END AS ia32_arch_capabilities) "
          f"FROM '{fleet}/hosts.parquet') TO '{fleet}/new' (FORMAT parquet)")  # fmt: skip
    (fleet / "new").replace(fleet / "hosts.parquet")
    query(f"COPY (SELECT * REPLACE (CASE WHEN host_id = 'h1' THEN 85 ELSE model END AS model) "
          f"FROM '{fleet}/guests.parquet') TO '{fleet}/new' (FORMAT parquet)")  # fmt: skip
    (fleet / "new").replace(fleet / "guests.parquet")
    result = asked(fleet, Change(what, "six"), only=only, out=tmp_path / "out")
    role = what.partition("-")[0]
    then = [one for one in result.rejected if one.reason.startswith(f"after the change: {role}: kernel.release: ")]
    # Host h1 carries four guests: g1, g4, g7 and g10.
    assert [(one.role, one.rows) for one in then] == [(role, 1 if role == "host" else 4)]
    if role == "host":
        assert [one.rows for one in result.rejected if one.reason == "no usable host h1"] == [4]
    assert result.guests == sum(result.before.values()) == sum(result.after.values()) == 6
    assert result.guests + rejected(result, "guest") == rows_in(fleet, "guest")
    assert query(f"SELECT count(*) FROM '{tmp_path}/out/roll-out.parquet'") == [(6,)]


def test_the_report_tells_how_many_and_why(fleet: Path) -> None:
    text = render(asked(fleet, Change.parse("host-kernel=6.18.35")), lambda text, **_: text)
    assert "Set aside: 11 rows" in text
    assert "2 of guests: the id of 2 guests (as g0)" in text
    assert "1 of guests: no usable host nowhere (as lost)" in text
    assert "NOBODY IS WORSE OFF" not in text


def test_rows_that_are_set_aside_never_give_0(fleet: Path) -> None:
    change = Change.parse("guest-cmdline=quiet")
    query(f"COPY (FROM '{fleet}/guests.parquet' WHERE guest_id LIKE 'g_' AND guest_id <> 'g0' OR guest_id = 'lost') "
          f"TO '{fleet}/few.parquet' (FORMAT parquet)")  # fmt: skip
    plan = Plan([change], [Only.parse("guest.kernel=nobody")])
    hosts = str(fleet / "hosts.parquet")
    assert roll_out(find(None, hosts, str(fleet / "few.parquet")), plan).exit_code == 1


def test_what_an_earlier_run_set_aside_is_not_left_beside_a_later_result(fleet: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    change = Change.parse("host-kernel=6.18.35")
    assert "rejected" in asked(fleet, change, out=out).files
    for role, good in (("hosts", "h_"), ("guests", "g_")):
        column = f"{role[:-1]}_id"
        rows = f"FROM '{fleet}/{role}.parquet' WHERE {column} LIKE '{good}' AND {column} <> 'g0'"
        query(f"COPY ({rows}) TO '{fleet}/{role}.new' (FORMAT parquet)")
        (fleet / f"{role}.new").replace(fleet / f"{role}.parquet")
    assert "rejected" not in asked(fleet, change, out=out).files
    assert [path.name for path in out.iterdir()] == ["roll-out.parquet"]


@pytest.mark.parametrize("role", ["host", "guest"])
def test_a_fleet_of_which_nobody_can_be_judged_is_one_line(fleet: Path, role: str) -> None:
    query(f"COPY (SELECT * REPLACE ('six' AS kernel) FROM '{fleet}/{role}s.parquet') TO '{fleet}/new' (FORMAT parquet)")
    (fleet / "new").replace(fleet / f"{role}s.parquet")
    for ask in (lambda: audit(find(str(fleet)), None), lambda: asked(fleet, Change.parse("host-cmdline=quiet"))):
        with pytest.raises(InputError, match=r"no guest that can be judged \(as .*kernel\.release: "):
            ask()
