"""What a property forbids: for each vulnerability, or bit, the node that must not hold in any configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from archcaps.logic.graph import Node, rule
from archcaps.rules import later
from archcaps.rules.host_border import exposes_host, kvm_leaves_host_open
from archcaps.rules.shown import Case, model
from archcaps.rules.verdict import Truth, exposed, truth

__all__ = ["LIES", "VIOLATIONS", "lied_to", "misled_by_offer"]

_TABLE = "archcaps: docs/architecture/verdict.md"
#: The truths in which a guest is told something that is not so, to its harm or not; needless work is none of them.
LIES: Final = (Truth.FALSE_IMMUNITY, Truth.BROKEN_PROMISE, Truth.FALSE_ALARM, Truth.WITHHELD)


@rule(_TABLE)
def lied_to(case: Case, vulnerability: str) -> Node:
    """The guest is told what is not so: false immunity, a broken promise, a false alarm or a cure withheld."""
    return truth(case, vulnerability).is_in(LIES)


@rule(_TABLE)
def misled_by_offer(offered: Case, true: Case, vulnerability: str) -> Node:
    """A guest that is shown just what KVM offers is lied to, and would not be if it were shown what is true."""
    return lied_to(offered, vulnerability) & ~lied_to(true, vulnerability)


def _told(told: Truth) -> Callable[[str], Node]:
    return lambda vulnerability: truth(model().guest, vulnerability).is_in([told])


#: By the name that the table of properties has for it.
VIOLATIONS: Final[Mapping[str, Callable[[str], Node]]] = {
    "broken-promise": _told(Truth.BROKEN_PROMISE),
    "false-immunity": _told(Truth.FALSE_IMMUNITY),
    "exposed": lambda vulnerability: exposed(model().guest, vulnerability),
    "lied-to": lambda vulnerability: lied_to(model().guest, vulnerability),
    "misled-by-offer": lambda vulnerability: misled_by_offer(model().offered, model().true, vulnerability),
    "host-left-open-by-kvm": lambda vulnerability: kvm_leaves_host_open(model().guest, vulnerability),
    "exposes-host": lambda vulnerability: exposes_host(model().guest, vulnerability),
    "vcpus-differ": lambda bit: later.vcpu_bit_differs(model().kvm, bit),
    "newly-exposed": lambda vulnerability: later.newly_exposed(
        later.after_guest_upgrade(), model().guest, vulnerability
    ),
    "newly-exposed-by-host": lambda vulnerability: later.newly_exposed(
        later.after_host_upgrade(), model().guest, vulnerability
    ),
}
