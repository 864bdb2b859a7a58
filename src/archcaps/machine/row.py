"""A snapshot as one flat row, for tables of many machines: a column for each value, words as signed 64-bit integers.

A word has two columns: its value, and `..._known`, the mask of the bits that the value speaks for. A CPUID bit that a
snapshot gives by name is a bit of its word. What a null stands for is unknown, as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, cast

import msgspec

from archcaps.errors import InputError
from archcaps.machine.snapshot import FORMAT_VERSION, Cpu, Kernel, Kvm, Reading, Snapshot, Vm, number
from archcaps.tables.bits import BITS, REGISTERS, bits_of

__all__ = [
    "COLUMNS",
    "CPU_COLUMNS",
    "KERNEL_COLUMNS",
    "OFFERED",
    "VM_COLUMNS",
    "WORDS",
    "row_of",
    "signed",
    "snapshot_of",
]

#: The type of a column, in the words of SQL.
Type = Literal["VARCHAR", "BIGINT", "BOOLEAN"]
Role = Literal["host", "guest"]

_CPU_TYPES: Final[Mapping[str, Type]] = {
    "vendor": "VARCHAR", "family": "BIGINT", "model": "BIGINT", "stepping": "BIGINT", "core_type": "BIGINT",
    "microcode": "BIGINT", "platform_id": "BIGINT", "smt_active": "BOOLEAN", "smt_supported": "BOOLEAN",
    "ls_cfg_readable": "BOOLEAN", "msr_writes_succeed": "BOOLEAN", "snp_host": "BOOLEAN", "vmx_enabled": "BOOLEAN",
    "ram_above_half": "BOOLEAN",
}  # fmt: skip
CPU_COLUMNS: Final = tuple(_CPU_TYPES)
_KERNEL_TYPES: Final[Mapping[str, Type]] = {
    "system": "VARCHAR", "kernel": "VARCHAR", "cmdline": "VARCHAR", "config": "VARCHAR", "behaviours": "VARCHAR",
    "xen_pv": "BOOLEAN",
}  # fmt: skip
KERNEL_COLUMNS: Final = tuple(_KERNEL_TYPES)
VM_COLUMNS: Final = ("has_assigned_device", "has_mapped_host_mmio", "has_host_device")
#: Every register that a row has, by our name.
WORDS: Final = tuple(REGISTERS)
#: What a host's KVM was seen to offer, one word a register.
OFFERED: Final = tuple(f"kvm_offered_{name}" for name in WORDS)


def _columns(role: Role) -> dict[str, Type]:
    words = (*WORDS, *OFFERED) if role == "host" else WORDS
    own: dict[str, Type] = {"kvm_parameters": "VARCHAR"} if role == "host" else dict.fromkeys(VM_COLUMNS, "BOOLEAN")
    return {
        **_CPU_TYPES,
        **_KERNEL_TYPES,
        **own,
        "vulnerabilities": "VARCHAR",
        **{f"{word}{end}": "BIGINT" for word in words for end in ("", "_known")},
    }


#: The columns of each role's table with their types; every one may be missing or null.
COLUMNS: Final[Mapping[Role, Mapping[str, Type]]] = {"host": _columns("host"), "guest": _columns("guest")}


def signed(word: int) -> int:
    """Return an unsigned 64-bit number in two's complement, as Parquet's INT64 holds it."""
    return word - (1 << 64) if word >> 63 else word


def row_of(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot's values by column; what it does not know is left out.

    Provenance and sources are not part of a row.
    """
    cpu, kernel = snapshot.cpu, snapshot.kernel
    found: dict[str, Any] = {}
    for name, kind in _CPU_TYPES.items():
        value = getattr(cpu, name)
        found[name] = number(value, 64, f"cpu.{name}") if kind == "BIGINT" and value is not None else value
    found |= {"system": kernel.system, "kernel": kernel.release, "cmdline": kernel.cmdline, "xen_pv": kernel.xen_pv}
    found["config"] = kernel.config if isinstance(kernel.config, str | None) else _json(kernel.config)
    found["behaviours"] = _json(kernel.behaviours)
    found["vulnerabilities"] = _json(snapshot.vulnerabilities)
    words = _words(snapshot)
    if snapshot.role == "host":
        found["kvm_parameters"] = _json(snapshot.kvm.parameters)
        offered = {name: reading for name, reading in snapshot.kvm.offered.items() if name in REGISTERS}
        words |= {f"kvm_offered_{name}": _word(name, reading) for name, reading in offered.items()}
    else:
        found |= {name: getattr(snapshot.vm, name) for name in VM_COLUMNS}
    for name, (value, known) in words.items():
        if known:
            found[name], found[f"{name}_known"] = signed(value), signed(known)
    return {name: value for name, value in found.items() if value is not None}


