"""check --exact: where the three-valued reading leaves a verdict open, the diagram says what is really possible.

Kleene's logic does not see that two unknowns cancel out. The diagram of all unknown facts does: a verdict that is the
same whatever they are is decided, and otherwise it shows which of them matter, and which few could decide it at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Final

import msgspec

from archcaps.logic.choice import Choice
from archcaps.logic.diagram import Diagrams, Function, NotDecidedError
from archcaps.logic.graph import Kind, Node, walk
from archcaps.logic.reading import Reading
from archcaps.questions.reader import Reader
from archcaps.questions.results import Exact, Possible, Quickest, Verdict
from archcaps.rules import host_border as border
from archcaps.rules import verdict as rules
from archcaps.tables.bits import BITS

__all__ = ["sharpened"]

#: So many sets of facts are tried for the one that could decide a verdict at once.
_TRIES: Final = 20_000


class _Known(Reading):
    """The graph over the facts that are unknown: what is known, or was observed, is in place."""

    def __init__(self, diagrams: Diagrams, reader: Reader) -> None:
        super().__init__(diagrams, self._fact)
        self._reader = reader

    def _fact(self, name: str) -> Function:
        value = self._reader.ternary.facts.get(name)
        if value is None:
            return self.diagrams.variable(_variable(self._reader, name))
        return self.diagrams.true if value else self.diagrams.false

    def _make(self, node: Node) -> Function:
        if node.kind is Kind.RULE:
            seen = self._reader.ternary.observed.get(node.name)
            if seen is not None:
                return self.diagrams.true if seen else self.diagrams.false
            if node.name in self.diagrams:
                return self.diagrams.variable(node.name)
        return super()._make(node)


def _variable(reader: Reader, name: str) -> str:
    """Return the variable that an unknown fact is: on bare metal the hardware's bits are what the host shows."""
    scope, _, what = name.partition(".")
    bare_metal = reader.ternary.facts.get("host.hypervisor") is False
    return f"host.{what}" if scope == "silicon" and what in BITS and bare_metal else name


def sharpened(reader: Reader, verdict: Verdict) -> Verdict:
    """Return a verdict with only what is really possible, and which unknown facts matter to it.

    Where a limit of the diagrams is reached it is the same verdict, and its `exact` says so.
    """
    try:
        return _sharpened(reader, verdict)
    except NotDecidedError as error:
        return msgspec.structs.replace(verdict, exact=Exact([], [], str(error)))


def _sharpened(reader: Reader, verdict: Verdict) -> Verdict:
    case, name = reader.model.guest, verdict.vulnerability
    questions: dict[str, Choice[rules.Truth] | Choice[rules.Safety]] = {
        "truth": rules.truth(case, name),
        "safety": rules.safety(case, name),
        "host_safety": border.host_safety(case, name),
    }
    open_ = {key: choice for key, choice in questions.items() if not getattr(verdict, key).decided}
    conditions = [choice.is_in([label]) for choice in open_.values() for label in choice.labels]  # type: ignore[list-item]  # labels of the same choice
    diagrams = Diagrams(tuple(dict.fromkeys(_unknown(reader, conditions))))
    reading = _Known(diagrams, reader)
    matters: set[str] = set()
    quickest = []
    found: dict[str, Possible] = {}
    for key, choice in open_.items():
        labels = {label.value: reading.of(choice.is_in([label])) for label in choice.labels}  # type: ignore[list-item]  # as above
        possible = [label for label, function in labels.items() if function != diagrams.false]
        found[key] = Possible(possible[0] if len(possible) == 1 else None, possible)
        if len(possible) > 1:
            facts = sorted(frozenset().union(*(diagrams.support(labels[label]) for label in possible)))
            matters.update(facts)
            quickest += _quickest(diagrams, key, {label: labels[label] for label in possible}, facts)
    missing = {fact: reader.facts.unknown.get(fact, "not given") for fact in sorted(matters)}
    answered = {(quick.question, quick.answer) for quick in quickest}
    unanswered = [f"{key} {label}" for key, each in found.items() if not each.decided for label in each.possible]
    left = [text for text in unanswered if tuple(text.split(" ", 1)) not in answered]
    why_not = f"no few facts found within {_TRIES:,} sets that would decide on: {', '.join(left)}" if left else ""
    exact = Exact(sorted(matters), quickest, why_not)
    return msgspec.structs.replace(verdict, **found, missing=missing, exact=exact)


def _unknown(reader: Reader, nodes: Iterable[Node]) -> list[str]:
    """Return what is unknown under `nodes`: facts, and rules that do not hold for what is looked at."""
    ternary = reader.ternary
    return [
        _variable(reader, node.name)
        for node in walk(nodes)
        if (node.kind is Kind.FACT and ternary.facts.get(node.name) is None)
        or (node.kind is Kind.RULE and ternary.is_opaque(node))
    ]


def _quickest(diagrams: Diagrams, question: str, labels: dict[str, Function], facts: Sequence[str]) -> list[Quickest]:
    """Return, for each answer that is possible, the fewest facts that would decide on it, with their values."""
    found: dict[str, Quickest] = {}
    tries = 0
    for size in range(1, len(facts) + 1):
        for chosen in combinations(facts, size):
            tries += 1
            others = [name for name in facts if name not in chosen]
            for label, function in labels.items():
                if label not in found:
                    decided = diagrams.forall(function, others)
                    values = diagrams.least(decided, lambda name, value: int(value and name in facts))
                    if values is not None:
                        found[label] = Quickest(question, label, {name: values[name] for name in chosen})
            if len(found) == len(labels) or tries >= _TRIES:
                return list(found.values())
    return list(found.values())
