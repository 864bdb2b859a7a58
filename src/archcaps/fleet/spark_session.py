"""A session of Spark of our own: started without a word on the terminal, watched, and ended with its Java machine."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, Final

from archcaps.errors import InputError
from archcaps.fleet.classes import Progress
from archcaps.fleet.engine import Settings

if TYPE_CHECKING:
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

__all__ = ["OwnSession", "readable", "watched"]

_SIZE: Final = re.compile(r"([0-9]+) *([KMGT])i?B?", re.IGNORECASE)
#: How often running tasks are counted, in seconds.
_PAUSE: Final = 0.2


class OwnSession:
    """A session on this machine or on the cluster that the settings name; `session` is Spark's.

    What Java writes on its own account goes to a file without a name: only what it said last is told, if it cannot
    start. Other settings are read where spark-submit reads them (``spark-defaults.conf``, SPARK_CONF_DIR), the master
    too unless the settings name one. Under spark-submit its Java machine is used.

    Raises:
        InputError: pyspark or Java is missing, or Spark cannot be started.
    """

    def __init__(self, settings: Settings, work: Path) -> None:
        _needs_spark()
        from pyspark import SparkContext  # noqa: PLC0415  # an extra
        from pyspark.java_gateway import launch_gateway  # noqa: PLC0415  # as above
        from pyspark.sql import SparkSession  # noqa: PLC0415  # as above

        # No data frame of pandas is made here.
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        logging.getLogger("py4j").setLevel(logging.CRITICAL)
        logging.getLogger().addFilter(_not_of_py4j)
        interrupt = signal.getsignal(signal.SIGINT)
        self._gateway: Any = None
        own = SparkContext._gateway is None and "PYSPARK_GATEWAY_PORT" not in os.environ
        master = settings.spark_master or _master_elsewhere(own=own)
        conf = _conf(settings, work, master, own=own)
        with TemporaryFile() as said:
            try:
                # A Java machine that the process has already is used, and left as it is.
                if own:
                    where = {"stdout": said, "stderr": said, "start_new_session": True}
                    self._gateway = launch_gateway(conf, where)  # type: ignore[no-untyped-call]  # pyspark has no types here
                context = SparkContext(conf=conf, gateway=self._gateway)
            except KeyboardInterrupt:
                self._end()
                raise
            except Exception as error:
                self._end()
                raise InputError(f"cannot be started: {_last_line(said) or _first_line(error)}", "spark") from error
            finally:
                # Spark's handler would talk to Java in the middle of what the driver is telling it.
                if threading.current_thread() is threading.main_thread() and interrupt is not None:
                    signal.signal(signal.SIGINT, interrupt)
        context.setLogLevel("ERROR")
        self.session: SparkSession = SparkSession(context)

    def close(self) -> None:
        """End the session and the Java machine: whatever it was writing, it writes no more."""
        # A thread has a connection of its own: the driver's may have been interrupted before it had its answer.
        stop = threading.Thread(target=self._stop, daemon=True)
        stop.start()
        stop.join(timeout=30)
        self._end()

    def _stop(self) -> None:
        with suppress(Exception):  # it may be gone already
            self.session.stop()
        with suppress(Exception):
            if self._gateway is not None:
                self._gateway.shutdown()

    def _end(self) -> None:
        from pyspark import SparkContext  # noqa: PLC0415  # an extra

        if self._gateway is None:
            return
        process = self._gateway.proc
        process.stdin.close()  # what a Java machine of pyspark ends on
        try:
            process.wait(timeout=20)
        except Exception:  # it hangs
            process.kill()
            process.wait()
        SparkContext._gateway = SparkContext._jvm = self._gateway = None


def _not_of_py4j(record: logging.LogRecord) -> bool:
    """Return whether a message is not py4j's, which tells of every interrupt with a traceback, as the root logger."""
    return Path(record.pathname).parent.name != "py4j"


def _needs_spark() -> None:
    if find_spec("pyspark") is None:
        raise InputError("pyspark not installed (pip install 'archcaps[spark]')", "spark")
    home = os.environ.get("JAVA_HOME")
    if shutil.which(f"{home}/bin/java" if home else "java") is None:
        where = f" below JAVA_HOME={home}" if home else ""
        raise InputError(
            f"no Java{where}, and Spark needs 17 or newer (on Debian: apt-get install openjdk-17-jre-headless)", "spark"
        )


def _master_elsewhere(*, own: bool) -> str:
    """Return the master that spark-submit or ``spark-defaults.conf`` names; empty where it is local[*], or none."""
    from pyspark import SparkConf, SparkContext  # noqa: PLC0415  # an extra

    if own:
        found = _defaults().get("spark.master", "")
    else:
        SparkContext._ensure_initialized()
        found = SparkConf().get("spark.master") or ""
    return "" if found == "local[*]" else found


