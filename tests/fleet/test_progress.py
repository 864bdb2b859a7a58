"""Progress of DuckDB's queries: shares that only grow, from a query that runs, and ways to end it."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import duckdb
import pytest

from archcaps.errors import InputError
from archcaps.fleet.audit import audit
from archcaps.fleet.classes import silent
from archcaps.fleet.duck_progress import tell_progress, watched
from archcaps.fleet.duck_read import readable
from archcaps.fleet.inventory import find

#: Takes seconds on any machine: pairs are looked at one by one.
LONG = "SELECT count(*) FROM range(200000) a(i), range({}) b(j) WHERE hash(i, j) % 7 = 3"


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.endswith("(watch)")]


def connected(progress: object) -> duckdb.DuckDBPyConnection:
    database = duckdb.connect()
    tell_progress(database, progress)  # type: ignore[arg-type]  # any function
    database.execute("SET threads=1")
    return database


def test_the_share_of_a_running_query_grows_up_to_its_end() -> None:
    told: list[tuple[str, float]] = []

    def progress(phase: str, done: float) -> None:
        told.append((phase, done))

    database = connected(progress)
    rows, shares = 3_000_000, [0.0]
    # A query that is long enough is seen on its way, not only before and after: the machine says what is long.
    while not any(0.0 < share < 1.0 for share in shares):
        told.clear()
        database.execute(f"CREATE OR REPLACE TABLE t AS SELECT i FROM range({rows}) t(i)")
        with watched(database, "sorting", progress):
            assert len(watchers()) == 1
            database.execute(
                "SELECT count(*) FROM t WHERE regexp_matches(md5(CAST(i AS VARCHAR)), '(a.*b|c.*d)+e.*9$')"
            )
        assert watchers() == []
        shares = [done for _, done in told]
        assert {phase for phase, _ in told} == {"sorting"}
        assert shares[0] == 0.0
        assert shares == sorted(shares)
        assert all(0.0 <= share <= 1.0 for share in shares)
        rows *= 4
        assert rows < 1 << 32, "never seen on its way"


def test_nobody_who_looks_is_no_thread() -> None:
    database = connected(silent)
    with watched(database, "reading", silent):
        assert watchers() == []
    assert database.execute("SELECT current_setting('enable_progress_bar')").fetchone() == (False,)


def test_what_progress_raises_ends_the_query() -> None:
    def refuse(_: str, done: float) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("enough")

    database = connected(refuse)
    with pytest.raises(RuntimeError, match="enough"), watched(database, "counting", refuse):
        database.execute(LONG.format(10**9))  # days, if nothing ended it
    assert database.execute("SELECT 1").fetchone() == (1,)


def test_an_interrupt_ends_a_watched_query() -> None:
    def look(_: str, __: float) -> None:
        if threading.current_thread() is not threading.main_thread():
            os.kill(os.getpid(), signal.SIGINT)

    database = connected(look)
    with pytest.raises(KeyboardInterrupt), readable("x"), watched(database, "counting", look):
        database.execute(LONG.format(10**9))
    assert watchers() == []


def test_a_query_that_fails_is_told_as_ever() -> None:
    def look(_: str, __: float) -> None:
        pass

    with pytest.raises(InputError, match="nowhere"), readable("x"), watched(connected(look), "reading", look):
        duckdb.execute("FROM nowhere")


def test_snapshots_are_read_with_a_share_of_their_bytes(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    cpu = '"cpu": {"vendor": "GenuineIntel", "family": 6, "model": 106, "stepping": 6}'
    host = f'{{"format_version": 1, "role": "host", "id": "h", {cpu}}}\n'
    guest = f'{{"format_version": 1, "role": "guest", "id": "g%d", "host": "h", {cpu}}}\n'
    (tmp_path / "fleet.ndjson").write_text(host + "".join(guest % number for number in range(1999)))
    audit(find(str(tmp_path / "fleet.ndjson")), None, progress=lambda phase, done: told.append((phase, done)))
    for role in ("hosts", "guests"):
        shares = [done for phase, done in told if phase == f"reading lines of {role}"]
        # 2,000 lines of nearly one length, told of every 500.
        assert shares == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.01)
