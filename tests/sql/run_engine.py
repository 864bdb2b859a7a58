"""Runs files of SQL in Spark or ClickHouse, in a process of its own, and prints the last one's rows as lines of JSON.

Their own logs go to standard error; a JVM and its threads end with the process.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any


def statements(text: str) -> list[str]:
    without_comments = re.sub(r"^--.*\n", "", text, flags=re.M)
    return [part for part in re.split(r";\s*\n", without_comments) if part.strip()]


def spark(scripts: list[str], query: str) -> Iterator[dict[str, Any]]:
    warnings.simplefilter("ignore")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = import_module("pyspark.sql").SparkSession.builder
    with tempfile.TemporaryDirectory() as folder:
        session = (
            builder.master("local[1]")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.warehouse.dir", folder)
            .config("spark.sql.shuffle.partitions", "1")
            # The client compiler only: most of a short run is Spark's planner, which the other would optimise first.
            .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1")
            .getOrCreate()
        )
        for script in scripts:
            for statement in statements(script):
                session.sql(statement)
        for row in session.sql(statements(query)[-1]).collect():
            yield row.asDict()
        session.stop()


def clickhouse(scripts: list[str], query: str) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        session = import_module("chdb.session").Session(folder)
        for script in scripts:
            for statement in statements(script):
                session.query(statement)
        *settings, last = statements(query)
        for setting in settings:
            session.query(setting)
        for line in str(session.query(last, "JSONEachRow")).splitlines():
            yield json.loads(line)
        session.close()


if __name__ == "__main__":
    engine, *files = sys.argv[1:]
    *before, asked = (Path(file).read_text(encoding="utf-8") for file in files)
    for found in {"spark": spark, "clickhouse": clickhouse}[engine](before, asked):
        print(json.dumps(found))
