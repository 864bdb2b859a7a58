"""What a Kubernetes node offers guests, as KubeVirt's node labeller writes it in the node's labels.

Source: KubeVirt d923fdb staging/src/kubevirt.io/api/core/v1/types.go (constants of labels).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.kubevirt.yaml_tree import documents

__all__ = ["NodeOffer", "lacking", "read_node"]

_SUFFIX: Final = ".node.kubevirt.io/"


@dataclass(frozen=True, slots=True)
class NodeOffer:
    """A node's labels that speak of CPUs, by libvirt's names.

    `features` and `models` are what a guest may ask for there; `host_model` is what host-model becomes, with the
    features `host_model_required`.
    """

    name: str
    vendor: str | None
    features: frozenset[str]
    models: frozenset[str]
    host_model: str | None
    host_model_required: frozenset[str]


def read_node(text: str, where: str) -> NodeOffer:
    """Return what a node offers, from `kubectl get node NAME -o yaml` (or json).

    Raises:
        InputError: it is no YAML, or no one node; with file and line.
    """
    nodes = [each for each in documents(text, where) if (kind := each.get("kind")) is not None and kind.text == "Node"]
    if len(nodes) != 1:
        raise InputError(f"{len(nodes)} nodes (expected one: kubectl get node NAME -o yaml)", where)
    metadata = nodes[0].get("metadata")
    labels = None if metadata is None else metadata.get("labels")
    name = None if metadata is None else metadata.get("name")
    if labels is None or labels.kind != "mapping":
        raise InputError("a node without metadata.labels", f"{where}:{nodes[0].line}")
    given = {key.text: value.text for key, value in zip(labels.keys, labels.items, strict=True)}
    host_models = sorted(_named(given, "host-model-cpu"))
    vendors = sorted(_named(given, "cpu-vendor"))
    return NodeOffer(
        "" if name is None else name.text,
        vendors[0] if vendors else None,
        _named(given, "cpu-feature"),
        _named(given, "cpu-model"),
        host_models[0] if host_models else None,
        _named(given, "host-model-required-features"),
    )


def lacking(asked: Asked, node: NodeOffer) -> tuple[str, ...]:
    """Return what a virtual machine asks for and a node's labels do not offer: its model, and features required.

    KubeVirt does not schedule the machine there; a feature that the node's model brings along has a label of its own.
    """
    model = (
        [asked.model] if asked.mode == "named" and asked.model is not None and asked.model not in node.models else []
    )
    required = [each.name for each in asked.switches if each.policy == "require" and each.name not in node.features]
    return (*model, *required)


def _named(labels: dict[str, str], what: str) -> frozenset[str]:
    """Return the names of labels of one kind whose value is true."""
    prefix = f"{what}{_SUFFIX}"
    return frozenset(
        key.removeprefix(prefix) for key, value in labels.items() if key.startswith(prefix) and value == "true"
    )
