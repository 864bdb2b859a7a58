"""Which other CPU models a configuration could name: versions of its own, of the host's part, the host itself."""

from __future__ import annotations

from typing import Final

from archcaps.guest_cpu.asked import Asked
from archcaps.machine.snapshot import Snapshot, number
from archcaps.tables import qemu

__all__ = ["models"]

#: The VMMs whose words for a CPU are QEMU's models.
_QEMU: Final = ("qemu",)


def models(asked: Asked, host: Snapshot) -> list[str]:
    """Return the models to try, by the VMM's names.

    Of QEMU: the other versions of the present model, every version of the models that are the host's part (vendor,
    family and model), and host. Of Firecracker: none beside bits, its static templates are for whole fleets.
    """
    if asked.vmm not in _QEMU:
        return []
    found: dict[str, None] = {} if asked.mode == "host" else {"host": None}
    release = None if asked.release is None else qemu.parse_release(asked.release)
    present = _plain(asked.model or "")
    for name in qemu.model_names():
        plain = _plain(name)
        if plain == name:
            continue
        for version in qemu.model_versions(plain):
            there = release is None or version.span.has(release) is not False
            if version.full_name == name and there and (plain == present or _is_part(version, host)):
                found[name] = None
    found.pop(asked.model or "", None)
    return list(found)


def _plain(name: str) -> str:
    """Return a model's name without its version; of a fixed name, that of the version that it means."""
    plain, _, version = (qemu.fixed_alias(name) or name).rpartition("-v")
    return plain if plain and version.isdecimal() else name


def _is_part(model: qemu.CpuModel, host: Snapshot) -> bool:
    cpu = host.cpu
    if cpu.vendor != model.vendor or cpu.family is None or cpu.model is None:
        return False
    return (number(cpu.family, 32, "cpu"), number(cpu.model, 32, "cpu")) == (model.family, model.model)
