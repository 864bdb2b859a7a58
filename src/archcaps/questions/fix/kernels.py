"""Kernel releases that can be changed to: those that were read, newer than the present one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from msgspec.structs import replace

from archcaps.machine.snapshot import Kvm, Snapshot
from archcaps.tables.files import read_csv
from archcaps.tables.kernels import LONG_TERM, READINGS, Release

__all__ = ["earliest", "newer", "present", "with_release"]

_WHY: Final = "the release that archcaps looked for a cure under"


def present(snapshot: Snapshot) -> Release | None:
    """Return the release of a machine's Linux; None where it is not known."""
    kernel = snapshot.kernel
    return Release.parse(kernel.release) if kernel.system == "linux" and kernel.release is not None else None


def newer(release: Release) -> list[Release]:
    """Return the newest release that was read of this line and of each long-term line after it, and the newest of all.

    Only those that are newer than `release`, the nearest first.
    """
    newest: dict[str, Release] = {}
    for each in _read():
        newest[each.line] = each
    last = _read()[-1].line
    lines = [line for line in newest if line in LONG_TERM or line in (release.line, last)]
    return [newest[line] for line in lines if newest[line].version > release.version]


@cache
def _read() -> tuple[Release, ...]:
    """Return every release whose source was read, oldest first, without release candidates."""
    found = {row["release"] for table in READINGS for row in read_csv(table)}
    releases = (Release.parse(text) for text in found)
    return tuple(sorted((each for each in releases if not each.version.is_prerelease), key=lambda each: each.version))


def earliest(release: Release, after: Release, enough: Callable[[Release], bool]) -> Release:
    """Return the oldest release on the way from `after` to `release` that is found to be enough.

    On the way are those that were read of its line; for the newest of all, of every line that is no long-term one. It
    is looked for by halves: the one read before it is not enough.
    """
    short = release.line not in LONG_TERM
    between = [each for each in _read() if after.version < each.version <= release.version]
    line = [each for each in between if (each.line not in LONG_TERM if short else each.line == release.line)]
    low, high = 0, len(line) - 1
    while low < high:
        middle = (low + high) // 2
        if enough(line[middle]):
            high = middle
        else:
            low = middle + 1
    return line[high]


def with_release(machine: Snapshot, release: Release) -> Snapshot:
    """Return the machine under another kernel, with the same options and without what was observed so far."""
    kernel, cpu = machine.kernel, machine.cpu
    new = replace(
        kernel, release=release.text, behaviours={}, provenance="assumed", source=_WHY,
        options_provenance=kernel.options_provenance or kernel.provenance,
        options_source=kernel.options_source or kernel.source,
    )  # fmt: skip
    # Threads that are there and off may be off by the kernel's doing: another one may leave them on.
    idle = cpu.smt_supported and cpu.smt_active is False
    return without_observations(replace(machine, kernel=new, cpu=replace(cpu, smt_active=None) if idle else cpu))


def without_observations(machine: Snapshot) -> Snapshot:
    """Return the machine without what was observed of the kernel that ran: its files' texts, and what KVM offered."""
    return replace(machine, vulnerabilities={}, kvm=Kvm(parameters=machine.kvm.parameters))
