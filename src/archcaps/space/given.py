"""The names that can be given a value: facts that rules read, and rules."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from archcaps.logic.graph import Kind, walk
from archcaps.rules.properties import VIOLATIONS
from archcaps.space.facts import baseline
from archcaps.tables.names import KERNEL_LOOKUPS
from archcaps.tables.properties import properties

__all__ = ["is_known"]


@cache
def _known() -> frozenset[str]:
    nodes = [VIOLATIONS[each.forbids](subject) for each in properties().values() for subject in each.subjects]
    read = [node for node in walk(nodes) if node.kind in (Kind.FACT, Kind.RULE)]
    # What a guest is shown by default depends on the host, whatever else reads that.
    defaults = [default for node in read if (default := baseline(node.name)) is not None]
    return frozenset(node.name for node in (*read, *walk(defaults)) if node.kind in (Kind.FACT, Kind.RULE))


def is_known(name: str) -> tuple[bool, Iterable[str]]:
    """Return whether a property's rules read a fact or a rule of that name, and all names that they do."""
    scope, _, what = name.partition(".")
    option = scope in ("host_kernel", "guest_kernel") and what in KERNEL_LOOKUPS
    return option or name in _known(), _known()
