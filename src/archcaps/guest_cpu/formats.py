"""Which VMM's configuration a text is, and the reader, the expansion and the writer of each.

A format is a module with `looks_like(text, name) -> bool` and `read(text, where) -> Asked`; one that can be expanded
has `expand(asked, host, offered) -> ShownGuest`, one that can be written `patch(asked, changes) -> Patch`. Modules are
loaded when they are needed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final, cast

from msgspec.structs import replace

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import VMMS, Asked, Vmm
from archcaps.guest_cpu.changes import GuestChange, Patch
from archcaps.guest_cpu.devices import with_devices
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.machine.snapshot import Snapshot

__all__ = ["MAX_BYTES", "expand", "patch", "read_configuration", "read_file"]

#: A guest's configuration is a few kilobytes; what is larger is not one.
MAX_BYTES: Final = 4 << 20

#: Asked in this order: the formats with the plainest marks first.
_HOMES: Final[dict[Vmm, str]] = {
    "libvirt": "archcaps.guest_cpu.libvirt.format",
    "firecracker": "archcaps.guest_cpu.firecracker.format",
    "cloud-hypervisor": "archcaps.guest_cpu.cloud_hypervisor",
    "kubevirt": "archcaps.guest_cpu.kubevirt.format",
    "nova": "archcaps.guest_cpu.nova",
    "ovirt": "archcaps.guest_cpu.ovirt",
    "xen": "archcaps.guest_cpu.xen",
    "proxmox": "archcaps.guest_cpu.proxmox.format",
    "qemu": "archcaps.guest_cpu.qemu.format",
}

#: What people have beside the configurations that are read, and what they could give in its place.
_NOT_READ: Final = (
    (re.compile(r"^(?:[\w=./-]{1,40} )?virt-install ", re.M),
     "virt-install's command line: give what it prints with --print-xml"),
    (re.compile(r"^\[hypervisor\.", re.M), "Kata Containers' configuration, which is not read: give the QEMU that it "
     "has started by --pid"),
    (re.compile(r"^type: container", re.M), "a container, which has no CPU of its own: it sees the host's, and no KVM"),
    (re.compile(r"^type: virtual-machine", re.M), "an instance of Incus or LXD, which is not read: give the QEMU "
     "that it has started by --pid"),
    (re.compile(r"^guestOS = ", re.M), "a VM of VMware: archcaps knows guests of Linux's KVM"),
    (re.compile(r"\{\{"), "a template ({{ ... }}): give what it renders"),
)  # fmt: skip
#: Formats of which a text may hold several guests; their readers take a name.
_SEVERAL: Final[tuple[Vmm, ...]] = ("kubevirt", "libvirt", "ovirt")


def read_file(path: str | Path, vmm: Vmm | None = None) -> Asked:
    """Return what the configuration in a file asks for; its format is `vmm`'s, or what the text looks like.

    Raises:
        InputError: it cannot be read, is larger than `MAX_BYTES`, is no text, or is no format that is known.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", str(path)) from error
    if len(data) > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES >> 20} MiB: not a guest's configuration", str(path))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text (byte {error.start})", str(path)) from error
    return read_configuration(text, str(path), vmm)


def read_configuration(text: str, where: str, vmm: Vmm | None = None, member: str | None = None) -> Asked:
    """Return what a configuration's text asks for; `member` names one guest of a text that holds several.

    Raises:
        InputError: it is no format that is known, broken, or holds several guests; with file and line.
    """
    for name in (vmm,) if vmm else _HOMES:
        module = _module(name)
        if vmm or module.looks_like(text, Path(where).name):
            if member is None:
                return cast(Asked, module.read(text, where))
            if name not in _SEVERAL:
                raise InputError(f"holds one guest, so there is none to choose by name ({member!r})", where)
            return cast(Asked, module.read(text, where, member))
    for pattern, what in _NOT_READ:
        if pattern.search(text[:65536]):
            raise InputError(what, where)
    raise InputError(f"no guest configuration that archcaps knows (it reads those of {', '.join(VMMS)})", where)


def expand(asked: Asked, host: Snapshot | None, offered: Snapshot | None) -> ShownGuest:
    """Return what the guest will be shown on `host`, whose KVM offers a guest `offered` by default.

    Without a host, all that is asked for is taken as offered; the answer says so.

    Raises:
        InputError: the VMM has no such model, machine type or version.
    """
    if asked.accelerator == "xen" and asked.vmm != "xen":
        return with_devices(_of_xen(asked))
    return with_devices(cast(ShownGuest, _module(asked.vmm).expand(asked, host, offered)))


def _of_xen(asked: Asked) -> ShownGuest:
    """Return the guest of a Xen that libvirt or QEMU serves: its CPU is Xen's to make, whatever they are told."""
    from archcaps.guest_cpu.words import unknown_guest  # noqa: PLC0415  # hardly ever asked for

    guest = replace(unknown_guest(), name=asked.name, source="Xen's default policy")
    notice = "a guest of Xen: archcaps has no model of Xen's default policy, so nothing is known of what it is shown"
    return ShownGuest(asked, guest, notices=(notice,))


def patch(asked: Asked, changes: Sequence[GuestChange]) -> Patch:
    """Return the configuration with `changes` made, in its own language."""
    return cast(Patch, _module(asked.vmm).patch(asked, changes))


def _module(vmm: Vmm) -> ModuleType:
    return import_module(_HOMES[vmm])
