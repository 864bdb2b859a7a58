"""A configuration looked at once more, by the ternary interpretation: from its snapshots, as `check` reads them."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from archcaps.logic.graph import Node
from archcaps.logic.ternary import Ternary
from archcaps.machine.facts import facts_of
from archcaps.machine.snapshot import Snapshot
from archcaps.space.configuration import Configuration
from archcaps.space.names import LATER

__all__ = ["replay"]


def replay(node: Node, configuration: Configuration, given: Mapping[str, bool]) -> bool | None:
    """Return what the ternary interpretation says of `node` for a configuration: True, False or None for unknown.

    `given` are options of kernels that no command line stands for. What was supposed of facts that nobody knows is
    supposed here too.
    """
    facts: dict[str, bool | None] = dict(_facts(configuration.host, configuration.guest, configuration.assumptions))
    for scope, release in configuration.later.items():
        facts |= _later(configuration, scope, release)
    for name, value in configuration.supposed.items():
        if facts.get(name) is None:
            facts[name] = value
    facts |= configuration.changed
    facts |= given
    return Ternary(facts).value(node)


def _facts(host: Snapshot, guest: Snapshot, assumptions: tuple[str, ...]) -> Mapping[str, bool]:
    return facts_of(host, guest, frozenset(assumptions)).values


def _later(configuration: Configuration, scope: str, release: str) -> dict[str, bool | None]:
    """Return the facts of a kernel that comes later: of the same machine with that release, under its own name."""
    before = LATER[scope]
    host, guest = configuration.host, configuration.guest
    if before == "host_kernel":
        host = replace(host, kernel=replace(host.kernel, release=release))
        names = {"host_kernel": scope, "host": "later_host"}
    else:
        guest = replace(guest, kernel=replace(guest.kernel, release=release))
        names = {"guest_kernel": scope, "guest": "later"}
    found: dict[str, bool | None] = {}
    for name, value in _facts(host, guest, configuration.assumptions).items():
        first, _, what = name.partition(".")
        if first in names:
            found[f"{names[first]}.{what}"] = value
    return found
