"""What libvirt itself refuses before or after QEMU starts, in libvirt's own words.

Source: libvirt 9.0.0 and 11.3.0 src/cpu/cpu_x86.c x86Compute, virCPUx86UpdateLive, virCPUx86ValidateFeatures; cpu.c
virCPUCheckForbiddenFeatures, virCPUCompareUnusable; qemu_process.c qemuProcessUpdateGuestCPU; qemu_postparse.c.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.libvirt.domain import Domain
from archcaps.guest_cpu.libvirt.names import BY_LIBVIRT
from archcaps.guest_cpu.libvirt.releases import releases_of
from archcaps.guest_cpu.snapshot_bits import has_bit
from archcaps.machine.snapshot import Snapshot
from archcaps.tables.libvirt_cpu_map import RELEASES, Model, cpu_map, knows_feature, models_named

__all__ = ["effective_check", "provided", "refusal"]

_INCOMPATIBLE: Final = "the CPU is incompatible with host CPU: "
_VENDORS: Final = {"Intel": "GenuineIntel", "AMD": "AuthenticAMD", "Hygon": "HygonGenuine"}


def effective_check(asked: Asked) -> str:
    """Return the check that holds: what is written, else libvirt's default for the mode."""
    if asked.check is not None:
        return asked.check
    return "partial" if asked.mode in ("named", "host-model") and asked.accelerator != "tcg" else "none"


def refusal(
    asked: Asked, domain: Domain, host: Snapshot | None, offered: Snapshot | None, lost_by_qemu: Collection[str]
) -> str | None:
    """Return libvirt's message if it does not start the domain; None: it does, or that is not known.

    `lost_by_qemu` are features (by libvirt's names) that QEMU would switch off on this host.
    """
    release = releases_of(asked).libvirt
    for switch in asked.switches:
        if release is not None and knows_feature(switch.name, release) is False:
            return f"unsupported configuration: unknown CPU feature: {switch.name}"
    models: tuple[Model | None, ...] = ()
    if asked.mode == "named" and asked.model is not None and release is not None:
        models = models_named(asked.model, release)
        if models == (None,):
            return f"internal error: Unknown CPU model {asked.model}"
    check = effective_check(asked)
    if asked.accelerator == "tcg" or check == "none":
        return None
    for switch in asked.switches:
        bit = BY_LIBVIRT.get(switch.name)
        if switch.policy == "forbid" and bit is not None and provided(bit, host, offered):
            return f"{_INCOMPATIBLE}Host CPU provides forbidden feature '{switch.name}'"
    if check == "partial":
        return _partial(asked, domain, host, offered, lost_by_qemu)
    return _full(asked, lost_by_qemu)


def provided(bit: str, host: Snapshot | None, offered: Snapshot | None) -> bool | None:
    """Return whether the host's CPU or KVM has a bit: what libvirt compares a domain with."""
    found = [has_bit(machine, bit) for machine in (host, offered) if machine is not None]
    if True in found:
        return True
    return False if len(found) == 2 and None not in found else None


def _partial(
    asked: Asked, domain: Domain, host: Snapshot | None, offered: Snapshot | None, lost_by_qemu: Collection[str]
) -> str | None:
    """Compare the domain's CPU with the host's, as libvirt does before QEMU starts."""
    vendor = domain.cpu.vendor if domain.cpu is not None else None
    theirs = None if host is None else host.cpu.vendor
    if vendor is not None and theirs is not None and _VENDORS.get(vendor, theirs) != theirs:
        return f"{_INCOMPATIBLE}host CPU vendor does not match required CPU vendor {vendor}"
    required = [switch.name for switch in asked.switches if switch.policy == "require"]
    left_out = {switch.name for switch in asked.switches if switch.policy != "require"}
    models = models_named(asked.model, releases_of(asked).libvirt) if asked.model is not None else ()
    known = [model for model in models if model is not None]
    if known and len(known) == len(models) and all(model.compat_check for model in known):
        of_model = frozenset.intersection(*(model.features for model in known))
        if not required and not lost_by_qemu:
            of_model = frozenset()  # a model that QEMU calls usable is not compared
    else:
        of_model = frozenset(lost_by_qemu)
    missing = [
        name
        for name in sorted({*(of_model - left_out), *required}, key=_place)
        if name in BY_LIBVIRT and provided(BY_LIBVIRT[name], host, offered) is False
    ]
    return f"{_INCOMPATIBLE}Host CPU does not provide required features: {', '.join(missing)}" if missing else None


def _place(name: str) -> tuple[str, int, int]:
    """Return where a feature stands in libvirt's list: CPUID by leaf, then MSRs."""
    feature = cpu_map(RELEASES[-1]).features.get(name)
    return ("", 0, 0) if feature is None else (feature.kind, feature.address, feature.mask)


def _full(asked: Asked, lost_by_qemu: Collection[str]) -> str | None:
    """Compare the CPU that QEMU has made with the domain's, as libvirt does after QEMU has started."""
    said = "operation failed: guest CPU doesn't match specification: "
    wanted = {switch.name for switch in asked.switches if switch.on}
    extra = "extra features: hypervisor" if asked.mode == "named" and "hypervisor" not in wanted else ""
    missing = [name for name in lost_by_qemu if name not in {each.name for each in asked.switches if not each.on}]
    lacks = f"missing features: {','.join(missing)}" if missing else ""
    return said + ", ".join(filter(None, (extra, lacks))) if extra or lacks else None
