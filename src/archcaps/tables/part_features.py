"""Which features no machine of a part has: what instructions a CPU can have at all, by its family and model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from archcaps.tables.files import read_csv

__all__ = ["PartFeatures", "part_features"]


@dataclass(frozen=True, slots=True)
class PartFeatures:
    """The features, by QEMU's names, that a part lacks; none where nobody has looked at machines of it."""

    lacks: frozenset[str]
    source: str


@cache
def part_features(vendor: str | None, family: int | None, model: int | None) -> PartFeatures:
    """Return what the machines of a part lack, by CPUID's vendor, family and model."""
    for row in read_csv("silicon/part_features.csv"):
        if (row["vendor"], int(row["family"], 0), int(row["model"], 0)) == (vendor, family, model):
            source = f"{row['source']}: on none of the {row['machines']} machines of this part"
            return PartFeatures(frozenset(row["lacks"].split()), source)
    return PartFeatures(frozenset(), "")
