"""Spark and DuckDB say the same, whatever is wrong with the rows, and a worker that dies changes nothing.

ARCHCAPS_FLEET_ROWS sets the number of guests (make fleet-check: ten million).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from msgspec.structs import replace as with_files

from archcaps.errors import InputError
from archcaps.fleet.audit import audit
from archcaps.fleet.changes import Change
from archcaps.fleet.dialects import DUCKDB, SPARK
from archcaps.fleet.duck import DuckDb
from archcaps.fleet.engine import Settings, put_in_place
from archcaps.fleet.inventory import FORMATS, Inventory, Source, find
from archcaps.fleet.results import AuditResult
from archcaps.fleet.roll_out import Plan, roll_out
from archcaps.fleet.sample import sample_fleet
from archcaps.machine.read import read_snapshot

if not os.environ.get("CI"):
    if shutil.which("java") is None:
        pytest.skip("no Java (tools/debian/install.sh installs it)", allow_module_level=True)
    if find_spec("pyspark") is None:
        pytest.skip("no pyspark (make setup installs it)", allow_module_level=True)
import pyspark  # after it is known to be there
from pyspark.errors import PySparkException  # as above
from pyspark.sql import SparkSession  # as above

from archcaps.fleet.spark_read import rows_of_source  # as above
from archcaps.fleet.spark_session import OwnSession, readable  # as above

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
EXAMPLES = Path(__file__).parents[2] / "examples"

GUESTS = int(os.environ.get("ARCHCAPS_FLEET_ROWS", "20000"))
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
    sample_fleet(folder, GUESTS, hosts=max(400, GUESTS // 100))
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


@pytest.fixture
def cluster() -> Iterator[SparkSession]:
    """Two workers that are processes of their own."""
    session = (
        SparkSession.builder.master("local-cluster[2,1,1024]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "4")
        .config("spark.sql.files.openCostInBytes", str(1 << 30))  # a task for each file
        .config("spark.driver.host", "localhost")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    application = session.sparkContext.applicationId
    yield session
    session.stop()
    home = Path(str(pyspark.__file__)).parent / "work"
    shutil.rmtree(home / application, ignore_errors=True)


def fingerprint(table: str) -> list[tuple[Any, ...]]:
    """Return what two tables share if they have the same rows, in whatever order; and their columns."""
    sums = duckdb.execute(f"SELECT count(*), sum(CAST(hash(t) AS HUGEINT)), bit_xor(hash(t)) FROM '{table}' t")
    found = sums.fetchall()
    return [*found, *((name, kind) for name, kind, *_ in duckdb.execute(f"DESCRIBE FROM '{table}'").fetchall())]


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
    fleet: Path, by_duckdb: tuple[AuditResult, Path], cluster: SparkSession
) -> None:
    out = fleet / "by-cluster"
    killed: list[int] = []

    def kill_one_midway() -> None:
        end = time.monotonic() + 600
        while time.monotonic() < end:
            for part in out.glob(".audit-*/verdicts.parquet/_temporary/0/task_*"):
                killed.append(workers(cluster)[0])
                os.kill(killed[0], signal.SIGKILL)
                assert not (part.parents[2] / "_SUCCESS").exists()
                return
            time.sleep(0.01)

    killer = threading.Thread(target=kill_one_midway)
    killer.start()
    settings = Settings("spark", spark=cluster)
    result = audit(find(str(fleet)), out, wide=True, assumptions=ASSUMED, settings=settings).result
    killer.join()
    assert killed
    assert killed[0] not in workers(cluster)
    assert_the_same(by_duckdb, (result, out))
    assert sorted(path.name for path in out.iterdir()) == ["classes.parquet", "rejected.parquet", "verdicts.parquet"]


def test_every_bad_row_is_set_aside(by_duckdb: tuple[AuditResult, Path]) -> None:
    rows = duckdb.execute(f"SELECT id, reason FROM '{by_duckdb[1]}/rejected.parquet'").fetchall()
    assert {
        ("", "no guest_id"), ("", "no host_id"), ("guest-2", "the id of 2 guests"), ("lost", "no usable host nowhere"),
        ("odd", "stepping: a value that can not be read"), ("homeless", "no host_id"),
        ("on-twins", "no usable host host-2"), ("host-2", "the id of more than one host"),
        ("half", "family: a value that can not be read"),
    } < set(rows)  # fmt: skip
    assert {"six", "other"} < {name for name, _ in rows}
    assert not {"hex", "high"} & {name for name, _ in rows}
    kept = f"SELECT count(*) FROM '{by_duckdb[1]}/verdicts.parquet' WHERE guest_id IN ('hex', 'high')"
    assert duckdb.execute(kept).fetchall() == [(2,)]


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


@pytest.fixture
def session(tmp_path: Path) -> Iterator[SparkSession]:
    own = OwnSession(Settings("spark", threads=2), tmp_path)
    yield own.session
    own.close()


def test_values_tables_and_roll_outs_are_alike(session: SparkSession, tmp_path: Path) -> None:
    """One test, since a session takes seconds to start."""
    texts_are_read_alike(session)
    reals_are_read_alike(session)
    tables_are_read_alike(session, tmp_path)
    a_roll_out_says_the_same(session, tmp_path)
    what_is_wrong_is_one_line(session, tmp_path)


def texts_are_read_alike(session: SparkSession) -> None:
    of_spark = (SPARK.of_text("v"), SPARK.truth("v", text=True))
    found = session.createDataFrame([(text,) for text in TEXTS], "v string").selectExpr("v", *of_spark).collect()
    of_duckdb = f"{DUCKDB.of_text('v')}, {DUCKDB.truth('v', text=True)}"
    asked = duckdb.execute(f"SELECT v, {of_duckdb} FROM (SELECT unnest(?) AS v)", [list(TEXTS)]).fetchall()
    assert {row[0]: tuple(row[1:]) for row in found} == {text: tuple(rest) for text, *rest in asked}
    assert ("0xffffffffffffffff", -1) in {tuple(row)[:2] for row in found}


def reals_are_read_alike(session: SparkSession) -> None:
    frame = session.createDataFrame([(real,) for real in REALS], "v double")
    found = [row[0] for row in frame.selectExpr(SPARK.of_real("v", decimal=False)).collect()]
    sql = f"SELECT {DUCKDB.of_real('v', decimal=False)} FROM (SELECT unnest(?) AS v)"
    assert found == [number for (number,) in duckdb.execute(sql, [list(REALS)]).fetchall()]
    assert found[2:6] == [6, None, -7, None]


def rows_by(engine: str, source: Source, session: SparkSession, work: Path) -> list[tuple[Any, ...]]:
    """Return a source's rows as an engine reads them, and the bad lines."""
    work.mkdir()
    if engine == "spark":
        rows, _, bad = rows_of_source(session, source, work)
        return sorted([*(tuple(row) for row in rows.collect()), *bad], key=repr)
    database = DuckDb(Inventory(source, replace(source, role="guest")), work)
    try:
        read = database._db.execute("FROM host_rows").fetchall()
        return sorted([*read, *database._db.execute("FROM rejected WHERE role <> 'guest'").fetchall()], key=repr)
    finally:
        database.close()


