"""The guest's CPU where it is given as a VMM's configuration: only what its language can say can be changed.

Each change is written as a patch, read again and expanded on the host: what comes of it is what counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from functools import cache

from msgspec.structs import replace

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.changes import GuestChange, MachineChange, ModelChange, SwitchChange
from archcaps.guest_cpu.formats import expand, patch, read_configuration
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.machine.facts import known_bits, part_of
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.default_guest import default_guest
from archcaps.questions.fix.changes import Rules
from archcaps.questions.fix.cpus import Form
from archcaps.questions.fix.flags import Toggle, toggles
from archcaps.questions.fix.hosts import Variant
from archcaps.questions.fix.looks import projected
from archcaps.questions.fix.models import machines, models
from archcaps.questions.fix.results import Step, Text
from archcaps.questions.reader import Reader
from archcaps.tables.changes import bits
from archcaps.tables.names import STRICT

__all__ = ["ConfiguredCpu"]

#: Showing or hiding it changes what every bit of MSR 0x10a comes to: a CPU of another form.
_WHOLE = "arch_capabilities"


class ConfiguredCpu:
    """A guest given by what its configuration asks for.

    `unwritable` collects the changes that the configuration's language has no words for, with why.
    """

    def __init__(self, bare: Reader, rules: Rules, asked: Asked) -> None:
        self._bare = bare
        self._rules = rules
        self._asked = asked
        self._expansions: dict[object, ShownGuest] = {}
        self._offers: dict[object, Snapshot] = {}
        self._toggles: dict[object, list[Toggle]] = {}
        self.unwritable: dict[str, str] = {}

    def forms(self) -> Sequence[Form]:
        """Return the CPU as it is, with MSR 0x10a shown or hidden, and other models."""
        found = [Form((), self._asked)]
        rules, has = self._rules, self._bare.facts.values.get(f"guest.{_WHOLE}")
        if rules.allows("guest-flags") and has is not None:
            step = rules.of_bit("guest-flags", _WHOLE, on=not has)
            found += self._form(step, SwitchChange(_WHOLE, not has))
        if rules.allows("model"):
            for name in models(self._asked, self._bare.host):
                found += self._form(rules.step("model", f"CPU model {name}"), ModelChange(name))
        if rules.allows("machine"):
            for name in machines(self._asked):
                found += self._form(rules.step("machine", f"machine type {name}"), MachineChange(name))
        return found

    def _form(self, step: Step, change: GuestChange) -> list[Form]:
        changed = self._changed(self._asked, (change,))
        if changed is None:
            return []
        here = Variant((), self._bare.host)
        try:  # a VMM may have a name and not the model behind it
            there = self._expanded(changed, here)
        except InputError as error:
            self.unwritable.setdefault(_name(change), str(error))
            return []
        if there.refused is not None and self._expanded(self._asked, here).refused is None:
            self.unwritable.setdefault(_name(change), f"the guest would not start on this host: {there.refused}")
            return []
        return [Form((step,), changed, (change,))]

    def shown(self, form: Form, host: Variant, guest: Snapshot) -> Snapshot:
        """Return the guest with the CPU that the configuration comes to on a host."""
        assert form.asked is not None
        seen = self._expanded(form.asked, host).snapshot
        return replace(seen, name=guest.name, kernel=guest.kernel, vm=guest.vm, vulnerabilities={})

    def toggles(
        self, form: Form, host: Variant, has: Mapping[str, bool | None], offers: Mapping[str, bool | None]
    ) -> list[Toggle]:
        """Return the bits that the language can change, of which the guest gets just that and nothing else."""
        key = (form, host.steps, host.machine.kernel.release)
        if key not in self._toggles:
            wanted = toggles(has, offers, host.machine.cpu.vendor, self._rules)
            possible = [toggle for toggle in wanted if toggle.bit != _WHOLE and self._does(toggle, form, host)]
            self._toggles[key] = possible
        return self._toggles[key]

    def _does(self, toggle: Toggle, form: Form, host: Variant) -> bool:
        assert form.asked is not None
        changed = self._changed(form.asked, (SwitchChange(toggle.bit, toggle.on),))
        if changed is None:
            return False
        before, after = self._expanded(form.asked, host), self._expanded(changed, host)
        if after.refused is not None and before.refused is None:
            return False
        bits_before, bits_after = _bits(before.snapshot), _bits(after.snapshot)
        return {bit: value for bit, value in bits_after.items() if value is not bits_before[bit]} == {
            toggle.bit: toggle.on
        }

    def made(
        self, form: Form, chosen: Sequence[Toggle], host: Variant, guest: Snapshot
    ) -> tuple[Snapshot, Text | None]:
        """Return the guest as the patched configuration shows it, and that configuration.

        Raises:
            RuntimeError: the language cannot say what it could say of each change alone: a fault of archcaps.
        """
        changes = (*form.changes, *(SwitchChange(toggle.bit, toggle.on) for toggle in chosen))
        if not changes:
            return self.shown(form, host, guest), None
        written = patch(self._asked, changes)
        changed = self._changed(self._asked, changes)
        if changed is None:
            raise RuntimeError(f"not all of these changes can be written: {changes}")
        form = Form(form.steps, changed, changes)
        return self.shown(form, host, guest), Text(written.language, written.after, written.diff)

    def _changed(self, asked: Asked, changes: Sequence[GuestChange]) -> Asked | None:
        """Return what the configuration asks for after changes, read from its new text; None: it cannot be written."""
        try:
            written = patch(asked, changes)
            if written.impossible:
                for change, why in written.impossible:
                    self.unwritable.setdefault(_name(change), why)
                return None
            again = read_configuration(written.after, asked.where, asked.vmm)
        except InputError as error:
            self.unwritable.setdefault(", ".join(map(_name, changes)), str(error))
            return None
        return dataclasses.replace(
            again, release=again.release or asked.release, machine=again.machine or asked.machine, name=asked.name
        )

    def _expanded(self, asked: Asked, host: Variant) -> ShownGuest:
        key = (asked, host.steps, host.machine.kernel.release)
        if key not in self._expansions:
            self._expansions[key] = expand(asked, host.machine, self._offer(host))
        return self._expansions[key]

    def _offer(self, host: Variant) -> Snapshot:
        key = (host.steps, host.machine.kernel.release)
        if key not in self._offers:
            self._offers[key] = default_guest(
                host.machine, self._bare.guest.kernel.release, strict=STRICT in self._bare.assumptions
            )
        return self._offers[key]

    def look(self, form: Form, host: Variant) -> Hashable:
        """Return what tells a form on a host from others: what the guest is shown."""
        assert form.asked is not None
        seen = self._expanded(form.asked, host)
        shown = {f"guest.{name}": datum.value for name, datum in known_bits(seen.snapshot).items()}
        return part_of(seen.snapshot), projected(shown), seen.refused is None


def _name(change: GuestChange) -> str:
    if isinstance(change, SwitchChange):
        return f"{'show' if change.on else 'hide'} {change.bit}"
    return change.model if isinstance(change, ModelChange) else change.machine


def _bits(guest: Snapshot) -> dict[str, bool | None]:
    """Return the bits that can be changed as a snapshot has them."""
    known = known_bits(guest)
    return {name: known[name].value if name in known else None for name in _changeable()}


@cache
def _changeable() -> tuple[str, ...]:
    return tuple(entry.name for entry in bits())
