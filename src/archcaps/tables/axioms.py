"""What real hardware can show: which values of bits and of lists' answers exist together, on bare metal.

A sentence about every host has to leave out silicon that nobody can build or buy. What is left out here has a source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from archcaps.tables.files import read_csv

__all__ = ["Axiom", "Literal", "axioms"]


@dataclass(frozen=True, slots=True)
class Literal:
    """A bit or a look-up, by name, and the value that is meant."""

    name: str
    value: bool

    def holds(self, values: Mapping[str, bool | None]) -> bool | None:
        """Return whether `values` has the name at this value; None where it is missing or unknown."""
        found = values.get(self.name)
        return None if found is None else found is self.value

    def __str__(self) -> str:
        return self.name if self.value else f"~{self.name}"


@dataclass(frozen=True, slots=True)
class Axiom:
    """Where every literal of `when` holds, every literal of `then` does; an empty `when` always holds.

    `status` is ``documented`` (a vendor's or a kernel's document says it), ``derived`` (it follows from documents, or
    from every machine that was looked at) or ``unverified``.
    """

    name: str
    when: tuple[Literal, ...]
    then: tuple[Literal, ...]
    status: str
    source: str
    meaning: str

    def holds(self, values: Mapping[str, bool | None]) -> bool | None:
        """Return whether a host with these values of bits and look-ups satisfies the axiom; None where unknown.

        Three-valued, as all rules: a name that `values` lacks, or has as None, is unknown, and an unknown counts only
        where it could change the answer.
        """
        when, then = _all(self.when, values), _all(self.then, values)
        if when is False or then is True:
            return True
        return None if when is None or then is None else False


def _all(literals: tuple[Literal, ...], values: Mapping[str, bool | None]) -> bool | None:
    found = [literal.holds(values) for literal in literals]
    if False in found:
        return False
    return None if None in found else True


@cache
def axioms() -> tuple[Axiom, ...]:
    """Return every axiom, in the order of the table.

    Raises:
        ValueError: a literal of the table is empty.
    """
    return tuple(
        Axiom(row["name"], _literals(row["when"]), _literals(row["then"]), row["status"], row["source"], row["meaning"])
        for row in read_csv("silicon/axioms.csv")
    )


def _literals(text: str) -> tuple[Literal, ...]:
    """Return the literals of a cell like ``mds_no & ~rtm``.

    Raises:
        ValueError: one of them is empty.
    """
    if not text:
        return ()
    names = text.split(" & ")
    if not all(name.removeprefix("~") for name in names):
        raise ValueError(f"an empty literal in {text!r}")
    return tuple(Literal(name.removeprefix("~"), not name.startswith("~")) for name in names)
