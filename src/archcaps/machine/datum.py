"""One fact with how it is known, and the facts about a guest on a host together."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Datum", "Facts"]


@dataclass(frozen=True, slots=True)
class Datum:
    """One fact: its value, how it is known, and where from. `verified` is False where the source itself is in doubt."""

    value: bool
    provenance: str
    source: str
    verified: bool = True


@dataclass
class Facts:
    """The known facts by name, and for facts that tables leave unknown the sentence that says why."""

    known: dict[str, Datum] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: bool | None, provenance: str, source: str, *, verified: bool = True) -> None:
        """Note a fact; an unknown one with the reason `source`."""
        if value is None:
            self.unknown[name] = source
        else:
            self.known[name] = Datum(value, provenance, source, verified)

    def include(self, other: Facts) -> None:
        """Add what `other` knows and what it does not know."""
        self.known |= other.known
        self.unknown |= other.unknown

    @property
    def values(self) -> dict[str, bool]:
        """The values alone, as the interpretations take them."""
        return {name: datum.value for name, datum in self.known.items()}
