"""archcaps within spark-submit: it ends as any other program, and a master that Spark's own settings name is used.

Sources: Spark, Submitting Applications (the master of spark-submit, then that of conf/spark-defaults.conf), and
Configuration (SPARK_CONF_DIR).
"""

from __future__ import annotations

from tests.fleet.spark.needed import pytestmark

# isort: split
# The file is skipped by now if there is no Spark.
import os
import subprocess
import sys
from pathlib import Path

from archcaps.fleet.sample import sample_fleet
from tests.cli.running import archcaps

__all__ = ["pytestmark"]

SUBMIT = Path(sys.executable).with_name("spark-submit")
#: To make much of its code takes Java longer than to run it once.
SOON = (
    "--conf", "spark.sql.codegen.wholeStage=false", "--conf", "spark.sql.codegen.factoryMode=NO_CODEGEN",
    "--conf", "spark.driver.extraJavaOptions=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
)  # fmt: skip
JOB = "from archcaps.cli.main import main\n\nmain()\n"


def test_a_job_of_spark_submit_ends_with_the_answer_s_code(tmp_path: Path) -> None:
    sample_fleet(tmp_path / "fleet", 20, hosts=2)
    (tmp_path / "job.py").write_text(JOB)
    direct = archcaps("audit", str(tmp_path / "fleet"), "--json")
    asked = ("audit", tmp_path / "fleet", "--engine", "spark", "--json")
    said = subprocess.run(
        [SUBMIT, "--master", "local[1]", *SOON, tmp_path / "job.py", *asked],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, "PYSPARK_PYTHON": sys.executable},
    )  # fmt: skip
    assert "NoneType" not in said.stderr
    assert (said.returncode, said.stdout) == (direct.returncode, direct.stdout)


def test_the_master_of_spark_s_defaults_is_used(tmp_path: Path) -> None:
    """A master that nothing answers to is an error: the work is not done here in silence."""
    sample_fleet(tmp_path / "fleet", 20, hosts=2)
    (tmp_path / "spark-defaults.conf").write_text("spark.master  nowhere://127.0.0.1:1\n")
    asked = ("audit", str(tmp_path / "fleet"), "--engine", "spark")
    refused = archcaps(*asked, SPARK_CONF_DIR=str(tmp_path))
    assert refused.returncode == 65
    assert "Master must" in refused.stderr
