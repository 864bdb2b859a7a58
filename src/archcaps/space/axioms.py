"""What real silicon can be: the axioms of the tables that have a bearing on given facts, as one node."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from archcaps.logic.graph import TRUE, Node, all_of, fact
from archcaps.rules.later import changed
from archcaps.tables.axioms import Axiom, Literal, axioms
from archcaps.tables.names import SILICON_LOOKUPS

__all__ = ["axioms_about"]


def axioms_about(facts: Collection[str]) -> tuple[tuple[Axiom, ...], Node]:
    """Return the axioms that bear on these facts of the host's hardware, and the node that holds where they do.

    A bit that none of the facts is and that no axiom demands for one of them can be 0: what axioms say where it is 1 is
    left out, and so is that it is 0. Where bits change by new microcode, axioms hold for the hardware after that too.
    """
    spoken = {name.partition(".")[2] for name in facts if name.partition(".")[0] in ("host", "silicon")}
    changes = frozenset(name for name in facts if name.startswith("changed."))
    chosen: dict[Axiom, None] = {}
    grown = True
    while grown:
        grown = False
        for axiom in axioms():
            if axiom in chosen or not all(literal.name in spoken or _is_lookup(literal.name) for literal in axiom.when):
                continue
            demanded = {literal.name for literal in axiom.then if literal.value}
            # What a part is known to be is no matter of choice: it counts whether a fact asks for it or not.
            if demanded or any(literal.name in spoken or _is_lookup(literal.name) for literal in axiom.then):
                chosen[axiom] = None
                spoken |= demanded
                grown = True
    nodes = []
    for axiom in chosen:
        then = [literal for literal in axiom.then if literal.name in spoken or _is_lookup(literal.name)]
        for after in (frozenset[str](), changes):
            nodes.append(~all_of(_literals(axiom.when, after)) | all_of(_literals(then, after)))
    return tuple(chosen), all_of([TRUE, *nodes])


def _is_lookup(name: str) -> bool:
    """Whether the part decides it, not a bit that is free."""
    return name in SILICON_LOOKUPS or name.startswith(("vendor_", "family_"))


def _literals(literals: Iterable[Literal], changes: frozenset[str]) -> Iterable[Node]:
    """Yield literals about the hardware, of which the bits that have a fact in `changes` may have changed."""
    for literal in literals:
        node = fact(f"{'silicon' if literal.name in SILICON_LOOKUPS else 'host'}.{literal.name}")
        if f"changed.{literal.name}" in changes:
            node = changed(node, literal.name)
        yield node if literal.value else ~node
