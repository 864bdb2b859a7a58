"""The features of a guest's CPU that no bit of archcaps' own stands for: asked for, and supported or not.

Source: QEMU target/i386/cpu.c x86_cpu_expand_features, x86_cpu_filter_features, feature_dependencies.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.qemu.models import Definition
from archcaps.guest_cpu.qemu.supported import Answer, Supported
from archcaps.guest_cpu.qemu.warnings import in_order
from archcaps.tables import qemu as tables
from archcaps.tables.cpu_features import CpuFeature, cpu_feature, needed_by

__all__ = ["Others", "others_of"]


@dataclass
class Others:
    """What came of them: `features` by QEMU's name (None: not known); of those that the host lacks, why."""

    features: dict[str, bool | None] = field(default_factory=dict)
    lacking: dict[str, Answer] = field(default_factory=dict)
    lost_with: dict[str, str] = field(default_factory=dict)


def others_of(
    asked: Asked,
    model: Definition | None,
    supported: Supported,
    bits: Mapping[str, bool | None],
    followed: AbstractSet[str],
) -> Others:
    """Return what comes of every feature that is asked for and has no bit among `followed`; `bits` are those known."""
    work = Others()
    own = {switch.name: switch.on for switch in asked.switches}
    for name in in_order(_wanted(asked, model, own)):
        feature = cpu_feature(name)
        if feature is None or feature.known_as in followed:
            continue
        needs = needed_by(feature)
        has_it = True if not needs else _state(needs, work, bits)
        if has_it is False or (needs and has_it is None and name not in own):
            if own.get(name):
                work.features[feature.name], work.lost_with[feature.name] = False, needs
            continue
        unsure = model is not None and name in model.unsure and name not in own
        _decide(work, feature, supported, asked, sure=has_it is True and not unsure)
    return work


def _wanted(asked: Asked, model: Definition | None, own: Mapping[str, bool]) -> list[str]:
    """Return the names that the model, the accelerator or the user's words switch on, or may."""
    features = {} if model is None else dict.fromkeys((*model.features, *model.unsure), True)
    if model is not None:
        features |= tables.accelerator_defaults("tcg" if asked.accelerator == "tcg" else "kvm")
    return [name for name, on in {**features, **own}.items() if on]


def _state(name: str, work: Others, bits: Mapping[str, bool | None]) -> bool | None:
    """Return whether the guest has a feature that another one needs; not asked for, it does not."""
    feature = cpu_feature(name)
    if feature is not None and feature.known_as in bits:
        return bits[feature.known_as]
    return work.features.get(name, False)


def _decide(work: Others, feature: CpuFeature, supported: Supported, asked: Asked, *, sure: bool) -> None:
    """Note whether the guest gets a feature; `sure`: it is asked for, and what it needs is there."""
    if asked.accelerator == "tcg":
        work.features[feature.name] = None
        return
    if asked.force_features or not supported.known:
        work.features[feature.name] = True if sure else None
        return
    answer = supported.of_feature(feature)
    if answer.value is False and sure:
        work.lacking[feature.name] = answer
    work.features[feature.name] = answer.value if sure or answer.value is False else None
