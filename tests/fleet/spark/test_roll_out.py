"""Spark rolls out as DuckDB does, and tells in one line what is wrong with an inventory."""

from __future__ import annotations

from tests.fleet.spark.needed import pytestmark

# isort: split
# The file is skipped by now if there is no Spark.
from pathlib import Path

import duckdb
import pytest
from msgspec.structs import replace
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from archcaps.errors import InputError
from archcaps.fleet.audit import audit
from archcaps.fleet.changes import Change
from archcaps.fleet.engine import Settings
from archcaps.fleet.inventory import find
from archcaps.fleet.roll_out import Plan, roll_out
from archcaps.fleet.sample import sample_fleet
from archcaps.fleet.spark_session import readable
from tests.fleet.spark.fingerprints import fingerprint

__all__ = ["pytestmark"]


def test_a_roll_out_says_the_same(session: SparkSession, tmp_path: Path) -> None:
    sample_fleet(tmp_path / "fleet", 1_000, hosts=20)
    bad = "CASE guest_id WHEN 'guest-1' THEN 'six' ELSE kernel END AS kernel"
    lost = "CASE guest_id WHEN 'guest-2' THEN 'nowhere' ELSE host_id END AS host_id"
    guests = tmp_path / "fleet" / "guests.parquet"
    duckdb.execute(f"CREATE OR REPLACE TEMP TABLE bad AS SELECT * REPLACE ({bad}, {lost}) FROM '{guests}'")
    duckdb.execute(f"COPY bad TO '{guests}' (FORMAT parquet)")
    plan = Plan([Change.parse("guest-cmdline=mds=off tsx_async_abort=off mmio_stale_data=off")])
    said = {}
    for engine, settings in (("duckdb", Settings()), ("spark", Settings("spark", spark=session))):
        result = roll_out(find(str(tmp_path / "fleet")), plan, out=tmp_path / engine, settings=settings)
        assert sorted(result.files) == ["rejected", "roll-out"]
        said[engine] = replace(result, files={})
    assert said["spark"] == said["duckdb"]
    assert len(said["spark"].worse) > 1
    assert [one.example for one in said["spark"].rejected] == ["guest-1", "guest-2"]
    written = f"{tmp_path}/spark/roll-out.parquet/*.parquet"
    assert fingerprint(written) == fingerprint(f"{tmp_path}/duckdb/roll-out.parquet")


def test_what_is_wrong_with_an_inventory_is_one_line(session: SparkSession, tmp_path: Path) -> None:
    sample_fleet(tmp_path / "fleet", 10, hosts=2)
    (tmp_path / "broken.ndjson").write_text('{"host_id": "h1", "family": 6}\n{"host_id": "h2",\n')
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "fleet" / "hosts.parquet").read_bytes()[:400])
    (tmp_path / "fleet.duckdb").touch()
    for hosts, message in (
        # Its one row that is one has no vendor: nothing is left to judge.
        ("broken.ndjson", "no guest that can be judged"),
        ("cut.parquet", "cut.parquet"),
        ("fleet.duckdb", "is read by DuckDB only"),
        ("spark:nowhere.hosts", "nowhere"),
    ):
        where = hosts if ":" in hosts else str(tmp_path / hosts)
        inventory = find(str(tmp_path / "fleet"), where)
        with pytest.raises(InputError, match=message) as error:
            audit(inventory, tmp_path / "out", settings=Settings("spark", spark=session))
        assert "\n" not in str(error.value)
        assert "Exception" not in str(error.value)
        assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "said",
    [
        "org.apache.spark.SparkException: [FAILED_READ_FILE.NO_HINT] Encountered an error.  SQLSTATE: KD001",
        "Aborted [org.apache.spark.SparkException: [FAILED_READ_FILE.NO_HINT] Encountered an error. SQLSTATE: KD001]",
    ],
)
def test_what_java_says_is_told_without_its_classes(said: str) -> None:
    with pytest.raises(InputError) as error, readable("here"):
        raise PySparkException(said)
    assert str(error.value) == "here: Encountered an error."
