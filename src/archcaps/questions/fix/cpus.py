"""The guest's CPU where it is given as a snapshot: what a changed host shows it, and what its VMM may change.

`configured` does the same where it is given as a VMM's configuration.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec.structs import replace

from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.changes import GuestChange
from archcaps.machine.snapshot import Reading, Snapshot
from archcaps.questions.default_guest import default_guest
from archcaps.questions.fix.changes import Rules
from archcaps.questions.fix.flags import Toggle, offered, shown, toggles, with_bits
from archcaps.questions.fix.hosts import Variant
from archcaps.questions.fix.results import Step, Text
from archcaps.questions.reader import Reader
from archcaps.tables.names import STRICT

__all__ = ["Form", "GuestCpu", "SnapshotCpu"]

_PASSED: Final = "the host's own CPU with what KVM offers (QEMU: -cpu host; libvirt: host-passthrough)"


@dataclass(frozen=True, slots=True)
class Form:
    """The guest's CPU as a whole: as it is, or after `steps`; in a configuration, what that asks for and how."""

    steps: tuple[Step, ...] = ()
    asked: Asked | None = None
    changes: tuple[GuestChange, ...] = ()


class GuestCpu(Protocol):
    """Where the guest's CPU comes from, and how it can be changed."""

    def forms(self) -> Sequence[Form]:
        """Return what the CPU can be as a whole, first as it is."""
        ...

    def shown(self, form: Form, host: Variant, guest: Snapshot) -> Snapshot:
        """Return the guest with the CPU that it is shown on a host."""
        ...

    def look(self, form: Form, host: Variant) -> Hashable:
        """Return what tells a form on a host from others that need not be looked at twice."""
        ...

    def toggles(
        self, form: Form, host: Variant, has: Mapping[str, bool | None], offers: Mapping[str, bool | None]
    ) -> list[Toggle]:
        """Return the bits that can be changed in a form on a host."""
        ...

    def made(
        self, form: Form, chosen: Sequence[Toggle], host: Variant, guest: Snapshot
    ) -> tuple[Snapshot, Text | None]:
        """Return the guest with bits changed besides, and the configuration that makes it so."""
        ...


class SnapshotCpu:
    """A guest given by a snapshot on a host; `follows`: it is shown what KVM offers, whatever that is."""

    def __init__(self, bare: Reader, rules: Rules, *, follows: bool) -> None:
        self._bare = bare
        self._rules = rules
        self._follows = follows
        self._offered = offered(bare)

    def forms(self) -> Sequence[Form]:
        """Return the CPU as it is, the host's own, and the CPU with MSR 0x10a where the guest has none yet.

        Whoever shows that register decides on its whole value: all bits of it are known then, and 0 at first.
        """
        found = [Form()]
        if self._rules.allows("model") and not self._follows and self._bare.host.cpu.family is not None:
            found.append(Form((self._rules.step("model", _PASSED),)))
        facts, guest = self._bare.facts.values, self._bare.guest
        hidden = facts.get("guest.arch_capabilities") is False and "ia32_arch_capabilities" not in guest.registers
        if hidden and self._rules.allows("guest-flags"):
            found.append(Form((self._rules.of_bit("guest-flags", "arch_capabilities", on=True),)))
        return found

    def shown(self, form: Form, host: Variant, guest: Snapshot) -> Snapshot:
        """Return the guest with the CPU that it is shown on a host.

        A guest that follows the offer gets a changed host's. Any other keeps its bits, but for those that KVM offered
        and does not offer any more: a VMM that asks KVM drops them.
        """
        if host.steps:
            guest = self._on_changed(host.machine, guest)
        for step in form.steps:
            if step.bit is not None:
                seen = with_bits(guest, {step.bit: True})
                guest = replace(seen, registers={**seen.registers, "ia32_arch_capabilities": Reading(value="0x0")})
            else:
                default = default_guest(host.machine, guest.kernel.release, strict=STRICT in self._bare.assumptions)
                guest = replace(default, name=guest.name, kernel=guest.kernel, vm=guest.vm)
        return guest

    def _on_changed(self, host: Snapshot, guest: Snapshot) -> Snapshot:
        before, now = self._offered, offered(Reader(host, guest, self._bare.assumptions))
        if self._follows:
            changed = {bit: value for bit, value in now.items() if value is not before[bit]}
        else:
            has = shown(self._bare)
            changed = {bit: now[bit] for bit in now if has[bit] and before[bit] and now[bit] is not True}
        return with_bits(guest, changed) if changed else guest

    def look(self, form: Form, host: Variant) -> Hashable:
        """Return what tells a form from others: its steps, there are few."""
        return form.steps

    def toggles(
        self, form: Form, host: Variant, has: Mapping[str, bool | None], offers: Mapping[str, bool | None]
    ) -> list[Toggle]:
        """Return the bits that can be changed: all that the rules allow, whatever VMM it is."""
        return toggles(has, offers, host.machine.cpu.vendor, self._rules)

    def made(
        self, form: Form, chosen: Sequence[Toggle], host: Variant, guest: Snapshot
    ) -> tuple[Snapshot, Text | None]:
        """Return the guest with bits changed besides."""
        seen = self.shown(form, host, guest)
        bits = {toggle.bit: toggle.on for toggle in chosen}
        return (with_bits(seen, bits) if bits else seen), None
