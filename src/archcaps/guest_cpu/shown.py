"""What a guest will really be shown on a host: the answer of every VMM's expansion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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

    `features` is every feature that is asked for by name, in the VMM's spelling, with whether the guest gets it (None:
    not known). `undecided` says so of those that have a name of ours, `not_followed` what is asked for besides.
    `warnings` are the VMM's own words, a line for each feature that it starts without; on `start_hangs_on` it hangs
    whether it starts, and they are not known.
    """

    asked: Asked
    snapshot: Snapshot
    differences: tuple[Difference, ...] = ()
    refused: str | None = None
    assumptions: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    features: Mapping[str, bool | None] = field(default_factory=dict)
    undecided: str = ""
    not_followed: str = ""
    warnings: tuple[str, ...] = ()
    start_hangs_on: tuple[str, ...] = ()