def tables_are_read_alike(session: SparkSession, folder: Path) -> None:
    host = "'GenuineIntel' AS vendor, 6 AS family, 106 AS model, '' AS cmdline, true AS smt_active"
    relation = duckdb.from_query(
        f"""SELECT 'h' || i AS host_id, 'h' || i AS guest_id, {host}, '{{"a": "b, c"}}' AS behaviours,
        CASE WHEN i % 2 = 0 THEN 18446744073709551615 - i END AS ia32_arch_capabilities FROM range(40) t(i)"""
    )
    assert relation is not None
    unsigned = relation.project("* REPLACE (CAST(ia32_arch_capabilities AS UBIGINT) AS ia32_arch_capabilities)")
    unsigned.write_parquet(str(folder / "a [1].parquet"))
    relation.write_csv(str(folder / "a.csv"), header=True)
    other = relation.project(
        "guest_id || 'x' AS guest_id, 'line\nbreak \"quoted\"' AS cmdline, host_id, 'six' AS family"
    )
    other.write_csv(str(folder / "b.csv"), header=True)
    (folder / "a.ndjson").write_text(
        '{"host_id": 1, "guest_id": 1, "family": 6, "smt_active": "yes", "behaviours": "{}", "model": "six"}\n'
        '{"host_id": "2", "guest_id": "2", "ia32_arch_capabilities": 18446744073709551615, "platform_id": null}\n'
    )
    probe = msgspec.to_builtins(read_snapshot(EXAMPLES / "thread" / "host.toml"))
    lines = [json.dumps({**probe, "id": "h1"}), '{"role": "host",', '{"format_version": 1, "role": "host", "cpuu": 1}']
    (folder / "probes.ndjson").write_text("\n".join(lines))
    for number, files in enumerate(
        (("a [1].parquet",), ("a.csv",), ("a.csv", "b.csv"), ("a.ndjson",), ("probes.ndjson",))
    ):
        paths = tuple(str(folder / name) for name in files)
        source = Source("host", FORMATS[Path(paths[0]).suffix], paths)
        duck, spark = (
            rows_by(engine, source, session, folder / f"{engine}-{number}") for engine in ("duckdb", "spark")
        )
        assert duck == spark, files
        assert len(spark) > 1
    session.read.parquet(f"file://{folder}/a \\[1\\].parquet").createOrReplaceTempView("hosts_of_ours")
    of_catalog = find(None, "spark:hosts_of_ours", "spark:hosts_of_ours").hosts
    rows = rows_by("spark", of_catalog, session, folder / "catalog")
    assert rows == rows_by("duckdb", Source("host", "parquet", (f"{folder}/a [1].parquet",)), session, folder / "again")


