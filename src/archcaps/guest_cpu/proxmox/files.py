"""Proxmox VE's two files: a VM's configuration, and cpu-models.conf, which may follow it in one text.

Source: proxmox/qemu-server@e6352be src/PVE/QemuServer.pm parse_vm_config; PVE::SectionConfig parse_config
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from archcaps.errors import InputError, nearest

__all__ = ["CONTAINER", "CONTAINER_KEYS", "CPU_KEYS", "CpuModel", "Line", "PveFiles", "read_files"]

#: Settings that a container has and no VM. Source: proxmox/pve-container src/PVE/LXC/Config.pm
CONTAINER_KEYS: Final = ("rootfs", "unprivileged", "swap")
CONTAINER: Final = "a container (LXC): it has no CPU of its own, but the host's, and runs without KVM"

_KEY: Final = re.compile(r"[a-z][a-z_\-]*[0-9]*\Z")
_SECTION: Final = re.compile(r"\[([^\]]*)\][ \t]*\Z")
_MODEL: Final = re.compile(r"cpu-model:[ \t]*(\S+)[ \t]*\Z")
#: A VM's file has some hundred lines, cpu-models.conf some ten for each model.
MAX_LINES: Final = 20_000
_MODEL_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")

#: What a CPU may have, in a VM's line and in a custom model. Source: src/PVE/QemuServer/CPUConfig.pm cpu_fmt
CPU_KEYS: Final = (
    "cputype", "reported-model", "hidden", "hv-vendor-id", "flags", "guest-phys-bits", "phys-bits", "level",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One setting: its value, its file and line, and where the whole line starts and ends in the text."""

    value: str
    where: str
    start: int
    end: int


@dataclass(slots=True)
class CpuModel:
    """A custom model of cpu-models.conf: its properties, and where its section ends in the text."""

    name: str
    where: str
    properties: dict[str, Line] = field(default_factory=dict)
    end: int = 0


@dataclass(slots=True)
class PveFiles:
    """A VM's settings as they are now, the keys that change at its next start, and the custom models.

    `vm_end` is where the VM's own settings end in the text: before its snapshots, pending changes and the models.
    """

    settings: dict[str, Line] = field(default_factory=dict)
    pending: list[str] = field(default_factory=list)
    models: dict[str, CpuModel] = field(default_factory=dict)
    vm_end: int = 0

    def cpu(self) -> tuple[Mapping[str, str], str]:
        """Return the `cpu` setting as keys and values, and where it stands.

        Raises:
            InputError: it has a key that Proxmox VE does not know, or one twice.
        """
        line = self.settings.get("cpu")
        return ({}, "") if line is None else (_property_string(line.value, "cputype", line.where), line.where)


def read_files(text: str, where: str) -> PveFiles:
    """Return the settings and models of a text.

    Raises:
        InputError: a line is none that Proxmox VE reads, a setting stands twice, or a custom model is broken.
    """
    found = PveFiles()
    model: CpuModel | None = None
    section: str | None = ""
    at = 0
    if text.count("\n") > MAX_LINES:
        raise InputError(f"more than {MAX_LINES} lines: not a configuration of Proxmox VE", where)
    for number, raw in enumerate(text.split("\n"), start=1):
        line, start = raw.removesuffix("\r"), at
        at += len(raw) + 1
        end, place = start + len(raw), f"{where}:{number}"
        if "\0" in line:
            raise InputError("a NUL byte: not a configuration of Proxmox VE", place)
        if not line.strip() or line.startswith("#"):
            if not line.strip() and model is not None:
                model = None
            continue
        if (header := _MODEL.match(line)) is not None:
            model, section = _new_model(found, header[1], place), None
            model.end = end
        elif model is not None:
            _add_property(model, line, Line("", place, start, end))
        elif (name := _SECTION.match(line)) is not None:
            section = name[1].lower()
        elif section in ("", "pending"):
            _add_setting(found, line, Line("", place, start, end), pending=section == "pending")
        elif section is None:
            raise InputError(f"{line[:60]!r} stands in no custom model (expected cpu-model: NAME before it)", place)
        if section == "":
            found.vm_end = end
    return found


def _new_model(found: PveFiles, name: str, where: str) -> CpuModel:
    if _MODEL_NAME.match(name) is None:
        raise InputError(f"{name[:60]!r} is no name of a model (expected letters, digits, - and _)", where)
    if name in found.models:
        raise InputError(f"the custom model {name[:60]} stands twice", where)
    model = found.models[name] = CpuModel(name, where)
    return model


def _add_property(model: CpuModel, line: str, place: Line) -> None:
    words = line.split(None, 1)
    if line[0] not in " \t":
        raise InputError(f"{line[:60]!r} is no property of a custom model (expected a key and a value)", place.where)
    key, value = words[0], words[1].rstrip() if len(words) > 1 else ""
    if key not in CPU_KEYS[1:]:
        raise InputError(f"unknown property {key[:60]!r} of a custom model{nearest(key, CPU_KEYS[1:])}", place.where)
    if key in model.properties:
        raise InputError(f"the property {key} stands twice in the custom model {model.name[:60]}", place.where)
    model.properties[key] = Line(value, place.where, place.start, place.end)
    model.end = place.end


def _add_setting(found: PveFiles, line: str, place: Line, *, pending: bool) -> None:
    key, colon, value = line.partition(":")
    value = value.strip(" \t")
    named = colon and _KEY.match(key) is not None
    if not named and line.startswith("lxc."):
        raise InputError(CONTAINER, place.where)
    if not named:
        raise InputError(f"{line[:60]!r} is no setting of a VM (expected KEY: VALUE)", place.where)
    if pending:
        found.pending.append(key)
        return
    if key in found.settings and key in ("cpu", "machine", "args", "kvm", "ostype"):
        raise InputError(f"the setting {key} stands twice", place.where)
    found.settings[key] = Line(value, place.where, place.start, place.end)


def _property_string(text: str, default_key: str, where: str) -> dict[str, str]:
    """Return the keys and values of ``host,flags=+md-clear``; a word without = is the default key's value."""
    found: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not equals:
            key, value = default_key, key
        if key not in CPU_KEYS:
            known = f"{nearest(key, CPU_KEYS)}; expected {', '.join(CPU_KEYS)}"
            raise InputError(f"unknown key {key[:60]!r} of cpu{known}", where)
        if key in found:
            raise InputError(f"the key {key} stands twice in cpu", where)
        found[key] = value
    return found
