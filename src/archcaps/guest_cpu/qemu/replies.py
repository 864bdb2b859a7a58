"""What QEMU answers over QMP, from a file or from a running QEMU: a CPU model's expansion, or a live virtual CPU.

A file holds QMP's JSON objects one after another: the greeting and replies, in any order. A reply's `id` says what it
answers: a property's name for qom-get, `cpu-type` and `machine-type` for the types; without one, its shape says it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked, HostDevice, Identity, MaskedWrite, Switch
from archcaps.guest_cpu.qemu.devices import listed_device
from archcaps.tables import qemu as tables
from archcaps.tables.bits import REGISTERS

__all__ = ["CPU_TYPE", "MACHINE_TYPE", "looks_like_replies", "read_replies"]

CPU_TYPE: Final = "cpu-type"
MACHINE_TYPE: Final = "machine-type"
_TYPE = re.compile(r"(.+)-(?:x86_64|i386)-cpu\Z")
_KINDS = ("feature", "vmx", "kvm")


@dataclass
class _Replies:
    """What a file's replies say together."""

    release: str | None = None
    model: str | None = None
    machine: str | None = None
    kvm: bool | None = None
    live: bool = False
    properties: dict[str, object] = field(default_factory=dict)
    words: list[MaskedWrite] = field(default_factory=list)
    unavailable: list[str] | None = None
    devices: list[HostDevice] = field(default_factory=list)


def looks_like_replies(text: str) -> bool:
    """Return whether a JSON text is QMP's: a greeting, a reply, or an expanded model."""
    return re.search(r'"(?:QMP|return)"\s*:|"model"\s*:\s*\{[^{}]*"props"', text[: 1 << 20]) is not None


def read_replies(text: str, where: str) -> Asked:
    """Return the CPU that QMP's replies tell of: what a model expands to, or what a live virtual CPU has.

    Raises:
        InputError: it is no JSON, or no reply in it tells of a CPU.
    """
    found = _Replies()
    for value in _objects(text, where):
        _take(value, found, where)
    if not found.properties and not found.words:
        raise InputError(
            "no reply tells of a CPU (expected query-cpu-model-expansion's, or qom-get's of feature-words)",
            where,
        )
    return _asked(found, text, where)


def _objects(text: str, where: str) -> Iterator[Mapping[str, object]]:
    decoder, place = json.JSONDecoder(), 0
    while True:
        while place < len(text) and text[place] in " \t\r\n\x1e":
            place += 1
        if place == len(text):
            return
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            line = text.count("\n", 0, place) + 1
            raise InputError(f"not JSON as QMP writes it ({type(error).__name__})", f"{where}:{line}") from error
        if not isinstance(value, dict):
            raise InputError(f"expected a JSON object, not {type(value).__name__}", where)
        yield value


def _take(value: Mapping[str, object], found: _Replies, where: str) -> None:
    """Add what one object says."""
    if isinstance(greeting := value.get("QMP"), dict):
        found.release = _release(greeting.get("version")) or found.release
        return
    reply = value.get("return", value if "model" in value else None)
    subject = value.get("id")
    if isinstance(subject, str) and subject in (CPU_TYPE, MACHINE_TYPE) and isinstance(reply, str):
        if subject == CPU_TYPE:
            match = _TYPE.match(reply)
            found.model, found.live = match[1] if match else reply, True
        else:
            found.machine = reply.removesuffix("-machine")
    elif isinstance(reply, dict):
        _take_object(reply, found)
    elif isinstance(reply, list):
        _take_list(reply, found, where)
    elif isinstance(subject, str) and isinstance(reply, bool | int | str):
        found.properties[subject] = reply
        found.live = True


def _take_object(reply: Mapping[str, object], found: _Replies) -> None:
    model = reply.get("model")
    if isinstance(model, dict) and isinstance(model.get("props"), dict):
        found.model = str(model.get("name"))
        found.properties |= model["props"]
    elif "enabled" in reply and "present" in reply:
        found.kvm = bool(reply["enabled"])
    else:
        found.release = _release(reply) or found.release


def _take_list(reply: list[object], found: _Replies, where: str) -> None:
    """Take feature words, or the names of features that could not be given."""
    if reply and all(isinstance(each, dict) and "cpuid-register" in each for each in reply):
        found.words = [_word(each, where) for each in reply if isinstance(each, dict)]
        found.live = True
    elif any(isinstance(each, dict) and str(each.get("type")).startswith("child<") for each in reply):
        found.devices += _host_devices(reply)
    elif all(isinstance(each, str) for each in reply):
        found.unavailable = [str(each) for each in reply]


def _host_devices(listed: list[object]) -> Iterator[HostDevice]:
    """Yield the host's devices of a list of objects, as qom-list prints /machine/peripheral: child<vfio-pci>."""
    for each in listed:
        if isinstance(each, dict):
            kind = str(each.get("type")).removeprefix("child<").removesuffix(">")
            device = listed_device(kind, f"{kind[:40]} {str(each.get('name'))[:40]}")
            yield from () if device is None else (device,)


def _word(value: Mapping[str, object], where: str) -> MaskedWrite:
    leaf, subleaf = value.get("cpuid-input-eax"), value.get("cpuid-input-ecx", 0)
    output, word = value.get("cpuid-register"), value.get("features")
    if not (isinstance(leaf, int) and isinstance(subleaf, int) and isinstance(word, int) and 0 <= word < 1 << 32):
        raise InputError("a feature word is not as QEMU writes it (cpuid-input-eax, cpuid-register, features)", where)
    output = str(output).lower()
    register = next(
        (
            name
            for name, row in REGISTERS.items()
            if row.kind == "cpuid" and (row.address, row.subleaf, row.output) == (leaf, subleaf, output)
        ),
        None,
    )
    return MaskedWrite(register, f"CPUID {leaf:#x}.{subleaf:#x} {output}", (1 << 32) - 1, word, where)


def _release(version: object) -> str | None:
    """Return the release of query-version's answer, with the package's own name."""
    if not isinstance(version, dict) or not isinstance(numbers := version.get("qemu"), dict):
        return None
    parts = [numbers.get(part) for part in ("major", "minor", "micro")]
    if not all(isinstance(part, int) for part in parts):
        return None
    package = str(version.get("package") or "").strip(" ()")
    return ".".join(map(str, parts)) + (f" ({package})" if package else "")


def _asked(found: _Replies, text: str, where: str) -> Asked:
    kinds = tables.properties()
    switches = tuple(
        Switch(name, "require" if value else "disable", where)
        for name, value in found.properties.items()
        if isinstance(value, bool) and name in kinds and kinds[name].kind in _KINDS
    )
    numbers = [found.properties.get(name) for name in ("family", "model", "stepping")]
    vendor = found.properties.get("vendor")
    identity = Identity(
        vendor if isinstance(vendor, str) and vendor else None,
        *(value if isinstance(value, int) and not isinstance(value, bool) else None for value in numbers),
    )
    migratable = found.properties.get("migratable")
    lost = () if not found.unavailable else (f"the host could not give {', '.join(found.unavailable)}",)
    return Asked(
        "qemu", "named", found.model if found.live else "base", switches, identity, tuple(found.words), found.release,
        found.machine, None if found.kvm is None else "kvm" if found.kvm else "tcg",
        migratable if isinstance(migratable, bool) else None, live=found.live, name=found.model or "",
        devices=tuple(found.devices), where=where, lost_in_words=lost, text=text,
    )  # fmt: skip
