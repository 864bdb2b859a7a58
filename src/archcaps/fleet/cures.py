"""What mends a class of a fleet: the smallest set of changes, as `fix` finds it, within a bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from archcaps.fleet.results import ClassCure
from archcaps.machine.row import snapshot_of
from archcaps.questions.fix.question import fix
from archcaps.questions.fix.results import Answer, Judged, Remaining
from archcaps.tables.changes import needs

__all__ = ["cure_of_class"]

#: So many combinations of kernels, options, microcode and CPUs are looked at for a class, of the VM's owner and of both
#: owners each: more than most classes have, and at most a few seconds.
_WORLDS: Final = 250
#: What has to be started again, what takes most first.
_NEEDS: Final = ("host-reboot", "power-cycle", "guest-reboot")


def cure_of_class(host: Mapping[str, Any], guest: Mapping[str, Any], assumptions: frozenset[str]) -> ClassCure:
    """Return the smallest set of changes that mends a guest on a host, given as rows; or that none was found."""
    if guest.get("system") not in (None, "linux"):
        return ClassCure(not_sought="archcaps can mend Linux guests only")
    found = fix(snapshot_of(host, "host"), snapshot_of(guest, "guest"), assumptions, max_worlds=_WORLDS)
    best = found.best
    if best is None:
        return ClassCure(then=_verdict(found.now), not_sought="nothing is surely wrong")
    after = best.cures[0].after if best.cures else found.now
    return ClassCure(
        changes=best.cures[0].steps if best.cures else [],
        others=max(len(best.cures) - 1, 0) + best.more,
        needs=_needs(best),
        then=_verdict(after),
        remains={each.vulnerability: _still(each) for each in best.remains},
        tried=best.tried,
        complete=not best.left_out,
    )


def _needs(answer: Answer) -> str:
    asked = {step.needs for step in answer.cures[0].steps} if answer.cures else set()
    return next((needs()[name] for name in _NEEDS if name in asked), "")


def _verdict(after: Sequence[Judged]) -> str:
    """Return the verdict in one word, as for a class."""
    if any(each.exposed for each in after):
        return "exposed"
    if not all(each.truth.decided and each.safety.decided and each.host_safety.decided for each in after):
        return "undecided"
    return "truthful" if all(each.fine for each in after) else "untruthful"


def _still(each: Remaining) -> str:
    """Return what is not as it should be of a vulnerability: what the guest is told, and what can leak."""
    parts = []
    if not set(each.truth.possible) <= {"truthful", "unsaid"}:
        parts.append(f"told: {each.truth.value or 'undecided'}")
    if each.safety.value != "safe":
        parts.append(f"in the guest: {each.safety.value or 'undecided'}")
    if each.host_safety.value != "safe":
        parts.append(f"from the host: {each.host_safety.value or 'undecided'}")
    return ", ".join(parts)
