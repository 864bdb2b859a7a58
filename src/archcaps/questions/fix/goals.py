"""How well a guest is off: levels, the best first, each as one node of the graph.

Only what is surely so counts: an unknown reaches no level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final, TypeAlias

from archcaps.logic.bitplanes import BitPlanes
from archcaps.logic.graph import Node, all_of
from archcaps.rules import further, host_border, verdict
from archcaps.rules.shown import Case, model
from archcaps.rules.verdict import Safety, Truth
from archcaps.tables.names import FURTHER, VULNERABILITIES

__all__ = ["LEVELS", "LOWEST", "TOP", "Rank", "further_goals", "goals", "named", "rank_of", "ranked"]

#: The levels by number. 1: every vulnerability is truthful or unsaid. 2: or work is done for nothing. 3: none is
#: false-immunity or broken-promise. On 1 to 4 none is exposed, over neither border. 5: what is below.
LEVELS: Final[Mapping[int, str]] = {
    1: "told the truth, and safe",
    2: "told the truth, and safe, but it clears buffers for nothing",
    3: "safe, and promised nothing that does not hold, but not told the truth",
    4: "safe, but promised what does not hold",
    5: "neither told the truth nor safe, as far as is known",
}
LOWEST: Final = 5

#: How good something is for a guest: its level, and on the lowest the counts of `counted`, negative. Less is better.
Rank: TypeAlias = tuple[int, ...]
TOP: Final[Rank] = (1,)

_TRUE: Final = (Truth.TRUTHFUL, Truth.UNSAID)
_LIES: Final = (Truth.FALSE_IMMUNITY, Truth.BROKEN_PROMISE)
_ACCEPTS: Final[Mapping[int, Callable[[Truth], bool]]] = {
    1: lambda truth: truth in _TRUE,
    2: lambda truth: truth in (*_TRUE, Truth.NEEDLESS_WORK),
    3: lambda truth: truth not in _LIES,
}


def named(vulnerability: str, level: int) -> Node:
    """Return the node that says the guest is at `level` or better as to one vulnerability (level 1 to 4)."""
    guest = model().guest
    safe = all_of(_borders(guest, vulnerability))
    if level not in _ACCEPTS:
        return safe
    return safe & verdict.truth(guest, vulnerability).where(_ACCEPTS[level])


@cache
def goals() -> Mapping[int, Node]:
    """Return for each level but the lowest the node that says the guest is there or better."""
    return {level: all_of(named(name, level) for name in VULNERABILITIES) for level in LEVELS if level != LOWEST}


@cache
def counted() -> tuple[tuple[Node, ...], ...]:
    """Return what is counted on the lowest level, the gravest first.

    That nothing can leak over a border, for each vulnerability and border; that a vulnerability is not lied about; that
    it is told the truth.
    """
    guest = model().guest
    safe = tuple(node for name in VULNERABILITIES for node in _borders(guest, name))
    truths = [verdict.truth(guest, name) for name in VULNERABILITIES]
    return (
        safe,
        tuple(truth.where(_ACCEPTS[3]) for truth in truths),
        tuple(truth.where(_ACCEPTS[1]) for truth in truths),
    )


@cache
def further_goals() -> Mapping[str, Node]:
    """Return for each further subject that IA32_ARCH_CAPABILITIES speaks of: safe and told the truth, nothing more."""
    guest = model().guest
    return {
        subject: further.further_truth(guest, subject).where(_ACCEPTS[1]) & ~further.further_exposed(guest, subject)
        for subject in FURTHER
    }


def rank_of(value: Callable[[Node], bool | None]) -> Rank:
    """Return how good a reading of the graph is for its guest; ranks of less are better."""
    best = next((number for number, goal in goals().items() if value(goal) is True), LOWEST)
    if best < LOWEST:
        return (best,)
    return (best, *(-sum(value(node) is True for node in nodes) for nodes in counted()))


def ranked(planes: BitPlanes, start: Rank, allowed: int) -> Iterator[tuple[Rank, int]]:
    """Yield each rank with the rows of `allowed` that are there or better, as far as it is better than `start`."""
    for number, goal in goals().items():
        if (number,) < start:
            yield (number,), planes.planes(goal)[0] & allowed
    if start[0] == LOWEST:
        for rank, within in _counts(planes, counted(), allowed):
            if (LOWEST, *rank) < start:
                yield (LOWEST, *rank), within


def _counts(planes: BitPlanes, groups: Sequence[tuple[Node, ...]], within: int) -> Iterator[tuple[Rank, int]]:
    if not groups:
        yield (), within
        return
    for number, reached in sorted(at_least(planes, groups[0], within).items(), reverse=True):
        if reached:
            yield from (((-number, *rest), rows) for rest, rows in _counts(planes, groups[1:], reached))


def at_least(planes: BitPlanes, nodes: Iterable[Node], within: int) -> dict[int, int]:
    """Return for each number the rows of `within` in which surely so many of `nodes` hold, or more."""
    found = {0: within}
    for node in nodes:
        true = planes.planes(node)[0]
        for number in sorted(found, reverse=True):
            found[number + 1] = found.get(number + 1, 0) | (found[number] & true)
    return found


def _borders(guest: Case, vulnerability: str) -> tuple[Node, Node]:
    """Return the nodes that say nothing can leak: to guest user code, and to the guest."""
    return (
        verdict.safety(guest, vulnerability).is_in([Safety.SAFE]),
        host_border.host_safety(guest, vulnerability).is_in([Safety.SAFE]),
    )
