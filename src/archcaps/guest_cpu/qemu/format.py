"""QEMU's command line or -cpu option as a guest's configuration; read as formats.py asks for."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final, Literal

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked, Identity, Mode, Switch
from archcaps.guest_cpu.qemu.corrected import MARK, patch
from archcaps.guest_cpu.qemu.cpu_option import SPECIAL, CpuOption, parse_cpu
from archcaps.guest_cpu.qemu.expansion import expand
from archcaps.guest_cpu.qemu.words import CommandLine, command_line, is_qemu_program
from archcaps.tables import qemu as tables

__all__ = ["expand", "looks_like", "patch", "read"]

_MODES: Final[dict[str, Mode]] = {"host": "host", "max": "maximum"}
_ACCELERATORS: Final = ("kvm", "tcg", "xen")


def looks_like(text: str, name: str) -> bool:
    """Return whether a text is a QEMU command line, a -cpu value or QMP's answers; a command line may be a script's."""
    first = text.lstrip()
    if first.startswith((MARK, "-cpu ", "-cpu\n")):
        return True
    if first.startswith("{"):
        from archcaps.guest_cpu.qemu.replies import looks_like_replies  # noqa: PLC0415  # only for JSON

        return looks_like_replies(text)
    if not re.search(r"[\s\0]", first.strip()) and first.strip().partition(",")[0] in (*SPECIAL, *tables.model_names()):
        return True
    return any(is_qemu_program(word) for word in re.split(r"[\s\0'\"]+", text[:65536]) if word)


def read(text: str, where: str) -> Asked:
    """Return the CPU that a QEMU command line or a -cpu value asks for.

    Raises:
        InputError: QEMU would refuse it: no such model or property, or a value that it does not take.
    """
    first = text.strip()
    if first.startswith("{"):
        from archcaps.guest_cpu.qemu.replies import read_replies  # noqa: PLC0415  # only for JSON

        return read_replies(text, where)
    bare = first.removeprefix(MARK) if first.startswith(MARK) else first
    if first.startswith(MARK) or not re.search(r"[\s\0]", bare):
        if re.search(r"\s", bare):
            raise InputError(f"a -cpu value has no blanks: {bare[:60]!r}", where)
        return replace(_asked(parse_cpu(bare, where), where), text=text)
    return _of_command_line(command_line(text, where), text, where)


def _of_command_line(line: CommandLine, text: str, where: str) -> Asked:
    if not line.program and not line.has("cpu"):
        raise InputError("no QEMU command line (expected qemu-system-x86_64 and its options, or -cpu ...)", where)
    cpu, lost = line.last("cpu"), []
    if cpu is None and line.has("cpu"):
        raise InputError("-cpu without a value", where)
    if line.has("readconfig"):
        lost.append("-readconfig names a file that is not read here; it may choose another machine type")
    machine, accelerator = _machine(line, bare=not line.program)
    default = "qemu32" if line.program.endswith("i386") else "qemu64"
    asked = _asked(parse_cpu(default if cpu is None else cpu.value, where), where)
    names = line.all("name")
    return replace(
        asked, mode="default" if cpu is None else asked.mode, machine=machine, accelerator=accelerator, text=text,
        lost_in_words=(*asked.lost_in_words, *lost), name=_guest_name(names[-1]) if names else "",
    )  # fmt: skip


def _asked(cpu: CpuOption, where: str) -> Asked:
    states = cpu.states()
    known = tables.properties()
    identity = Identity(_vendor(cpu, where), *(_number(cpu, name, where) for name in ("family", "model", "stepping")))
    check: Literal["none", "warn", "enforce"] | None = None
    if "check" in states:
        check = "warn" if states["check"] else "none"
    if states.get("enforce"):
        check = "enforce"
    switches = tuple(
        Switch(name, "require" if on else "disable", where)
        for name, on in states.items()
        if known[name].kind in ("feature", "vmx", "kvm")
    )
    lost = [
        f"{name} is given: CPUID leaves above it are not counted as hidden here"
        for name in ("level", "xlevel")
        if cpu.value(name) is not None
    ]
    return Asked(
        "qemu", _MODES.get(cpu.model, "named"), cpu.model, switches, identity,
        migratable=states.get("migratable"), check=check, force_features=states.get("x-force-features", False),
        where=where, lost_in_words=tuple(lost),
    )  # fmt: skip


def _vendor(cpu: CpuOption, where: str) -> str | None:
    vendor = cpu.value("vendor")
    if vendor is not None and len(vendor) != 12:
        raise InputError(f"vendor {vendor!r} has {len(vendor)} signs (QEMU takes 12, as GenuineIntel)", where)
    return vendor


def _number(cpu: CpuOption, name: str, where: str) -> int | None:
    value = cpu.value(name)
    if value is None:
        return None
    if not re.fullmatch(r"0[xX][0-9a-fA-F]{1,4}|[0-9]{1,5}", value):
        raise InputError(f"{name} is {value!r} (expected a number)", where)
    return int(value, 0) if value[:2].lower() == "0x" else int(value)


def _machine(line: CommandLine, *, bare: bool) -> tuple[str | None, Literal["kvm", "tcg", "xen"] | None]:
    """Return the machine type and the accelerator; a command line that names none gets TCG, the program's default."""
    machine, accelerators = None, []
    for name, word in line.options:
        value = "" if word is None else word.value
        if name in ("machine", "M"):
            for place, part in enumerate(value.split(",")):
                key, equals, given = part.partition("=")
                if key == "type" or (place == 0 and not equals):
                    machine = given if equals else key
                elif key == "accel":
                    accelerators = given.split(":")
        elif name == "accel":
            accelerators = [*accelerators, value.split(",")[0].removeprefix("accel=")]
        elif name == "enable-kvm":
            accelerators = ["kvm"]
    if not accelerators and line.program.rpartition("/")[2] in ("kvm", "qemu-kvm"):
        accelerators = ["kvm"]
    found = next((each for each in _ACCELERATORS if accelerators and accelerators[0] == each), None)
    if found is None and not bare and not accelerators:
        return machine, "tcg"
    return machine, found


def _guest_name(value: str) -> str:
    """Return the guest's name of -name: its first part, or that after guest=."""
    for part in value.split(","):
        key, equals, name = part.partition("=")
        if not equals or key == "guest":
            return name if equals else key
    return ""
