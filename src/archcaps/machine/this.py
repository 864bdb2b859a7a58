"""This machine's own snapshot, read by the code that `archcaps probe --print-script` prints."""

from __future__ import annotations

import msgspec

from archcaps.machine.probe_script import probe
from archcaps.machine.read import parse_snapshot
from archcaps.machine.snapshot import Snapshot

__all__ = ["this_machine"]


def this_machine(role: str | None = None) -> Snapshot:
    """Return the snapshot of this machine; without a role, of a guest in a virtual machine and of a host elsewhere."""
    return parse_snapshot(msgspec.json.encode(probe(role)), "this machine", role)
