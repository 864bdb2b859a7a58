"""Random expressions over a few facts, and their values in two-valued logic."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from hypothesis import strategies as st

from archcaps.logic.graph import Kind, Node, choose, fact

__all__ = ["NAMES", "assignments", "completions", "evaluate", "expressions", "expressions_over"]

NAMES = ("a", "b", "c", "d", "e")


def expressions_over(leaves: Sequence[Node]) -> st.SearchStrategy[Node]:
    """Random expressions whose leaves are among `leaves`."""
    return st.recursive(
        st.sampled_from(leaves),
        lambda inner: st.one_of(
            st.builds(lambda x: ~x, inner),
            st.builds(lambda x, y: x & y, inner, inner),
            st.builds(lambda x, y: x | y, inner, inner),
            st.builds(choose, inner, inner, inner),
        ),
        max_leaves=12,
    )


expressions: st.SearchStrategy[Node] = expressions_over([fact(name) for name in NAMES])

assignments = st.fixed_dictionaries({name: st.sampled_from([True, False, None]) for name in NAMES})


def completions(known: dict[str, bool | None]) -> list[dict[str, bool]]:
    """Return every way to fill the unknown facts in."""
    choices = [(True, False) if known[name] is None else (known[name],) for name in NAMES]
    return [dict(zip(NAMES, values, strict=True)) for values in product(*choices)]  # type: ignore[arg-type]  # no None is left


def evaluate(node: Node, values: dict[str, bool]) -> bool:
    """Plain two-valued logic, written apart from the interpretation under test."""
    if node.kind is Kind.FACT:
        return values[node.name]
    parts = [evaluate(arg, values) for arg in node.args]
    if node.kind is Kind.NOT:
        return not parts[0]
    if node.kind is Kind.CONSTANT:
        return node.name == "true"
    return all(parts) if node.kind is Kind.AND else any(parts)
