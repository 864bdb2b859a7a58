"""The machine type that Proxmox VE gives QEMU, and the version of Windows that a VM is said to run."""

from __future__ import annotations

import re
from typing import Final

from packaging.version import Version

from archcaps.guest_cpu.proxmox.files import PveFiles

__all__ = ["machine_type", "windows_version"]

_OLD_WINDOWS: Final = {"wxp": 5, "w2k3": 5, "w2k": 5, "w2k8": 6, "wvista": 6}
_PINNED: Final = {"pc": "pc-i440fx", "q35": "pc-q35"}


def machine_type(files: PveFiles) -> str:
    """Return the machine type as QEMU knows it, without Proxmox VE's own revision and boot ROM.

    A VM that says none gets pc. One that says no version gets QEMU's newest; a Windows VM that of the QEMU which it
    was made with, from 9.1 on, else 5.1.

    Source: proxmox/qemu-server@e6352be src/PVE/QemuServer/Machine.pm get_vm_machine
    """
    line = files.settings.get("machine")
    parts = line.value.split(",") if line is not None else []
    kinds = [part.removeprefix("type=") for part in parts if "=" not in part or part.startswith("type=")]
    kind = re.sub(r"(\+pve[0-9]+)?(\.pxe)?\Z", "", kinds[0][:80]) if kinds else "pc"
    if kind not in _PINNED or not windows_version(files):
        return kind
    meta = files.settings["meta"].value if "meta" in files.settings else ""
    made = re.search(r"(?:^|,)creation-qemu=([0-9]{1,4}\.[0-9]{1,4})", meta)
    return f"{_PINNED[kind]}-{made[1] if made and Version(made[1]) >= Version('9.1') else '5.1'}"


def windows_version(files: PveFiles) -> int:
    """Return the version of Windows that ostype names; 0: none.

    Source: proxmox/qemu-server@e6352be src/PVE/QemuServer/Helpers.pm windows_version
    """
    ostype = files.settings["ostype"].value if "ostype" in files.settings else ""
    match = re.fullmatch(r"win([0-9]{1,2})", ostype)
    return int(match[1]) if match else _OLD_WINDOWS.get(ostype, 0)