def a_roll_out_says_the_same(session: SparkSession, folder: Path) -> None:
    sample_fleet(folder / "fleet", 2_000, hosts=40)
    bad = "CASE guest_id WHEN 'guest-1' THEN 'six' ELSE kernel END AS kernel"
    lost = "CASE guest_id WHEN 'guest-2' THEN 'nowhere' ELSE host_id END AS host_id"
    guests = folder / "fleet" / "guests.parquet"
    duckdb.execute(f"CREATE TEMP TABLE bad AS SELECT * REPLACE ({bad}, {lost}) FROM '{guests}'")
    duckdb.execute(f"COPY bad TO '{guests}' (FORMAT parquet)")
    plan = Plan([Change.parse("guest-cmdline=mds=off tsx_async_abort=off mmio_stale_data=off")])
    said = {}
    for engine, settings in (("duckdb", Settings()), ("spark", Settings("spark", spark=session))):
        result = roll_out(find(str(folder / "fleet")), plan, out=folder / engine, settings=settings)
        assert sorted(result.files) == ["rejected", "roll-out"]
        said[engine] = with_files(result, files={})
    assert said["spark"] == said["duckdb"]
    assert len(said["spark"].worse) > 1
    assert [one.example for one in said["spark"].rejected] == ["guest-1", "guest-2"]
    written = f"{folder}/spark/roll-out.parquet/*.parquet"
    assert fingerprint(written) == fingerprint(f"{folder}/duckdb/roll-out.parquet")


def what_is_wrong_is_one_line(session: SparkSession, folder: Path) -> None:
    (folder / "broken.ndjson").write_text('{"host_id": "h1", "family": 6}\n{"host_id": "h2",\n')
    (folder / "cut.parquet").write_bytes((folder / "a [1].parquet").read_bytes()[:400])
    (folder / "fleet.duckdb").touch()
    for hosts, message in (
        ("broken.ndjson", "broken.ndjson"),
        ("cut.parquet", "cut.parquet"),
        ("fleet.duckdb", "is read by DuckDB only"),
        ("spark:nowhere.hosts", "nowhere"),
    ):
        where = hosts if ":" in hosts else str(folder / hosts)
        inventory = find(str(folder / "fleet"), where)
        with pytest.raises(InputError, match=message) as error:
            audit(inventory, folder / "out", settings=Settings("spark", spark=session))
        assert "\n" not in str(error.value)
        assert "Exception" not in str(error.value)
        assert list((folder / "out").iterdir()) == []


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


