"""Which unknown facts keep questions open: what `Ternary.missing` says of one pair, as bit planes for many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archcaps.logic.bitplanes import BitPlanes
from archcaps.logic.choice import Choice
from archcaps.logic.graph import Kind, Node, walk

__all__ = ["missing_rows"]


def missing_rows(planes: BitPlanes, asked: Mapping[str, Choice[Any]], still_open: Mapping[str, int]) -> dict[str, int]:
    """Return for each unknown fact the rows in which a question depends on it.

    `still_open` says for each question of `asked` in which rows it is undecided: only there it is looked at. A rule
    that does not hold in a row (`opaque`) counts as a fact there. With all of a row's facts known, its questions are
    decided; fewer may do.
    """
    wanted: dict[Node, int] = {}
    for name, rows in still_open.items():
        choice = asked[name]
        for label in choice.labels:
            node = choice.is_in([label])
            wanted[node] = wanted.get(node, 0) | rows
    reached = {root: rows & _unknown(planes, root) for root, rows in wanted.items()}
    found: dict[str, int] = {}
    # Operands stand before what uses them, so from the end each node is met after all that use it.
    for node in reversed(walk(reached)):
        rows = reached.get(node, 0)
        if not rows:
            continue
        if own := _open_itself(planes, node, rows):
            found[node.name] = found.get(node.name, 0) | own
        for part in node.args:
            below = rows & _unknown(planes, part)
            if below:
                reached[part] = reached.get(part, 0) | below
    return found


def _unknown(planes: BitPlanes, node: Node) -> int:
    true, false = planes.planes(node)
    return planes.every & ~(true | false)


def _open_itself(planes: BitPlanes, node: Node, rows: int) -> int:
    """Return those of `rows` in which nothing below `node` says what it is."""
    if node.kind is Kind.FACT:
        return rows
    return rows & planes.opaque.get(node.name, 0) if node.kind is Kind.RULE else 0
