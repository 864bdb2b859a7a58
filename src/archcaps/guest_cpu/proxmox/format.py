"""Proxmox VE: a VM's file becomes QEMU's -cpu option, which is expanded as QEMU's.

cpu-models.conf may follow the VM's file in the same text (``cat 100.conf cpu-models.conf``); alone, with one custom
model, it stands for a VM that has this model.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Final

from msgspec.structs import replace as replaced

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked, HostDevice, Identity, Mode, Switch
from archcaps.guest_cpu.devices import mediated_device, pci_device
from archcaps.guest_cpu.proxmox.cpu_line import VENDORS, CpuLine, cpu_line, release_of
from archcaps.guest_cpu.proxmox.files import CONTAINER, CONTAINER_KEYS, Line, PveFiles, read_files
from archcaps.guest_cpu.proxmox.machine import machine_type
from archcaps.guest_cpu.proxmox.patching import patch
from archcaps.guest_cpu.qemu.devices import host_devices
from archcaps.guest_cpu.qemu.format import expand as expand_qemu
from archcaps.guest_cpu.qemu.format import machine_of
from archcaps.guest_cpu.qemu.format import read as read_qemu
from archcaps.guest_cpu.qemu.words import CommandLine, command_line
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.guest_cpu.words import unknown_guest
from archcaps.machine.snapshot import Snapshot

__all__ = ["expand", "looks_like", "patch", "read"]

_KEYS: Final = "cpu|machine|ostype|scsihw|vmgenid|smbios1|cores|sockets|memory|bootdisk|boot|agent|numa|args"
_MARKS: Final = re.compile(rf"^(?:{_KEYS}): \S", re.MULTILINE)
_VMX_OR_SVM: Final = {"GenuineIntel": "vmx", "AuthenticAMD": "svm"}
#: What the shell's splitting, whose work grows with the square of a word's length, is asked for at most.
MAX_ARGS: Final = 32_768
_MODES: Final[dict[str, Mode]] = {"host": "host", "max": "maximum"}
#: Source: proxmox/pve-container src/PVE/LXC/Config.pm, ostype
_OS_OF_CONTAINERS: Final = (
    "debian", "devuan", "ubuntu", "centos", "fedora", "opensuse", "archlinux", "alpine", "gentoo", "nixos", "unmanaged",
)  # fmt: skip


def looks_like(text: str, name: str) -> bool:
    """Return whether a text has a VM's settings, or custom models."""
    if re.search(r"^cpu-model: \S", text, re.MULTILINE):
        return True
    enough = 1 if re.fullmatch(r"[0-9]+\.conf", name) else 2
    found = {match[0] for match in _MARKS.finditer(text[:65536])}
    return text.lstrip()[:1] not in ("{", "<", "-") and len(found) >= enough


def read(text: str, where: str) -> Asked:
    """Return what a VM's file asks for.

    Raises:
        InputError: Proxmox VE would refuse it.
    """
    return _read(text, where, None)


def _read(text: str, where: str, release: str | None) -> Asked:
    files = read_files(text, where)
    if not files.settings:
        _stand_for_a_vm(files, where)
    _refuse_foreign(files)
    words = _args(files)
    asked = Asked(
        vmm="proxmox", mode="named", release=release, machine=machine_type(files), name=_name(files, where),
        devices=_devices(files, words), where=where, text=text,
    )  # fmt: skip
    pending = [
        key for key in dict.fromkeys(files.pending)
        if key in ("cpu", "machine", "args", "kvm", "arch") or key.startswith("hostpci")
    ]  # fmt: skip
    lost = [f"{key} changes at the VM's next start ([PENDING]), which is not read" for key in pending]
    if words is not None:
        asked = _with_args_machine(asked, files, words, lost)
        overridden = _args_cpu(words, files)
        if overridden is not None:
            return _with_args(asked, files, overridden, lost)
    cpu, _ = files.cpu()
    custom = cpu.get("cputype", "").removeprefix("custom-")
    if cpu.get("cputype", "").startswith("custom-") and custom not in files.models:
        lost.insert(0, f"the custom model {custom[:60]!r} stands in cpu-models.conf: give that file after the VM's")
        return replace(asked, model=cpu["cputype"][:80], accelerator="kvm", lost_in_words=tuple(lost))
    return _with_line(asked, cpu_line(files, release_of(release)), lost)


def _stand_for_a_vm(files: PveFiles, where: str) -> None:
    if len(files.models) != 1:
        models = f"{len(files.models)} custom models"
        raise InputError(f"no VM's settings, and {models} (expected a VM's file, with custom models after it)", where)
    (model,) = files.models.values()
    files.settings["cpu"] = Line(f"custom-{model.name}", model.where, 0, 0)


def _name(files: PveFiles, where: str) -> str:
    return files.settings["name"].value[:200] if "name" in files.settings else Path(where).stem


def _refuse_foreign(files: PveFiles) -> None:
    """Refuse what is no VM of x86.

    Raises:
        InputError: it is a container, or a VM of another CPU.
    """
    ostype = files.settings.get("ostype")
    container = next((files.settings[key] for key in CONTAINER_KEYS if key in files.settings), None)
    if container is None and ostype is not None and ostype.value in _OS_OF_CONTAINERS:
        container = ostype
    if container is not None:
        raise InputError(CONTAINER, container.where)
    arch = files.settings.get("arch")
    if arch is not None and arch.value not in ("x86_64", "amd64", "i386", ""):
        raise InputError(f"a guest of {arch.value[:40]}: archcaps knows x86 alone", arch.where)


