"""A guest as its VMM's configuration gives it: from a file, from the words of an option, or from a running VMM."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.formats import MAX_BYTES, expand, read_configuration
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.machine.other_outputs import known_output
from archcaps.machine.processes import command_line
from archcaps.machine.snapshot import Kernel, Snapshot
from archcaps.machine.strict_text import text_of
from archcaps.questions.default_guest import default_guest
from archcaps.tables.releases import Release
from archcaps.tables.suppositions import suppositions_of

__all__ = [
    "Vmm", "configuration", "data_of", "is_inline", "is_snapshot", "of_process", "refuse_other_than_kvm", "shown_on",
    "where_of",
]  # fmt: skip

#: How words begin that are a configuration themselves, not a file's name.
_INLINE: Final = re.compile(r"qemu:|--?[A-Za-z][\w-]*[ =]")
#: A program within words, which then are a command line and no file's name.
_PROGRAM: Final = re.compile(r"(?:\A|[\s/=])(?:qemu-system-\w+|qemu-kvm|kvm|cloud-hypervisor)(?:\s+-)")
#: How each VMM says that a guest is to have KVM.
_KVM_WORDS: Final = {
    "qemu": "; if it has it, write -accel kvm", "libvirt": " (<domain type='kvm'>)", "nova": " (virt_type = kvm)",
    "proxmox": " (kvm: 1)",
}  # fmt: skip
_SNAPSHOT: Final = re.compile(r'(?:^|[{,\s])"?format_version"?\s*[=:]')


@dataclass(frozen=True, slots=True)
class Vmm:
    """What options say of the VMM, in place of what a configuration says: its release, the machine type."""

    release: str | None = None
    machine: str | None = None


def data_of(name: str) -> bytes:
    """Return what a file holds, or standard input for -.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    try:
        if name == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where_of(name)) from error
    if len(data) > MAX_BYTES:
        what = f"larger than {MAX_BYTES >> 20} MiB: not a snapshot, nor a guest's configuration"
        raise InputError(what, where_of(name))
    return data


def where_of(name: str) -> str:
    """Return how a file is called in an error."""
    return "standard input" if name == "-" else name


def is_inline(name: str) -> bool:
    """Return whether what an option names is a configuration's own words."""
    if _INLINE.match(name) is not None:
        return True
    words = name[:65536]
    return (_PROGRAM.search(words) is not None or _PROGRAM.match(f"{words} -") is not None) and not _is_file(name)


def _is_file(name: str) -> bool:
    """Return whether there is a file of this name."""
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # too long for a name, or a NUL in it
        return False


def is_snapshot(data: bytes) -> bool:
    """Return whether a file's bytes are meant as a snapshot; what is empty is left to the reader of snapshots."""
    return not data.strip() or _SNAPSHOT.search(data.decode("utf-8", "replace")) is not None


def configuration(name: str, data: bytes, member: str | None = None) -> Asked:
    """Return what a configuration asks for: the words themselves, or a file's bytes.

    `member` names one guest of a file that holds several.

    Raises:
        InputError: it is no configuration that archcaps knows.
    """
    if is_inline(name):
        cloud_hypervisor = re.search(r"(?:\A|[\s/])cloud-hypervisor\s|\A--cpus[ =]", name[:65536]) is not None
        return read_configuration(name, "--guest", "cloud-hypervisor" if cloud_hypervisor else "qemu")
    where = where_of(name)
    text = text_of(data, where)
    if known := known_output(text):
        raise InputError(known, where)
    return read_configuration(text, where, member=member)


def of_process(pid: int, argv: list[str] | None = None) -> Asked:
    """Return what a running QEMU process was asked for.

    Raises:
        InputError: there is no such process, it cannot be read, or it is no QEMU.
    """
    from archcaps.guest_cpu.qemu.words import is_qemu  # noqa: PLC0415  # only where a process is named

    argv = command_line(pid) if argv is None else argv
    where = f"process {pid}"
    if not is_qemu(argv):
        raise InputError(f"not a QEMU process ({argv[0] if argv else 'no command line'})", where)
    asked = read_configuration("".join(word + "\0" for word in argv), where, "qemu")
    return with_fields(asked, name=f"QEMU process {pid} (-cpu {asked.model})")


def refuse_other_than_kvm(asked: Asked) -> None:
    """Refuse a guest that runs without KVM: what its code gets of the silicon is not what KVM's guests get.

    Raises:
        InputError: it is one of QEMU's TCG or of Xen.
    """
    if asked.accelerator == "xen":
        what = "a guest of Xen: archcaps judges guests of KVM (archcaps shown says what of its CPU is known)"
        raise InputError(what, asked.where)
    if asked.accelerator == "tcg":
        cure = _KVM_WORDS.get(asked.vmm, "")
        what = f"a guest without KVM, whose code QEMU translates (TCG): archcaps judges guests of KVM{cure}"
        raise InputError(what, asked.where)


def shown_on(asked: Asked, host: Snapshot | None, kernel: str | None, vmm: Vmm, *, strict: bool = False) -> ShownGuest:
    """Return what the guest is shown on a host; it runs `kernel`, without mitigation options.

    `strict`: nothing is supposed of what KVM offers there.

    Raises:
        InputError: the VMM has no such model.
    """
    asked = with_fields(asked, release=vmm.release or asked.release, machine=vmm.machine or asked.machine)
    offered = None if host is None else default_guest(host, kernel, strict=strict)
    if strict and host is not None and host.kernel.release and suppositions_of(Release.parse(host.kernel.release)):
        host = replace(host, kernel=replace(host.kernel, release=None))  # what it does could only be supposed
    shown = expand(asked, host, offered)
    if offered is None and kernel is not None:
        options = "the guest's kernel has no mitigation options and upstream's configuration"
        runs = Kernel(
            release=kernel, cmdline="", config="upstream-defaults", options_provenance="assumed", options_source=options
        )
        shown = with_fields(shown, snapshot=replace(shown.snapshot, kernel=runs))
    return shown
