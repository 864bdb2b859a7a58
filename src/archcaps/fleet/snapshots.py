"""Snapshots, one a line, as rows: an inventory of probes made into a table that an engine reads.

A line is a snapshot with two more keys: ``id`` (where it is missing, the snapshot's name) and, for a guest, ``host``,
the id of its host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
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
#: After so many lines progress is told.
_TOLD = 500


class BadLine(msgspec.Struct, frozen=True):
    """A line that could not be read, and why; `role` is ``line`` where it does not even tell that."""

    role: str
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


def rows_of(source: Source, progress: Callable[[float], None] = lambda _: None) -> Iterator[dict[str, Any] | BadLine]:
    """Yield the row of each snapshot of the source's role, and each line that can not be read.

    `progress` is told, every now and then, how much of the files has been read (0 to 1).

    Raises:
        InputError: a file can not be read.
    """
    before, total = 0, max(1, sum(Path(path).stat().st_size for path in source.paths if Path(path).is_file()))
    for path in source.paths:
        try:
            with Path(path).open("rb") as file:
                for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE + 1), b""), start=1):
                    if number % _TOLD == 0:
                        progress(min(1.0, (before + file.tell()) / total))
                    if line.strip():
                        found = _row(line, f"{path}:{number}", source.role)
                        if found is not None:
                            yield found
                before += file.tell()
        except OSError as error:
            raise InputError(f"can not be read: {error.strerror or error}", path) from error


def _row(line: bytes, where: str, role: Role) -> dict[str, Any] | BadLine | None:
    """Return a snapshot's row, or nothing for one of the other role; lines of no role are told with the hosts."""
    try:
        raw = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        return BadLine("line", where, f"broken JSON: {error}") if role == "host" else None
    if not isinstance(raw, dict) or raw.get("role") not in ("host", "guest"):
        return BadLine("line", where, "no snapshot: its role is neither host nor guest") if role == "host" else None
    if raw["role"] != role:
        return None
    own, host = raw.pop("id", None), raw.pop("host", None)
    try:
        snapshot = parse_snapshot(msgspec.json.encode(raw), where)
    except InputError as error:
        return BadLine(role, where, re.sub(rf"\A{re.escape(where)}(:1)?: ", "", str(error)))
    ids = {"host_id": own or snapshot.name} if role == "host" else {"guest_id": own or snapshot.name, "host_id": host}
    return {**ids, **row_of(snapshot)}
