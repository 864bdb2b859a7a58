"""What the XML of a running domain settles: libvirt has written into it what QEMU really made.

When QEMU has started, libvirt compares every feature that it knows with the model and writes each that differs into
the running domain's XML. So a feature that libvirt knows and the XML does not name is as in libvirt's own model. With
mode='host-passthrough' only what the XML names is settled.

Source: libvirt 9.0.0 and 11.3.0 src/cpu/cpu_x86.c virCPUx86UpdateLive.
"""

from __future__ import annotations

from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.libvirt.names import BY_LIBVIRT
from archcaps.guest_cpu.libvirt.releases import releases_of
from archcaps.tables.libvirt_cpu_map import knows_feature, model_has

__all__ = ["settled_bits"]


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
