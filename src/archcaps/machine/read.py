"""Reading snapshot files: TOML or JSON, with one clear line for whatever is wrong in them."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from archcaps.errors import InputError, nearest
from archcaps.machine.cmdline import OPTIONS
from archcaps.machine.other_outputs import known_text
from archcaps.machine.snapshot import (
    FORMAT_VERSION,
    Cpuid,
    Reading,
    Snapshot,
    check_bit,
    check_cpuid_bit,
    check_register,
    number,
    width_of,
)
from archcaps.machine.strict_text import decode_json, decode_toml, text_of
from archcaps.tables.bits import BITS, REGISTERS
from archcaps.tables.files import read_toml
from archcaps.tables.kernels import BEHAVIOURS, Release
from archcaps.tables.names import VULNERABILITIES

__all__ = ["MAX_BYTES", "check_snapshot", "parse_snapshot", "read_snapshot", "snapshot_schema"]

#: A snapshot is a few kilobytes; what is larger is not one.
MAX_BYTES = 4 << 20

#: Linux's vulnerability files (Documentation/ABI/testing/sysfs-devices-system-cpu); more than archcaps judges today.
_SYSFS = frozenset(VULNERABILITIES) | {
    "gather_data_sampling", "ghostwrite", "indirect_target_selection", "itlb_multihit", "l1tf", "meltdown",
    "old_microcode", "retbleed", "spec_rstack_overflow", "spec_store_bypass", "spectre_v1", "spectre_v2", "srbds",
    "vmscape",
}  # fmt: skip


_OTHER_SYSTEMS = tuple(read_toml("guest_systems.toml"))

#: How wide each number of a CPU is. Source: Intel SDM volume 2A, CPUID leaf 1 (family 15 plus 8 bits; the model has 8,
#: the stepping 4) and leaf 0x1A (core type); volume 4, MSRs 0x8B (revision, 32 bits) and 0x17 (bits 52:50)
_CPU_WIDTHS = {"family": 9, "model": 8, "stepping": 4, "core_type": 8, "microcode": 32, "platform_id": 3}


def read_snapshot(path: str | Path, role: str | None = None) -> Snapshot:
    """Return the snapshot in a file, or on standard input for ``-``.

    Raises:
        InputError: the file cannot be read, is too large, is no snapshot, or speaks of the other role.
    """
    where = "standard input" if str(path) == "-" else str(path)
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except IsADirectoryError as error:
        raise InputError(f"cannot be read: {error.strerror} (expected one file: a snapshot)", where) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where) from error
    if len(data) > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES >> 20} MiB: not a snapshot", where)
    return parse_snapshot(data, where, role)


def parse_snapshot(data: bytes, where: str, role: str | None = None) -> Snapshot:
    """Return the snapshot that `data` (TOML, or JSON if it starts with a brace) holds.

    Raises:
        InputError: with the line where the text itself is broken, else with the path of the value.
    """
    text = text_of(data, where)
    try:
        raw = decode_json(text, where) if text.lstrip().startswith("{") else decode_toml(text, where)
    except InputError as error:
        if known := known_text(text):
            raise InputError(known, where) from error
        if "format_version" not in text:
            raise InputError(f"{error} (expected a snapshot, as archcaps probe writes it)") from error
        raise
    if ("format_version" not in raw or "exit_code" in raw) and (known := known_text(text)):
        raise InputError(known, where)
    try:
        snapshot = _sought(msgspec.convert(_without_nulls(raw), Snapshot))
    except msgspec.ValidationError as error:
        raise InputError(_plain(str(error)), _line_of(error, text, where)) from error
    check_snapshot(snapshot, where, role)
    return snapshot


def snapshot_schema() -> dict[str, Any]:
    """Return the JSON Schema of a snapshot's file, in which a text may be null."""
    schema = msgspec.json.schema(Snapshot)
    texts: dict[str, Any] = schema["$defs"]["Snapshot"]["properties"]["vulnerabilities"]
    texts["additionalProperties"] = {"type": ["string", "null"]}
    return schema


def _without_nulls(raw: dict[str, object]) -> dict[str, object]:
    """Return what a file holds without the texts that it says are not known."""
    texts = raw.get("vulnerabilities")
    if not isinstance(texts, dict) or None not in texts.values():
        return raw
    return {**raw, "vulnerabilities": {name: text for name, text in texts.items() if text is not None}}


