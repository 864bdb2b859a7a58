"""sample-fleet: a synthetic fleet of real parts and published cases, some of them lies that were planted by recipe.

The lies are those of the published scenarios: a host and a guest as they were reported, with the verdict that follows
from the report (``fleet/recipes.csv``). archcaps' own rules have no part in planting them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import duckdb

from archcaps.errors import InputError
from archcaps.fleet.inventory import Role
from archcaps.machine.read import parse_snapshot
from archcaps.machine.row import COLUMNS, WORDS, row_of
from archcaps.safe_files import replacing
from archcaps.tables.bits import BITS
from archcaps.tables.files import read_csv, read_lines

__all__ = ["sample_fleet"]

#: Host kernels of the fleet beside those of the recipes: what the long-term lines and distributions run.
_KERNELS: Final = (
    "5.10.255-253.1008.amzn2.x86_64", "5.15.215", "6.1.172-216.329.amzn2023.x86_64", "6.1.192", "6.6.150", "6.12.117",
    "6.18.35", "7.1.5",
)  # fmt: skip
_GUEST_KERNELS: Final = ("5.10.265", "5.15.215", "6.1.192", "6.6.150", "6.12.117", "6.18.9", "7.1.5")
#: What a collector often does not know, and how many of a hundred machines it does not know it of.
_FORGETS: Final[Mapping[str, int]] = {"cmdline": 6, "config": 6, "microcode": 4, "kernel": 2, "cpuid_7_0_edx": 1}
#: Of a hundred guests so many are planted.
_PLANTED: Final = 10


def sample_fleet(folder: Path, guests: int, *, hosts: int | None = None, seed: int = 1) -> dict[str, int]:
    """Write ``hosts.parquet``, ``guests.parquet`` and ``planted.parquet`` to `folder`; return their numbers of rows.

    The same `seed` gives the same fleet. `hosts` is a hundredth of the guests by default. ``planted.parquet`` says of
    each planted guest the recipe, and its truth and safety by vulnerability as reported.

    Raises:
        InputError: the folder cannot be written, or a number is none.
    """
    if guests < 1 or (hosts is not None and hosts < 1):
        raise InputError(f"{guests} guests on {hosts} hosts (expected at least one of each)", "sample-fleet")
    hosts = hosts if hosts is not None else max(1, guests // 100)
    kinds = _Kinds(random.Random(seed))
    database = duckdb.connect()
    try:
        database.execute("SET enable_progress_bar=false")  # DuckDB's own would come where it takes us for a prompt
        folder.mkdir(parents=True, exist_ok=True)
        for role, rows in (("host", kinds.hosts), ("guest", kinds.guests)):
            _load(database, f"{role}_kind", role, rows)  # type: ignore[arg-type]  # a role
        database.execute("CREATE TABLE recipe (recipe VARCHAR, vulnerability VARCHAR, truth VARCHAR, safety VARCHAR, "
                         "host_safety VARCHAR)")  # fmt: skip
        database.executemany("INSERT INTO recipe VALUES (?, ?, ?, ?, ?)", _recipes())
        _make(database, guests, hosts, seed)
        found = {}
        for table in ("hosts", "guests", "planted"):
            with replacing(folder / f"{table}.parquet") as new:
                copy = f"COPY (SELECT * FROM {table}) TO '{_quoted(new)}' (FORMAT parquet, USE_TMP_FILE false)"
                done = database.execute(copy).fetchone()
            found[table] = int(done[0]) if done else 0
        return found
    except (OSError, duckdb.Error) as error:
        raise InputError(f"cannot be written: {str(error).splitlines()[0]}", str(folder)) from error
    finally:
        database.close()


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


class _Kinds:
    """The kinds of hosts and of guests: a row each, with how often it occurs and, if it is planted, its recipe."""

    def __init__(self, chance: random.Random) -> None:
        machines = {line["id"]: _row(line) for line in read_lines("fleet/machines.ndjson")}
        pairs = {row["recipe"]: (row["host"], row["guest"]) for row in read_csv("fleet/recipes.csv")}
        planted_hosts = {host: number for number, host in enumerate(dict.fromkeys(host for host, _ in pairs.values()))}
        self.hosts: list[dict[str, Any]] = []
        self.guests: list[dict[str, Any]] = []
        for host in planted_hosts:
            self.hosts.append({"kind": len(self.hosts), "weight": 1.0, **machines[host]})
        for recipe, (host, guest) in pairs.items():
            self.guests.append({"host_kind": planted_hosts[host], "recipe": recipe, "weight": 1.0, **machines[guest]})
        for identity, row in machines.items():
            if "/host" in identity:
                self._ordinary(row, machines, chance)

    def _ordinary(
        self, host: Mapping[str, Any], machines: Mapping[str, Mapping[str, Any]], chance: random.Random
    ) -> None:
        """Add a host with the kernels a fleet has, guests that see its own CPU, and some that see another's."""
        others = [row for name, row in machines.items() if "/guest" in name and row.get("vendor") == host.get("vendor")]
        for kernel in chance.sample(_KERNELS, 4):
            kind = len(self.hosts)
            changed = {name: value for name, value in host.items() if not name.startswith("kvm_offered_")}
            changed |= {"kernel": kernel, "vulnerabilities": None, "behaviours": None}
            self.hosts.append({"kind": kind, "weight": chance.paretovariate(1.2), **_forgetful(changed, chance)})
            guests: list[tuple[float, Mapping[str, Any]]] = [(8.0, _like(host)) for _ in range(4)]
            guests += [(1.0, row) for row in chance.sample(others, min(3, len(others)))]
            for often, guest in guests:
                own = {**guest, "kernel": chance.choice(_GUEST_KERNELS), "vulnerabilities": None}
                weight = often * chance.paretovariate(1.2)
                self.guests.append({"host_kind": kind, "weight": weight, **_forgetful(own, chance)})


