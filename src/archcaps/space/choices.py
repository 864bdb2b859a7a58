"""Every choice of a class of parts and of kernels; a set of them is the bits of a number, and divided as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from archcaps.space.bounds import Bounds
from archcaps.space.lookups import Kernels, PartClass, Value, lists_asked, value_of_kernel, value_of_part
from archcaps.space.names import KERNELS, split

__all__ = ["Choice", "Choices", "Column", "bits", "first"]

#: A class of parts, and whether a guest is shown it since it is the host's own.
Column = tuple[PartClass, bool]
#: One choice.
Choice = tuple[Column, Kernels]


class Choices:
    """Every choice of one of `kernels` and one of `columns`, numbered in that order.

    A set of choices is a number whose bits they are. A *row* is the part of it that has the choices of one of the
    kernels, a bit for each column.
    """

    def __init__(self, kernels: Sequence[Kernels], columns: Sequence[Column], bounds: Bounds) -> None:
        self.kernels = tuple(kernels)
        self.columns = tuple(columns)
        self._numbers = {column: number for number, column in enumerate(self.columns)}
        self._bounds = bounds
        self._bytes = (len(self.columns) + 7) // 8
        self._whole = (1 << len(self.columns)) - 1
        self.every = self.of_rows([self._whole] * len(self.kernels))
        self._by_value: dict[str, Mapping[Value, int]] = {}

    # --- sets ---------------------------------------------------------------------------------------------------

    def of_rows(self, rows: Iterable[int]) -> int:
        """Return the set that has these rows."""
        return int.from_bytes(b"".join(row.to_bytes(self._bytes, "little") for row in rows), "little")

    def rows(self, choices: int) -> list[int]:
        """Return the rows of a set."""
        size = self._bytes
        text = choices.to_bytes(size * len(self.kernels), "little")
        return [int.from_bytes(text[at : at + size], "little") for at in range(0, len(text), size)]

    def members(self, choices: int) -> Iterator[Choice]:
        """Yield the choices of a set, in order."""
        for kernels, row in zip(self.kernels, self.rows(choices), strict=True):
            for number in bits(row):
                yield self.columns[number], kernels

    def ways(self, choices: int) -> Iterator[tuple[Column, int]]:
        """Yield columns of a set, each with in how many ways releases can be chosen; one may come several times."""
        found: dict[int, int] = {}
        for kernels, row in zip(self.kernels, self.rows(choices), strict=True):
            found[row] = found.get(row, 0) + kernels.ways
        for row, ways in found.items():
            for number in bits(row):
                yield self.columns[number], ways

    def places(self, choices: int) -> frozenset[int]:
        """Return the places of all releases of the kernels of a set."""
        chosen = (kernels for kernels, row in zip(self.kernels, self.rows(choices), strict=True) if row)
        return frozenset(place for kernels in chosen for places in kernels.places.values() for place in places)

    def of_columns(self, columns: Iterable[Column]) -> int:
        """Return all choices of these columns."""
        return self.of_rows([sum(1 << self._numbers[column] for column in columns)] * len(self.kernels))

    @cached_property
    def others(self) -> int:
        """All choices that are no guest's which is shown its host's part."""
        return self.of_columns(column for column in self.columns if not column[1])

    def beside(self, choices: int) -> int:
        """Return all choices with the kernels of a set."""
        return self.of_rows(self._whole if row else 0 for row in self.rows(choices))

    # --- what is looked up --------------------------------------------------------------------------------------

    def by_value(self, name: str) -> Mapping[Value, int]:
        """Return for each value of a fact that is looked up the choices with it."""
        if name not in self._by_value:
            divided = self._by_kernel(name) if split(name)[0] in KERNELS else self._by_part(name)
            values = dict.fromkeys(value for rows in divided for value in rows)
            self._by_value[name] = {value: self.of_rows(rows.get(value, 0) for rows in divided) for value in values}
        return self._by_value[name]

    def _by_kernel(self, name: str) -> list[dict[Value, int]]:
        return [{value_of_kernel(name, kernels, self._bounds): self._whole} for kernels in self.kernels]

    def _by_part(self, name: str) -> list[dict[Value, int]]:
        known: dict[int, dict[Value, int]] = {}
        found = []
        for kernels in self.kernels:
            lists = lists_asked(name, kernels)
            if lists not in known:
                rows: dict[Value, int] = {}
                known[lists] = rows
                for number, (part, own) in enumerate(self.columns):
                    value = value_of_part(name, part.own if own else part.boxes[0], kernels)
                    rows[value] = rows.get(value, 0) | 1 << number
            found.append(known[lists])
        return found

    def divided(self, choices: int, names: Iterable[str]) -> dict[tuple[Value, ...], int]:
        """Return a set in parts that have the same values of these facts."""
        found: dict[tuple[Value, ...], int] = {(): choices}
        for name in names:
            by_value = self.by_value(name)
            if len(by_value) == 1:
                (value,) = by_value
                found = {(*values, value): part for values, part in found.items()}
                continue
            found = {
                (*values, value): here
                for values, part in found.items()
                for value, where in by_value.items()
                if (here := part & where)
            }
        return found


def first(choices: int) -> int:
    """Return the number of the first choice of a set that is not empty."""
    return (choices & -choices).bit_length() - 1


def bits(row: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set."""
    while row:
        yield first(row)
        row &= row - 1
