"""A pool's CPU in the VMMs' own languages, by the writers of `archcaps.guest_cpu`."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from archcaps.fleet.pool.identities import Identity, libvirts_name
from archcaps.fleet.pool.results import Document
from archcaps.fleet.pool.showable import POOLED
from archcaps.guest_cpu.asked import Vmm
from archcaps.guest_cpu.changes import SwitchChange
from archcaps.guest_cpu.firecracker.bitmap import write_bitmap
from archcaps.guest_cpu.formats import patch, read_configuration
from archcaps.guest_cpu.qemu.models import Definition
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS

__all__ = ["LANGUAGES", "documents"]

LANGUAGES: Final = ("libvirt", "qemu", "firecracker", "kubevirt")
_DOMAIN: Final = """<domain type='kvm'>
  <cpu mode='custom' match='exact' check='full'>
    <model fallback='forbid'>{model}</model>
  </cpu>
</domain>
"""
_INSTANCE: Final = """apiVersion: kubevirt.io/v1
kind: VirtualMachineInstance
metadata:
  name: pool
spec:
  domain:
    cpu:
      model: {model}
"""
#: What Firecracker sets itself, after the template.
_SET_BY_FIRECRACKER: Final = ("hypervisor", "ospke")


def documents(
    identity: Identity,
    shown: Mapping[str, bool],
    models: Sequence[Definition],
    nearest: Definition | None,
    seen: Collection[str],
) -> list[Document]:
    """Return the CPU in every language.

    `models` are QEMU's that fit the pool, in the order of preference; `nearest` is the one to describe the identity
    by; `seen`: the bits that KVM offers on some host.
    """
    writers: dict[str, Callable[[], Document]] = {
        "libvirt": lambda: _by_libvirts_model("libvirt", _DOMAIN, identity, shown, models),
        "qemu": lambda: _qemu(identity, shown, nearest),
        "firecracker": lambda: _firecracker(identity, shown, seen),
        "kubevirt": lambda: _by_libvirts_model("kubevirt", _INSTANCE, identity, shown, models),
    }
    return [writers[language]() for language in LANGUAGES]


def _qemu(identity: Identity, shown: Mapping[str, bool], best: Definition | None) -> Document:
    """Write a -cpu value: the nearest model, with the numbers and the features that it has otherwise."""
    if best is None:
        return Document("qemu", "", refused="QEMU has no CPU model of this vendor and family")
    words = [best.name]
    for name, own, wanted in zip(
        ("family", "model", "stepping"), (best.family, best.model, best.stepping), identity.numbers, strict=True
    ):
        if own != wanted:
            words.append(f"{name}={wanted}")
    text = f"qemu:{','.join([*words, 'enforce=on'])}"
    document = _patched("qemu", text, [SwitchChange(name, on) for name, on in _told(shown, "qemu")])
    return Document("qemu", "-cpu " + document.text.removeprefix("qemu:") + "\n", document.notes)


def _by_libvirts_model(
    vmm: Vmm, text: str, identity: Identity, shown: Mapping[str, bool], models: Sequence[Definition]
) -> Document:
    """Write a model by name with the features that it has otherwise: libvirt has no words for an identity alone."""
    named = libvirts_name(identity.numbers, models)
    if named is None:
        numbers = "/".join(map(str, identity.numbers))
        why = (
            f"libvirt gives a guest an identity by a CPU model's name alone, and none that fits has {numbers}"
            f" (archcaps pool --format {vmm} searches among the models' identities)"
        )
        return Document(vmm, "", refused=why)
    has = next(one.features for one in models if one.name == named)
    told = _told(shown, "libvirt")
    changes = [SwitchChange(name, on) for name, on in told if (BITS[name].names["libvirt"] in has) is not on]
    return _patched(vmm, text.format(model=named), changes)


def _firecracker(identity: Identity, shown: Mapping[str, bool], seen: Collection[str]) -> Document:
    """Write a template; its identity stands in CPUID leaf 1, which KVM would fill with the host's own.

    Bits that no host has are not named: Firecracker does not start where KVM has no such leaf.
    """
    family, model, stepping = identity.numbers
    signature = stepping | (model & 15) << 4 | min(family, 15) << 8 | (model >> 4) << 16 | max(family - 15, 0) << 20
    eax = {"register": "eax", "bitmap": write_bitmap(0x0FFF0FFF, signature, 32)}
    leaf = {"leaf": "0x1", "subleaf": "0x0", "flags": 0, "modifiers": [eax]}
    text = json.dumps({"cpuid_modifiers": [leaf]}, indent=2) + "\n"
    told = [
        (name, on)
        for name, on in shown.items()
        if name in POOLED and name not in _SET_BY_FIRECRACKER and (on or name in seen)
    ]
    return _patched("firecracker", text, [SwitchChange(name, on) for name, on in told])


def _told(shown: Mapping[str, bool], consumer: str) -> list[tuple[str, bool]]:
    """Return the bits that are said: those with a name; the register's CPUID bit first, then the register's bits."""
    named = [(name, on) for name, on in shown.items() if consumer in BITS[name].names and name != "hypervisor"]
    return sorted(named, key=lambda item: (item[0] in ARCH_CAPABILITIES, item[0] != "arch_capabilities"))


def _patched(vmm: Vmm, text: str, changes: Sequence[SwitchChange]) -> Document:
    done = patch(read_configuration(text, "pool", vmm), changes)
    return Document(vmm, done.after, [f"{change.bit}: {why}" for change, why in done.impossible
                                      if isinstance(change, SwitchChange)])  # fmt: skip
