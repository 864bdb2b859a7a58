"""The embedded engine: DuckDB reads, groups and joins an inventory, on one machine and also past its memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt

from archcaps.errors import InputError
from archcaps.fleet.classes import Classes, Progress, silent
from archcaps.fleet.duck_progress import tell_progress, watched
from archcaps.fleet.duck_read import known_rows, locked, quoted, readable, view_of
from archcaps.fleet.inventory import Inventory, Role
from archcaps.fleet.results import PassedOver
from archcaps.fleet.work_folder import SourceFiles
from archcaps.questions.many.columns import Machines

__all__ = ["DuckDb"]

#: Ids are all different: a long dictionary of them would be of no use.
_VERDICTS: Final = "FORMAT parquet, STRING_DICTIONARY_PAGE_SIZE_LIMIT 100000"
_REJECTED: Final = "CREATE TABLE rejected (role VARCHAR, id VARCHAR, reason VARCHAR)"


class DuckDb:
    """One inventory, opened: its classes, and afterwards its verdicts.

    `work` is a folder for what does not fit in memory; `memory` the limit, as DuckDB writes it (4GB).

    Raises:
        InputError: a source cannot be read, lacks a column, or has one of a wrong type.
    """

    def __init__(
        self, inventory: Inventory, work: Path, *, memory: str = "", threads: int = 0, progress: Progress = silent
    ) -> None:
        self._inventory = inventory
        self._work = work
        self._progress = progress
        self._columns: dict[Role, list[str]] = {}
        self._called: dict[Role, str] = {}
        self._refused_hosts: list[int] = []
        self.files = SourceFiles(inventory)
        self.passed_over: list[PassedOver] = []
        with readable("duckdb"):
            self._db = self._connected(work / "audit.duckdb", memory, threads)
            tell_progress(self._db, progress)
            self._db.execute("SET lock_configuration=true")
        if not self.resumable:
            self._db.execute(_REJECTED)
        for source in filter(None, (inventory.hosts, inventory.guests)):
            self._columns[source.role], bad, others = view_of(self._db, source, work, progress, again=self.resumable)
            self.passed_over += others
            if bad:
                self._db.executemany("INSERT INTO rejected VALUES (?, ?, ?)", bad)

    def _connected(self, path: Path, memory: str, threads: int) -> duckdb.DuckDBPyConnection:
        """Open the file of tables; what an interrupted run has grouped there holds, anything less is taken away."""
        found = locked(path, self._work, self._inventory, memory=memory, threads=threads)
        tables = {name for (name,) in found.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        self.resumable = "grouped_state" in tables
        if self.resumable:
            row = found.execute("SELECT by_hash, twice FROM grouped_state").fetchone()
            assert row is not None
            self._by_hash, self._twice = row
            found.execute("CREATE OR REPLACE TABLE rejected AS SELECT * FROM grouped_rejected")
        elif tables:
            found.close()
            for left in path.parent.glob(f"{path.name}*"):
                left.unlink()
            found = locked(path, self._work, self._inventory, memory=memory, threads=threads)
        return found

    def close(self) -> None:
        """End the connection; what it put in `work` can be removed."""
        self._db.close()

    def _phase(self, phase: str) -> AbstractContextManager[None]:
        """Tell how far the query inside is."""
        return watched(self._db, phase, self._progress)

    def _all(self, role: Role) -> str:
        """Return how one calls all machines of a role: with their number, where it is known and somebody looks."""
        source = self._inventory.hosts if role == "host" else self._inventory.guests
        if self._progress is silent or source is None:
            return f"{role}s"
        if role not in self._called:
            rows = known_rows(self._db, source)
            self._called[role] = f"{role}s" if rows is None else f"{rows:,} {role}s"
        return self._called[role]

    # --- grouping --------------------------------------------------------------------------

    def classes(self, assumptions: frozenset[str] = frozenset()) -> Classes:
        """Return the classes of the inventory, and note every row that cannot be judged.

        Raises:
            InputError: no guest is left, or a file is broken.
        """
        guests = self._inventory.guests
        assert guests is not None, "an inventory of hosts alone has classes of hosts"
        if not self.resumable:
            with readable(self._inventory.hosts.where):
                self._group_hosts()
            with readable(guests.where):
                self._group_guests()
                self._db.execute("CREATE TABLE grouped_rejected AS SELECT * FROM rejected")
                state = "CREATE TABLE grouped_state AS SELECT ? AS by_hash, ? AS twice"
                self._db.execute(state, [self._by_hash, self._twice])
            self.resumable = True
        pairs = self._db.execute("SELECT host_class, guest_class, guests FROM pair ORDER BY ALL").fetchnumpy()
        if not len(pairs["guests"]):
            raise InputError("no guest that can be judged", guests.where)
        return Classes(
            self._machines("host", assumptions),
            self._machines("guest", assumptions),
            pairs["host_class"].astype(np.intp),
            pairs["guest_class"].astype(np.intp),
            pairs["guests"].astype(np.int64),
        )

    def host_classes(self) -> list[tuple[dict[str, Any], int, str]]:
        """Return the classes of hosts, each as a row, with how many hosts it has and the first of their ids.

        Raises:
            InputError: a file is broken.
        """
        with readable(self._inventory.hosts.where):
            self._group_hosts()
        machines = self._machines("host", frozenset())
        examples = self._db.execute("""SELECT min(host_id) FROM host_class c LEFT JOIN host h USING (host_class)
            GROUP BY c.host_class ORDER BY c.host_class""").fetchall()
        rows = ({name: values[number] for name, values in machines.columns.items()} for number in range(machines.count))
        return list(zip(rows, self.host_counts().tolist(), (example for (example,) in examples), strict=True))

    def _group_hosts(self) -> None:
        columns = ", ".join(self._columns["host"])
        twice = "SELECT host_id FROM host_rows WHERE host_id IS NOT NULL GROUP BY host_id HAVING count(*) > 1"
        usable = f"host_id IS NOT NULL AND bad IS NULL AND host_id NOT IN ({twice})"
        with self._phase(f"reading {self._all('host')}"):
            self._db.execute(f"""
                INSERT INTO rejected SELECT 'host', coalesce(host_id, ''), CASE
                    WHEN host_id IS NULL THEN 'no host_id'
                    WHEN bad IS NOT NULL THEN bad || ': a value that cannot be read'
                    ELSE 'the id of more than one host' END
                FROM host_rows WHERE host_id IS NULL OR bad IS NOT NULL
                    OR host_id IN ({twice})""")
        with self._phase(f"grouping {self._all('host')}"):
            self._db.execute(f"""
                CREATE TABLE host_class AS SELECT CAST(row_number() OVER () - 1 AS INTEGER) AS host_class, *
                FROM (SELECT DISTINCT {columns} FROM host_rows WHERE {usable})""")
        with self._phase(f"joining {self._all('host')} with their classes"):
            self._db.execute(f"""
                CREATE TABLE host AS SELECT r.host_id, c.host_class FROM host_rows r JOIN host_class c
                ON {_same(self._columns["host"])} WHERE {usable}""")

    def _group_guests(self) -> None:
        names = self._columns["guest"]
        columns = ", ".join(names)
        self._duplicates()
        once = "(g.guest_id IS NULL OR g.guest_id NOT IN (SELECT guest_id FROM twice))" if self._twice else "true"
        with self._phase(f"grouping {self._all('guest')}"):
            self._db.execute(f"""
                CREATE TABLE grouped AS SELECT h.host_class, {", ".join(f"g.{name}" for name in names)},
                    count(*) AS guests, count(*) FILTER (guest_id IS NULL OR bad IS NOT NULL) AS unusable
                FROM guest_rows g LEFT JOIN host h USING (host_id) WHERE {once} GROUP BY ALL""")
        self._db.execute(f"""
            CREATE TABLE guest_class AS SELECT CAST(row_number() OVER () - 1 AS INTEGER) AS guest_class,
                hash({columns}) AS h, * FROM (SELECT DISTINCT {columns} FROM grouped WHERE guests > unusable)""")
        clash = self._db.execute("SELECT count(*) > count(DISTINCT h) FROM guest_class").fetchone()
        #: How a guest's row finds its class: by the hash of its columns, unless two classes share one.
        self._by_hash = not (clash and clash[0])
        with self._phase("pairing classes"):
            self._db.execute(f"""
                CREATE TABLE pair AS
                SELECT r.host_class, c.guest_class, CAST(sum(r.guests - r.unusable) AS BIGINT) AS guests
                FROM grouped r JOIN guest_class c ON {_same(names)}
                WHERE r.host_class IS NOT NULL AND r.guests > r.unusable GROUP BY ALL""")
        lost = self._db.execute("SELECT sum(unusable) > 0 OR count(*) FILTER (host_class IS NULL) > 0 FROM grouped")
        row = lost.fetchone()
        if row and row[0]:
            with self._phase(f"setting aside some of {self._all('guest')}"):
                self._db.execute(f"""
                    INSERT INTO rejected SELECT 'guest', coalesce(g.guest_id, ''), CASE
                        WHEN g.guest_id IS NULL THEN 'no guest_id'
                        WHEN g.bad IS NOT NULL THEN g.bad || ': a value that cannot be read'
                        WHEN g.host_id IS NULL THEN 'no host_id'
                        ELSE 'no usable host ' || g.host_id END
                    FROM guest_rows g LEFT JOIN host h USING (host_id)
                    WHERE {once} AND (g.guest_id IS NULL OR g.bad IS NOT NULL OR h.host_class IS NULL)""")

    def _duplicates(self) -> None:
        """Note guests whose id is another's too: neither row says which of the two is meant."""
        with self._phase(f"reading the ids of {self._all('guest')}"):
            ids = "SELECT hash(guest_id) AS h FROM guest_rows WHERE guest_id IS NOT NULL"
            hashes = self._db.execute(ids).fetchnumpy()
        ordered = np.sort(hashes["h"])
        shared = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        self._twice = bool(len(shared))
        if self._twice:
            # A hash that two ids share may be chance: of these few rows the ids themselves are counted.
            self._db.register("shared", {"h": shared})
            self._db.execute("""
                CREATE TABLE twice AS SELECT guest_id, count(*) AS n FROM guest_rows
                WHERE hash(guest_id) IN (SELECT h FROM shared) GROUP BY guest_id HAVING count(*) > 1""")
            self._db.execute("""
                INSERT INTO rejected SELECT 'guest', guest_id, 'the id of ' || n || ' guests'
                FROM guest_rows JOIN twice USING (guest_id)""")
            self._db.unregister("shared")

    def _machines(self, role: Role, assumptions: frozenset[str]) -> Machines:
        names = self._columns[role]
        query = f"SELECT {', '.join(names)} FROM {role}_class ORDER BY {role}_class"
        rows = self._db.execute(query).fetchall()
        values: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [[] for _ in names]
        return Machines(role, len(rows), dict(zip(names, values, strict=True)), assumptions)

    # --- writing ---------------------------------------------------------------------------

    def reject(self, role: Role, number: int, reason: str) -> None:
        """Note that the machines of a class cannot be judged: hosts first, their guests go with them."""
        if role == "host":
            self._refused_hosts.append(number)
            self._db.execute(
                "INSERT INTO rejected SELECT 'host', host_id, ? FROM host WHERE host_class = ?", [reason, number]
            )
            self._db.execute(
                f"""INSERT INTO rejected SELECT 'guest', r.guest_id, 'no usable host ' || h.host_id
                FROM guest_rows r JOIN host h ON r.host_id = h.host_id WHERE h.host_class = ? AND {self._usable}""",
                [number],
            )
        else:
            self._db.execute(
                f"""INSERT INTO rejected SELECT 'guest', g.guest_id, ?
                FROM ({self._with_class("r.guest_id, r.host_id")}) g JOIN host h ON g.host_id = h.host_id
                WHERE g.guest_class = ? AND NOT list_contains(?::INTEGER[], h.host_class)""",
                [reason, number, self._refused_hosts],
            )

    def _with_class(self, selected: str) -> str:
        """Return the query for the guests that can be used, each with its class."""
        names = self._columns["guest"]
        on = f"hash({', '.join(f'r.{name}' for name in names)}) = c.h" if self._by_hash else _same(names)
        return f"SELECT {selected}, c.guest_class FROM guest_rows r JOIN guest_class c ON {on} WHERE {self._usable}"

    @property
    def _usable(self) -> str:
        once = " AND r.guest_id NOT IN (SELECT guest_id FROM twice)" if self._twice else ""
        return f"r.guest_id IS NOT NULL AND r.bad IS NULL{once}"

    def write_verdicts(
        self, path: Path, verdicts: dict[str, Any], selected: Sequence[str], ids: Sequence[str] = ("guest_id",)
    ) -> int:
        """Write one row a guest: its `ids` and the `selected` columns of its pair; return the number of rows.

        `verdicts` has a value for each pair in each column, `host_class` and `guest_class` among them.

        Raises:
            InputError: the disk is full, or the file cannot be written.
        """
        self._db.register("judged_arrays", verdicts)
        self._db.execute("DROP TABLE IF EXISTS judged")
        words = [name for name in selected if verdicts[name].dtype.kind == "O"]
        for name in words:  # as numbers of a list, which are written a quarter faster than texts, and read as texts
            self._db.execute(f"DROP TYPE IF EXISTS of_{name}")
            self._db.execute(f"CREATE TYPE of_{name} AS ENUM (SELECT DISTINCT {name} FROM judged_arrays)")
        listed = ", ".join(f"CAST({name} AS of_{name}) AS {name}" for name in words)
        self._db.execute(f"CREATE TABLE judged AS SELECT j.* REPLACE ({listed}), c.h FROM judged_arrays j "
                         "JOIN guest_class c USING (guest_class)")  # fmt: skip
        self._db.unregister("judged_arrays")
        chosen = ", ".join([*(f"r.{name}" for name in ids), *(f"j.{name}" for name in selected)])
        if self._by_hash:
            own = ", ".join(f"r.{name}" for name in self._columns["guest"])
            query = f"""SELECT {chosen} FROM guest_rows r JOIN host h USING (host_id)
                JOIN judged j ON j.host_class = h.host_class AND j.h = hash({own}) WHERE {self._usable}"""
        else:
            query = f"""SELECT {chosen} FROM ({self._with_class("r.guest_id, r.host_id")}) r
                JOIN host h USING (host_id) JOIN judged j USING (host_class, guest_class)"""
        with readable(str(path)), self._phase(f"writing verdicts of {self._all('guest')}"):
            done = self._db.execute(f"COPY ({query}) TO {quoted(str(path))} ({_VERDICTS})").fetchone()
        return int(done[0]) if done else 0

    def write_table(self, path: Path, columns: dict[str, Any]) -> None:
        """Write a table of arrays.

        Raises:
            InputError: the disk is full, or the file cannot be written.
        """
        self._db.register("some_table", columns)
        with readable(str(path)), self._phase("writing classes"):
            self._db.execute(f"COPY (SELECT * FROM some_table) TO {quoted(str(path))} (FORMAT parquet)")
        self._db.unregister("some_table")

    def rejected(self, path: Path) -> list[tuple[str, str, int, str]]:
        """Write every rejected row, if there are any, and return them by role and reason, with one id as an example."""
        found = self._db.execute(
            "SELECT role, reason, count(*), min(id) FROM rejected GROUP BY ALL ORDER BY 3 DESC, 1, 2"
        ).fetchall()
        if found:
            with readable(str(path)), self._phase("writing what was set aside"):
                self._db.execute(f"COPY (SELECT * FROM rejected ORDER BY ALL) TO {quoted(str(path))} (FORMAT parquet)")
        else:
            path.unlink(missing_ok=True)  # what a roll-out that was interrupted had to set aside
        return [(role, reason, count, example) for role, reason, count, example in found]

    def host_counts(self) -> npt.NDArray[np.int64]:
        """Return how many hosts each class of hosts has."""
        query = """SELECT count(h.host_id) AS n FROM host_class c LEFT JOIN host h USING (host_class)
            GROUP BY c.host_class ORDER BY c.host_class"""
        return self._db.execute(query).fetchnumpy()["n"].astype(np.int64)


def _same(names: Sequence[str]) -> str:
    return " AND ".join(f"r.{name} IS NOT DISTINCT FROM c.{name}" for name in names)
