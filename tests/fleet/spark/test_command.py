"""archcaps audit --engine spark: says what DuckDB says and nothing else, ends at once, and tells what is missing."""

from __future__ import annotations

from tests.fleet.spark.needed import pytestmark

# isort: split
# The file is skipped by now if there is no Spark.
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from archcaps.fleet.inventory import find
from archcaps.fleet.sample import sample_fleet

__all__ = ["pytestmark"]


#: Few columns: Spark makes code for each, and here it matters only who says what.
COLUMNS = "vendor, family, model, stepping, kernel, cmdline, config, cpuid_7_0_edx, ia32_arch_capabilities"


def fleet(folder: Path, guests: int, hosts: int) -> Path:
    """Write a fleet of which little is known."""
    sample_fleet(folder / "whole", guests, hosts=hosts)
    for table, ids in (("hosts", "host_id"), ("guests", "guest_id, host_id")):
        rows = f"SELECT {ids}, {COLUMNS} FROM '{folder}/whole/{table}.parquet'"
        duckdb.execute(f"COPY ({rows}) TO '{folder}/{table}.parquet' (FORMAT parquet)")
    return folder


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from archcaps.cli.main import main; main()", *arguments]


def test_the_command_says_the_same_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "fleet").mkdir()
    where = str(fleet(tmp_path / "fleet", 500, hosts=20))
    said = {}
    for engine in ("duckdb", "spark"):
        command = program("audit", where, "--out", "out", "--json", "--engine", engine)
        (tmp_path / engine).mkdir()
        said[engine] = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path / engine)
    assert said["spark"].stderr == ""
    assert said["spark"].stdout == said["duckdb"].stdout
    assert said["spark"].returncode == said["duckdb"].returncode == 3
    # A table that Spark wrote is a folder, and an inventory's may be one.
    written = tmp_path / "spark" / "out" / "verdicts.parquet"
    assert written.is_dir()
    guests = find(where, guests=str(written)).guests
    assert guests is not None
    assert guests.paths == tuple(str(part) for part in sorted(written.glob("part-*.parquet")))


def test_an_interrupt_ends_java_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "fleet").mkdir()
    where = str(fleet(tmp_path / "fleet", 2_000, hosts=40))
    out = tmp_path / "out"
    command = program("audit", where, "--engine", "spark", "--out", str(out))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        while not list(out.glob(".audit-*/verdicts.parquet")) and run.poll() is None:
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        said = run.communicate()
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