def _like(host: Mapping[str, Any]) -> dict[str, Any]:
    """Return a guest that is shown its host's CPU and words as they are, with the bit that says it is a guest."""
    words = {name: host[name] for name in host if name.removesuffix("_known") in WORDS}
    for name in ("cpuid_1_ecx", "cpuid_1_ecx_known"):
        words[name] = words.get(name, 0) | BITS["hypervisor"].mask
    identity = {name: host.get(name) for name in ("vendor", "family", "model", "stepping")}
    return {**identity, **words, "system": "linux", "cmdline": "", "config": "upstream-defaults"}


def _forgetful(row: Mapping[str, Any], chance: random.Random) -> dict[str, Any]:
    return {name: None if chance.randrange(100) < _FORGETS.get(name, 0) else value for name, value in row.items()}


def _row(line: Mapping[str, Any]) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415  # only here

    snapshot = {name: value for name, value in line.items() if name != "id"}
    return row_of(parse_snapshot(msgspec.json.encode(snapshot), line["id"]))


def _recipes() -> list[tuple[str, ...]]:
    names = ("recipe", "vulnerability", "truth", "safety", "host_safety")
    return [tuple(row[name] for name in names) for row in read_csv("fleet/recipes.csv")]


def _load(database: duckdb.DuckDBPyConnection, table: str, role: Role, rows: list[dict[str, Any]]) -> None:
    """Make a table of kinds: only the columns that some kind has."""
    own = {"host": {"kind": "INTEGER"}, "guest": {"host_kind": "INTEGER", "recipe": "VARCHAR"}}[role]
    used = {name: kind for name, kind in COLUMNS[role].items() if any(row.get(name) is not None for row in rows)}
    types = {**own, "weight": "DOUBLE", **used}
    database.execute(f"CREATE TABLE {table} ({', '.join(f'{name} {kind}' for name, kind in types.items())})")
    places = ", ".join("?" * len(types))
    database.executemany(f"INSERT INTO {table} VALUES ({places})", [[row.get(name) for name in types] for row in rows])


def _make(database: duckdb.DuckDBPyConnection, guests: int, hosts: int, seed: int) -> None:
    """Draw a kind for every host by weight, and for every guest one of the kinds that its host's kind has.

    A host of a planted kind carries only planted guests. Hashes of numbers stand in for chance, so that the order in
    which threads work changes nothing.
    """
    planted = "kind IN (SELECT host_kind FROM guest_kind WHERE recipe IS NOT NULL)"
    database.execute(f"""
        CREATE TABLE host_share AS SELECT *, sum(share) OVER (ORDER BY kind) AS upto FROM (
            SELECT *, CASE WHEN {planted} THEN {_PLANTED / 100} ELSE {1 - _PLANTED / 100} END
                * weight / sum(weight) OVER (PARTITION BY {planted}) AS share FROM host_kind)""")
    database.execute("""
        CREATE TABLE guest_share AS SELECT *, sum(weight) OVER (PARTITION BY host_kind ORDER BY n)
            / sum(weight) OVER (PARTITION BY host_kind) AS upto
        FROM (SELECT row_number() OVER () AS n, * FROM guest_kind)""")
    database.execute("CREATE TABLE last_host AS SELECT max(upto) AS top FROM host_share")
    database.execute(f"""
        CREATE VIEW drawn_hosts AS SELECT i, (hash(i * 2 + 1, {seed}) % 1000003) / 1000003.0 * top AS draw
        FROM range({hosts}) t(i), last_host""")
    database.execute("""
        CREATE TABLE hosts AS SELECT 'host-' || i AS host_id, k.* EXCLUDE (weight, share, upto)
        FROM drawn_hosts d ASOF JOIN host_share k ON d.draw < k.upto""")
    database.execute(f"""
        CREATE VIEW drawn_guests AS SELECT i, 'host-' || (hash(i * 2, {seed}) % {hosts}) AS host_id,
            (hash(i * 2, {seed + 1}) % 1000003) / 1000003.0 AS draw FROM range({guests}) t(i)""")
    database.execute("""
        CREATE VIEW with_kinds AS
        SELECT 'guest-' || d.i AS guest_id, d.host_id, k.* EXCLUDE (weight, upto, n, host_kind)
        FROM (SELECT d.*, h.kind FROM drawn_guests d JOIN hosts h USING (host_id)) d
        ASOF JOIN guest_share k ON d.kind = k.host_kind AND d.draw < k.upto""")
    database.execute("CREATE TABLE all_guests AS SELECT * FROM with_kinds")
    database.execute("CREATE VIEW guests AS SELECT * EXCLUDE (recipe) FROM all_guests")
    database.execute("CREATE VIEW planted AS SELECT guest_id, r.* FROM all_guests JOIN recipe r USING (recipe)")
    database.execute("ALTER TABLE hosts DROP COLUMN kind")
