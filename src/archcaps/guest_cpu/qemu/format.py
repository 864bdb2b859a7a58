"""QEMU's command line or -cpu option as a guest's configuration; read as formats.py asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, Literal

from archcaps.errors import InputError, nearest
from archcaps.guest_cpu.asked import Asked, Identity, Mode, Switch
from archcaps.guest_cpu.qemu.corrected import MARK, patch
from archcaps.guest_cpu.qemu.cpu_option import SPECIAL, CpuOption, parse_cpu
from archcaps.guest_cpu.qemu.devices import host_devices
from archcaps.guest_cpu.qemu.expansion import expand
from archcaps.guest_cpu.qemu.words import CommandLine, Word, command_line
from archcaps.tables import qemu as tables

__all__ = ["expand", "looks_like", "patch", "read"]

_MODES: Final[dict[str, Mode]] = {"host": "host", "max": "maximum"}
#: A QEMU where a command may stand: at the start of a line or of a NUL-separated list, with its path or without.
_PROGRAM: Final = re.compile(
    r"(?:^|[\s/\\\"'=])(?:qemu-system-[\w${}()-]{1,60}(?:\.exe)?|qemu-kvm)(?=[\s\0\"'])"
    r"|^[ \t]*(?:[\w/.-]{1,200}/)?kvm(?=[\s\0]{1,20}-)",
    re.MULTILINE,
)
_ACCELERATORS: Final = ("kvm", "tcg", "xen")
#: Accelerators that are none of Linux's KVM, with whose they are. Source: QEMU 11.1 qemu-options.hx, -accel
_OF_OTHERS: Final = {
    "hvf": "macOS's Hypervisor.framework", "whpx": "Windows' hypervisor", "nvmm": "NetBSD's hypervisor",
    "mshv": "Microsoft's hypervisor", "hax": "Intel's HAXM", "qtest": "QEMU's own tests, without any CPU",
}  # fmt: skip
#: Machine types of other CPUs, as people write them. Source: QEMU 11.1 -machine help of its other programs
_OF_OTHER_CPUS: Final = re.compile(r"virt(?:-[0-9.]+)?|raspi.*|sbsa-ref|versatilepb|vexpress.*|pseries.*|powernv.*|"
                                   r"s390-ccw-virtio.*|malta|sifive_.*|spike")  # fmt: skip
#: Options whose value has to be known to the last sign.
_DECIDING: Final = ("cpu", "machine", "M", "accel")


def looks_like(text: str, name: str) -> bool:
    """Return whether a text is a QEMU command line, a -cpu value or QMP's answers; a command line may be a script's."""
    first = text.lstrip()
    if first.startswith((MARK, "-cpu ", "-cpu\n")):
        return True
    if first.startswith("{"):
        from archcaps.guest_cpu.qemu.replies import looks_like_replies  # noqa: PLC0415  # only for JSON

        return looks_like_replies(text)
    if first[:2000].startswith("-") and re.search(r"(?:\A|[\s\0])--?cpu[\s\0=]", first[:65536]):
        return True
    if not re.search(r"[\s\0]", first.strip()) and first.strip().partition(",")[0] in (*SPECIAL, *tables.model_names()):
        return True
    other = first.startswith("<") or re.match(r"\[[^\s\[]", first)  # XML, a section, a list of JSON
    if other and "\nExecStart=" not in first[:65536]:
        return False
    return _PROGRAM.search(text[: 1 << 20]) is not None


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
    lost += _missing(line, text, where)
    machine, accelerator = machine_of(line.options, line.program, where)
    default = "qemu32" if line.program.endswith("i386") else "qemu64"
    asked = _asked(parse_cpu(default if cpu is None else cpu.value, where), where)
    names = line.all("name")
    return replace(
        asked, mode="default" if cpu is None else asked.mode, machine=machine, accelerator=accelerator, text=text,
        lost_in_words=(*asked.lost_in_words, *lost), name=_guest_name(names[-1]) if names else "",
        devices=host_devices(((name, "" if word is None else word.value) for name, word in line.options), where),
    )  # fmt: skip


def _missing(line: CommandLine, text: str, where: str) -> list[str]:
    """Return what the script's own arguments may add.

    Raises:
        InputError: a word that decides holds a variable whose value is not in the text, or a CPU stands without -cpu.
    """
    for name, word in (*line.options, *(("", word) for word in line.alone)):
        if word is not None and word.missing and word.missing[:2] not in ("$@", "$*") and name in ("", *_DECIDING):
            what = f"{word.missing} in -{name}" if name else f"{word.missing} (which may hold any options)"
            expected = "write its value into the text, or give the running QEMU by --pid"
            raise InputError(f"this text does not say what {what} stands for: {expected}", _place(text, word, where))
    for word in line.alone:
        model, comma, _ = word.value.partition(",")
        if comma and model in (*SPECIAL, *tables.model_names()):
            what = f"{word.value[:60]!r} stands alone, which QEMU takes for a disk (is -cpu missing before it?)"
            raise InputError(what, _place(text, word, where))
    arguments = any(word.missing[:2] in ("$@", "$*") for word in line.alone)
    return ["what the script's own arguments ($@) add is not known, and not counted"] if arguments else []


def _place(text: str, word: Word, where: str) -> str:
    return where if "\n" not in text.strip() else f"{where}:{text.count(chr(10), 0, word.start) + 1}"


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
        raise InputError(f"vendor {vendor[:80]!r} has {len(vendor)} signs (QEMU takes 12, as GenuineIntel)", where)
    return vendor


def _number(cpu: CpuOption, name: str, where: str) -> int | None:
    value = cpu.value(name)
    if value is None:
        return None
    if not re.fullmatch(r"0[xX][0-9a-fA-F]{1,4}|[0-9]{1,5}", value):
        raise InputError(f"{name} is {value[:80]!r} (expected a number)", where)
    return int(value, 0) if value[:2].lower() == "0x" else int(value)


def machine_of(
    options: Iterable[tuple[str, Word | None]], program: str, where: str
) -> tuple[str | None, Literal["kvm", "tcg", "xen"] | None]:
    """Return the machine type and the accelerator; a command line that names none gets TCG, the program's default.

    Without a program nothing is said of the accelerator.

    Raises:
        InputError: the guest is none of x86, or runs under another hypervisor.
    """
    machine, accelerators = None, []
    for name, word in options:
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
    if not accelerators and program.rpartition("/")[2] in ("kvm", "qemu-kvm"):
        accelerators = ["kvm"]
    if machine is not None and _OF_OTHER_CPUS.fullmatch(machine):
        raise InputError(f"the machine type {machine} is of another CPU: archcaps knows x86 alone", where)
    if accelerators and accelerators[0] in _OF_OTHERS:
        whose = _OF_OTHERS[accelerators[0]]
        raise InputError(f"the accelerator {accelerators[0]} is {whose}: archcaps knows guests of Linux's KVM", where)
    found = next((each for each in _ACCELERATORS if accelerators and accelerators[0] == each), None)
    if accelerators and found is None:
        expected = f"{nearest(accelerators[0], _ACCELERATORS)} (expected kvm, tcg or xen)"
        raise InputError(f"QEMU has no accelerator {accelerators[0][:60]!r}{expected}", where)
    if found is None and program:
        return machine, "tcg"
    return machine, found


def _guest_name(value: str) -> str:
    """Return the guest's name of -name: its first part, or that after guest=."""
    for part in value.split(","):
        key, equals, name = part.partition("=")
        if not equals or key == "guest":
            return name if equals else key
    return ""
