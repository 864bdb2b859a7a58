"""Facts by hand for single rules: everything not named is False."""

from __future__ import annotations

from collections import defaultdict

from archcaps.logic.graph import Kind, Node, walk
from archcaps.logic.ternary import Ternary

__all__ = ["holds", "holds_among"]


def holds(node: Node, *true: str) -> bool:
    """Return the value of `node` where just the named facts are true; it must read each of them."""
    return holds_among((node,), node, *true)


def holds_among(world: tuple[Node, ...], node: Node, *true: str) -> bool:
    """Return the same where each named fact must be read somewhere in `world`."""
    used = {part.name for part in walk(world) if part.kind is Kind.FACT}
    unknown = set(true) - used
    assert not unknown, f"nobody reads {unknown}"
    value = Ternary(defaultdict(bool, dict.fromkeys(used, False)) | dict.fromkeys(true, True)).value(node)
    assert value is not None
    return value
