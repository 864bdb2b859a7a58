"""The features of a moving guest's CPU that none of the compared bits stands for: has the destination all of them?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archcaps.guest_cpu.qemu.warnings import in_order
from archcaps.machine.snapshot import Reading, Snapshot, number
from archcaps.questions.migrate_support import COMPARED, QEMU_FAMILY
from archcaps.tables.cpu_features import CpuFeature, cpu_feature, cpu_features

if TYPE_CHECKING:
    from archcaps.questions.migrate_move import Move

__all__ = ["FeatureMove", "feature_move"]


@dataclass(frozen=True, slots=True)
class FeatureMove:
    """Features by QEMU's names: `lost` the guest has and cannot be given there, of `unsure` that is not known.

    `unsaid` counts those of which the guest's snapshot does not say whether it has them; `more` is what a model has
    besides.
    """

    lost: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    unsaid: int = 0
    more: str = ""

    @property
    def unknown(self) -> int:
        """Of how many features something is not known."""
        return len(self.unsure) + self.unsaid


def feature_move(move: Move) -> FeatureMove:
    """Return what becomes of the guest's features on the destination."""
    if move.same_place or move.vmms.vmm not in QEMU_FAMILY:
        return FeatureMove()
    told = _of_host(move) if move.vmms.passthrough else move.vmms.features
    has = _of_snapshot(move.guest) if told is None else told
    lost, unsure = [], []
    for name in in_order(has):
        feature = cpu_feature(name)
        if feature is None or feature.known_as in COMPARED or has[name] is False:
            continue
        there = move.goal.supports_feature(feature)
        if there is False and has[name]:
            lost.append(feature.name)
        elif there is not True and not (has[name] and move.from_ == move.to):
            unsure.append(feature.name)
    unsaid = sum(feature.name not in has for feature in _compared()) if told is None else 0
    return FeatureMove(tuple(lost), tuple(unsure), unsaid, move.vmms.not_followed)


def _of_host(move: Move) -> dict[str, bool | None]:
    """Return the features that -cpu host has where the guest runs: what KVM offers there."""
    return {feature.name: move.home.supports_feature(feature) for feature in _compared()}


def _compared() -> set[CpuFeature]:
    """Return the features of CPUID that a guest's snapshot may speak of."""
    every = cpu_features().values()
    return {one for one in every if one.kind == "cpuid" and one.register and one.known_as not in COMPARED}


def _of_snapshot(guest: Snapshot) -> dict[str, bool]:
    """Return the features of which a snapshot says whether the guest has them: by name, or by a whole word."""
    shown, hidden = (set(), set()) if guest.cpuid is None else (set(guest.cpuid.shown), set(guest.cpuid.hidden))
    found: dict[str, bool] = {}
    for feature in _compared():
        names = {feature.known_as, feature.libvirt, *feature.names}
        word = _bit_of(guest.registers, feature)
        if names & shown or names & hidden:
            found[feature.name] = bool(names & shown)
        elif word is not None:
            found[feature.name] = word
    return found


def _bit_of(registers: Mapping[str, Reading], feature: CpuFeature) -> bool | None:
    """Return a feature's bit in a snapshot's registers; None: not known."""
    reading = registers.get(feature.register)
    if reading is None or reading.value is None:
        return None
    known = (1 << 32) - 1 if reading.known is None else number(reading.known, 32, feature.register)
    mask = 1 << feature.bit
    return bool(number(reading.value, 32, feature.register) & mask) if known & mask else None
