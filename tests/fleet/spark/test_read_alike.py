"""Spark reads values and tables of every format as DuckDB does."""

from __future__ import annotations

from tests.fleet.spark.needed import pytestmark

# isort: split
# The file is skipped by now if there is no Spark.
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from pyspark.sql import SparkSession

from archcaps.fleet.dialects import DUCKDB, SPARK
from archcaps.fleet.duck import DuckDb
from archcaps.fleet.inventory import FORMATS, Inventory, Source, find
from archcaps.fleet.spark_read import rows_of_source
from archcaps.machine.cmdline import options_alone
from archcaps.machine.read import read_snapshot

__all__ = ["pytestmark"]

EXAMPLES = Path(__file__).parents[3] / "examples"

#: Texts that DuckDB reads as a number or not; what it makes of them is published by no one, so it is asked itself.
TEXTS = (
    "5", "+5", "-5", " 5 ", "\t5\n", "05", "0x2c", "0X2C", "0x", "-0x5", "0b101", "0b", "0o7", "1_000", "1__0", "_1",
    "1_", "6.5", "6.4", "6.", ".5", "   ", "1e3", "1e-1", "1e", "1e400", "1e-400", "nan", "inf", "-0", "-0.6", "0x1_0",
    "0x_1", "18446744073709551615", "18446744073709551616", "9223372036854775808", "-9223372036854775808",
    "-9223372036854775809", "0xffffffffffffffff", "0xfffffffffffffffff", "0x00000000000000000005", "5a", "", "\uff15",
    "18446744073709551615.5", "- 5", "true", "TRUE", "t", "F", "yes", "no", "Y", "n", "on", "1", "0", "01", "2",
    " true ", "1.0",
)  # fmt: skip
REALS = (0.0, -0.0, 6.0, 6.5, -7.0, 2.0**63, -(2.0**63), 2.0**63 - 1024, float("nan"), float("inf"), 1e300)


def test_texts_are_read_alike(session: SparkSession) -> None:
    of_spark = (SPARK.of_text("v"), SPARK.truth("v", text=True))
    found = session.createDataFrame([(text,) for text in TEXTS], "v string").selectExpr("v", *of_spark).collect()
    of_duckdb = f"{DUCKDB.of_text('v')}, {DUCKDB.truth('v', text=True)}"
    asked = duckdb.execute(f"SELECT v, {of_duckdb} FROM (SELECT unnest(?) AS v)", [list(TEXTS)]).fetchall()
    assert {row[0]: tuple(row[1:]) for row in found} == {text: tuple(rest) for text, *rest in asked}
    assert ("0xffffffffffffffff", -1) in {tuple(row)[:2] for row in found}


def test_reals_are_read_alike(session: SparkSession) -> None:
    frame = session.createDataFrame([(real,) for real in REALS], "v double")
    found = [row[0] for row in frame.selectExpr(SPARK.of_real("v", decimal=False)).collect()]
    sql = f"SELECT {DUCKDB.of_real('v', decimal=False)} FROM (SELECT unnest(?) AS v)"
    assert found == [number for (number,) in duckdb.execute(sql, [list(REALS)]).fetchall()]
    assert found[2:6] == [6, None, -7, None]


#: Command lines of every kind: quotation marks, ``--``, blanks that are none to SQL, and a long one.
COMMANDS = (
    "", "root=UUID=1 ro quiet", "a mitigations=off b mds=full,nosmt", 'x "mitigations=off" mitig"ations=auto" y',
    'a="b pti=off c" nopti', "nosmt -- tsx=on x", "x -- y", "kvm-intel.ept=0\tnosmt\n", "\u00fcnosmt \u00a0tsx=off",
    '"open nosmt', "x" * 5000 + " nosmt", "mds=$1 l1tf=\\\\1",
)  # fmt: skip


