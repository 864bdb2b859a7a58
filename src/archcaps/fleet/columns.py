"""How a column of any type that an inventory may have becomes the type that a row has, and which values cannot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from archcaps.errors import InputError, nearest
from archcaps.fleet.dialects import DUCKDB, Dialect
from archcaps.fleet.inventory import IDS, Role, Source
from archcaps.fleet.results import PassedOver
from archcaps.machine.row import COLUMNS, Type

__all__ = ["bad_values", "check", "normal", "passed_over"]

_WHOLE: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_REAL: Final = ("FLOAT", "DOUBLE")


def check(source: Source, types: dict[str, str]) -> list[str]:
    """Return the columns that are read, of the `types` that a source has; the others are no business of ours.

    Raises:
        InputError: a column that must be there is not, or one has a type that cannot be read.
    """
    for name in IDS[source.role]:
        if name not in types:
            raise InputError(f"no column {name}{nearest(name, types)} (found: {', '.join(types)})", source.where)
    found = [name for name in COLUMNS[source.role] if name in types]
    if not found:
        raise InputError(f"no column that speaks of a {source.role}'s CPU or kernel", source.where)
    for name in found:
        normal(source, name, types[name])
    return found


def passed_over(source: Source, types: Iterable[str]) -> list[PassedOver]:
    """Return the columns that are not read, each with the column that it may have been meant for."""
    known = [*IDS[source.role], *COLUMNS[source.role]]
    others = sorted(name for name in types if name not in known)
    missing = [name for name in known if name not in types]
    return [PassedOver(source.role, name, next(iter(_near(name, missing)), "")) for name in others]


def _near(name: str, known: list[str]) -> list[str]:
    from difflib import get_close_matches  # noqa: PLC0415  # only where a column is not known

    return get_close_matches(name.lower(), known, n=1, cutoff=0.75)


def normal(source: Source, name: str, kind: str, sql: Dialect = DUCKDB) -> str:
    """Return the SQL expression for a column of the type `kind` as a row's column; null where it cannot be read.

    `kind` is in DuckDB's words whatever the engine. A word may be unsigned, or text in decimal or 0x and hexadecimal
    digits. A command line is without what no rule reads, so that a disk's name makes no class of its own; `source` may
    ask for the whole of it.

    Raises:
        InputError: the type cannot be read.
    """
    found = _read(source, name, kind, sql)[0]
    return sql.options_alone(found) if name == "cmdline" and not source.whole_cmdline else found


def bad_values(source: Source, columns: list[str], types: dict[str, str], sql: Dialect = DUCKDB) -> str:
    """Return the SQL expression for the name of the first column of a row that has an unreadable value; else null."""
    cases = []
    for name in columns:
        expression, may_fail = _read(source, name, types[name], sql)
        if may_fail:
            column = sql.quoted(name)
            empty = f" AND {column} <> ''" if types[name] == "VARCHAR" else ""
            cases.append(f"WHEN {column} IS NOT NULL{empty} AND ({expression}) IS NULL THEN '{name}'")
    return f"CASE {' '.join(cases)} END" if cases else sql.null("VARCHAR")


def _read(source: Source, name: str, kind: str, sql: Dialect) -> tuple[str, bool]:
    """Return the expression, and whether some values of the type cannot be read."""
    wanted = _wanted(source.role, name)
    column = sql.quoted(name)
    if kind == wanted:
        return column, False
    if wanted == "VARCHAR" and kind in ("JSON", "UUID", *_WHOLE, "UBIGINT"):
        return sql.text(column), False
    if wanted == "BIGINT":
        if kind in _WHOLE:
            return f"CAST({column} AS BIGINT)", False
        if kind == "UBIGINT":
            return sql.unsigned(column), sql.unsigned_may_fail
        if kind in _REAL or kind.startswith("DECIMAL"):
            return sql.of_real(column, decimal=kind not in _REAL), True
        if kind == "VARCHAR":
            return sql.of_text(column), True
    if wanted == "BOOLEAN" and kind in ("VARCHAR", *_WHOLE):
        return sql.truth(column, text=kind == "VARCHAR"), True
    if kind in ('"NULL"', "NULL"):
        return sql.null(wanted), False
    raise InputError(f"column {name} is {kind} (expected {wanted})", source.where)


def _wanted(role: Role, name: str) -> Type:
    return COLUMNS[role].get(name, "VARCHAR")
