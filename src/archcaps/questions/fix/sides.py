"""What is known of each world, worked out once for each side of it: the host, the guest's CPU, the guest's kernel.

Facts of different sides have different names; of a host beside a guest only what no goal asks is known from both.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from archcaps.machine.facts import facts_of, part_of
from archcaps.machine.snapshot import FORMAT_VERSION, Kernel, Snapshot
from archcaps.questions.fix.changes import Rules
from archcaps.questions.fix.cpus import GuestCpu
from archcaps.questions.fix.flags import offered
from archcaps.questions.fix.hosts import Variant
from archcaps.questions.fix.looks import asked_for, projected
from archcaps.questions.fix.worlds import MAX_TOGGLES, Parts, World
from archcaps.questions.reader import Reader
from archcaps.tables.changes import bits
from archcaps.tables.linux_lists import Part

__all__ = ["Sides"]

_NO_HOST: Final = Snapshot(format_version=FORMAT_VERSION, role="host")
_NO_GUEST: Final = Snapshot(format_version=FORMAT_VERSION, role="guest")
#: What is looked up for the guest's part in the lists of its kernel.
_LISTED: Final = ("guest.listed_", "guest.old_microcode")


@dataclass(frozen=True, slots=True)
class HostSide:
    """What is known of a host: facts, observed rules, what its KVM offers of the bits that can be changed."""

    facts: Mapping[str, bool]
    observed: Mapping[str, bool]
    doubted: frozenset[str]
    offered: Mapping[str, bool | None]


class Sides:
    """The sides of worlds, each worked out when it is first needed."""

    def __init__(self, cpu: GuestCpu, rules: Rules, assumptions: frozenset[str]) -> None:
        self._cpu = cpu
        self._rules = rules
        self._assumptions = assumptions
        self._hosts: dict[Hashable, HostSide] = {}
        self._cpus: dict[Hashable, tuple[Snapshot, Mapping[str, bool]]] = {}
        self._kernels: dict[Hashable, Mapping[str, bool]] = {}

    def world(self, parts: Parts) -> World:
        """Return a world with what is known of it."""
        host = self.host(parts.host)
        guest, cpu = self._cpu_side(parts)
        sides = (host.facts, cpu, self._kernel_side(parts, guest))
        has = {entry.name: cpu.get(f"guest.{entry.name}") for entry in bits()}
        toggles = self._cpu.toggles(parts.cpu, parts.host, has, host.offered)
        return World(parts, sides, host.observed, host.doubted, toggles[:MAX_TOGGLES])

    def host(self, variant: Variant) -> HostSide:
        """Return what is known of a host."""
        if variant.steps not in self._hosts:
            reader = Reader(variant.machine, _NO_GUEST, self._assumptions)
            observed = {name: datum.value for name, datum in reader.observed.items()}
            known = _of(reader.facts.values, ("host", "silicon"))
            self._hosts[variant.steps] = HostSide(known, observed, frozenset(reader.doubted), offered(reader))
        return self._hosts[variant.steps]

    def look_of_host(self, parts: Parts) -> Hashable:
        """Return what the goals see of a host."""
        side = self.host(parts.host)
        return projected(side.facts), frozenset(side.observed.items()), side.doubted

    def kernel_of(self, parts: Parts) -> tuple[Hashable, Part]:
        """Return what a guest's kernel is told apart by: its changes, and the part whose rows in lists it looks up."""
        return parts.guest.steps, part_of(self._cpu_side(parts)[0])

    def look_of_kernel(self, parts: Parts) -> Hashable:
        """Return what the goals see of the guest's kernel on the guest's part."""
        side = self._kernel_side(parts, self._cpu_side(parts)[0])
        return self.kernel_of(parts)[1], projected(side)

    def look_of_cpu(self, parts: Parts) -> Hashable:
        """Return what the goals see of the guest's CPU on a host."""
        return parts.host.steps, self._cpu.look(parts.cpu, parts.host)

    def _cpu_side(self, parts: Parts) -> tuple[Snapshot, Mapping[str, bool]]:
        key = (parts.host.steps, parts.cpu.steps, parts.guest.machine.cpu.smt_active)
        if key not in self._cpus:
            guest = replace(self._cpu.shown(parts.cpu, parts.host, parts.guest.machine), kernel=Kernel())
            self._cpus[key] = guest, _of(self._facts(guest), ("guest", "vm", "assume"), without=_LISTED)
        return self._cpus[key]

    def _kernel_side(self, parts: Parts, guest: Snapshot) -> Mapping[str, bool]:
        key = (parts.guest.steps, part_of(guest))
        if key not in self._kernels:
            facts = self._facts(replace(guest, kernel=parts.guest.machine.kernel))
            self._kernels[key] = {
                name: value for name, value in facts.items()
                if name in asked_for() and name.startswith(("guest_kernel.", *_LISTED))
            }  # fmt: skip
        return self._kernels[key]

    def _facts(self, guest: Snapshot) -> Mapping[str, bool]:
        return facts_of(_NO_HOST, guest, self._assumptions).values


def _of(facts: Mapping[str, bool], scopes: tuple[str, ...], *, without: tuple[str, ...] = ()) -> Mapping[str, bool]:
    """Return the facts of some scopes that are asked for; `host` has its kernel's too, `guest` has not."""
    every = (*scopes, "host_kernel") if "host" in scopes else scopes
    return {
        name: value for name, value in facts.items()
        if name in asked_for() and name.partition(".")[0] in every and not (without and name.startswith(without))
    }  # fmt: skip
