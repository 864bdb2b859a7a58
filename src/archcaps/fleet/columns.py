"""How a column of any type that an inventory may have becomes the type that a row has, and which values can not."""

from __future__ import annotations

from typing import Final

from archcaps.errors import InputError, nearest
from archcaps.fleet.inventory import IDS, Role, Source
from archcaps.machine.row import COLUMNS, Type

__all__ = ["bad_values", "check", "normal"]

_WHOLE: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_REAL: Final = ("FLOAT", "DOUBLE")


def check(source: Source, types: dict[str, str]) -> list[str]:
    """Return the columns that are read, of the `types` that a source has; the others are no business of ours.

    Raises:
        InputError: a column that must be there is not, or one has a type that can not be read.
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


def normal(source: Source, name: str, kind: str) -> str:
    """Return the SQL expression for a column of the type `kind` as a row's column; null where it can not be read.

    A word may be unsigned, or text in decimal or 0x and hexadecimal digits.

    Raises:
        InputError: the type can not be read.
    """
    wanted = _wanted(source.role, name)
    column = f'"{name}"'
    if kind == wanted:
        return column
    if wanted == "VARCHAR" and kind in ("JSON", "UUID", *_WHOLE, "UBIGINT"):
        return f"CAST({column} AS VARCHAR)"
    if wanted == "BIGINT":
        if kind in _WHOLE:
            return f"CAST({column} AS BIGINT)"
        if kind == "UBIGINT":
            return _wrapped(column)
        if kind in _REAL or kind.startswith("DECIMAL"):
            return f"CASE WHEN {column} = floor({column}) THEN TRY_CAST({column} AS BIGINT) END"
        if kind == "VARCHAR":
            return f"coalesce({_wrapped(f'TRY_CAST({column} AS UBIGINT)')}, TRY_CAST({column} AS BIGINT))"
    if wanted == "BOOLEAN" and kind in ("VARCHAR", *_WHOLE):
        return f"TRY_CAST({column} AS BOOLEAN)"
    if kind in ('"NULL"', "NULL"):
        return f"CAST(NULL AS {wanted})"
    raise InputError(f"column {name} is {kind} (expected {wanted})", source.where)


def bad_values(source: Source, columns: list[str], types: dict[str, str]) -> str:
    """Return the SQL expression for the name of the first column of a row that has an unreadable value; else null."""
    cases = []
    for name in columns:
        expression = normal(source, name, types[name])
        if "TRY_CAST" in expression:
            empty = f" AND \"{name}\" <> ''" if types[name] == "VARCHAR" else ""
            cases.append(f"WHEN \"{name}\" IS NOT NULL{empty} AND ({expression}) IS NULL THEN '{name}'")
    return f"CASE {' '.join(cases)} END" if cases else "CAST(NULL AS VARCHAR)"


def _wanted(role: Role, name: str) -> Type:
    return COLUMNS[role].get(name, "VARCHAR")


def _wrapped(unsigned: str) -> str:
    """Return an unsigned 64-bit number in two's complement."""
    return (
        f"CASE WHEN {unsigned} <= 9223372036854775807 THEN CAST({unsigned} AS BIGINT) "
        f"ELSE CAST(CAST({unsigned} AS HUGEINT) - 18446744073709551616 AS BIGINT) END"
    )