def _json(mapping: Mapping[str, Any]) -> str | None:
    return msgspec.json.encode(dict(sorted(mapping.items()))).decode() if mapping else None


def _words(snapshot: Snapshot) -> dict[str, tuple[int, int]]:
    """Return every register's value and known bits (u64); single bits and CPUID bits by name are put in their words."""
    found = dict.fromkeys(WORDS, (0, 0))
    if snapshot.cpuid is not None:
        shown, hidden, complete = set(snapshot.cpuid.shown), set(snapshot.cpuid.hidden), snapshot.cpuid.complete
        for name, bit in BITS.items():
            if REGISTERS[bit.register].kind == "cpuid" and (complete or name in shown or name in hidden):
                value, known = found[bit.register]
                found[bit.register] = (value | bit.mask if name in shown else value, known | bit.mask)
    for register, reading in snapshot.registers.items():
        if register not in REGISTERS:  # a word that only VMMs compare
            continue
        value, known = found[register]
        own, own_known = _word(register, reading)
        found[register] = (value & ~own_known | own & own_known, known | own_known)
    return {name: word for name, word in found.items() if word[1]}


def _word(register: str, reading: Reading) -> tuple[int, int]:
    width = REGISTERS[register].width
    value = known = 0
    if reading.value is not None:
        value = number(reading.value, width, register)
        known = (1 << width) - 1 if reading.known is None else number(reading.known, width, register)
    for name, single in reading.bits.items():
        mask = bits_of(register)[name].mask
        value = value | mask if single.value else value & ~mask
        known |= mask
    return value & known, known


def snapshot_of(row: Mapping[str, Any], role: Role, *, source: str = "", name: str = "") -> Snapshot:
    """Return the snapshot that a row stands for; a column that is missing or null is unknown.

    Raises:
        InputError: a JSON column holds something else.
    """
    get = row.get
    cpu = Cpu(**{name: get(name) for name in CPU_COLUMNS if get(name) is not None})
    kernel = Kernel(
        system=get("system") or "linux",
        release=get("kernel"),
        cmdline=get("cmdline"),
        config=_config(get("config"), role),
        behaviours=_mapping(get("behaviours"), f"{role}: behaviours", bool),
        xen_pv=get("xen_pv"),
    )
    offered = {word: reading for word in WORDS if (reading := _reading(row, f"kvm_offered_{word}")) is not None}
    parameters = _mapping(get("kvm_parameters"), f"{role}: kvm_parameters", str)
    return Snapshot(
        format_version=FORMAT_VERSION,
        role=role,
        name=name,
        provenance="imported",
        source=source,
        cpu=cpu,
        kernel=kernel,
        kvm=Kvm(parameters=parameters, offered=offered) if role == "host" else Kvm(),
        vm=Vm(**{column: get(column) for column in VM_COLUMNS}) if role == "guest" else Vm(),
        registers={word: reading for word in WORDS if (reading := _reading(row, word)) is not None},
        vulnerabilities=_mapping(get("vulnerabilities"), f"{role}: vulnerabilities", str),
    )


def _reading(row: Mapping[str, Any], column: str) -> Reading | None:
    value, known = row.get(column), row.get(f"{column}_known")
    if value is None:
        return None
    width = REGISTERS[column.removeprefix("kvm_offered_")].width
    all_bits = (1 << width) - 1
    return Reading(value=value & all_bits, known=None if known is None else known & all_bits)


def _config(text: str | None, role: Role) -> str | dict[str, str] | None:
    return _mapping(text, f"{role}: config", str) if text is not None and text.startswith("{") else text


def _mapping(text: str | None, where: str, of: type) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        return cast("dict[str, Any]", msgspec.json.decode(text, type=dict[str, of]))  # type: ignore[valid-type]  # `of` is a type
    except msgspec.DecodeError as error:
        raise InputError(f"{text[:60]!r} is not a JSON object of texts: {error}", where) from error
