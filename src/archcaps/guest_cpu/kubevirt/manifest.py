"""KubeVirt's manifests: which virtual machines a YAML text holds, and where each says its CPU.

Source: KubeVirt d923fdb staging/src/kubevirt.io/api/core/v1 (schema.go, types.go): spec.domain.cpu and .machine of a
VirtualMachineInstance; the other kinds hold the same below their template.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from archcaps.errors import InputError
from archcaps.guest_cpu.kubevirt.yaml_tree import Node, documents

__all__ = ["Machine", "machines", "one_machine"]

#: Where each kind holds the specification of its instances.
_SPECS: Final = {
    "VirtualMachineInstance": ("spec",),
    "VirtualMachine": ("spec", "template", "spec"),
    "VirtualMachineInstanceReplicaSet": ("spec", "template", "spec"),
    "VirtualMachinePool": ("spec", "virtualMachineTemplate", "spec", "template", "spec"),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """One virtual machine: its name, and the node of its <domain>; `holder` is the mapping that has it."""

    name: str
    domain: Node
    line: int


def machines(text: str, where: str) -> list[Machine]:
    """Return the virtual machines of a YAML text, in their order; lists, as kubectl prints them, are opened.

    Raises:
        InputError: it is no YAML, or a machine in it has no domain.
    """
    found = []
    waiting = documents(text, where)
    while waiting:
        node = waiting.pop(0)
        kind = _string(node, "kind")
        items = node.get("items")
        if kind in ("List", *(f"{name}List" for name in _SPECS)) and items is not None:
            waiting = [*items.items, *waiting]
        elif kind in _SPECS and (_string(node, "apiVersion") or "").startswith("kubevirt.io/"):
            found.append(_machine(node, kind, where))
    return found


def one_machine(text: str, where: str, name: str | None = None) -> Machine:
    """Return the virtual machine of a YAML text, by name where it holds several.

    Raises:
        InputError: there is none, or several and no name says which.
    """
    found = machines(text, where)
    names = ", ".join(machine.name for machine in found)
    if name is not None:
        named = [machine for machine in found if machine.name == name]
        if not named:
            raise InputError(f"no virtual machine {name!r} (there are: {names or 'none'})", where)
        found = named
    if not found:
        kinds = ", ".join(_SPECS)
        raise InputError(f"no virtual machine of KubeVirt's (expected one of the kinds {kinds})", where)
    if len(found) > 1:
        raise InputError(f"{len(found)} virtual machines ({names}): say which with --domain NAME", where)
    return found[0]


def _machine(node: Node, kind: str, where: str) -> Machine:
    metadata = node.get("metadata")
    name = None if metadata is None else _string(metadata, "name") or _string(metadata, "generateName")
    spec: Node = node
    for part in (*_SPECS[kind], "domain"):
        below = spec.get(part)
        if below is None or below.kind != "mapping":
            path = ".".join((*_SPECS[kind], "domain"))
            raise InputError(f"{kind} {name or ''}: no {path} (a mapping is expected)", f"{where}:{spec.line}")
        spec = below
    return Machine(name or "", spec, node.line)


def _string(node: Node, key: str) -> str | None:
    value = node.get(key)
    return None if value is None else value.string
