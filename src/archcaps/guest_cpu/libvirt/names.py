"""libvirt's names of bits and models, and why a release cannot say one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from archcaps.errors import InputError, nearest
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS
from archcaps.tables.libvirt_cpu_map import RELEASES, cpu_map, knows_feature, model_has, models_named

__all__ = ["BY_LIBVIRT", "feature_for", "model_for", "needs_arch_capabilities"]

#: Our names of bits by libvirt's. A feature of CPUID that announces an MSR and the MSR's bits have names of their own.
BY_LIBVIRT: Final = {bit.names["libvirt"]: name for name, bit in BITS.items() if "libvirt" in bit.names}

_NAME: Final = re.compile(r"[a-zA-Z0-9._+-]+\Z")


def feature_for(bit: str, release: str | None) -> tuple[str, str]:
    """Return libvirt's name of a bit, and why it cannot be used; the reason is empty where it can.

    Raises:
        InputError: archcaps has no such bit.
    """
    if bit not in BITS:
        raise InputError(f"unknown bit {bit!r}{nearest(bit, BITS)}", "change")
    name = BITS[bit].names.get("libvirt")
    if name is None:
        return "", (
            f"libvirt has no name for {bit}, so it can be neither required nor disabled; only "
            "mode='host-passthrough' migratable='off' hands a guest bits without a name"
        )
    if release is not None and knows_feature(name, release) is False:
        first = next((known for known in RELEASES if name in cpu_map(known).features), None)
        since = f" ({first} does)" if first else ""
        return name, (
            f"libvirt {release} does not know {name}{since}: update libvirt, or hand QEMU a -cpu of your own by "
            "<qemu:commandline>, which overrides all of <cpu>"
        )
    return name, ""


def needs_arch_capabilities(bit: str, model: str | None, switches: Mapping[str, bool], release: str | None) -> bool:
    """Return whether a bit that is switched on needs CPUID's arch-capabilities beside it, without which QEMU clears it.

    `switches` are the features that the guest has on or off by name; `model` is None where it gets the host's CPU, and
    with that the host's arch-capabilities.
    """
    if bit not in ARCH_CAPABILITIES:
        return False
    if "arch-capabilities" in switches:
        return not switches["arch-capabilities"]
    return model is not None and model_has(model, "arch-capabilities", release) is not True


def model_for(model: str, release: str | None) -> str:
    """Return why a model cannot be used; nothing where it can.

    Raises:
        InputError: it is no name of a model at all.
    """
    if not _NAME.match(model):
        raise InputError(f"{model[:80]!r} is no CPU model (expected letters, digits, and . - _)", "model")
    if any(found is not None for found in models_named(model, release)) or not models_named(model, release):
        return ""
    base = re.sub(r"-v\d+\Z", "", model)
    newest = cpu_map(RELEASES[-1]).models
    alike = [name for name in newest if name.startswith(f"{base}-v")]
    if model in newest:
        return f"libvirt {release} has no model {model} ({RELEASES[-1]} has): update libvirt, or require features"
    has = f"; it has {', '.join(sorted(alike))}" if alike else nearest(model, newest)
    return f"libvirt has no model {model}{has}: take one of libvirt's and require the features that it lacks"
