"""What the XML of a running domain settles: libvirt has written into it what QEMU really made.

When QEMU has started, libvirt compares every feature that it knows with the model and writes each that differs into
the running domain's XML. So a feature that libvirt knows and the XML does not name is as in libvirt's own model. With
mode='host-passthrough' only what the XML names is settled.

Source: libvirt 9.0.0 and 11.3.0 src/cpu/cpu_x86.c virCPUx86UpdateLive.
"""

from __future__ import annotations

from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.libvirt.domain import read_domain
from archcaps.guest_cpu.libvirt.names import BY_LIBVIRT
from archcaps.guest_cpu.libvirt.releases import releases_of
from archcaps.tables.cpu_features import by_libvirt
from archcaps.tables.libvirt_cpu_map import knows_feature, model_has, models_named

__all__ = ["package_threads", "settled_bits", "settled_features"]


def settled_bits(asked: Asked) -> dict[str, bool]:
    """Return the bits, by our names, that the XML of a running domain settles; none if it does not run."""
    if not asked.live:
        return {}
    found = {BY_LIBVIRT[switch.name]: switch.on for switch in asked.switches if switch.name in BY_LIBVIRT}
    # Only after a full check has libvirt written every difference.
    if asked.mode != "named" or asked.model is None or asked.check != "full":
        return found
    release = releases_of(asked).libvirt
    for feature, bit in BY_LIBVIRT.items():
        if bit not in found and knows_feature(feature, release):
            has = model_has(asked.model, feature, release)
            if has is not None:
                found[bit] = has
    return found


def settled_features(asked: Asked) -> dict[str, bool]:
    """Return the features, by QEMU's names, that the XML of a running domain settles: all that libvirt knows."""
    if not asked.live:
        return {}
    named = {switch.name: switch.on for switch in asked.switches}
    release = releases_of(asked).libvirt
    models = models_named(asked.model, release) if asked.model is not None and asked.mode == "named" else ()
    found = {}
    for name, feature in by_libvirt().items():
        told = {name in model.features for model in models if model is not None}
        if name in named:
            found[feature.name] = named[name]
        elif asked.check == "full" and knows_feature(name, release) is not False and len(told) == 1:
            found[feature.name] = told.pop()
    return found


def package_threads(asked: Asked) -> int | None:
    """Return how many threads a package of a domain's CPU has; None: it does not say."""
    if asked.vmm != "libvirt" or not asked.text:
        return None
    cpu = read_domain(asked.text, asked.where).cpu
    return None if cpu is None else cpu.threads
