"""What can be changed in the guest beside its CPU: its kernel, and its kernel's command line."""

from __future__ import annotations

from itertools import combinations

from msgspec.structs import replace

from archcaps.machine.facts import facts_of
from archcaps.machine.snapshot import FORMAT_VERSION, Snapshot
from archcaps.questions.fix.changes import Rules
from archcaps.questions.fix.hosts import Variant, option_changes
from archcaps.questions.fix.kernels import newer, present, with_release
from archcaps.questions.fix.results import Step

__all__ = ["facts_of_guest", "guest_variants"]


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


def facts_of_guest(guest: Snapshot, assumptions: frozenset[str] = frozenset()) -> dict[str, bool]:
    """Return what a guest's snapshot and the tables say of it alone."""
    return facts_of(Snapshot(format_version=FORMAT_VERSION, role="host"), guest, assumptions).values