def _sought(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with its command line unknown if whoever kept a part of it did not look for all that counts.

    An option that was not looked for may have been given; a rule that reads it would take it for absent.
    """
    sought = snapshot.kernel.options_sought
    unsought = [] if sought is None else sorted(OPTIONS.difference(sought))
    if not unsought:
        return snapshot
    why = f"whoever read it looked for other options, not for {', '.join(unsought)}; a newer archcaps probe would"
    kernel = replace(snapshot.kernel, cmdline=None, options_sought=None, options_left_out=None)
    return replace(snapshot, kernel=kernel, unreadable={**snapshot.unreadable, "kernel.cmdline": why})


def _plain(message: str) -> str:
    """Return msgspec's message with the value's path in front: ``cpu.model: expected ...``."""
    text, _, path = message.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    text = (text[:1].lower() + text[1:]).replace(" | null`", "`")
    if "matching regex" in text:
        text = "expected a number: decimal, or 0x and hexadecimal digits"
    return f"{path}: {text}" if path else text


def _line_of(error: msgspec.ValidationError, text: str, where: str) -> str:
    """Return `where` with the line of the value that `error` speaks of, where that is plain to see."""
    path = re.search(r"at `\$\.?([^`]*)`", str(error))
    unknown = re.search(r"unknown field `([^`]+)`", str(error))
    key = unknown[1] if unknown else (path[1].rpartition(".")[2] if path else "")
    if not key:
        return where
    pattern = re.compile(rf'(?:^[ \t]*+|[{{,]\s*+)"?{re.escape(key)}"?[ \t]*+[=:]', re.MULTILINE)
    ends = [match.end() for match in islice(pattern.finditer(text), 2)]
    return f"{where}:{text.count(chr(10), 0, ends[0]) + 1}" if len(ends) == 1 else where


def check_snapshot(snapshot: Snapshot, where: str, role: str | None) -> None:
    """Refuse what the types let through: names that no table has, numbers that do not fit, the wrong role.

    Raises:
        InputError: with the value's path behind `where`.
    """
    if snapshot.format_version != FORMAT_VERSION:
        raise InputError(f"format_version is {snapshot.format_version}, this archcaps reads {FORMAT_VERSION}", where)
    if role is not None and snapshot.role != role:
        what = f"this is the snapshot of a {snapshot.role}, a {role} is wanted here"
        raise InputError(f"{what} (are the two files exchanged?)", where)
    if snapshot.kernel.system not in ("linux", *_OTHER_SYSTEMS):
        systems = ", ".join(("linux", *_OTHER_SYSTEMS))
        raise InputError(
            f"unknown system {snapshot.kernel.system!r} (expected one of {systems})", f"{where}: kernel.system"
        )
    for field, width in _CPU_WIDTHS.items():
        value = getattr(snapshot.cpu, field)
        if value is not None:
            number(value, width, f"{where}: cpu.{field}")
    _check_readings(snapshot.registers, f"{where}: registers")
    _check_readings(snapshot.kvm.offered, f"{where}: kvm.offered")
    for tried in snapshot.kvm.accepts:
        number(tried.set, 64, f"{where}: kvm.accepts.set")
        number(tried.get or 0, 64, f"{where}: kvm.accepts.get")
    number(snapshot.kvm.vcpu_initial or 0, 64, f"{where}: kvm.vcpu_initial")
    if snapshot.cpuid is not None:
        _check_cpuid(snapshot.cpuid, f"{where}: cpuid")
        _check_against_registers(snapshot.cpuid, snapshot.registers, f"{where}: cpuid")
    _check_names(snapshot.kernel.behaviours, BEHAVIOURS, "kernel behaviour", f"{where}: kernel.behaviours")
    _check_names(snapshot.vulnerabilities, _SYSFS, "vulnerability", f"{where}: vulnerabilities")
    if snapshot.kernel.release is not None and snapshot.kernel.system == "linux":
        try:
            Release.parse(snapshot.kernel.release)
        except ValueError as error:
            raise InputError(str(error), f"{where}: kernel.release") from error


def _refuse_ones(reading: Reading, field: str, where: str) -> None:
    """Refuse a register of nothing but ones: every register has bits that are 0 on all CPUs.

    Raises:
        InputError: it is the value, and speaks for the whole register.
    """
    if field == "value" and reading.known is None:
        raise InputError(f"{reading.value}, all ones, is what a failed read leaves (leave the register out)", where)


def _check_names(given: Iterable[str], known: Collection[str], kind: str, where: str) -> None:
    for name in given:
        if name not in known:
            raise InputError(f"unknown {kind} {name!r}{nearest(name, known)}", where)


def _check_cpuid(cpuid: Cpuid, where: str) -> None:
    for part, names in (("shown", cpuid.shown), ("hidden", cpuid.hidden)):
        for name in names:
            check_cpuid_bit(name, f"{where}.{part}")
    both = set(cpuid.shown) & set(cpuid.hidden)
    if both:
        raise InputError(f"{', '.join(sorted(both))} both shown and hidden", where)


def _check_against_registers(cpuid: Cpuid, registers: dict[str, Reading], where: str) -> None:
    """Refuse a bit that is named as shown or hidden and the other in its register."""
    for shown, names in ((True, cpuid.shown), (False, cpuid.hidden)):
        for name in names:
            reading = registers.get(BITS[name].register) if name in BITS else None
            if reading is None or reading.value is None or name in reading.bits:
                continue
            width = REGISTERS[BITS[name].register].width
            known = (1 << width) - 1 if reading.known is None else number(reading.known, width, where)
            if known & BITS[name].mask and bool(number(reading.value, width, where) & BITS[name].mask) is not shown:
                word = "shown" if shown else "hidden"
                there = f"{int(not shown)} in registers.{BITS[name].register}"
                raise InputError(f"{name} is {word} here and {there} (expected one answer)", where)


def _check_readings(readings: dict[str, Reading], where: str) -> None:
    for register, reading in readings.items():
        check_register(register, where)
        width = width_of(register)
        for field in ("value", "known"):
            value = getattr(reading, field)
            if value is not None and number(value, width, f"{where}.{register}.{field}") == (1 << width) - 1:
                _refuse_ones(reading, field, f"{where}.{register}")
        for bit in reading.bits:
            check_bit(bit, f"{where}.{register}.bits", register)
