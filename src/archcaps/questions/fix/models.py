"""Which other CPU models and machine types a configuration could name.

Models: the versions of its own, all that are the host's part, and with QEMU the host's own CPU. Machine types: the
newest of its kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from archcaps.guest_cpu.asked import Asked
from archcaps.machine.snapshot import Snapshot, number
from archcaps.tables import libvirt_cpu_map as libvirt
from archcaps.tables import qemu
from archcaps.tables.files import read_csv

__all__ = ["machines", "models"]

_VERSIONED: Final = re.compile(r"(.+)-v[0-9]+\Z")
_PC: Final = re.compile(r"(pc-(?:q35|i440fx)-)[0-9.]+\Z")


def models(asked: Asked, host: Snapshot) -> list[str]:
    """Return the models to try, by the VMM's names; none of VMMs that have no models, or whose are not tabled."""
    found: dict[str, None] = {}
    if asked.vmm == "qemu":
        if asked.mode != "host":
            found["host"] = None
        found |= dict.fromkeys(_of_qemu(asked, host))
    elif asked.vmm == "libvirt" and asked.mode in ("named", "default"):
        found |= dict.fromkeys(_of_libvirt(asked, host))
    found.pop(asked.model or "", None)
    return list(found)


def machines(asked: Asked) -> list[str]:
    """Return the newest machine type of the present one's kind that the VMM's release is known to have."""
    match = _PC.match(asked.machine or "")
    if match is None or asked.vmm not in ("qemu", "libvirt"):
        return []
    release = qemu.parse_release(asked.release) if asked.vmm == "qemu" and asked.release else None
    newest = ""
    for row in read_csv("qemu/machines.csv"):  # ordered by version within a kind
        first = qemu.parse_release(row["first"])
        if row["machine"].startswith(match[1]) and (release is None or (first is not None and first <= release)):
            newest = row["machine"]
    return [newest] if newest and newest != asked.machine else []


def _of_qemu(asked: Asked, host: Snapshot) -> Iterator[str]:
    release = None if asked.release is None else qemu.parse_release(asked.release)
    present = _plain(qemu.fixed_alias(asked.model or "") or asked.model or "")
    for name in qemu.model_names():
        plain = _plain(name)
        if plain == name:  # which version a plain name is, is the machine type's to say
            continue
        for version in qemu.model_versions(plain):
            there = release is None or version.span.has(release) is not False
            is_part = version.vendor == host.cpu.vendor and (version.family, version.model) == _part(host)
            if version.full_name == name and there and (plain == present or is_part):
                yield name


def _of_libvirt(asked: Asked, host: Snapshot) -> Iterator[str]:
    present, part = _family(asked.model or ""), _part(host)
    release = libvirt.speaking_for(asked.release)[-1]
    for name, model in libvirt.cpu_map(release).models.items():
        signatures = {tuple(map(int, signature.split("/")[:2])) for signature in model.signatures}
        if _family(name) == present or (part is not None and part in signatures):
            yield name


def _plain(name: str) -> str:
    match = _VERSIONED.match(name)
    return match[1] if match else name


def _family(name: str) -> str:
    """Return a model's name without its version and what it lacks: Haswell of Haswell-noTSX-IBRS."""
    return re.sub(r"(-noTSX|-IBRS|-IBPB|-v[0-9]+)+\Z", "", name)


def _part(host: Snapshot) -> tuple[int, int] | None:
    cpu = host.cpu
    if cpu.family is None or cpu.model is None:
        return None
    return number(cpu.family, 32, "cpu.family"), number(cpu.model, 32, "cpu.model")
