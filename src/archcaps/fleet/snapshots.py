"""Snapshots, one a line, as rows: an inventory of probes made into a table that an engine reads.

A line is a snapshot with two more keys: ``id`` (where it is missing, the snapshot's name) and, for a guest, ``host``,
the id of its host.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from archcaps.errors import InputError
from archcaps.fleet.inventory import Source
from archcaps.machine.read import parse_snapshot
from archcaps.machine.row import row_of

__all__ = ["BadLine", "row_or_bad"]


class BadLine(msgspec.Struct, frozen=True):
    """A line that could not be read, and why; `role` is ``line`` where it does not even tell that."""

    role: str
    where: str
    reason: str


def row_or_bad(raw: dict[str, Any], where: str, source: Source) -> dict[str, Any] | BadLine | None:
    """Return the row of a snapshot, why it has none, or nothing for one of the other role in a file of both."""
    role = source.role
    if raw.get("role") not in ("host", "guest"):
        return BadLine("line", where, "no snapshot: its role is neither host nor guest")
    if raw["role"] != role:
        return None if source.shared else BadLine(role, where, f"the snapshot of a {raw['role']}, among {role}s")
    given = dict(raw)
    own, host = given.pop("id", None), given.pop("host", None)
    for name, value in (("id", own), ("host", host)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
            return BadLine(role, where, f"{name}: expected a text")
    try:
        snapshot = parse_snapshot(json.dumps(given).encode(), where)
    except InputError as error:
        return BadLine(role, where, re.sub(rf"\A{re.escape(where)}(:1)?: ", "", str(error)))
    named = (snapshot.name or None) if own is None else str(own)
    ids = {"host_id": named} if role == "host" else {"guest_id": named, "host_id": None if host is None else str(host)}
    return {**ids, **row_of(snapshot)}
