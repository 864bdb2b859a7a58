"""archcaps check without arguments: this machine, as a host or as a guest, whichever it is."""

from __future__ import annotations

from collections.abc import Iterator

import click

from archcaps.errors import InputError
from archcaps.guest_cpu.qemu_argv import guest_of, is_qemu, parse_argv
from archcaps.machine.processes import command_line, process_exists, process_ids
from archcaps.machine.snapshot import FORMAT_VERSION, Snapshot
from archcaps.questions.default_guest import default_guest

__all__ = ["guest_of_argv", "guest_of_process", "guests_to_check", "unknown_host"]


def unknown_host() -> Snapshot:
    """Return a host of which nothing is known: what a guest knows of its own."""
    return Snapshot(format_version=FORMAT_VERSION, role="host", name="the host of this virtual machine")


def guest_of_process(pid: int, host: Snapshot, kernel: str | None) -> Snapshot:
    """Return the guest of a running QEMU process, as far as its command line tells.

    Raises:
        InputError: there is no such process, it can not be read, or it is no QEMU.
    """
    return guest_of_argv(command_line(pid), pid, host, kernel)


def guest_of_argv(argv: list[str], pid: int, host: Snapshot, kernel: str | None) -> Snapshot:
    """Return the guest of a QEMU process with this command line.

    Raises:
        InputError: it is no QEMU.
    """
    asked = parse_argv(argv, f"process {pid}")
    return guest_of(asked, default_guest(host, kernel), f"QEMU process {pid} (-cpu {asked.model})")


def guests_to_check(host: Snapshot, kernel: str | None) -> Iterator[Snapshot]:
    """Yield the guest that gets KVM's default on this host, then each running QEMU guest that this user can read.

    Processes that may not be read are counted, on standard error: any of them could be a guest.
    """
    yield default_guest(host, kernel)
    unreadable = 0
    for pid in process_ids():
        try:
            argv = command_line(pid)
        except InputError:
            unreadable += process_exists(pid)  # else it has ended since it was listed
            continue
        if is_qemu(argv):
            yield guest_of_argv(argv, pid, host, kernel)
    if unreadable:
        click.echo(f"archcaps: {unreadable} processes could not be read, which may be guests (root could)", err=True)
