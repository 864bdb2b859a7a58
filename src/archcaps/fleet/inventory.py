"""Where an inventory's hosts and guests are: files, globs, or the tables of a DuckDB database or of Spark."""

from __future__ import annotations

from dataclasses import dataclass, replace
from glob import escape, glob, has_magic
from pathlib import Path
from typing import Final, Literal

from archcaps.errors import InputError
from archcaps.machine.row import COLUMNS

__all__ = ["FORMATS", "IDS", "Inventory", "Source", "find", "find_hosts"]

Role = Literal["host", "guest"]
Format = Literal["parquet", "csv", "ndjson", "duckdb", "spark"]
#: File endings, and what they hold. NDJSON is one snapshot a line, as `archcaps probe` writes them, or one row a line.
FORMATS: Final[dict[str, Format]] = {
    ".parquet": "parquet", ".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson",
    ".duckdb": "duckdb", ".db": "duckdb",
}  # fmt: skip
#: What a name in Spark's catalog begins with.
_CATALOG: Final = "spark:"
#: The columns that say which machine a row is of; a guest's row names its host besides.
IDS: Final[dict[Role, tuple[str, ...]]] = {"host": ("host_id",), "guest": ("guest_id", "host_id")}


@dataclass(frozen=True)
class Source:
    """One role's rows: `paths` of one format, or the table `table` of a database.

    A path with ``://`` in it, and the format ``spark``, a table of Spark's catalog, are for Spark only.
    `views`: a view of a DuckDB database is read too. `shared`: its files hold both roles, and what is no snapshot of
    its own role is the other's business.
    `whole_cmdline`: command lines are read whole, not only the options that a rule reads.
    """

    role: Role
    format: Format
    paths: tuple[str, ...]
    table: str = ""
    views: bool = False
    shared: bool = False
    whole_cmdline: bool = False

    @property
    def where(self) -> str:
        """The source's name for a message."""
        name = self.paths[0] if len(self.paths) == 1 else f"{self.paths[0]} and {len(self.paths) - 1} more"
        return f"{name}:{self.table}" if self.table else name

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read, where it is there: the ids first."""
        return (*IDS[self.role], *COLUMNS[self.role])


@dataclass(frozen=True)
class Inventory:
    """The hosts and the guests of a fleet; a question about hosts alone needs no guests."""

    hosts: Source
    guests: Source | None = None


def find(
    inventory: str | None, hosts: str | None = None, guests: str | None = None, *, views: bool = False
) -> Inventory:
    """Return where hosts and guests are.

    `inventory` is a folder with files ``hosts.*`` and ``guests.*``, a DuckDB database with tables ``hosts`` and
    ``guests``, or one NDJSON file of snapshots of both roles; `hosts` and `guests` are files or globs and go before it.
    ``spark:DATABASE`` has the tables ``hosts`` and ``guests`` of Spark's catalog, ``spark:TABLE`` is one of them.
    `views`: a view of a DuckDB database is read too, which runs what its maker wrote.

    Raises:
        InputError: nothing is there, or it is of no known format.
    """
    found = {}
    for role, own in (("host", hosts), ("guest", guests)):
        if own is not None:
            found[role] = _of_pattern(role, own)  # type: ignore[arg-type]  # one of the two roles
        elif inventory is None:
            raise InputError(f"which {role}s? (expected an INVENTORY, or --hosts and --guests)", "audit")
        else:
            found[role] = _of_inventory(role, inventory)  # type: ignore[arg-type]  # one of the two roles
    hosts_, guests_ = (replace(found[role], views=views) for role in ("host", "guest"))
    if hosts_.paths == guests_.paths:
        hosts_, guests_ = replace(hosts_, shared=True), replace(guests_, shared=True)
    return Inventory(hosts_, guests_)


def find_hosts(name: str) -> Inventory:
    """Return where hosts are: `name` is a file or a glob, or an inventory as `find` takes it.

    Raises:
        InputError: nothing is there, or it is of no known format.
    """
    found = _of_inventory("host", name)
    return Inventory(replace(found, shared=found.format == "ndjson" and _of_both(found.paths[0])))


def _of_both(path: str) -> bool:
    """Whether a file of lines holds snapshots, so that guests may be among them: as its first whole line says."""
    try:
        with Path(path).open("rb") as file:
            return b'"format_version"' in file.read(1 << 16)
    except OSError:
        return False


def _of_inventory(role: Role, inventory: str) -> Source:
    path = Path(inventory)
    if inventory.startswith(_CATALOG):
        return _of_pattern(role, f"{inventory}.{role}s")
    if path.is_dir() and path.suffix.lower() not in FORMATS:
        files = [file for file in sorted(path.iterdir()) if file.stem == f"{role}s" and file.suffix in FORMATS]
        folder = path / f"{role}s"
        if folder.is_dir() and _delta(str(folder)):
            raise InputError(_delta(str(folder)), str(folder))
        if folder.is_dir():
            return _of_pattern(role, f"{escape(str(folder))}/*")
        if not files:
            raise InputError(
                _delta(inventory)
                or _delta(str(folder))
                or f"no file with the {role}s (expected {role}s.parquet, .csv or .ndjson, or a folder {role}s)",
                inventory,
            )
        if len(files) > 1:
            raise InputError(f"more than one file with the {role}s: {files[0].name} and {files[1].name}", inventory)
        return _source(role, tuple(_parts(str(files[0]))))
    if not path.exists() and not has_magic(inventory) and "://" not in inventory:
        raise InputError("no such file or folder", inventory)
    return _of_pattern(role, inventory)


def _of_pattern(role: Role, pattern: str) -> Source:
    if pattern.startswith(_CATALOG):
        return Source(role, "spark", (_CATALOG.rstrip(":"),), pattern.removeprefix(_CATALOG))
    if "://" in pattern:
        return _source(role, (pattern,))
    # What is there by this very name is meant, whatever signs are in it.
    is_pattern = has_magic(pattern) and not Path(pattern).exists()
    paths = sorted(glob(pattern, recursive=True)) if is_pattern else [pattern]  # noqa: PTH207  # absolute ones too
    if not paths:
        raise InputError("no file matches", pattern)
    paths = [part for path in paths for part in _parts(path)]
    return _source(role, tuple(paths))


def _parts(path: str) -> list[str]:
    """Return a file, or the part files of a folder that is named like one: what Spark writes as a table."""
    if Path(path).is_file():
        return [path]
    suffix = Path(path).suffix.lower()
    found = [str(part) for part in sorted(Path(path).glob(f"[!._]*{suffix}"))] if suffix in FORMATS else []
    if not found:
        raise InputError(_delta(path) or "no such file", path)
    return found


def _delta(folder: str) -> str:
    """Return what to do about a table of Delta Lake or Iceberg, or nothing: its folder has old rows too."""
    for name, kind in (("_delta_log", "Delta Lake"), ("metadata", "Iceberg")):
        if (Path(folder) / name).is_dir():
            return (
                f"a table of {kind}, whose folder holds old rows too: read it with Spark (--engine spark, and "
                "spark:DATABASE or spark:TABLE), or export it as Parquet"
            )
    return ""


def _source(role: Role, paths: tuple[str, ...]) -> Source:
    formats = {FORMATS.get(Path(path).suffix.lower()) for path in paths}
    if (None in formats or len(formats) != 1) and "://" in paths[0]:
        raise InputError(
            "a URL's end says its format (expected .parquet, .csv or .ndjson; and --engine spark, or a copy of it on "
            "this machine)",
            paths[0],
        )
    if None in formats or len(formats) != 1:
        names = ", ".join(sorted(FORMATS))
        raise InputError(f"files of one known format are wanted ({names})", paths[0])
    kind = formats.pop()
    assert kind is not None
    return Source(role, kind, paths, f"{role}s" if kind == "duckdb" else "")
