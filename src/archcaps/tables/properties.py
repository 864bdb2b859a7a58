"""The properties that can be proved or refuted of every configuration, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from archcaps.tables.bits import ARCH_CAPABILITIES
from archcaps.tables.files import read_toml
from archcaps.tables.names import VULNERABILITIES

__all__ = ["Property", "properties"]

_ABOUT = {
    "vulnerabilities": VULNERABILITIES,
    # Bits that no table names are never offered, before or after.
    "bits": tuple(name for name in ARCH_CAPABILITIES if not name.startswith("reserved_")),
}


@dataclass(frozen=True, slots=True)
class Property:
    """One property: a sentence, what it forbids, of which subjects, and what a VMM may show a guest there.

    `soonest` is the subject that is best looked at first, `soonest_among` the releases among which (as
    ``--kvm`` takes them), where the newest of the long-term lines show nothing.
    """

    name: str
    sentence: str
    forbids: str
    subjects: tuple[str, ...]
    shown: str
    soonest: str
    soonest_among: str = ""


@cache
def properties() -> Mapping[str, Property]:
    """Return every property by name."""
    return MappingProxyType(
        {
            name: Property(
                name,
                row["sentence"],
                row["forbids"],
                _ABOUT[row["about"]],
                row["shown"],
                row["soonest"],
                row.get("soonest_among", ""),
            )
            for name, row in read_toml("properties.toml").items()
        }
    )
