"""From KubeVirt's manifests to what is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

from archcaps.errors import InputError, nearest
from archcaps.guest_cpu.asked import Asked, HostDevice, Mode, Policy, Switch
from archcaps.guest_cpu.devices import maybe_device, mediated_device, pci_device
from archcaps.guest_cpu.kubevirt.manifest import Machine, Resource, one_machine
from archcaps.guest_cpu.kubevirt.yaml_tree import Node

__all__ = ["child", "read", "text_of"]

_MODES: Final[dict[str, Mode]] = {"host-model": "host-model", "host-passthrough": "host"}
_POLICIES: Final = ("force", "require", "optional", "disable", "forbid")
_X86: Final = ("amd64", "x86_64")
_ARCH_LABELS: Final = ("kubernetes.io/arch", "beta.kubernetes.io/arch")
#: What the cluster's configuration calls the devices that a machine names, each with what it is.
_PERMITTED: Final = (("pciHostDevices", pci_device), ("mediatedDevices", mediated_device))


def read(text: str, where: str, name: str | None = None) -> Asked:
    """Return what a virtual machine asks for; `name` says which, where there are several.

    Without a model KubeVirt takes that of the instance type, the cluster's cpuModel, or host-model; a feature without a
    policy is required. An instance type that the text does not have leaves the CPU unknown.

    Raises:
        InputError: it is no YAML, holds no virtual machine or several, the machine is not for x86, or a value is of
            another type; with the line.
    """
    machine = one_machine(text, where, name)
    _refuse_other_cpus(machine, where)
    cpu = child(machine.domain, "cpu", "mapping", where)
    chip = child(machine.domain, "machine", "mapping", where)
    lost: list[str] = []
    model = _model(machine, cpu, where, lost)
    preferred = _preferred(machine, "cpu", where)
    switches = {switch.name: switch for switch in _features(preferred, "preferredCPUFeatures", where)}
    switches |= {switch.name: switch for switch in _features(cpu, "features", where)}
    type_ = None if chip is None else text_of(chip, "type", where)
    if type_ is None and (preferred_chip := _preferred(machine, "machine", where)) is not None:
        type_ = text_of(preferred_chip, "preferredMachineType", where)
    return Asked(
        vmm="kubevirt",
        mode="default" if _absent(machine) else _MODES.get(model or "host-model", "named"),
        model=model if model not in _MODES else None,
        switches=tuple(switches.values()),
        machine=type_,
        accelerator="kvm",
        devices=tuple(_devices(machine, where)),
        name=machine.name,
        where=where,
        lost_in_words=tuple(lost),
        text=text,
    )


def _refuse_other_cpus(machine: Machine, where: str) -> None:
    """Refuse a machine whose specification, or the nodes that it wants, are for another CPU.

    Raises:
        InputError: it is so.
    """
    arch = machine.spec.get("architecture")
    wanted = [] if arch is None else [arch]
    selector = machine.spec.get("nodeSelector")
    wanted += [] if selector is None else [each for label in _ARCH_LABELS if (each := selector.get(label)) is not None]
    for node in wanted:
        if node.kind == "scalar" and not node.null and node.text not in ("", *_X86):
            raise InputError(f"a guest of {node.text[:40]}: archcaps knows x86 alone", f"{where}:{node.line}")
    affinity = machine.spec.get("affinity")
    for names in () if affinity is None else _arch_expressions(affinity):
        if names.items and not {each.text for each in names.items} & set(_X86):
            what = ", ".join(each.text[:40] for each in names.items[:3])
            raise InputError(f"a guest for nodes of {what}: archcaps knows x86 alone", f"{where}:{names.line}")


def _arch_expressions(affinity: Node) -> Iterator[Node]:
    """Yield the values of each required In-expression about the nodes' architecture."""
    node: Node | None = affinity
    for key in ("nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"):
        node = None if node is None else node.get(key)
    for term in [] if node is None else node.items:
        expressions = term.get("matchExpressions")
        for each in [] if expressions is None else expressions.items:
            label, operator, values = (each.get(name) for name in ("key", "operator", "values"))
            if label is not None and label.text in _ARCH_LABELS and operator is not None and operator.text == "In":
                yield from () if values is None else (values,)


