"""The identities that a pool's CPU can have: those of its hosts, and lower ones of QEMU's models that fit all of them.

A lower one: family, model and stepping are at most those of the lowest host. So no guest takes its CPU for a newer one
than some host is, or for one of another line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from archcaps.errors import InputError
from archcaps.fleet.pool.hosts import HostClass
from archcaps.fleet.pool.showable import Showable
from archcaps.guest_cpu.libvirt.names import model_for
from archcaps.guest_cpu.qemu.models import Definition, Setting, definition
from archcaps.machine.facts import part_of
from archcaps.tables import qemu as tables
from archcaps.tables.bits import BITS

__all__ = ["Identity", "identities", "libvirts_name", "models_that_fit", "nearest_model"]

_OURS: Final = {bit.names["qemu"]: name for name, bit in BITS.items() if "qemu" in bit.names}


@dataclass(frozen=True)
class Identity:
    """Family, model and stepping, whose they are, and the QEMU model that has them (None: no model that fits)."""

    vendor: str
    family: int
    model: int
    stepping: int
    of: str
    named: str | None

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Family, model, stepping."""
        return self.family, self.model, self.stepping


def identities(hosts: Sequence[HostClass], models: Sequence[Definition], *, named_only: bool = False) -> list[Identity]:
    """Return the candidates in the order in which they are preferred where all else is equal.

    First the hosts' own, the lowest numbers first; then those of the models that fit, in their order.
    `models` are those that fit. `named_only`: without those of models that libvirt has no name for, for formats in
    which an identity is a model's.

    Raises:
        InputError: none is left.
    """
    by_numbers = {(one.family, one.model, one.stepping): one.name for one in reversed(models)}
    vendor = str(hosts[0].snapshot.cpu.vendor)
    found: dict[tuple[int, int, int], Identity] = {}
    for numbers in sorted(_numbers(host) for host in hosts):
        found.setdefault(numbers, Identity(vendor, *numbers, "a host's", by_numbers.get(numbers)))
    for model in models:
        numbers = (model.family, model.model, model.stepping)
        found.setdefault(numbers, Identity(vendor, *numbers, f"QEMU's model {model.name}", model.name))
    left = [one for one in found.values() if not named_only or libvirts_name(one.numbers, models) is not None]
    if not left:
        raise InputError("libvirt has a name for no CPU model that fits all hosts", "pool")
    return left


def libvirts_name(numbers: tuple[int, int, int], models: Sequence[Definition]) -> str | None:
    """Return the fullest model that has an identity and that libvirt has a name for; None: there is none."""
    same = (one.name for one in models if (one.family, one.model, one.stepping) == numbers)
    return next((name for name in same if not model_for(name, None)), None)


def models_that_fit(
    hosts: Sequence[HostClass], can: Mapping[str, Sequence[Showable]], where: Setting
) -> list[Definition]:
    """Return QEMU's models, at most as high as the lowest host, of which no feature is known to be missing on a host.

    First those of a host's own family and model, then the others; the fullest of each first.
    """
    missing = _missing(can)
    own, lowest = {_numbers(host)[:2] for host in hosts}, min(_numbers(host) for host in hosts)
    fitting = [
        one
        for one in _models(hosts, where)
        if (one.family, one.model, one.stepping) <= lowest and not _ours(one) & missing
    ]
    return sorted(fitting, key=lambda one: ((one.family, one.model) not in own, -len(one.features), one.name))


def nearest_model(
    numbers: tuple[int, int, int],
    hosts: Sequence[HostClass],
    can: Mapping[str, Sequence[Showable]],
    where: Setting,
) -> Definition | None:
    """Return the QEMU model to describe an identity by: of its family and model if there is one, else one that fits.

    Of several the one with the same stepping, then with the fewest features that some host lacks, then the fullest.
    """
    missing = _missing(can)

    def distance(one: Definition) -> tuple[bool, bool, int, int, str]:
        other = (one.family, one.model) != numbers[:2]
        lacks = len(_ours(one) & missing)
        return other, one.stepping != numbers[2] and not other, lacks, -len(one.features), one.name

    return min(_models(hosts, where), key=distance, default=None)


def _models(hosts: Sequence[HostClass], where: Setting) -> list[Definition]:
    """Return every 64-bit model of the hosts' vendor and families that QEMU has."""
    vendor = hosts[0].snapshot.cpu.vendor
    families = {_numbers(host)[0] for host in hosts}
    versions = (version for name in tables.model_names() for version in tables.model_versions(name))
    return [
        definition(version.full_name, where, "pool")
        for version in versions
        if version.vendor == vendor and version.family in families and version.span.has(where.release)
        and "lm" in version.features
    ]  # fmt: skip


def _missing(can: Mapping[str, Sequence[Showable]]) -> set[str]:
    return {name for name, answers in can.items() if any(answer.value is False for answer in answers)}


def _ours(model: Definition) -> set[str]:
    return {_OURS[feature] for feature in model.features if feature in _OURS}


def _numbers(host: HostClass) -> tuple[int, int, int]:
    part = part_of(host.snapshot)
    assert part.family is not None and part.model is not None and part.stepping is not None, "checked when it was read"
    return part.family, part.model, part.stepping
