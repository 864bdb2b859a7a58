"""The ternary interpretation: true, false or unknown for one machine, and why.

Kleene's strong logic: an unknown fact leaves a result unknown unless the known ones settle it. An observed value of a
rule beats what the rule would compute; where both are known and differ, the difference is kept.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from archcaps.logic.graph import TRUE, Kind, Node, walk

__all__ = ["Because", "Ternary"]


@dataclass(frozen=True, slots=True)
class Because:
    """One step of a why: a fact or a rule, its value, and what decided it (nothing under a fact or an observation)."""

    name: str
    value: bool | None
    node: Node
    observed: bool
    children: tuple[Because, ...]


class Ternary:
    """The graph read with three values, for one set of facts.

    `facts` maps fact names to True, False or None (unknown, the same as not given). `observed` maps rule names to
    values somebody read on the machine: they stand in for the rule's own result. Where several inputs would each
    settle a result, the reasons given are those of the least total `cost` (a number for each input; 1 by default).
    Rules named in `opaque` are unknown whatever their inputs are: they do not hold for what is looked at.
    """

    def __init__(
        self,
        facts: Mapping[str, bool | None],
        observed: Mapping[str, bool] | None = None,
        cost: Callable[[str], int] = lambda _: 1,
        opaque: Container[str] = (),
    ) -> None:
        self.facts = facts
        self.observed = dict(observed or {})
        self._cost = cost
        self._opaque = opaque
        self._missing: dict[Node, frozenset[str]] = {}
        self._values: MutableMapping[Node, bool | None] = {}
        self._reasons: dict[Node, frozenset[str]] = {}

    def is_opaque(self, node: Node) -> bool:
        """Return whether a rule is unknown whatever its inputs are, and nobody observed it."""
        return node.name in self._opaque and node.name not in self.observed

    def observing(self, more: Mapping[str, bool]) -> Ternary:
        """Return the same reading with more rules observed."""
        return Ternary(self.facts, {**self.observed, **more}, self._cost, self._opaque)

    def supposing(self, each: Iterable[Mapping[str, bool]]) -> Iterator[Ternary]:
        """Yield this reading with the rules of each of `each` observed besides, one after the other.

        What none of these rules stands under is evaluated once: a reading begins with what those before it found.
        """
        supposed = list(each)
        names = frozenset[str]().union(*supposed)
        hanging: dict[Node, bool] = {}
        values, reasons = dict[Node, bool | None](), dict[Node, frozenset[str]]()
        reading = self
        for more in supposed:
            # What a reading began with comes first in it, and operands before the nodes that use them.
            for node, value in islice(reading._values.items(), len(values) if reading is not self else 0, None):
                if node not in hanging:
                    named = node.kind is Kind.RULE and node.name in names
                    hanging[node] = named or any(hanging[arg] for arg in node.args)
                if not hanging[node]:
                    values[node] = value
            for node, found in islice(reading._reasons.items(), len(reasons) if reading is not self else 0, None):
                if not hanging[node]:
                    reasons[node] = found
            reading = self.observing(more)
            reading._values, reading._reasons = dict(values), dict(reasons)
            yield reading

    def value(self, node: Node) -> bool | None:
        """Return what is known of `node`: True, False, or None for unknown."""
        if node not in self._values:
            for part in walk((node,), self._values):
                self._values[part] = self._evaluate(part)
        return self._values[node]

    def value_with(self, node: Node, facts: Mapping[str, bool | None]) -> bool | None:
        """Return what is known of `node` with these facts besides; what they cannot change is evaluated only once.

        None of `facts` may be among this object's own.
        """
        apart, depending = _depending(node, frozenset(facts))
        for part in apart:
            if part not in self._values:
                self._values[part] = self._evaluate(part)
        above = Ternary(facts, self.observed)
        above._values = ChainMap({}, self._values)
        for part in depending:
            above._values[part] = above._evaluate(part)
        return above._values[node]

    def modelled(self, node: Node) -> bool | None:
        """Return what the rule `node` itself gives, whatever was observed of it."""
        return self.value(node.args[0]) if node.kind is Kind.RULE else self.value(node)

    def _evaluate(self, node: Node) -> bool | None:
        match node.kind:
            case Kind.CONSTANT:
                return node is TRUE
            case Kind.FACT:
                return self.facts.get(node.name)
            case Kind.RULE:
                seen = self.observed.get(node.name)
                if seen is None and node.name in self._opaque:
                    return None
                return self._values[node.args[0]] if seen is None else seen
            case Kind.NOT:
                value = self._values[node.args[0]]
                return None if value is None else not value
            case _:
                absorbing = node.kind is Kind.OR
                values = [self._values[arg] for arg in node.args]
                if absorbing in values:
                    return absorbing
                return None if None in values else not absorbing

    def reasons(self, node: Node) -> frozenset[str]:
        """Return the inputs that decide `node`: with these alone its value is the same."""
        if node not in self._reasons:
            self.value(node)
            for part in walk((node,), self._reasons):
                self._reasons[part] = self._support(part)
        return self._reasons[node]

    def _support(self, node: Node) -> frozenset[str]:
        match node.kind:
            case Kind.CONSTANT:
                return frozenset()
            case Kind.FACT:
                return frozenset((node.name,))
            case Kind.RULE if node.name in self.observed:
                return frozenset((node.name,))
            case _:
                # All operands of an unknown: taking away an observation there can let the rule speak again.
                args = node.args if self._values[node] is None else self._deciding(node)
                return frozenset().union(*(self._reasons[arg] for arg in args))

    def missing(self, node: Node) -> frozenset[str]:
        """Return the unknown facts that keep `node` unknown; none where it is known."""
        if self.value(node) is not None:
            return frozenset()
        if node not in self._missing:
            open_itself = node.kind is Kind.FACT or (node.kind is Kind.RULE and node.name in self._opaque)
            own = frozenset((node.name,)) if open_itself else frozenset()
            self._missing[node] = own.union(*(self.missing(arg) for arg in node.args))
        return self._missing[node]

    def _deciding(self, node: Node) -> list[Node]:
        """Return the operands that settle `node`: one absorbing operand or all; if unknown, the unknown ones."""
        value = self._values[node]
        if node.kind in (Kind.NOT, Kind.RULE):
            return list(node.args)
        if value is None:
            return [arg for arg in node.args if self._values[arg] is None]
        if value is (node.kind is Kind.OR):
            settling = [arg for arg in node.args if self._values[arg] is value]
            return [min(settling, key=lambda arg: sum(map(self._cost, self._reasons[arg])))]
        return list(node.args)

    def why(self, node: Node) -> tuple[Because, ...]:
        """Return why `node` has its value, as a forest of rules and facts."""
        self.reasons(node)
        return self._because(node, set())

    def _because(self, node: Node, shown: set[Node]) -> tuple[Because, ...]:
        match node.kind:
            case Kind.CONSTANT:
                return ()
            case Kind.FACT:
                return (Because(node.name, self._values[node], node, observed=False, children=()),)
            case Kind.RULE:
                observed = node.name in self.observed
                first = node not in shown
                shown.add(node)
                children = () if observed or not first else self._because(node.args[0], shown)
                return (Because(node.name, self._values[node], node, observed=observed, children=children),)
            case _:
                found: dict[str, Because] = {}
                for arg in self._deciding(node):
                    for step in self._because(arg, shown):
                        found.setdefault(step.name, step)
                return tuple(found.values())

    def differences(self, nodes: Iterable[Node]) -> list[Node]:
        """Return the rules under `nodes` whose observed value differs from the modelled one."""
        found = []
        for node in walk(nodes):
            if node.kind is Kind.RULE and node.name in self.observed:
                modelled = self.modelled(node)
                if modelled is not None and modelled is not self.observed[node.name]:
                    found.append(node)
        return found


@lru_cache(maxsize=256)
def _depending(node: Node, facts: frozenset[str]) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """Return the nodes under `node`, operands first: those that none of `facts` stands under, and the others."""
    found: dict[Node, None] = {}
    apart = []
    for part in walk((node,)):
        if (part.kind is Kind.FACT and part.name in facts) or any(arg in found for arg in part.args):
            found[part] = None
        else:
            apart.append(part)
    return tuple(apart), tuple(found)
