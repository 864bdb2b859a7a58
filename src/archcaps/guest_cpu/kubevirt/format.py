"""KubeVirt as a format: VirtualMachine, VirtualMachineInstance, their replica sets and pools.

PyYAML is loaded when a manifest is read or changed, not to tell that a text is none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from msgspec.structs import replace as replaced

from archcaps.guest_cpu import formats
from archcaps.guest_cpu.asked import Asked, Switch
from archcaps.guest_cpu.changes import GuestChange, Patch
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.machine.snapshot import Kernel, Snapshot

__all__ = ["expand", "looks_like", "patch", "read"]

_MARK: Final = re.compile(r"""apiVersion["']?[ \t]{0,20}:[ \t]{0,20}["']?(?:pool\.)?kubevirt\.io/""")
_OTHER: Final = re.compile(r"""apiVersion["']?[ \t]{0,20}:[ \t]{0,20}["']?[a-z]{1,20}\.kubevirt\.io/""")


def looks_like(text: str, name: str) -> bool:
    """Return whether a text is a manifest with a resource of KubeVirt's."""
    del name
    return _MARK.search(text) is not None or _OTHER.search(text) is not None


def read(text: str, where: str, name: str | None = None) -> Asked:
    """Return what a virtual machine asks for; `name` says which, where there are several.

    Raises:
        InputError: it is no YAML, holds no virtual machine or several, or a value is of another type; with the line.
    """
    from archcaps.guest_cpu.kubevirt.reading import read as read_manifest  # noqa: PLC0415  # see above

    return read_manifest(text, where, name)


def expand(asked: Asked, host: Snapshot | None, offered: Snapshot | None) -> ShownGuest:
    """Return what the guest is shown: KubeVirt makes a libvirt domain of it, with the same words.

    Raises:
        InputError: QEMU has no such model or version.
    """
    if asked.mode == "default":  # the instance type or preference is not in the text
        from archcaps.guest_cpu.words import unknown_guest  # noqa: PLC0415  # hardly ever asked for

        kernel = Kernel() if offered is None else offered.kernel
        unknown = replaced(unknown_guest(), name=asked.name, source="KubeVirt", kernel=kernel)
        return ShownGuest(asked, unknown, notices=asked.lost_in_words)
    domain = replace(asked, vmm="libvirt", text="", switches=_with_mpx(asked))
    return replace(formats.expand(domain, host, offered), asked=asked)


def _with_mpx(asked: Asked) -> tuple[Switch, ...]:
    """Return the features of the domain: where a model is named, KubeVirt switches off mpx, if nobody speaks of it.

    libvirt's own definitions of models ask for it, and no newer CPU has it.
    Source: kubevirt/kubevirt#11287, #13126 pkg/virt-launcher/virtwrap/converter/converter.go
    """
    if asked.mode != "named" or any(switch.name == "mpx" for switch in asked.switches):
        return asked.switches
    return (*asked.switches, Switch("mpx", "disable", asked.where))


def patch(asked: Asked, changes: Sequence[GuestChange]) -> Patch:
    """Return the manifest with `changes` made in place.

    Raises:
        InputError: a machine type or model is no name.
    """
    from archcaps.guest_cpu.kubevirt.patching import patch as patch_manifest  # noqa: PLC0415  # see above

    return patch_manifest(asked, changes)