def _model(machine: Machine, cpu: Node | None, where: str, lost: list[str]) -> str | None:
    """Return the CPU model by name: the machine's own, its instance type's, or the cluster's; None: it is not said."""
    model = None if cpu is None else text_of(cpu, "model", where)
    type_ = machine.instancetype
    if type_ is not None and type_.node is not None and model is None:
        of_type = child(type_.node, "cpu", "mapping", where)
        model = None if of_type is None else text_of(of_type, "model", where)
    lost += [_say_absent(resource) for resource in _absent(machine)]
    if model is not None or (type_ is not None and type_.node is None):
        return model
    settings = None if machine.cluster is None else child(machine.cluster, "configuration", "mapping", where)
    model = None if settings is None else text_of(settings, "cpuModel", where)
    if model is None:
        lost.append("no model is given: KubeVirt takes host-model, unless the cluster's cpuModel says otherwise")
    return model


def _absent(machine: Machine) -> list[Resource]:
    """Return what the machine's CPU may come of and the text does not have."""
    named = (machine.instancetype, machine.preference)
    return [resource for resource in named if resource is not None and resource.node is None]


def _say_absent(resource: Resource) -> str:
    kind, name = resource.kind[:60], resource.name[:60]
    return (
        f"nothing is known of the CPU: it may come of the {kind} {name}, which is not in this text (put it behind a "
        f"line with ---: kubectl get {kind.lower()} {name} -o yaml)"
    )


def _preferred(machine: Machine, key: str, where: str) -> Node | None:
    """Return a part of the machine's preference, where the text has it."""
    preference = machine.preference
    node = None if preference is None else preference.node
    return None if node is None else child(node, key, "mapping", where)


def _devices(machine: Machine, where: str) -> Iterator[HostDevice]:
    """Yield the host's devices: of the machine itself, and of its instance type."""
    devices = child(machine.domain, "devices", "mapping", where)
    type_ = machine.instancetype
    if type_ is not None and type_.node is None:
        what = f"{type_.kind} {type_.name}"
        yield maybe_device(what, f"{where}:{type_.line}", "it is not in this text, and may give devices (gpus)")
    for holder in (devices, None if type_ is None else type_.node):
        for key in ("gpus", "hostDevices"):
            listed = None if holder is None else child(holder, key, "list", where)
            for item in [] if listed is None else listed.items:
                yield _named_device(machine, key, item, f"{where}:{item.line}")
    interfaces = None if devices is None else child(devices, "interfaces", "list", where)
    for item in [] if interfaces is None else interfaces.items:
        if item.get("sriov") is not None:
            yield pci_device("an interface with sriov", f"{where}:{item.line}")


def _named_device(machine: Machine, key: str, item: Node, here: str) -> HostDevice:
    """Return a device by the name of its resource: what that is, the cluster's permittedHostDevices say."""
    resource = item.get("deviceName")
    name = "" if resource is None else resource.text
    what = f"{key}: {name}"
    settings = None if machine.cluster is None else machine.cluster.get("configuration")
    permitted = None if settings is None else settings.get("permittedHostDevices")
    for kind, made in _PERMITTED:
        listed = None if permitted is None else permitted.get(kind)
        for each in [] if listed is None else listed.items:
            named = each.get("resourceName")
            if named is not None and named.text == name:
                return made(what, here)
    if key == "gpus":  # a PCI device, or a vGPU, whose driver maps the graphics memory
        return pci_device(what, here)
    because = "whether it is a PCI, a mediated or a USB device, the cluster's permittedHostDevices say"
    return maybe_device(what, here, because)


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
        raise InputError(f"{key} is {value.text[:60]!r} (expected a text; quotes make it one)", f"{where}:{value.line}")
    return value.string or None


def _features(cpu: Node | None, key: str, where: str) -> tuple[Switch, ...]:
    features = None if cpu is None else child(cpu, key, "list", where)
    found: dict[str, Switch] = {}
    for item in [] if features is None else features.items:
        here = f"{where}:{item.line}"
        if item.kind != "mapping":
            raise InputError("a feature that is no mapping (expected name: and policy:)", here)
        name = text_of(item, "name", where)
        if name is None:
            raise InputError("a feature without a name", here)
        if name in found:
            raise InputError(f"feature {name[:80]!r} stands twice (the first at {found[name].where})", here)
        policy = text_of(item, "policy", where) or "require"
        if policy not in _POLICIES:
            expected = f"(expected one of {', '.join(_POLICIES)})"
            raise InputError(f"policy {policy[:80]!r}{nearest(policy, _POLICIES)} {expected}", here)
        found[name] = Switch(name, cast(Policy, policy), here)
    return tuple(found.values())
