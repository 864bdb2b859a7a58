"""Machines from lines of JSON: rows of `archcaps.machine.row` as a warehouse writes them, or snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from archcaps.errors import InputError, nearest
from archcaps.machine.given_options import config_items
from archcaps.machine.read import parse_snapshot
from archcaps.machine.row import COLUMNS, CPU_COLUMNS, row_of, snapshot_of
from archcaps.questions.many.columns import Machines
from archcaps.questions.sql.lookups import Role
from archcaps.tables.kernels import Release

__all__ = ["machines_of"]

_EXPECTED: Final = {"VARCHAR": "a text", "BIGINT": "a number of 64 bits with a sign", "BOOLEAN": "true or false"}
_INT64: Final = range(-(1 << 63), 1 << 63)
#: Columns whose texts have a form of their own.
_FORMED: Final = ("system", "kernel", "config", "behaviours", "vulnerabilities", "kvm_parameters")


def machines_of(lines: Iterable[tuple[str, bytes]], role: Role, assumptions: frozenset[str]) -> Machines:
    """Return the machines of `lines`, each given with where it stands.

    A line is an object of columns (see `COLUMNS`; others are left alone, null is unknown), or a snapshot.

    Raises:
        InputError: a line is neither, or a column holds what it should not.
    """
    rows = []
    checked: set[tuple[object, ...]] = set()
    for where, line in lines:
        row = _row(line, where, role)
        texts = tuple(row.get(name) for name in _FORMED)
        if texts not in checked:
            _check_texts(row, where, role)
            checked.add(texts)
        rows.append(row)
    names = [name for name in COLUMNS[role] if any(name in row for row in rows)]
    columns = {name: [row.get(name) for row in rows] for name in names}
    return Machines(role, len(rows), columns, assumptions)


def _row(line: bytes, where: str, role: Role) -> Mapping[str, Any]:
    try:
        given = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"not a JSON object: {error}", where) from error
    if "format_version" in given:
        return row_of(parse_snapshot(line, where, role))
    types = COLUMNS[role]
    if not given.keys() & types.keys():
        near = "".join(nearest(name, types) for name in given)
        raise InputError(f"none of its names is a column of a {role}{near}", where)
    return {name: _value(given[name], name, kind, where) for name, kind in types.items() if name in given}


def _value(value: object, name: str, kind: str, where: str) -> str | int | bool | None:
    if kind == "BIGINT" and isinstance(value, str) and value.removeprefix("-").isdecimal():
        value = int(value[:40])  # some engines write numbers of 64 bits as texts
    fits = {
        "VARCHAR": isinstance(value, str),
        "BIGINT": isinstance(value, int) and not isinstance(value, bool) and value in _INT64,
        "BOOLEAN": isinstance(value, bool),
    }
    if value is not None and not fits[kind]:
        raise InputError(f"{str(value)[:60]!r}, expected {_EXPECTED[kind]} or null", f"{where}: {name}")
    assert isinstance(value, str | int | bool | None), "checked above"
    if name in CPU_COLUMNS and isinstance(value, int) and value < 0:
        raise InputError(f"{value} is negative: only words have a sign", f"{where}: {name}")
    return value


def _check_texts(row: Mapping[str, Any], where: str, role: Role) -> None:
    """Refuse texts that a look-up would stumble over, while it is known where they stand."""
    given = {name: row[name] for name in _FORMED if row.get(name) is not None}
    try:
        snapshot = snapshot_of(given, role)
    except InputError as error:
        raise InputError(str(error), where) from error
    if snapshot.kernel.system != "linux":
        return
    config_items(snapshot.kernel, f"{where}: config")
    if snapshot.kernel.release is not None:
        try:
            Release.parse(snapshot.kernel.release)
        except ValueError as error:
            raise InputError(str(error), f"{where}: kernel") from error
