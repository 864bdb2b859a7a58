"""archcaps check without arguments: this machine, as a host or as a guest, whichever it is."""

from __future__ import annotations

from collections.abc import Iterator

from archcaps.cli.guests import Vmm, of_process, refuse_other_than_kvm, shown_on
from archcaps.cli.output import tell
from archcaps.errors import InputError
from archcaps.guest_cpu.qemu.words import is_qemu
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.machine.processes import command_line, process_exists, process_ids
from archcaps.machine.snapshot import FORMAT_VERSION, Snapshot
from archcaps.questions.default_guest import default_guest

__all__ = ["guests_to_check", "unknown_host"]


def unknown_host() -> Snapshot:
    """Return a host of which nothing is known: what a guest knows of its own."""
    return Snapshot(format_version=FORMAT_VERSION, role="host", name="the host of this virtual machine")


def guests_to_check(host: Snapshot, kernel: str | None, *, strict: bool = False) -> Iterator[Snapshot | ShownGuest]:
    """Yield the guest that gets KVM's default on this host, then each running QEMU guest that this user can read.

    `strict`: nothing is supposed of what KVM offers.

    Processes that may not be read are counted, on standard error: any of them could be a guest; a QEMU whose CPU
    archcaps cannot tell is named there.
    """
    yield default_guest(host, kernel, strict=strict)
    unreadable = 0
    for pid in process_ids():
        try:
            argv = command_line(pid)
        except InputError:
            unreadable += process_exists(pid)  # else it has ended since it was listed
            continue
        if is_qemu(argv):
            try:
                asked = of_process(pid, argv)
                refuse_other_than_kvm(asked)
                yield shown_on(asked, host, kernel, Vmm(), strict=strict)
            except InputError as error:
                tell(f"archcaps: {error}")
    if unreadable:
        tell(f"archcaps: {unreadable} processes could not be read, which may be guests (root could)")
