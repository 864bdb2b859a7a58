"""oVirt's ServerCPUList: the CPU types of a cluster, as the engine holds them (engine-config -g ServerCPUList).

An entry is `level:title:flags a host must have:CPU,+flag,-flag:architecture`; entries are separated by semicolons.
Read only: a cluster's type is chosen in the engine, by its title.
Source: ovirt-engine 3eec250 packaging/dbscripts/upgrade/pre_upgrade/0000_config.sql.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from archcaps.errors import InputError, nearest
from archcaps.guest_cpu import formats
from archcaps.guest_cpu.asked import Asked, Switch
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.machine.snapshot import Snapshot

__all__ = ["CpuType", "cpu_types", "expand", "looks_like", "read"]

_ENTRY: Final = re.compile(
    r"(?<!\d)(?P<level>\d{1,4}):(?P<title>[^:;'\n]{1,200}):(?P<flags>[^:;'\n]{0,1000}):"
    r"(?P<cpu>[^:;'\n]{1,1000}):(?P<arch>x86_64|ppc64|s390x)(?=\s*(?:;|'|\Z|\n))"
)


@dataclass(frozen=True, slots=True)
class CpuType:
    """One CPU type: its title, what a host must have, the model and features of its guests, and its line from 1."""

    title: str
    required: tuple[str, ...]
    model: str
    switches: tuple[Switch, ...]
    line: int


def looks_like(text: str, name: str) -> bool:
    """Return whether a text holds entries of ServerCPUList."""
    return "ServerCPUList" in name or any("model_" in match["flags"] for match in _ENTRY.finditer(text))


def cpu_types(text: str, where: str) -> list[CpuType]:
    """Return the CPU types for x86 in a text: the option's value, engine-config's output, or its SQL.

    Raises:
        InputError: there is none, or an entry's CPU cannot be read; with the line.
    """
    found = []
    line, at = 1, 0
    for match in _ENTRY.finditer(text):
        line, at = line + text.count("\n", at, match.start()), match.start()
        if match["arch"] != "x86_64":
            continue
        here = f"{where}:{line}"
        model, *words = match["cpu"].split(",")
        switches = tuple(_switch(word.strip(), here) for word in words if word.strip())
        found.append(CpuType(match["title"].strip(), tuple(match["flags"].split(",")), model.strip(), switches, line))
    if not found:
        raise InputError("no entry of ServerCPUList (expected level:title:flags:CPU,+flag:x86_64;)", where)
    return found


def read(text: str, where: str, name: str | None = None) -> Asked:
    """Return what guests of a cluster with a CPU type get; `name` is its title, where there are several.

    Raises:
        InputError: there is no such type, or several and no title says which.
    """
    types = cpu_types(text, where)
    titles = list(dict.fromkeys(each.title for each in types))
    if name is None and len(titles) > 1:
        some = ", ".join(titles[:3])
        raise InputError(f"{len(titles)} CPU types ({some} ...): say which with --domain TITLE", where)
    named = [each for each in types if name in (None, each.title)]
    if not named:
        asked = (name or "")[:80]
        raise InputError(f"no CPU type {asked!r}{nearest(asked, titles)}", where)
    found = named[-1]  # of several cluster levels the newest, which stands last
    lost = [f"{len(named)} cluster levels have {found.title}: taken as the last"] if len(named) > 1 else []
    return Asked(
        vmm="ovirt",
        mode="named",
        model=found.model,
        switches=found.switches,
        accelerator="kvm",
        name=found.title,
        where=where,
        lost_in_words=tuple(lost),
        text=text,
    )


def expand(asked: Asked, host: Snapshot | None, offered: Snapshot | None) -> ShownGuest:
    """Return what the guest is shown: oVirt makes a libvirt domain of it, with the same words.

    Raises:
        InputError: QEMU has no such model or version.
    """
    return replace(formats.expand(replace(asked, vmm="libvirt", text=""), host, offered), asked=asked)


def _switch(word: str, here: str) -> Switch:
    if not re.fullmatch(r"[+-][a-zA-Z0-9_.-]+", word):
        raise InputError(f"{word[:80]!r} is no flag (expected +name or -name)", here)
    return Switch(word[1:], "disable" if word[0] == "-" else "require", here)
