"""What mends a class of a fleet, and how far, in words."""

from __future__ import annotations

from collections.abc import Sequence

from archcaps.fleet.results import ClassCure
from archcaps.questions.fix.results import Step

__all__ = ["cure_sentences"]


def cure_sentences(cure: ClassCure) -> list[str]:
    """Return what is to be changed and by whom, what is started again, how it stands then; or that nothing helps."""
    if cure.not_sought:
        return [f"No cure was looked for: {cure.not_sought}."]
    sets = f"{cure.tried:,} sets of changes"
    if not cure.changes and cure.complete:
        return [f"No cure: none of the {sets} that can be made betters it."]
    if not cure.changes:
        return [f"No cure was found within {sets}, the cheapest; there are more."]
    name = "Cure" if cure.then == "truthful" else "The best that can be done"
    found = [f"{name}: {_changes(cure.changes)}.", f"Then {cure.needs}.", _after(cure)]
    if not cure.complete:
        found.append(f"It was looked for within {sets}, the cheapest; one of the others may do better.")
    if cure.others:
        found.append(f"{cure.others:,} other set{'s cost' if cure.others > 1 else ' costs'} the same.")
    return found


def _changes(steps: Sequence[Step]) -> str:
    """Return the changes with who makes them, those of one owner together."""
    owners = dict.fromkeys(step.owner for step in steps)
    return "; ".join(
        f"{', '.join(_change(step) for step in steps if step.owner == owner)} ({owner})" for owner in owners
    )


def _change(step: Step) -> str:
    return f"{step.what}, by force as KVM does not offer it" if step.kind == "forced-flags" else step.what


def _after(cure: ClassCure) -> str:
    """Return how the class stands with the changes made."""
    left = "; ".join(f"{name} ({what})" if what else name for name, what in cure.remains.items())
    match cure.then:
        case "truthful":
            return "After that: told the truth, and safe."
        case "undecided" if not left:
            return "After that: safe, and told the truth or nothing."
        case "untruthful":
            return f"After that nothing leaks, but not all that it is told is so: {left}."
        case _:
            return f"After that still {cure.then}: {left}."
