"""Engines: what reads an inventory, groups it into classes, joins the verdicts back to the guests and writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from archcaps.errors import InputError
from archcaps.fleet.classes import Classes, Progress, Refused
from archcaps.fleet.interrupts import interrupts
from archcaps.fleet.inventory import Inventory, Role
from archcaps.fleet.results import PassedOver
from archcaps.fleet.work_folder import SourceFiles, work_folder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["Engine", "Name", "Settings", "check_written", "opened", "put_in_place", "set_aside"]

Name = Literal["duckdb", "spark"]


@dataclass(frozen=True)
class Settings:
    """Which engine works, and what it may use.

    `memory` is a limit (``4GB``), `threads` a number of threads; empty and 0: the engine's default. For Spark,
    `spark_master` is the URL of a cluster (empty: this machine, all processors), and `spark` a session that is there
    already, whose settings then hold and which stays open.
    """

    name: Name = "duckdb"
    memory: str = ""
    threads: int = 0
    spark_master: str = ""
    spark: SparkSession | None = None


class Engine(Protocol):
    """One inventory, opened: its classes, and afterwards its verdicts. Every method may raise `InputError`."""

    #: Whether enough is done that another run, with the same files, could go on from here.
    resumable: bool
    #: The inventory's files, as they were when they were opened.
    files: SourceFiles
    #: Columns that are not read, since archcaps knows no such name.
    passed_over: list[PassedOver]

    def classes(self, assumptions: frozenset[str] = frozenset()) -> Classes:
        """Return the classes of the inventory, and set aside every row that cannot be judged."""

    def reject(self, role: Role, number: int, reason: str) -> None:
        """Set aside the machines of a class."""

    def write_verdicts(
        self, path: Path, verdicts: dict[str, Any], selected: Sequence[str], ids: Sequence[str] = ("guest_id",)
    ) -> int:
        """Write one row a guest: its `ids` and the `selected` columns of its pair; return the number of rows.

        `verdicts` has a value for each pair in each column, `host_class` and `guest_class` among them.
        """

    def write_table(self, path: Path, columns: dict[str, Any]) -> None:
        """Write a table of arrays."""

    def rejected(self, path: Path) -> list[tuple[str, str, int, str]]:
        """Write every row that was set aside, if there are any; return them by role and reason, with one id each."""

    def host_counts(self) -> npt.NDArray[np.int64]:
        """Return how many hosts each class of hosts has."""

    def close(self) -> None:
        """End the engine; what it put in its folder can be removed."""


@contextmanager
def opened(
    inventory: Inventory, out: Path | None, settings: Settings, progress: Progress
) -> Iterator[tuple[Engine, Path]]:
    """Give an engine with an inventory, and a folder for its files: below `out`, to be renamed into it.

    The folder's name depends on the inventory's files as they are. If the work is interrupted it stays, and whoever
    asks again goes on from there.

    Raises:
        InputError: the folder cannot be made, another run works in it, the engine is not installed, or the inventory
            cannot be read.
    """
    with work_folder(inventory, out, resumable=settings.name == "duckdb") as work, interrupts():
        engine = _engine(inventory, work.path, settings, progress)
        try:
            with interrupts():
                yield engine, work.path
        except KeyboardInterrupt:
            work.keep = out is not None and engine.resumable
            raise
        finally:
            engine.close()


def _engine(inventory: Inventory, work: Path, settings: Settings, progress: Progress) -> Engine:
    if settings.name == "spark":
        from archcaps.fleet.spark import Spark  # noqa: PLC0415  # an extra of its own

        return Spark(inventory, work, settings, progress)
    for source in filter(None, (inventory.hosts, inventory.guests)):
        if source.format == "spark" or "://" in source.paths[0]:
            raise InputError("is for Spark to read (--engine spark)", source.where)
    from archcaps.fleet.duck import DuckDb  # noqa: PLC0415  # not needed for Spark

    return DuckDb(inventory, work, memory=settings.memory, threads=settings.threads, progress=progress)


def set_aside(engine: Engine, refused: Refused, progress: Progress) -> None:
    """Set aside every machine of the classes that cannot be judged: the hosts first, since their guests go with them.

    Raises:
        InputError: the disk is full.
    """
    ordered = sorted(refused.items(), key=lambda one: one[0][0] != "host")
    for done, ((role, number), why) in enumerate(ordered):
        progress("setting aside", done / len(ordered))
        engine.reject(role, number, why)


def check_written(engine: Engine, written: int | None, judged: int) -> None:
    """Refuse an answer whose rows are not of one moment: `written` rows of verdicts, if any were, on `judged` guests.

    Raises:
        InputError: the inventory changed while it was read.
    """
    engine.files.check()
    if written is not None and written != judged:
        raise InputError(
            f"{judged:,} guests were judged and {written:,} found again: the inventory changed while it was read "
            "(audit a copy that nobody writes to)",
            "inventory",
        )


def put_in_place(files: Mapping[str, Path], out: Path) -> dict[str, str]:
    """Rename finished files, or folders of part files, into `out`; return where each is now.

    What an earlier run left there under the same name is replaced, or, where there was nothing to write this time,
    taken away.

    Raises:
        InputError: the folder cannot be written.
    """
    found = {}
    try:
        for name, path in files.items():
            target = out / path.name
            # A folder replaces nothing by itself: the old one goes where it is removed with the rest.
            if target.is_dir() or (target.exists() and not path.is_file()):
                target.replace(path.with_name(f"old-{path.name}"))
            if path.exists():
                path.replace(target)
                found[name] = str(target)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", str(out)) from error
    return found
