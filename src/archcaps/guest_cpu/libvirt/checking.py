"""What libvirt itself refuses before or after QEMU starts, in libvirt's own words.

Source: libvirt 9.0.0 and 11.3.0 src/cpu/cpu_x86.c x86Compute, virCPUx86UpdateLive, virCPUx86ValidateFeatures; cpu.c
virCPUCheckForbiddenFeatures, virCPUCompareUnusable; qemu_process.c qemuProcessUpdateGuestCPU; qemu_postparse.c.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.libvirt.domain import Domain
from archcaps.guest_cpu.libvirt.releases import releases_of
from archcaps.guest_cpu.qemu.models import setting
from archcaps.guest_cpu.qemu.supported import Supported
from archcaps.machine.snapshot import Snapshot
from archcaps.tables.cpu_features import by_libvirt
from archcaps.tables.libvirt_cpu_map import Model, knows_feature, models_named, version

__all__ = ["Checked", "check", "effective_check"]

_INCOMPATIBLE: Final = "the CPU is incompatible with host CPU: "
#: The last release read that compares a model that QEMU calls usable, and the first that does not.
_COMPARES_USABLE: Final = (7, 0, 0)
_SPARES_USABLE: Final = (9, 0, 0)
_VENDORS: Final = {"Intel": "GenuineIntel", "AMD": "AuthenticAMD", "Hygon": "HygonGenuine"}


def effective_check(asked: Asked) -> str:
    """Return the check that holds: what is written, else libvirt's default for the mode."""
    if asked.check is not None:
        return asked.check
    return "partial" if asked.mode in ("named", "host-model") and asked.accelerator != "tcg" else "none"


@dataclass(frozen=True, slots=True)
class Checked:
    """What comes of libvirt's check: its message if it does not start the domain, or what it depends on (not known)."""

    refused: str | None = None
    hangs_on: tuple[str, ...] = ()


def check(
    asked: Asked,
    domain: Domain,
    host: Snapshot | None,
    offered: Snapshot | None,
    by_qemu: Mapping[str, bool | None] = MappingProxyType({}),
) -> Checked:
    """Return whether libvirt starts the domain.

    `by_qemu` are the features that QEMU is asked for (by libvirt's names), with whether the guest would get them.
    """
    release = releases_of(asked).libvirt
    for switch in asked.switches:
        if release is not None and knows_feature(switch.name, release) is False:
            return Checked(f"unsupported configuration: unknown CPU feature: {switch.name}")
    models: tuple[Model | None, ...] = ()
    if asked.mode == "named" and asked.model is not None and release is not None:
        models = models_named(asked.model, release)
        if models == (None,):
            return Checked(f"internal error: Unknown CPU model {asked.model}")
    how = effective_check(asked)
    if asked.accelerator == "tcg" or how == "none":
        return Checked()
    provided = _Provided(asked, host, offered)
    for switch in asked.switches:
        if switch.policy == "forbid" and provided.has(switch.name):
            return Checked(f"{_INCOMPATIBLE}Host CPU provides forbidden feature '{switch.name}'")
    if how == "partial":
        return _partial(asked, domain, host, provided, by_qemu)
    return _full(asked, by_qemu)


class _Provided:
    """The features that a host's CPU has or its KVM offers, by libvirt's names; nothing is known without a host."""

    def __init__(self, asked: Asked, host: Snapshot | None, offered: Snapshot | None) -> None:
        where = setting(releases_of(asked).qemu, asked.machine, asked.where)
        self._supported = None if host is None else Supported(host, offered, where, host.cpu.vendor)

    def has(self, name: str) -> bool | None:
        """Return whether the host provides a feature; None: not known."""
        feature = by_libvirt().get(name)
        return None if feature is None or self._supported is None else self._supported.provides(feature)

    @property
    def known(self) -> bool:
        """Whether there is a host at all."""
        return self._supported is not None


def _partial(
    asked: Asked, domain: Domain, host: Snapshot | None, provided: _Provided, by_qemu: Mapping[str, bool | None]
) -> Checked:
    """Compare the domain's CPU with the host's, as libvirt does before QEMU starts."""
    vendor = domain.cpu.vendor if domain.cpu is not None else None
    theirs = None if host is None else host.cpu.vendor
    if vendor is not None and theirs is not None and _VENDORS.get(vendor, theirs) != theirs:
        return Checked(f"{_INCOMPATIBLE}host CPU vendor does not match required CPU vendor {vendor}")
    required = [switch.name for switch in asked.switches if switch.policy == "require"]
    left_out = {switch.name for switch in asked.switches if switch.policy != "require"}
    of_model, certain = _compared(asked, required, by_qemu)
    compared = sorted({*(of_model - left_out), *required}, key=_place)
    lacking = [name for name in compared if provided.has(name) is False]
    missing = [name for name in lacking if certain or name in required or by_qemu.get(name) is False]
    if missing:
        return Checked(f"{_INCOMPATIBLE}Host CPU does not provide required features: {', '.join(missing)}")
    unknown = [name for name in compared if provided.has(name) is None or name in lacking]
    return Checked(hangs_on=tuple(unknown) if provided.known else ())


def _compared(asked: Asked, required: Sequence[str], by_qemu: Mapping[str, bool | None]) -> tuple[frozenset[str], bool]:
    """Return the features of the model that libvirt compares with the host, or may, and whether it surely does.

    A model that QEMU calls usable is not compared from 9.0.0 on, and was in 7.0.0 (kubevirt/kubevirt#9239); a newer
    libvirt asks QEMU what blocks a model.
    """
    release = releases_of(asked).libvirt
    models = models_named(asked.model, release) if asked.model is not None else ()
    known = [model for model in models if model is not None]
    blocked = frozenset(name for name, value in by_qemu.items() if value is False)
    perhaps = frozenset(name for name, value in by_qemu.items() if value is None)
    if not (known and len(known) == len(models) and all(model.compat_check for model in known)):
        return blocked | perhaps, not perhaps
    of_model = frozenset.intersection(*(model.features - model.removed for model in known))
    always = release is not None and version(release) <= _COMPARES_USABLE
    if always or required or blocked:
        return of_model, True
    if not perhaps and release is not None and version(release) >= _SPARES_USABLE:
        return frozenset(), True
    return of_model, False


def _place(name: str) -> tuple[int, ...]:
    """Return where a feature stands in libvirt's list: CPUID by leaf, then MSRs."""
    feature = by_libvirt().get(name)
    return (2,) if feature is None else tuple(map(int, feature.place))


def _full(asked: Asked, by_qemu: Mapping[str, bool | None]) -> Checked:
    """Compare the CPU that QEMU has made with the domain's, as libvirt does after QEMU has started."""
    said = "operation failed: guest CPU doesn't match specification: "
    wanted = {switch.name for switch in asked.switches if switch.on}
    off = {switch.name for switch in asked.switches if not switch.on}
    extra = "extra features: hypervisor" if asked.mode == "named" and "hypervisor" not in wanted else ""
    names = sorted((name for name in by_qemu if name not in off), key=_place)
    missing = [name for name in names if by_qemu[name] is False]
    lacks = f"missing features: {','.join(missing)}" if missing else ""
    if extra or lacks:
        return Checked(said + ", ".join(filter(None, (extra, lacks))))
    return Checked(hangs_on=tuple(name for name in names if by_qemu[name] is None))
