"""Xen: the `cpuid=` of an xl configuration, in both of its syntaxes; archcaps has no model of Xen's defaults.

Source: xen-project/xen@c447b7308b docs/man/xl.cfg.5.pod.in; tools/libs/light/libxl_cpuid.c; tools/xl/xl_parse.c
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked, Identity, MaskedWrite, Policy, Switch
from archcaps.guest_cpu.changes import GuestChange, MachineChange, ModelChange, Patch
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.guest_cpu.words import unknown_guest, with_bits
from archcaps.machine.snapshot import Cpu, Snapshot
from archcaps.tables.bits import BITS, REGISTERS

__all__ = ["expand", "looks_like", "patch", "read"]

#: What a character does with a bit; x leaves it as Xen's default policy has it.
_POLICIES: Final[Mapping[str, Policy]] = {"1": "force", "0": "disable", "k": "optional", "s": "optional"}
_NUMBERS: Final = (
    "apicidsize", "brandid", "clflush", "family", "localapicid", "maxleaf", "maxhvleaf", "model", "nc", "proccount",
    "procpkg", "stepping",
)  # fmt: skip
#: Names that libxl keeps from before it took Xen's own.
_OLD_NAMES: Final[Mapping[str, str]] = {"tsc_adjust": "tsc_adjust", "lfence+": "lfence_rdtsc"}
_BY_NAME: Final[Mapping[str, str]] = {
    **{bit.names["xen"].lower().replace("_", "-"): name for name, bit in BITS.items() if "xen" in bit.names},
    **_OLD_NAMES,
}
_REGISTERS: Final = {
    (register.address, register.subleaf, register.output): name
    for name, register in REGISTERS.items()
    if register.kind == "cpuid"
}
_ASSIGNMENT: Final = re.compile(r"^[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*", re.MULTILINE)
_STRING: Final = re.compile(r"\"([^\"\n]*)\"|'([^'\n]*)'")
_INTEGER: Final = r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}"
_XEND: Final = re.compile(rf"({_INTEGER})(?:,({_INTEGER}))?:(.*)\Z", re.DOTALL)
_MARKS: Final = re.compile(
    r"^[ \t]*(?:type|builder|kernel|bootloader|vcpus|disk|vif)[ \t]*=[ \t]*[\"'\[0-9]", re.MULTILINE
)


@dataclass
class _Found:
    """What `cpuid=` says."""

    switches: dict[str, Switch] = field(default_factory=dict)
    writes: list[MaskedWrite] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


def looks_like(text: str, name: str) -> bool:
    """Return whether a text is an xl configuration: assignments of what only such a file has."""
    if re.search(r"^[ \t]*\[", text, re.MULTILINE) or text.lstrip()[:1] in ("{", "<"):
        return False
    if re.search(r"^[ \t]*cpuid[ \t]*=[ \t]*[\"'\[]", text, re.MULTILINE):
        return True
    return bool(re.search(r"^[ \t]*memory[ \t]*=[ \t]*[\"'0-9]", text, re.MULTILINE) and _MARKS.search(text))


def read(text: str, where: str) -> Asked:
    """Return what an xl configuration asks for; without `cpuid=`, Xen's default policy.

    Raises:
        InputError: a string or list is broken, or `cpuid=` is not as libxl reads it.
    """
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError("a NUL byte: not an xl configuration", f"{where}:{line}")
    found, name, guest_type = _Found(), Path(where).stem, None
    for key, values, line, is_list in _assignments(text, where):
        if key == "cpuid" and is_list:
            found = _Found()
            for value, at in values:
                _of_xend(value, f"{where}:{at}", found)
        elif key == "cpuid":
            found = _Found()
            _of_libxl(values[0][0], f"{where}:{line}", found)
        elif key == "name" and values:
            name = values[0][0][:200]
        elif key in ("type", "builder") and values:
            guest_type = values[0][0][:40]
    numbers = found.numbers
    return Asked(
        vmm="xen", mode="default", switches=tuple(found.switches.values()), writes=tuple(found.writes),
        machine=guest_type,
        identity=Identity(None, numbers.get("family"), numbers.get("model"), numbers.get("stepping")),
        accelerator="xen", check="enforce", name=name, where=where, lost_in_words=tuple(found.lost), text=text,
    )  # fmt: skip


def _assignments(text: str, where: str) -> Iterator[tuple[str, list[tuple[str, int]], int, bool]]:
    """Yield each assignment: its key, its strings with their lines, its line, and whether it is a list."""
    at, line = 0, 1
    while (match := _ASSIGNMENT.search(text, at)) is not None:
        line += text.count("\n", at, match.end())
        at = match.end()
        if text[at : at + 1] == "[":
            end = _end_of_list(text, at, f"{where}:{line}")
            begin = line
            found, counted = [], at
            for value, start in _strings(text[at:end]):
                line, counted = line + text.count("\n", counted, at + start), at + start
                found.append((value, line))
            yield match[1], found, begin, True
            line += text.count("\n", counted, end)
            at = end
        elif text[at : at + 1] in ("'", '"'):
            quoted = _STRING.match(text, at)
            if quoted is None:
                raise InputError("a string does not end on its line", f"{where}:{line}")
            yield match[1], [(quoted[1] or quoted[2] or "", line)], line, False
            at = quoted.end()


def _strings(text: str) -> Iterator[tuple[str, int]]:
    """Yield the strings of a list, and where they start; comments are passed over."""
    without = re.sub(r"#[^\n]*", lambda match: " " * len(match[0]), text)
    for match in _STRING.finditer(without):
        yield match[1] or match[2] or "", match.start()


def _end_of_list(text: str, at: int, where: str) -> int:
    end = text.find("]", at)
    if end < 0:
        raise InputError("a list does not end (expected ])", where)
    return end + 1


def _of_libxl(text: str, where: str, found: _Found) -> None:
    """Read ``host,name=value,...``."""
    first, *pairs = text.split(",")
    if first != "host":
        raise InputError(f"cpuid={first[:40]!r}: the first word is host (expected host,NAME=0,...)", where)
    for pair in filter(None, pairs):
        name, equals, value = pair.strip().partition("=")
        if not equals:
            raise InputError(f"{pair[:80]!r} has no = (expected NAME=0, 1, x, k or s)", where)
        if name in _NUMBERS:
            if not re.fullmatch(_INTEGER, value):
                raise InputError(f"{name}={value[:40]!r} is no number", where)
            found.numbers[name] = _integer(value)
        elif value not in (*_POLICIES, "x"):
            raise InputError(f"{name[:40]}={value[:40]!r} (expected 0, 1, x, k or s)", where)
        elif name not in _BY_NAME:
            found.lost.append(f"{name[:60]}={value}: archcaps has no bit that Xen calls so")
        else:
            _switch(found, _BY_NAME[name], value, where)


def _switch(found: _Found, name: str, value: str, where: str) -> None:
    spelt = BITS[name].names.get("qemu", name.replace("_", "-"))
    found.switches.pop(name, None)
    if value in _POLICIES:
        found.switches[name] = Switch(spelt, _POLICIES[value], where)


def _integer(text: str) -> int:
    return int(text, 16) if text[:2].lower() == "0x" else int(text)


def _of_xend(text: str, where: str, found: _Found) -> None:
    """Read ``leaf[,subleaf]:reg=32 characters,...``, the highest bit first."""
    match = _XEND.match(text)
    if match is None:
        raise InputError(f"{text[:60]!r} is no CPUID line (expected LEAF:eax=... or LEAF,SUBLEAF:eax=...)", where)
    leaf, subleaf = (_integer(part) for part in (match[1], match[2] or "0"))
    for part in match[3].split(","):
        output, equals, bits = part.strip().partition("=")
        if output not in ("eax", "ebx", "ecx", "edx") or not equals:
            raise InputError(f"{part[:60]!r} is no register with bits (expected eax, ebx, ecx or edx, and =)", where)
        if len(bits) != 32 or set(bits) - set("01xks"):
            raise InputError(f"{output}={bits[:40]!r} (expected 32 characters of 0, 1, x, k and s)", where)
        register = _REGISTERS.get((leaf, subleaf, output))
        mask = int("".join("01"[bit in "01"] for bit in bits), 2)
        value = int("".join("01"[bit == "1"] for bit in bits), 2)
        title = f"CPUID {leaf:#x} subleaf {subleaf:#x} {output.upper()}"
        if mask:
            found.writes.append(MaskedWrite(register, title, mask, value, where))
        if register is not None and set(bits) & set("ks"):
            for name, bit in BITS.items():
                if bit.register == register and bits[31 - bit.bit] in "ks":
                    _switch(found, name, "k", where)


def expand(asked: Asked, host: Snapshot | None, offered: Snapshot | None) -> ShownGuest:
    """Return what the configuration itself settles: the bits that it forces to 1 or 0; all others are unknown."""
    guest = with_bits(unknown_guest(), "cpuid_1_ecx", 1 << 31, 1 << 31, "Xen shows its guests that they are guests")
    if asked.identity.family is not None:
        identity = asked.identity
        guest = replace(guest, cpu=Cpu(family=identity.family, model=identity.model, stepping=identity.stepping))
    for write in asked.writes:
        if write.register is not None:
            guest = with_bits(guest, write.register, write.mask, write.value, f"cpuid= at {write.where}")
    by_spelling = {bit.names.get("qemu", name.replace("_", "-")): name for name, bit in BITS.items()}
    for switch in asked.switches:
        if switch.policy in ("force", "disable"):
            bit = BITS[by_spelling[switch.name]]
            guest = with_bits(guest, bit.register, bit.mask, bit.mask if switch.on else 0, f"cpuid= at {switch.where}")
    guest = replace(guest, name=asked.name, source="xl's cpuid=")
    notice = "archcaps has no model of Xen's default policy: what cpuid= does not force is unknown"
    return ShownGuest(asked, guest, notices=(notice,))


def patch(asked: Asked, changes: Sequence[GuestChange]) -> Patch:
    """Return the configuration as it is: archcaps reads xl's, and says what to write."""
    return Patch("conf", asked.text, asked.text, "", tuple((change, _why(change)) for change in changes))


def _why(change: GuestChange) -> str:
    if isinstance(change, MachineChange):
        return "Xen has no machine types"
    if isinstance(change, ModelChange):
        return "Xen has no CPU models: a guest has the host's, with the family, model and stepping of cpuid="
    xen = BITS[change.bit].names.get("xen") if change.bit in BITS else None
    if xen is None:
        return f"Xen has no name for {change.bit}"
    spelt = xen.lower().replace("_", "-")
    return f'archcaps does not write xl configurations: put {spelt}={change.on:d} into cpuid="host,..."'
