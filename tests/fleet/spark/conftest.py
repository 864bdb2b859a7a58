"""The session that tests of Spark share, and settings with which small fleets are judged sooner."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Spark interprets what it is asked: to write a program for it takes longer than to run it on a few rows. That a
#: command writes one is enough; so does make fleet-check.
_INTERPRETED: dict[str, bool | float | int | str | None] = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
#: Java compiles its code once and not twice, and collects garbage in one thread.
_SOON = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmn400m"


@pytest.fixture(scope="session", autouse=True)
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Settings for every Java machine that tests start, in their own process or in a command's."""
    from tests.fleet.spark.needed import SMALL  # noqa: PLC0415  # skips

    folder = tmp_path_factory.mktemp("spark-conf")
    if SMALL:
        lines = (f"spark.{which}.extraJavaOptions {_SOON}\n" for which in ("driver", "executor"))
        (folder / "spark-defaults.conf").write_text("".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_CONF_DIR", str(folder))
        yield


@pytest.fixture(scope="session")
def session(settings: None) -> Iterator[SparkSession]:
    """Two workers that are processes of their own."""
    import pyspark  # noqa: PLC0415  # may be missing
    from pyspark.sql import SparkSession  # noqa: PLC0415  # as above

    from tests.fleet.spark.needed import SMALL  # noqa: PLC0415  # as above

    session = (
        SparkSession.builder.master("local-cluster[2,1,1024]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "4")
        .config("spark.sql.files.openCostInBytes", str(1 << 30))  # a task for each file
        .config("spark.driver.host", "localhost")
        .config(map=_INTERPRETED if SMALL else {})
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    application = session.sparkContext.applicationId
    yield session
    session.stop()
    home = Path(str(pyspark.__file__)).parent / "work"
    shutil.rmtree(home / application, ignore_errors=True)
