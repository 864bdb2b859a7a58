"""What can be changed in the guest beside single bits: its kernel, its kernel's command line, its CPU as a whole."""

from __future__ import annotations

from itertools import combinations
from typing import Final

from msgspec.structs import replace

from archcaps.machine.facts import facts_of
from archcaps.machine.snapshot import FORMAT_VERSION, Reading, Snapshot
from archcaps.questions.default_guest import default_guest
from archcaps.questions.fix.changes import Rules
from archcaps.questions.fix.flags import with_bits
from archcaps.questions.fix.hosts import Variant, option_changes
from archcaps.questions.fix.kernels import newer, present, with_release
from archcaps.questions.fix.results import Step

__all__ = ["cpu_changes", "facts_of_guest", "guest_variants", "with_cpu"]

_PASSED: Final = "the host's own CPU with what KVM offers (QEMU: -cpu host; libvirt: host-passthrough)"


def guest_variants(guest: Snapshot, rules: Rules) -> list[Variant]:
    """Return the guest as it is and with every combination of kernel and command line, the cheapest first."""
    bare = replace(guest, vulnerabilities={})
    found = [Variant((), bare)]
    options = [step for step, _ in option_changes(bare, "guest-options", rules)]
    for size in range(1, len(options) + 1):
        for chosen in combinations(options, size):
            found.append(_with_options(bare, chosen, rules))
    now = present(guest)
    if rules.allows("guest-kernel") and now is not None:
        for release in newer(now):
            step = rules.of_kernel("guest-kernel", release, now)
            found += [
                Variant((*variant.steps, step), with_release(variant.machine, release))
                for variant in found
                if not any(each.kind == "guest-kernel" for each in variant.steps)
            ]
    fitting = [variant for variant in found if len(variant.steps) <= rules.max_changes]
    return sorted(fitting, key=lambda variant: variant.cost)


def _with_options(guest: Snapshot, chosen: tuple[Step, ...], rules: Rules) -> Variant:
    """Return the guest with several changes of its command line, one after the other."""
    machine = guest
    for wanted in chosen:
        machine = next(after for step, after in option_changes(machine, "guest-options", rules) if step == wanted)
    return Variant(chosen, machine)


def cpu_changes(guest: Snapshot, rules: Rules, *, host_cpu: bool) -> list[Step]:
    """Return the changes of the guest's CPU that are more than a bit.

    The host's own CPU with what KVM offers; and to show MSR 0x10a where the guest has none yet: whoever shows it
    decides on its whole value, so that all bits of it are known then, and 0 at first.
    """
    found = [rules.step("model", _PASSED)] if host_cpu and rules.allows("model") else []
    facts = facts_of_guest(guest)
    hidden = facts.get("guest.arch_capabilities") is False and "ia32_arch_capabilities" not in guest.registers
    if hidden and rules.allows("guest-flags"):
        found.append(rules.of_bit("guest-flags", "arch_capabilities", on=True))
    return found


def with_cpu(guest: Snapshot, host: Snapshot, change: Step) -> Snapshot:
    """Return the guest after one of `cpu_changes`, its kernel and devices kept."""
    if change.bit is not None:
        shown = with_bits(guest, {change.bit: True})
        return replace(shown, registers={**shown.registers, "ia32_arch_capabilities": Reading(value="0x0")})
    default = default_guest(host, guest.kernel.release)
    return replace(default, name=guest.name, kernel=guest.kernel, vm=guest.vm)


def facts_of_guest(guest: Snapshot, assumptions: frozenset[str] = frozenset()) -> dict[str, bool]:
    """Return what a guest's snapshot and the tables say of it alone."""
    return facts_of(Snapshot(format_version=FORMAT_VERSION, role="host"), guest, assumptions).values
