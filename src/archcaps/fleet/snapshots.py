"""Snapshots, one a line, as rows: an inventory of probes made into a table that an engine reads.

A line is a snapshot with two more keys: ``id`` (where it is missing, the snapshot's name) and, for a guest, ``host``,
the id of its host.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from archcaps.errors import InputError
from archcaps.fleet.inventory import Role, Source
from archcaps.machine.read import parse_snapshot
from archcaps.machine.row import row_of

__all__ = ["BadLine", "holds_snapshots", "rows_of"]

#: Longer than any snapshot: a line of this many bytes is something else.
_MAX_LINE = 4 << 20


class BadLine(msgspec.Struct, frozen=True):
    """A line that could not be read, and why."""

    where: str
    reason: str


def holds_snapshots(path: str) -> bool:
    """Return whether the first line of a file is a snapshot, and not a row of a table."""
    try:
        with Path(path).open("rb") as file:
            first = msgspec.json.decode(file.readline(_MAX_LINE))
    except (OSError, msgspec.DecodeError):
        return False
    return isinstance(first, dict) and "format_version" in first


def rows_of(source: Source) -> Iterator[dict[str, Any] | BadLine]:
    """Yield the row of each snapshot of the source's role, and each line that can not be read.

    Raises:
        InputError: a file can not be read.
    """
    for path in source.paths:
        try:
            with Path(path).open("rb") as file:
                for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE + 1), b""), start=1):
                    if line.strip():
                        found = _row(line, f"{path}:{number}", source.role)
                        if found is not None:
                            yield found
        except OSError as error:
            raise InputError(f"can not be read: {error.strerror or error}", path) from error


def _row(line: bytes, where: str, role: Role) -> dict[str, Any] | BadLine | None:
    try:
        raw = msgspec.json.decode(line)
        if not isinstance(raw, dict):
            return BadLine(where, "not a JSON object")
        own, host = raw.pop("id", None), raw.pop("host", None)
        if raw.get("role") not in ("host", "guest"):
            return BadLine(where, "role: expected host or guest")
        if raw["role"] != role:
            return None
        snapshot = parse_snapshot(msgspec.json.encode(raw), where)
    except msgspec.DecodeError as error:
        return BadLine(where, f"broken JSON: {error}")
    except InputError as error:
        return BadLine(where, str(error).removeprefix(f"{where}: "))
    ids = {"host_id": own or snapshot.name} if role == "host" else {"guest_id": own or snapshot.name, "host_id": host}
    return {**ids, **row_of(snapshot)}
