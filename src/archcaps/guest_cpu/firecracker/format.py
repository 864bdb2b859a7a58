"""Firecracker's JSON: a custom CPU template, a machine configuration, or a whole VM configuration.

Source: firecracker@81b38b9 src/vmm/src/resources.rs VmmConfig, src/vmm/src/vmm_config/machine_config.rs
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from archcaps.errors import InputError, nearest
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.devices import maybe_device
from archcaps.guest_cpu.firecracker.expanding import expand
from archcaps.guest_cpu.firecracker.patching import patch
from archcaps.guest_cpu.firecracker.releases import STATIC_TEMPLATES
from archcaps.guest_cpu.firecracker.template import TEMPLATE_FIELDS, modifiers, write_of
from archcaps.guest_cpu.json_tree import JsonNode, read_json

__all__ = ["expand", "looks_like", "patch", "read"]

_ARM_TEMPLATES: Final = ("V1N1",)
_VM_FIELDS: Final = ("machine-config", "boot-source", "cpu-config")
_MARKS: Final = (*TEMPLATE_FIELDS, "reg_modifiers", "vcpu_features", "mem_size_mib", "cpu_template", *_VM_FIELDS)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of a configuration that speak of the CPU; each may be missing."""

    template: JsonNode | None = None
    static: str | None = None
    path: str | None = None


def looks_like(text: str, name: str) -> bool:
    """Return whether a text is JSON that names what only Firecracker's configurations have."""
    return text.lstrip()[:1] == "{" and any(f'"{mark}"' in text for mark in _MARKS)


def read(text: str, where: str) -> Asked:
    """Return what a configuration asks for.

    Raises:
        InputError: it is not JSON, or Firecracker for x86_64 would refuse what it says of the CPU.
    """
    document = read_json(text, where)
    parts = _parts(document)
    lost: tuple[str, ...] = ()
    if parts.path is not None:
        lost = (f"the CPU template stands in {parts.path!r}, which was not read: give that file itself",)
    writes = tuple(write_of(modifier) for modifier in modifiers(parts.template)) if parts.template is not None else ()
    template = parts.template is not None or parts.static is not None or parts.path is not None
    return Asked(
        vmm="firecracker",
        mode="template" if template else "host",
        model=parts.static,
        writes=writes,
        accelerator="kvm",
        check="enforce",
        devices=tuple(
            maybe_device(f"{key[:60]}", node.where, "what archcaps knows of Firecracker has no assigned devices")
            for key, node in (document.members or {}).items()
            if "vfio" in key and (node.items or node.members)
        ),
        name=Path(where).stem,
        where=where,
        lost_in_words=lost,
        text=text,
    )


def _parts(document: JsonNode) -> _Parts:
    members = document.object("a configuration of Firecracker")
    if any(name in members for name in _VM_FIELDS):
        return _of_vm(members)
    if "vcpu_count" in members or "mem_size_mib" in members or "cpu_template" in members:
        return _Parts(static=_static(members))
    return _Parts(template=document)


def _of_vm(members: dict[str, JsonNode]) -> _Parts:
    machine = members.get("machine-config")
    static = None if machine is None or machine.null else _static(machine.object("machine-config"))
    config = members.get("cpu-config")
    if config is None or config.null:
        return _Parts(static=static)
    # A custom template takes the place of a static one: resources.rs reads machine-config first.
    if isinstance(config.scalar, str):
        return _Parts(path=config.scalar[:200])
    config.object("cpu-config")
    return _Parts(template=config)


def _static(machine: dict[str, JsonNode]) -> str | None:
    node = machine.get("cpu_template")
    if node is None or node.null:
        return None
    name = node.text("cpu_template")
    if name in _ARM_TEMPLATES:
        raise InputError(f"the CPU template {name} is for ARM: archcaps reads those for x86_64", node.where)
    if name == "None":
        return None
    if name not in STATIC_TEMPLATES:
        known = ", ".join(STATIC_TEMPLATES)
        raise InputError(
            f"unknown CPU template {name[:80]!r}{nearest(name, STATIC_TEMPLATES)}; expected {known}, None", node.where
        )
    return name
