"""The bit-plane interpretation: the graph read for many rows at once, one bit of an integer for each.

A row is one machine, one host with one guest, one case: whatever its facts say. The logic is that of the ternary
interpretation; every operation of the graph is one or two operations on integers, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from archcaps.logic.graph import TRUE, Kind, Node, walk

__all__ = ["BitPlanes", "Planes", "pack"]

#: Where something is surely true, and where it is surely false; a row in neither is unknown. Bit i is row i.
Planes: TypeAlias = tuple[int, int]

_UNKNOWN: Planes = (0, 0)


def pack(rows: Sequence[Mapping[str, bool | None]]) -> dict[str, Planes]:
    """Return the planes of every name in `rows`, a mapping as `Ternary` takes it for each row."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = ((name, [row.get(name) for row in rows]) for name in names)
    return {name: (_plane(v is True for v in column), _plane(v is False for v in column)) for name, column in columns}


def _plane(bits: Iterable[bool]) -> int:
    # Through text: setting the bits of an integer one by one would copy it as often.
    return int("".join("1" if bit else "0" for bit in bits)[::-1] or "0", 2)


class BitPlanes:
    """The graph read for `rows` rows at once.

    `facts` maps fact names to planes; a name that is not there is unknown in every row. `observed` maps rule names to
    planes of what somebody read: where a row is in one of them it stands in for the rule's own result, in the other
    rows the rule speaks. `opaque` maps rule names to the rows where the rule does not hold: unknown if nobody read it.

    All planes are kept, so reading n rows takes about n/4 bytes for each node: give it many rows in parts.

    Raises:
        ValueError: a plane has rows beyond `rows`, or both planes of a name share a row.
    """

    def __init__(
        self,
        rows: int,
        facts: Mapping[str, Planes],
        observed: Mapping[str, Planes] | None = None,
        opaque: Mapping[str, int] | None = None,
    ) -> None:
        if rows < 0:
            raise ValueError(f"{rows} rows")
        self.rows = rows
        #: Every row.
        self.every = (1 << rows) - 1
        self.facts = facts
        self.observed = dict(observed or {})
        self.opaque = dict(opaque or {})
        for given in (self.facts, self.observed):
            for name, (true, false) in given.items():
                if true & false:
                    raise ValueError(f"{name} is both true and false in a row")
                if (true | false) & ~self.every:
                    raise ValueError(f"{name} has a row beyond the {rows} there are")
        self._planes: dict[Node, Planes] = {}

    def observing(self, more: Mapping[str, bool], rows: int) -> BitPlanes:
        """Return the same reading with more rules observed in the rows of the plane `rows`."""
        observed = dict(self.observed)
        for name, value in more.items():
            true, false = observed.get(name, (0, 0))
            true, false = true & ~rows, false & ~rows
            observed[name] = (true | rows, false) if value else (true, false | rows)
        return BitPlanes(self.rows, self.facts, observed, self.opaque)

    def planes(self, node: Node) -> Planes:
        """Return the rows where `node` is surely true, and those where it is surely false."""
        known = self._planes
        if node not in known:
            for part in walk((node,), known):
                known[part] = self._evaluate(part)
        return known[node]

    def value(self, node: Node, row: int) -> bool | None:
        """Return what is known of `node` in `row`: True, False, or None for unknown.

        Raises:
            IndexError: there is no such row.
        """
        if not 0 <= row < self.rows:
            raise IndexError(f"row {row} of {self.rows}")
        true, false = self.planes(node)
        if true >> row & 1:
            return True
        return False if false >> row & 1 else None

    def _evaluate(self, node: Node) -> Planes:
        match node.kind:
            case Kind.CONSTANT:
                return (self.every, 0) if node is TRUE else (0, self.every)
            case Kind.FACT:
                return self.facts.get(node.name, _UNKNOWN)
            case Kind.RULE:
                own = self._planes[node.args[0]]
                if node.name in self.opaque:
                    holds = self.every & ~self.opaque[node.name]
                    own = (own[0] & holds, own[1] & holds)
                if node.name not in self.observed:
                    return own
                true, false = self.observed[node.name]
                silent = self.every & ~(true | false)
                return (true | own[0] & silent, false | own[1] & silent)
            case Kind.NOT:
                true, false = self._planes[node.args[0]]
                return (false, true)
            case Kind.AND:
                true, false = self.every, 0
                for arg in node.args:
                    arg_true, arg_false = self._planes[arg]
                    true &= arg_true
                    false |= arg_false
                return (true, false)
            case Kind.OR:
                true, false = 0, self.every
                for arg in node.args:
                    arg_true, arg_false = self._planes[arg]
                    true |= arg_true
                    false &= arg_false
                return (true, false)
