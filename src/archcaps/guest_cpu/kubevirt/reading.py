"""From KubeVirt's manifests to what is asked for."""

from __future__ import annotations

from typing import Final, cast

from archcaps.errors import InputError, nearest
from archcaps.guest_cpu.asked import Asked, Mode, Policy, Switch
from archcaps.guest_cpu.kubevirt.manifest import one_machine
from archcaps.guest_cpu.kubevirt.yaml_tree import Node

__all__ = ["child", "read", "text_of"]

_MODES: Final[dict[str, Mode]] = {"host-model": "host-model", "host-passthrough": "host"}
_POLICIES: Final = ("force", "require", "optional", "disable", "forbid")


def read(text: str, where: str, name: str | None = None) -> Asked:
    """Return what a virtual machine asks for; `name` says which, where there are several.

    Without a model KubeVirt takes host-model, and a feature without a policy is required.

    Raises:
        InputError: it is no YAML, holds no virtual machine or several, or a value is of another type; with the line.
    """
    machine = one_machine(text, where, name)
    cpu = child(machine.domain, "cpu", "mapping", where)
    model = None if cpu is None else text_of(cpu, "model", where)
    chip = child(machine.domain, "machine", "mapping", where)
    lost = []
    if model is None:
        lost.append("no model is given: KubeVirt takes host-model, unless the cluster's cpuModel says otherwise")
    return Asked(
        vmm="kubevirt",
        mode=_MODES.get(model or "host-model", "named"),
        model=model if model not in _MODES else None,
        switches=() if cpu is None else _features(cpu, where),
        machine=None if chip is None else text_of(chip, "type", where),
        accelerator="kvm",
        name=machine.name,
        where=where,
        lost_in_words=tuple(lost),
        text=text,
    )


def child(node: Node, key: str, kind: str, where: str) -> Node | None:
    """Return a value of a mapping, which is absent, null, or of this kind.

    Raises:
        InputError: it is of another kind.
    """
    value = node.get(key)
    if value is None or value.null:
        return None
    if value.kind != kind:
        raise InputError(f"{key} is a {value.kind} (expected a {kind})", f"{where}:{value.line}")
    return value


def text_of(node: Node, key: str, where: str) -> str | None:
    """Return a text of a mapping; None where it is absent, null or empty.

    Raises:
        InputError: it is a number, a truth value, a list or a mapping.
    """
    value = child(node, key, "scalar", where)
    if value is None:
        return None
    if value.string is None:
        raise InputError(f"{key} is {value.text!r} (expected a text; quotes make it one)", f"{where}:{value.line}")
    return value.string or None


def _features(cpu: Node, where: str) -> tuple[Switch, ...]:
    features = child(cpu, "features", "list", where)
    found: dict[str, Switch] = {}
    for item in [] if features is None else features.items:
        here = f"{where}:{item.line}"
        if item.kind != "mapping":
            raise InputError("a feature that is no mapping (expected name: and policy:)", here)
        name = text_of(item, "name", where)
        if name is None:
            raise InputError("a feature without a name", here)
        if name in found:
            raise InputError(f"feature {name!r} stands twice (the first at {found[name].where})", here)
        policy = text_of(item, "policy", where) or "require"
        if policy not in _POLICIES:
            expected = f"(expected one of {', '.join(_POLICIES)})"
            raise InputError(f"policy {policy!r}{nearest(policy, _POLICIES)} {expected}", here)
        found[name] = Switch(name, cast(Policy, policy), here)
    return tuple(found.values())
