"""KubeVirt's manifests: which virtual machines a YAML text holds, and where each says its CPU.

Source: KubeVirt d923fdb staging/src/kubevirt.io/api/core/v1 (schema.go, types.go): spec.domain.cpu and .machine of a
VirtualMachineInstance; the other kinds hold the same below their template.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from archcaps.errors import InputError
from archcaps.guest_cpu.kubevirt.yaml_tree import Node, documents

__all__ = ["Machine", "Resource", "machines", "one_machine"]

#: Where each kind holds the specification of its instances.
_SPECS: Final = {
    "VirtualMachineInstance": ("spec",),
    "VirtualMachine": ("spec", "template", "spec"),
    "VirtualMachineInstanceReplicaSet": ("spec", "template", "spec"),
    "VirtualMachinePool": ("spec", "virtualMachineTemplate", "spec", "template", "spec"),
}
_GROUPS: Final = ("kubevirt.io/", "pool.kubevirt.io/")
_INSTANCETYPES: Final = "instancetype.kubevirt.io/"


@dataclass(frozen=True, slots=True)
class Resource:
    """An instance type or preference that a machine names: `node` is its spec, None where it is not in the text."""

    kind: str
    name: str
    line: int
    node: Node | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """One virtual machine: its name, the node of its <domain>, and `spec`, the instance's specification around it.

    `instancetype` and `preference` are those that it names; `cluster` is the specification of the KubeVirt that runs
    it, where the text has that.
    """

    name: str
    domain: Node
    line: int
    spec: Node
    instancetype: Resource | None = None
    preference: Resource | None = None
    cluster: Node | None = None


def machines(text: str, where: str) -> list[Machine]:
    """Return the virtual machines of a YAML text, in their order; lists, as kubectl prints them, are opened.

    Raises:
        InputError: it is no YAML, or a machine in it has no domain.
    """
    resources = _resources(text, where)
    cluster = next((node.get("spec") for node, kind in resources if kind == "KubeVirt"), None)
    shared = {
        (kind.lower(), (_name(node) or "").lower()): node.get("spec")
        for node, kind in resources
        if (_string(node, "apiVersion") or "").startswith(_INSTANCETYPES)
    }
    return [
        _machine(node, kind, where, shared, cluster)
        for node, kind in resources
        if kind in _SPECS and (_string(node, "apiVersion") or "").startswith(_GROUPS)
    ]


def _resources(text: str, where: str) -> list[tuple[Node, str]]:
    """Return every resource of a text with its kind."""
    found = []
    waiting = documents(text, where)[::-1]
    while waiting:
        node = waiting.pop()
        kind = _string(node, "kind") or ""
        items = node.get("items")
        if items is not None and kind.endswith("List"):
            waiting += items.items[::-1]
        elif node.kind == "list":  # as jq and yq print them
            waiting += node.items[::-1]
        else:
            found.append((node, kind))
    return found


def one_machine(text: str, where: str, name: str | None = None) -> Machine:
    """Return the virtual machine of a YAML text, by name where it holds several.

    Raises:
        InputError: there is none, or several and no name says which.
    """
    found = machines(text, where)
    names = ", ".join(machine.name for machine in found[:20]) + (" ..." if len(found) > 20 else "")
    if name is not None:
        named = [machine for machine in found if machine.name == name]
        if not named:
            raise InputError(f"no virtual machine {name[:80]!r} (there are: {names or 'none'})", where)
        found = named
    if not found:
        kinds = ", ".join(_SPECS)
        raise InputError(f"no virtual machine of KubeVirt's (expected one of the kinds {kinds})", where)
    if len(found) > 1:
        raise InputError(f"{len(found)} virtual machines ({names}): say which with --domain NAME", where)
    return found[0]


def _machine(
    node: Node, kind: str, where: str, shared: dict[tuple[str, str], Node | None], cluster: Node | None
) -> Machine:
    name = _name(node)
    spec: Node = node
    path = (*_SPECS[kind], "domain")
    above = outer = spec
    for part in path:
        below = spec.get(part)
        if below is None or below.kind != "mapping":
            expected = "a mapping is expected"
            raise InputError(f"{kind} {name or ''}: no {'.'.join(path)} ({expected})", f"{where}:{spec.line}")
        outer = spec if part == "template" else outer  # a machine's own, around its instance's
        above, spec = spec, below
    return Machine(
        name or "",
        spec,
        node.line,
        above,
        _named(outer, "instancetype", "VirtualMachineClusterInstancetype", shared),
        _named(outer, "preference", "VirtualMachineClusterPreference", shared),
        cluster,
    )


def _named(spec: Node, key: str, default_kind: str, shared: dict[tuple[str, str], Node | None]) -> Resource | None:
    """Return the instance type or preference that a machine names, from the same text where it has it."""
    value = spec.get(key)
    if value is None or value.kind != "mapping":
        return None
    kind = _string(value, "kind") or default_kind
    name = _string(value, "name") or _string(value, "inferFromVolume") or ""
    return Resource(kind, name, value.line, shared.get((kind.lower(), name.lower())))


def _name(node: Node) -> str | None:
    metadata = node.get("metadata")
    return None if metadata is None else _string(metadata, "name") or _string(metadata, "generateName")


def _string(node: Node, key: str) -> str | None:
    value = node.get(key)
    return None if value is None else value.string