def _devices(files: PveFiles, words: CommandLine | None) -> tuple[HostDevice, ...]:
    """Return the host's devices of hostpciN and of args; a mapping of the cluster's stands for PCI devices too."""
    found: list[HostDevice] = []
    for key, line in files.settings.items():
        if re.fullmatch(r"hostpci[0-9]+", key) and line.value:
            made = mediated_device if re.search(r"(?:\A|,)mdev=", line.value) else pci_device
            found.append(made(f"{key}: {line.value}", line.where))
    if words is not None:
        options = [(name, "" if word is None else word.value) for name, word in words.options]
        found += host_devices(options, files.settings["args"].where)
    return tuple(found)


def _args(files: PveFiles) -> CommandLine | None:
    """Return the options of `args`, which Proxmox VE puts after its own.

    Raises:
        InputError: they are no command line.
    """
    line = files.settings.get("args")
    if line is None:
        return None
    if len(line.value) > MAX_ARGS:
        raise InputError(f"args of more than {MAX_ARGS} characters", line.where)
    try:
        words = shlex.split(line.value)
    except ValueError as error:
        raise InputError(f"args is no command line: {error}", line.where) from error
    return command_line("".join(f"{word}\0" for word in ("qemu-system-x86_64", *words)), line.where)


def _with_args_machine(asked: Asked, files: PveFiles, words: CommandLine, lost: list[str]) -> Asked:
    """Return what is asked for with the machine type of `args`, which QEMU takes in place of Proxmox VE's.

    Raises:
        InputError: it is of another CPU, or a CPU stands there without -cpu before it.
    """
    here = files.settings["args"].where
    for word in words.alone:
        model, comma, _ = word.value.partition(",")
        if comma and model in VENDORS:
            what = f"args: {word.value[:60]!r} stands alone, which QEMU takes for a disk (is -cpu missing before it?)"
            raise InputError(what, here)
    machine, _ = machine_of(words.options, "", here)
    if machine is None:
        return asked
    lost.append(f"the machine type of args ({machine[:40]}, {here}) takes the place of the VM's")
    return replace(asked, machine=machine)


def _args_cpu(words: CommandLine, files: PveFiles) -> str | None:
    """Return the last -cpu of `args`, which QEMU takes in place of Proxmox VE's."""
    word = words.last("cpu")
    if word is None and words.has("cpu"):
        raise InputError("args: -cpu without a value", files.settings["args"].where)
    return None if word is None else word.value


def _with_args(asked: Asked, files: PveFiles, value: str, lost: list[str]) -> Asked:
    line = files.settings["args"]
    given = read_qemu(f"qemu:{value}", line.where)
    kvm = "kvm" not in files.settings or files.settings["kvm"].value not in ("0", "off", "no", "false")
    return replace(
        given, vmm="proxmox", machine=asked.machine, accelerator="kvm" if kvm else "tcg", name=asked.name,
        where=asked.where, text=asked.text, release=asked.release, devices=asked.devices,
        lost_in_words=(*given.lost_in_words, *lost, f"the -cpu of args ({line.where}) takes the place of the VM's cpu"),
    )  # fmt: skip


def _with_line(asked: Asked, line: CpuLine, lost: list[str]) -> Asked:
    switches = tuple(
        Switch(_spelt(flag.name), "require" if flag.sign == "+" else "disable", flag.where)
        for flag in line.flags
        if flag.sign
    )
    values = {flag.name: flag.value for flag in line.flags if not flag.sign}
    if line.level:
        lost.append(f"level={line.level}: CPUID leaves above it are hidden, which is not counted")
    return replace(
        asked,
        mode=_MODES.get(line.model, "named"),
        model=line.model,
        switches=switches,
        identity=Identity(vendor=values.get("vendor")),
        accelerator="kvm" if line.kvm else "tcg",
        check="enforce" if "enforce" in values else None,
        lost_in_words=(*lost, *line.unknown),
    )


def _spelt(name: str) -> str:
    """Return a flag as QEMU's own property spells it."""
    return name.replace("_", "-")


def expand(asked: Asked, host: Snapshot | None, offered: Snapshot | None) -> ShownGuest:
    """Return what QEMU shows the guest; `asked.release` is QEMU's."""
    if asked.model is not None and asked.model.startswith("custom-"):
        unknown = replaced(unknown_guest(), name=asked.name, source="Proxmox VE")
        unknown = unknown if offered is None else replaced(unknown, kernel=offered.kernel)
        return ShownGuest(asked, unknown)
    again = asked if asked.release is None else _read(asked.text, asked.where, asked.release)
    vendor = host.cpu.vendor if host is not None else None
    switches = tuple(_nested(switch, vendor) for switch in again.switches)
    shown: ShownGuest = expand_qemu(replace(again, vmm="qemu", switches=switches, lost_in_words=()), host, offered)
    return replace(shown, asked=asked)


def _nested(switch: Switch, vendor: str | None) -> Switch:
    """Return the flag that nested-virt stands for on this host (CPUConfig.pm resolve_cpu_flags)."""
    if switch.name != "nested-virt":
        return switch
    return replace(switch, name=_VMX_OR_SVM.get(vendor or "", "vmx"))