def _defaults() -> dict[str, str]:
    """Return what ``spark-defaults.conf`` says: a name and a value a line, with blanks, ``=`` or ``:`` between them."""
    from pyspark.find_spark_home import _find_spark_home  # noqa: PLC0415  # an extra

    folder = os.environ.get("SPARK_CONF_DIR") or f"{_find_spark_home()}/conf"
    found: dict[str, str] = {}
    with suppress(OSError, UnicodeDecodeError):
        for line in (Path(folder) / "spark-defaults.conf").read_text(encoding="utf-8").splitlines():
            name = re.match(r"\s*(?![#!])([^\s=:]+)\s*[=:]?\s*(.*?)\s*\Z", line)
            if name:
                found[name[1]] = name[2]
    return found


def _conf(settings: Settings, work: Path, master: str, *, own: bool) -> SparkConf:
    """Return the settings of a session on `master` (empty: this machine); `own`: its Java machine is started for it."""
    from pyspark import SparkConf  # noqa: PLC0415  # an extra

    local = not master
    conf = SparkConf().setAppName("archcaps").set("spark.ui.enabled", "false")
    conf.set("spark.ui.showConsoleProgress", "false").set("spark.sql.caseSensitive", "true")
    if settings.memory and (local or master.startswith("local")) and not own:
        raise InputError("is for a Java machine of our own (spark-submit has --driver-memory)", "--memory")
    if settings.memory:
        conf.set(f"spark.{'driver' if local else 'executor'}.memory", _size(settings.memory))
    if not local:
        if settings.threads:
            raise InputError(f"is for Spark on this machine, and the master is {master} (say it there)", "--threads")
        return conf.setMaster(master)
    threads = settings.threads or os.cpu_count() or 1
    conf.setMaster(f"local[{threads}]").set("spark.local.dir", str(work / "spill"))
    conf.set("spark.sql.shuffle.partitions", str(max(8, 4 * threads)))
    # Nobody else has to reach it.
    return conf.set("spark.driver.host", "localhost").set("spark.driver.bindAddress", "127.0.0.1")


def _size(memory: str) -> str:
    found = _SIZE.fullmatch(memory.strip())
    if not found:
        raise InputError(f"{memory!r} is no size (expected one like 4GB)", "--memory")
    return f"{found[1]}{found[2].lower()}"


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = [line.strip() for line in said.read(1 << 20).decode(errors="replace").splitlines()]
    found = [line for line in lines if line and not line.startswith("at ")]
    errors = [line for line in found if "Exception" in line or "Error" in line]
    return next(iter(errors or found[-1:]), "")


@contextmanager
def readable(where: str) -> Iterator[None]:
    """Turn Spark's errors into one line."""
    from py4j.protocol import Py4JError  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra
    from pyspark.errors import PySparkException  # noqa: PLC0415  # as above

    try:
        yield
    except (Py4JError, PySparkException, ConnectionError) as error:
        raise InputError(_first_line(error), where) from error


def _first_line(error: BaseException) -> str:
    """Return what the deepest cause says: the outer ones tell only that a job failed, or a file could not be read."""
    lines = [line.strip() for line in str(error).splitlines()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    said = [line for line in lines if line and not line.startswith(("at ", "An error occurred", "JVM stacktrace"))]
    first = next(iter([*causes[-1:], *said]), type(error).__name__).removeprefix(": ")
    # A cause may stand in the text too, in brackets: "... [org.apache.spark.SparkException: ...]".
    *around, first = re.split(r"[\w.$]+(?:Exception|Error): ", first)
    first = first.rstrip("]") if any(text.endswith("[") for text in around) else first
    return re.sub(r"\A\[[A-Z_.0-9]+\] |\s*SQLSTATE: \w+\Z", "", first)


@contextmanager
def watched(session: SparkSession, phase: str, progress: Progress) -> Iterator[None]:
    """Tell how many tasks of the running jobs are done while the driver waits for them."""
    progress(phase, 0.0)
    over = threading.Event()

    def watch() -> None:
        most = 0.0
        with suppress(Exception):  # progress is worth no failure: the session may be ending, or have no tracker
            tracker = session.sparkContext.statusTracker()
            while not over.wait(_PAUSE):
                jobs = filter(None, map(tracker.getJobInfo, tracker.getActiveJobsIds()))
                stages = [tracker.getStageInfo(stage) for job in jobs for stage in job.stageIds]
                total = sum(stage.numTasks for stage in stages if stage)
                done = sum(stage.numCompletedTasks for stage in stages if stage)
                most = max(most, done / total if total else 0.0)
                progress(phase, most)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=5)