@pytest.mark.parametrize(
    ("old", "new"), [("file", "folder"), ("folder", "folder"), ("folder", "file"), ("file", "file")]
)
def test_what_an_earlier_run_left_is_replaced(tmp_path: Path, old: str, new: str) -> None:
    out, work = tmp_path / "out", tmp_path / "out" / ".audit-work"
    work.mkdir(parents=True)
    for place, kind in ((out, old), (work, new)):
        path = place / "verdicts.parquet"
        if kind == "folder":
            path.mkdir()
        (path / f"of-{kind}" if kind == "folder" else path).write_text(f"{place.name}")
    where = put_in_place({"verdicts": work / "verdicts.parquet"}, out)
    assert where == {"verdicts": str(out / "verdicts.parquet")}
    found = out / "verdicts.parquet"
    assert (found / "of-folder" if new == "folder" else found).read_text() == ".audit-work"


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from archcaps.cli.main import main; main()", *arguments]


def test_the_command_says_the_same_and_nothing_else(tmp_path: Path) -> None:
    sample_fleet(tmp_path / "fleet", 500, hosts=20)
    said = {}
    for engine in ("duckdb", "spark"):
        command = program("audit", str(tmp_path / "fleet"), "--out", "out", "--json", "--engine", engine)
        (tmp_path / engine).mkdir()
        said[engine] = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path / engine)
    assert said["spark"].stderr == ""
    assert said["spark"].stdout == said["duckdb"].stdout
    assert said["spark"].returncode == said["duckdb"].returncode == 2
    # A table that Spark wrote is a folder, and an inventory's may be one.
    written = tmp_path / "spark" / "out" / "verdicts.parquet"
    assert written.is_dir()
    guests = find(str(tmp_path / "fleet"), guests=str(written)).guests
    assert guests is not None
    assert guests.paths == tuple(str(part) for part in sorted(written.glob("part-*.parquet")))


def test_an_interrupt_ends_java_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    sample_fleet(tmp_path / "fleet", 20_000, hosts=400)
    out = tmp_path / "out"
    command = program("audit", str(tmp_path / "fleet"), "--engine", "spark", "--out", str(out))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        end = time.monotonic() + 300
        while not list(out.glob(".audit-*/verdicts.parquet")) and time.monotonic() < end and run.poll() is None:
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        said = run.communicate(timeout=120)
    assert (run.returncode, *said) == (130, "", "")
    assert list(out.iterdir()) == []
    named = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(out).encode() in contents(path)]
    assert named == []


def contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (("--engine", "spark"), {"JAVA_HOME": ""}, "no Java, and Spark needs 17 or newer"),
        (("--engine", "spark"), {"JAVA_HOME": "/nowhere"}, "no Java below JAVA_HOME=/nowhere, and Spark needs"),
        (("--spark-master", "spark://h:7077"), {}, "--spark-master: is for --engine spark"),
        (("--hosts", "spark:hosts"), {}, "spark:hosts: is for Spark to read (--engine spark)"),
        (("--hosts", "hdfs://h/hosts.parquet"), {}, "hdfs://h/hosts.parquet: is for Spark to read"),
        (("--engine", "spark", "--memory", "much"), {}, "--memory: 'much' is no size"),
    ],
)
def test_what_is_missing_or_wrong_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], environment: dict[str, str], message: str
) -> None:
    for role in ("host", "guest"):
        (tmp_path / f"{role}s.csv").write_text("host_id,guest_id,family\nh1,g1,6\n")
    variables = {**os.environ, **environment, **({"PATH": "/nowhere"} if environment else {})}
    command = program("audit", str(tmp_path), *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert done.returncode >= 64
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
