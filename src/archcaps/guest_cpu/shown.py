"""What a guest will really be shown on a host: the answer of every VMM's expansion."""

from __future__ import annotations

from dataclasses import dataclass

from archcaps.guest_cpu.asked import Asked
from archcaps.machine.snapshot import Snapshot

__all__ = ["Difference", "ShownGuest"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A feature that is shown otherwise than asked: `bit` is our name for it, if archcaps has it.

    `by` is who drops or adds it (qemu, kvm, libvirt, firecracker ...); `shown` is what the guest gets, None where that
    is not known.
    """

    name: str
    bit: str | None
    by: str
    shown: bool | None
    reason: str
    source: str


@dataclass(frozen=True, slots=True)
class ShownGuest:
    """A guest's CPU as it is shown, as a snapshot that `check` takes, with how it came from what was asked.

    `differences` are features dropped or added on the way; `refused` says why the guest does not start on this host
    (None: it starts, or that is not known); `assumptions` and `notices` are whole sentences for the user.
    """

    asked: Asked
    snapshot: Snapshot
    differences: tuple[Difference, ...] = ()
    refused: str | None = None
    assumptions: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
