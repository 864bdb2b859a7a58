"""Spark and DuckDB say the same of every guest, whatever is wrong with the rows and whoever of the workers dies.

ARCHCAPS_FLEET_ROWS sets the number of guests (make fleet-check: ten million).
"""

from __future__ import annotations

from tests.fleet.spark.needed import GUESTS, pytestmark

# isort: split
# The file is skipped by now if there is no Spark.
import os
import signal
import threading
import time
from pathlib import Path

import duckdb
import pytest
from msgspec.structs import replace as with_files
from pyspark.sql import SparkSession

from archcaps.fleet.audit import audit
from archcaps.fleet.engine import Settings
from archcaps.fleet.inventory import find
from archcaps.fleet.results import AuditResult
from archcaps.fleet.sample import sample_fleet
from tests.fleet.spark.fingerprints import fingerprint

__all__ = ["pytestmark"]

ASSUMED = frozenset({"default-options", "user-mmio"})
#: So many files, and with them tasks, that a worker can die between them.
_PARTS = 6

BAD_GUESTS = """
    SELECT * REPLACE (NULL AS guest_id) FROM good WHERE guest_id = 'guest-1'
    UNION ALL SELECT * FROM good WHERE guest_id IN ('guest-2', 'guest-3')
    UNION ALL SELECT * REPLACE ('odd' AS guest_id, 'seven' AS stepping) FROM good WHERE guest_id = 'guest-4'
    UNION ALL SELECT * REPLACE ('hex' AS guest_id, '0x7' AS stepping) FROM good WHERE guest_id = 'guest-5'
    UNION ALL SELECT * REPLACE ('lost' AS guest_id, 'nowhere' AS host_id) FROM good WHERE guest_id = 'guest-6'
    UNION ALL SELECT * REPLACE ('homeless' AS guest_id, NULL AS host_id) FROM good WHERE guest_id = 'guest-7'
    UNION ALL SELECT * REPLACE ('on-twins' AS guest_id, 'host-2' AS host_id) FROM good WHERE guest_id = 'guest-7'
    UNION ALL SELECT * REPLACE ('six' AS guest_id, 'six' AS kernel) FROM good WHERE guest_id = 'guest-8'
    UNION ALL SELECT * REPLACE ('high' AS guest_id, CAST(18446744073709551615 AS UBIGINT)
        AS ia32_arch_capabilities_known, CAST(9223372036854775808 AS UBIGINT) AS ia32_arch_capabilities)
        FROM good WHERE guest_id = 'guest-9'
"""
BAD_HOSTS = """
    SELECT * REPLACE (NULL AS host_id) FROM good WHERE host_id = 'host-1'
    UNION ALL SELECT * FROM good WHERE host_id = 'host-2'
    UNION ALL SELECT * REPLACE ('half' AS host_id, 6.5 AS family) FROM good WHERE host_id = 'host-3'
    UNION ALL SELECT * REPLACE ('other' AS host_id, 'CentaurHauls' AS vendor) FROM good WHERE host_id = 'host-4'
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet with rows of every bad kind, an unsigned column, a column of texts and one of decimals."""
    folder = tmp_path_factory.mktemp("fleet")
    sample_fleet(folder, GUESTS, hosts=max(50, GUESTS // 100))
    database = duckdb.connect()
    unsigned = ", ".join(
        f"CAST(CASE WHEN {name} < 0 THEN CAST({name} AS HUGEINT) + 18446744073709551616 ELSE {name} END AS UBIGINT)"
        f" AS {name}"
        for name in ("ia32_arch_capabilities", "ia32_arch_capabilities_known")
    )
    for role, bad, other in (
        ("guest", BAD_GUESTS, "CAST(stepping AS VARCHAR) AS stepping"),
        ("host", BAD_HOSTS, "CAST(family AS DECIMAL(9, 2)) AS family"),
    ):
        database.execute(
            f"CREATE OR REPLACE TABLE good AS SELECT * REPLACE ({unsigned}, {other}) FROM '{folder}/{role}s.parquet'"
        )
        (folder / f"{role}s.parquet").unlink()
        (folder / f"{role}s").mkdir()
        database.execute(f"CREATE OR REPLACE TABLE every AS FROM good UNION ALL {bad}")
        for part in range(_PARTS):
            where = f"hash(coalesce({role}_id, '')) % {_PARTS} = {part}"
            path = folder / f"{role}s" / f"{part:02}.parquet"
            database.execute(f"COPY (FROM every WHERE {where}) TO '{path}' (FORMAT parquet)")
    return folder


@pytest.fixture(scope="module")
def by_duckdb(fleet: Path) -> tuple[AuditResult, Path]:
    out = fleet / "by-duckdb"
    return audit(find(str(fleet)), out, wide=True, assumptions=ASSUMED).result, out


def assert_the_same(one: tuple[AuditResult, Path], spark: tuple[AuditResult, Path]) -> None:
    assert with_files(one[0], files={}) == with_files(spark[0], files={})
    for table in ("verdicts", "classes", "rejected"):
        assert fingerprint(f"{one[1]}/{table}.parquet") == fingerprint(f"{spark[1]}/{table}.parquet/*.parquet"), table


def workers(session: SparkSession) -> list[int]:
    """Return the processes of a session's workers."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if session.sparkContext.applicationId in words and any("CoarseGrainedExecutorBackend" in one for one in words):
            found.append(int(process.name))
    return found


def test_a_worker_that_dies_changes_nothing(
    fleet: Path, by_duckdb: tuple[AuditResult, Path], session: SparkSession
) -> None:
    out = fleet / "by-cluster"
    killed: list[int] = []
    finished = threading.Event()

    def kill_one_midway() -> None:
        while not finished.is_set():
            for part in out.glob(".audit-*/verdicts.parquet/_temporary/0/task_*"):
                killed.append(workers(session)[0])
                os.kill(killed[0], signal.SIGKILL)
                assert not (part.parents[2] / "_SUCCESS").exists()
                return
            time.sleep(0.01)

    killer = threading.Thread(target=kill_one_midway)
    killer.start()
    settings = Settings("spark", spark=session)
    try:
        result = audit(find(str(fleet)), out, wide=True, assumptions=ASSUMED, settings=settings).result
    finally:
        finished.set()
        killer.join()
    assert killed
    assert killed[0] not in workers(session)
    assert_the_same(by_duckdb, (result, out))
    assert sorted(path.name for path in out.iterdir()) == ["classes.parquet", "rejected.parquet", "verdicts.parquet"]


def test_every_bad_row_is_set_aside(by_duckdb: tuple[AuditResult, Path]) -> None:
    rows = duckdb.execute(f"SELECT id, reason FROM '{by_duckdb[1]}/rejected.parquet'").fetchall()
    assert {
        ("", "no guest_id"), ("", "no host_id"), ("guest-2", "the id of 2 guests"), ("lost", "no usable host nowhere"),
        ("odd", "stepping: a value that cannot be read"), ("homeless", "no host_id"),
        ("on-twins", "no usable host host-2"), ("host-2", "the id of more than one host"),
        ("half", "family: a value that cannot be read"),
    } < set(rows)  # fmt: skip
    assert {"six", "other"} < {name for name, _ in rows}
    assert not {"hex", "high"} & {name for name, _ in rows}
    kept = f"SELECT count(*) FROM '{by_duckdb[1]}/verdicts.parquet' WHERE guest_id IN ('hex', 'high')"
    assert duckdb.execute(kept).fetchall() == [(2,)]