def test_command_lines_are_left_alike(session: SparkSession) -> None:
    frame = session.createDataFrame([(text,) for text in (*COMMANDS, None)], "v string")
    found = {row[0]: row[1] for row in frame.selectExpr("v", SPARK.options_alone("v")).collect()}
    sql = f"SELECT v, {DUCKDB.options_alone('v')} FROM (SELECT unnest(?) AS v)"
    asked = dict(duckdb.execute(sql, [[*COMMANDS, None]]).fetchall())
    expected: dict[str | None, str | None] = {text: options_alone(text) for text in COMMANDS}
    assert found == asked == {**expected, None: None}


def rows_by(engine: str, source: Source, session: SparkSession, work: Path) -> list[tuple[Any, ...]]:
    """Return a source's rows as an engine reads them, and the bad lines."""
    work.mkdir()
    if engine == "spark":
        rows, _, bad, _ = rows_of_source(session, source, work)
        return sorted([*(tuple(row) for row in rows.collect()), *bad], key=repr)
    database = DuckDb(Inventory(source, replace(source, role="guest")), work)
    try:
        read = database._db.execute("FROM host_rows").fetchall()
        return sorted([*read, *database._db.execute("FROM rejected WHERE role <> 'guest'").fetchall()], key=repr)
    finally:
        database.close()


def test_tables_are_read_alike(session: SparkSession, tmp_path: Path) -> None:
    host = "'GenuineIntel' AS vendor, 6 AS family, 106 AS model, '' AS cmdline, true AS smt_active"
    relation = duckdb.from_query(
        f"""SELECT 'h' || i AS host_id, 'h' || i AS guest_id, {host}, '{{"a": "b, c"}}' AS behaviours,
        CASE WHEN i % 2 = 0 THEN 18446744073709551615 - i END AS ia32_arch_capabilities FROM range(40) t(i)"""
    )
    assert relation is not None
    unsigned = relation.project("* REPLACE (CAST(ia32_arch_capabilities AS UBIGINT) AS ia32_arch_capabilities)")
    unsigned.write_parquet(str(tmp_path / "a [1].parquet"))
    relation.write_csv(str(tmp_path / "a.csv"), header=True)
    other = relation.project(
        "guest_id || 'x' AS guest_id, 'line\nbreak \"quoted\"' AS cmdline, host_id, 'six' AS family"
    )
    other.write_csv(str(tmp_path / "b.csv"), header=True)
    (tmp_path / "a.ndjson").write_text(
        '{"host_id": 1, "guest_id": 1, "family": 6, "smt_active": "yes", "behaviours": "{}", "model": "six"}\n'
        '{"host_id": "2", "guest_id": "2", "ia32_arch_capabilities": 18446744073709551615, "platform_id": null}\n'
    )
    probe = msgspec.to_builtins(read_snapshot(EXAMPLES / "thread" / "host.toml"))
    # DuckDB reads them as guests too, and refuses a file of which no line is one.
    lines = [json.dumps({**probe, "id": "h1"}), '{"role": "host",', '{"format_version": 1, "role": "host", "cpuu": 1}']
    lines.append(json.dumps({**probe, "id": "g1", "role": "guest", "host": "h1"}))
    (tmp_path / "probes.ndjson").write_text("\n".join(lines))
    for number, files in enumerate(
        (("a [1].parquet",), ("a.csv",), ("a.csv", "b.csv"), ("a.ndjson",), ("probes.ndjson",))
    ):
        paths = tuple(str(tmp_path / name) for name in files)
        source = Source("host", FORMATS[Path(paths[0]).suffix], paths)
        duck, spark = (
            rows_by(engine, source, session, tmp_path / f"{engine}-{number}") for engine in ("duckdb", "spark")
        )
        assert duck == spark, files
        assert len(spark) > 1
    session.read.parquet(f"file://{tmp_path}/a \\[1\\].parquet").createOrReplaceTempView("hosts_of_ours")
    of_catalog = find(None, "spark:hosts_of_ours", "spark:hosts_of_ours").hosts
    rows = rows_by("spark", of_catalog, session, tmp_path / "catalog")
    assert rows == rows_by(
        "duckdb", Source("host", "parquet", (f"{tmp_path}/a [1].parquet",)), session, tmp_path / "again"
    )
