"""A register of which some bits may be unknown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["ALL", "Word", "either"]

ALL = (1 << 64) - 1


@dataclass(frozen=True, repr=False)
class Word:
    """A register of which some bits may be unknown: `value` (u64) holds the bits that the mask `known` (u64) names."""

    value: int
    known: int = ALL

    def __index__(self) -> int:
        """Return the value, for int() and hex().

        Raises:
            ValueError: a bit is unknown.
        """
        if self.known != ALL:
            raise ValueError(f"{self} has unknown bits: look at value and known")
        return self.value

    __int__ = __index__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int):
            return self.known == ALL and self.value == other
        return isinstance(other, Word) and (self.value, self.known) == (other.value, other.known)

    def __hash__(self) -> int:
        return hash((self.value, self.known))

    def __repr__(self) -> str:
        return f"Word({self.value:#x})" if self.known == ALL else f"Word({self.value:#x}, known={self.known:#x})"

    def __str__(self) -> str:
        unknown = ~self.known & ALL
        return f"{self.value:#x}" + (f" (unknown: {unknown:#x})" if unknown else "")

    def bit(self, mask: int) -> bool | None:
        """Return the bit that `mask` names; None: unknown."""
        return bool(self.value & mask) if self.known & mask else None

    def may_be(self, value: int) -> bool | None:
        """Return whether the register holds `value` (u64); None: unknown."""
        if (self.value ^ value) & self.known:
            return False
        return True if self.known == ALL else None


def either(words: Iterable[Word]) -> Word:
    """Return what is certain of a register that holds one of `words`: the bits on which they agree."""
    first, *others = words
    value, known = first.value, first.known
    for word in others:
        known &= word.known & ~(value ^ word.value)
    return Word(value & known, known)
