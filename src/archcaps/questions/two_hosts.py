"""One guest read on two hosts: on the one where it booted, and on the one where it goes."""

from __future__ import annotations

from typing import Final

from archcaps.logic.graph import Node
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.reader import Reader
from archcaps.questions.two_readings import TwoReadings

__all__ = ["TwoHosts", "after_move"]

#: Scopes of facts that are the host's; a guest takes all others with it.
_OF_HOST: Final = ("host", "host_kernel", "silicon", "kvm", "offered", "true")


class TwoHosts(TwoReadings):
    """The model read for a guest on two hosts."""

    @property
    def same_host(self) -> bool:
        """Whether both are one host."""
        return self.before.host == self.after.host

    def may_differ(self, fact: str) -> bool:
        """Whether the host decides this fact."""
        scope, _, name = fact.partition(".")
        return not self.same_host and (scope in _OF_HOST or name == "host_identity")


def after_move(host: Snapshot, guest: Snapshot, carried: list[Snapshot], assumptions: frozenset[str]) -> Reader:
    """Return the guest read on the host where it goes, with all that its kernel concluded from what it booted with.

    `carried`: the guest as its vCPUs may hold it there (one, or all that are possible). The kernel looked at its CPU
    at boot and does not look again; KVM decides on FB_CLEAR_DIS again, by what the vCPUs hold.
    """
    reader = Reader(host, guest, assumptions)
    node: Node = reader.model.guest.disable_fb_clear
    values = {Reader(host, each, assumptions).ternary.value(node) for each in carried}
    value = values.pop() if len(values) == 1 else None
    if value is not reader.ternary.value(node):
        reader.take(node.name, value)
        reader.facts.unknown[node.name] = "what the guest's vCPUs hold on the destination"
    return reader
