"""The distributed engine: Apache Spark reads, groups and joins an inventory, on this machine or on a cluster.

Rules are no part of it. The different rows travel to the driver, which judges them as it does for DuckDB, and their
verdicts travel back; nothing runs in the workers but Spark's own operators.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as f

from archcaps.errors import InputError
from archcaps.fleet.classes import Classes, Progress, content_id
from archcaps.fleet.engine import Settings
from archcaps.fleet.inventory import Inventory, Role
from archcaps.fleet.results import PassedOver
from archcaps.fleet.spark_read import address, rows_of_source
from archcaps.fleet.spark_session import OwnSession, readable, watched
from archcaps.fleet.work_folder import SourceFiles
from archcaps.questions.many.columns import Machines

__all__ = ["Spark"]

#: Tables of the driver up to this many rows go to every worker whole, so that guests need not be shuffled.
_BROADCAST: Final = 500_000
_REJECTED: Final = "role string, id string, reason string"


class Spark:
    """One inventory, opened: its classes, and afterwards its verdicts.

    `work` is a folder that every worker sees under the same name, unless Spark runs on this machine.

    Raises:
        InputError: Spark cannot be started, or a source cannot be read, lacks a column, or has one of a wrong type.
    """

    def __init__(self, inventory: Inventory, work: Path, settings: Settings, progress: Progress) -> None:
        self._inventory = inventory
        self._progress = progress
        self._own = None if settings.spark is not None else OwnSession(settings, work)
        self._session: SparkSession = settings.spark if self._own is None else self._own.session  # type: ignore[assignment]  # one of both is there
        self.resumable = False
        self.files = SourceFiles(inventory)
        self.passed_over: list[PassedOver] = []
        self._kept: list[DataFrame] = []
        self._rejected: list[DataFrame] = []
        self._refused: dict[Role, list[tuple[int, str]]] = {"host": [], "guest": []}
        self._rows: dict[Role, DataFrame] = {}
        self._columns: dict[Role, list[str]] = {}
        self._classes: dict[Role, list[Row]] = {}
        self._table: dict[Role, DataFrame] = {}
        try:
            for source in filter(None, (inventory.hosts, inventory.guests)):
                with self._phase(f"opening {source.role}s", source.where):
                    rows, columns, bad, others = rows_of_source(self._session, source, work)
                self.passed_over += others
                self._rows[source.role], self._columns[source.role] = rows, columns
                if rows.is_cached:
                    self._kept.append(rows)
                if bad:
                    self._rejected.append(self._frame(bad, _REJECTED))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the session, if it is our own."""
        if self._own is not None:
            self._own.close()
        else:
            for frame in self._kept:
                frame.unpersist()

    @contextmanager
    def _phase(self, phase: str, where: str) -> Iterator[None]:
        with readable(where), watched(self._session, phase, self._progress):
            yield

    def _frame(self, rows: Sequence[Any], schema: str) -> DataFrame:
        found = self._session.createDataFrame(list(rows), schema, verifySchema=False)
        return f.broadcast(found) if len(rows) <= _BROADCAST else found

    def _keep(self, frame: DataFrame) -> DataFrame:
        """Keep what is used again; parts that are lost with a worker are computed again."""
        self._kept.append(frame.persist())
        return self._kept[-1]

    # --- grouping --------------------------------------------------------------------------

    def classes(self, assumptions: frozenset[str] = frozenset()) -> Classes:
        """Return the classes of the inventory, and note every row that cannot be judged.

        Raises:
            InputError: no guest is left, or a file is broken.
        """
        hosts, guests = self._inventory.hosts, self._inventory.guests
        assert guests is not None, "an inventory of hosts alone has no pairs"
        with self._phase("reading hosts", hosts.where):
            self._group_hosts()
        with self._phase("grouping guests", guests.where):
            pairs = self._group_guests()
        if not pairs:
            raise InputError("no guest that can be judged", guests.where)
        numbers = np.array([tuple(pair) for pair in pairs], dtype=np.int64)
        numbers = numbers[np.lexsort((numbers[:, 1], numbers[:, 0]))]
        return Classes(
            self._machines("host", assumptions),
            self._machines("guest", assumptions),
            numbers[:, 0].astype(np.intp),
            numbers[:, 1].astype(np.intp),
            numbers[:, 2],
        )

    def _group_hosts(self) -> None:
        rows = self._rows["host"]
        twice = self._twice("host", "host_id")
        marked = rows.join(twice.withColumnRenamed("host_id", "id"), f.expr("host_id = id"), "left")
        self._rejected.append(
            marked.where("host_id IS NULL OR bad IS NOT NULL OR n IS NOT NULL").selectExpr(
                "'host' AS role",
                "coalesce(host_id, '') AS id",
                """CASE WHEN host_id IS NULL THEN 'no host_id'
                WHEN bad IS NOT NULL THEN bad || ': a value that cannot be read'
                ELSE 'the id of more than one host' END AS reason""",
            )
        )
        usable = marked.where("host_id IS NOT NULL AND bad IS NULL AND n IS NULL")
        self._number("host", usable)
        self._host = self._keep(self._with_class("host", usable).select("host_id", "host_class"))
        counted = {
            row.host_class: row.n for row in self._host.groupBy("host_class").agg(f.expr("count(*) AS n")).collect()
        }
        self._host_counts = np.array([counted.get(number, 0) for number in range(len(self._classes["host"]))], np.int64)

    def _group_guests(self) -> list[Row]:
        rows, names = self._rows["guest"], self._columns["guest"]
        twice = self._twice("guest", "guest_id")
        if twice.isEmpty():
            once = rows
        else:
            once = rows.join(twice, "guest_id", "left_anti")
            self._rejected.append(
                rows.join(twice, "guest_id").selectExpr(
                    "'guest' AS role", "guest_id AS id", "'the id of ' || n || ' guests' AS reason"
                )
            )
        self._once = once.where("guest_id IS NOT NULL AND bad IS NULL")
        on_host = once.join(self._host, "host_id", "left")
        grouped = self._keep(
            on_host.groupBy("host_class", *names).agg(
                f.expr("count(*) AS guests"), f.expr("count_if(guest_id IS NULL OR bad IS NOT NULL) AS unusable")
            )
        )
        self._number("guest", grouped.where("guests > unusable"))
        if not grouped.where("unusable > 0 OR host_class IS NULL").isEmpty():
            lost = on_host.where("guest_id IS NULL OR bad IS NOT NULL OR host_class IS NULL")
            self._rejected.append(
                lost.selectExpr(
                    "'guest' AS role",
                    "coalesce(guest_id, '') AS id",
                    """CASE WHEN guest_id IS NULL THEN 'no guest_id'
                    WHEN bad IS NOT NULL THEN bad || ': a value that cannot be read'
                    WHEN host_id IS NULL THEN 'no host_id'
                    ELSE 'no usable host ' || host_id END AS reason""",
                )
            )
        of_pairs = self._with_class("guest", grouped.where("host_class IS NOT NULL AND guests > unusable"))
        return of_pairs.groupBy("host_class", "guest_class").agg(f.expr("sum(guests - unusable) AS n")).collect()

    def _twice(self, role: Role, name: str) -> DataFrame:
        """Return the ids that occur more than once, and how often, as `n`."""
        ids = self._rows[role].where(f"{name} IS NOT NULL").select(name)
        # Only hashes are shuffled; one that two ids share may be chance, so of these few rows the ids are counted.
        hashed = ids.select(name, f.expr(f"xxhash64({name}) AS h"))
        shared = hashed.groupBy("h").agg(f.expr("count(*) AS times")).where("times > 1").select("h")
        few = hashed.join(shared, "h", "left_semi")
        return self._keep(few.groupBy(name).agg(f.expr("count(*) AS n")).where("n > 1"))

    def _number(self, role: Role, rows: DataFrame) -> None:
        """Collect the different rows and number them, in the order of their names, whatever order they come in."""
        names = self._columns[role]
        found = rows.select(*names).distinct().select(*names, self._hash(role)).collect()
        found.sort(key=lambda row: content_id({name: row[name] for name in names}))
        self._classes[role] = found
        if len({row.h for row in found}) == len(found):
            keys = [(row.h, number) for number, row in enumerate(found)]
            self._table[role] = self._frame(keys, f"h bigint, {role}_class int")
        else:
            kinds = {field.name: field.dataType.simpleString() for field in rows.schema.fields}
            schema = ", ".join(f"c_{name} {kinds[name]}" for name in names)
            whole = [(*row[: len(names)], number) for number, row in enumerate(found)]
            self._table[role] = self._frame(whole, f"{schema}, {role}_class int")

    def _hash(self, role: Role) -> Any:  # noqa: ANN401  # a column
        """Return the hash of a row's columns; numbers stand between them, since Spark's hash passes over nulls."""
        return f.expr(f"xxhash64({', '.join(f'{name}, {n}' for n, name in enumerate(self._columns[role]))}) AS h")

    def _with_class(self, role: Role, rows: DataFrame) -> DataFrame:
        """Return the rows, each with its class: by the hash of its columns, unless two classes share one."""
        table = self._table[role]
        if "h" in table.columns:
            return rows.withColumn("h", self._hash(role)).join(table, "h").drop("h")
        same = " AND ".join(f"{name} <=> c_{name}" for name in self._columns[role])
        return rows.join(table, f.expr(same)).drop(*(f"c_{name}" for name in self._columns[role]))

    def _machines(self, role: Role, assumptions: frozenset[str]) -> Machines:
        rows = self._classes[role]
        columns = {name: [row[at] for row in rows] for at, name in enumerate(self._columns[role])}
        return Machines(role, len(rows), columns, assumptions)

    # --- writing ---------------------------------------------------------------------------

    def reject(self, role: Role, number: int, reason: str) -> None:
        """Note that the machines of a class cannot be judged: hosts first, their guests go with them."""
        self._refused[role].append((number, reason))

    def write_verdicts(
        self, path: Path, verdicts: dict[str, Any], selected: Sequence[str], ids: Sequence[str] = ("guest_id",)
    ) -> int:
        """Write one row a guest: its `ids` and the `selected` columns of its pair; return the number of rows.

        `path` becomes a folder of part files. `verdicts` has a value for each pair in each column, `host_class` and
        `guest_class` among them.

        Raises:
            InputError: the disk is full, or the folder cannot be written.
        """
        judged = self._arrays({name: verdicts[name] for name in ("host_class", "guest_class", *selected)})
        guests = self._with_class("guest", self._once.join(self._host, "host_id"))
        with self._phase("writing verdicts", str(path)):
            found = guests.join(judged, ["host_class", "guest_class"]).select(*ids, *selected)
            found.write.parquet(f"file://{path}")
            return self._session.read.option("recursiveFileLookup", value=True).parquet(address(str(path))).count()

    def write_table(self, path: Path, columns: dict[str, Any]) -> None:
        """Write a table of arrays, into one part file of the folder `path`.

        Raises:
            InputError: the disk is full, or the folder cannot be written.
        """
        with self._phase("writing classes", str(path)):
            self._arrays(columns).coalesce(1).write.parquet(f"file://{path}")

    def _arrays(self, columns: dict[str, Any]) -> DataFrame:
        kinds = {name: "bigint" if values.dtype.kind in "iu" else "string" for name, values in columns.items()}
        rows = zip(*(values.tolist() for values in columns.values()), strict=True)
        return self._frame(list(rows), ", ".join(f"{name} {kind}" for name, kind in kinds.items()))

    def rejected(self, path: Path) -> list[tuple[str, str, int, str]]:
        """Write every rejected row, if there are any, and return them by role and reason, with one id as an example."""
        frames = list(self._rejected)
        with self._phase("listing what was set aside", str(path)):
            hosts = self._frame(self._refused["host"], "host_class int, reason string")
            of_hosts, of_guests = self._host.join(hosts, "host_class"), self._once.join(self._host, "host_id")
            if self._refused["host"]:
                frames.append(of_hosts.selectExpr("'host' AS role", "host_id AS id", "reason"))
                lost = of_guests.join(hosts, "host_class", "left_semi")
                why = "'no usable host ' || host_id AS reason"
                frames.append(lost.selectExpr("'guest' AS role", "guest_id AS id", why))
                of_guests = of_guests.join(hosts, "host_class", "left_anti")
            if self._refused["guest"]:
                guests = self._frame(self._refused["guest"], "guest_class int, reason string")
                found = self._with_class("guest", of_guests).join(guests, "guest_class")
                frames.append(found.selectExpr("'guest' AS role", "guest_id AS id", "reason"))
            every = self._keep(reduce(DataFrame.union, frames))
            counted = (
                every.groupBy("role", "reason").agg(f.expr("count(*) AS n"), f.expr("min(id) AS example")).collect()
            )
            if counted:
                every.orderBy("role", "id", "reason").write.parquet(f"file://{path}")
        counted.sort(key=lambda row: (-row.n, row.role, row.reason))
        return [(row.role, row.reason, row.n, row.example) for row in counted]

    def host_counts(self) -> npt.NDArray[np.int64]:
        """Return how many hosts each class of hosts has."""
        return self._host_counts
