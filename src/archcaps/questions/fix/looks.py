"""Which changes look like cheaper ones where the search looks: they need not be tried."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import cache

from archcaps.logic.graph import Kind, Node, walk
from archcaps.questions.fix.goals import further_goals, goals
from archcaps.questions.fix.worlds import Parts
from archcaps.rules.kvm_offer import OFFERED_CPUID, kvm_get_arch_capabilities, kvm_get_supported_cpuid
from archcaps.rules.shown import model
from archcaps.tables.bits import ARCH_CAPABILITIES
from archcaps.tables.changes import bits

__all__ = ["Looks", "asked_for", "cone", "projected"]


class Looks:
    """One side of the worlds, as they come by cost: the host, the guest's kernel, or the guest's CPU.

    `name` tells the variants of that side from each other, `size` says how many changes one is, and `look` what the
    search sees of it.
    """

    def __init__(
        self, name: Callable[[Parts], Hashable], size: Callable[[Parts], int], look: Callable[[Parts], Hashable]
    ) -> None:
        self._name = name
        self._size = size
        self._look = look
        self._looks: dict[Hashable, Hashable] = {}
        self._new: dict[Hashable, bool] = {}
        self._smallest: dict[Hashable, int] = {}

    def first(self, parts: Parts) -> bool:
        """Return whether no variant that came before looks the same and is no more changes."""
        name = self._name(parts)
        if name not in self._new:
            look, size = self.of(parts), self._size(parts)
            smallest = self._smallest.get(look)
            self._new[name] = smallest is None or size < smallest
            self._smallest[look] = size if smallest is None else min(size, smallest)
        return self._new[name]

    def of(self, parts: Parts) -> Hashable:
        """Return what the search sees of one."""
        name = self._name(parts)
        if name not in self._looks:
            self._looks[name] = self._look(parts)
        return self._looks[name]


@cache
def cone() -> frozenset[str]:
    """Return the facts that the goals depend on, and what KVM offers of the bits that can be changed."""
    kvm = model().kvm
    roots = list(goals().values())
    for name in (entry.name for entry in bits()):
        if name in ARCH_CAPABILITIES:
            roots.append(kvm_get_arch_capabilities(kvm, name))
        elif name in OFFERED_CPUID:
            roots.append(kvm_get_supported_cpuid(kvm, name))
    return _facts_under(roots)


@cache
def asked_for() -> frozenset[str]:
    """Return every fact that the search asks for: those of `cone`, and those of what must not get worse."""
    return cone() | _facts_under(list(further_goals().values()))


def _facts_under(roots: list[Node]) -> frozenset[str]:
    return frozenset(node.name for node in walk(roots) if node.kind is Kind.FACT)


def projected(facts: Mapping[str, bool | None]) -> Hashable:
    """Return the facts that the goals depend on."""
    within = cone()
    return frozenset((name, value) for name, value in facts.items() if name in within)
