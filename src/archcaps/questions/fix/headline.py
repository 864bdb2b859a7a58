"""The headline of `fix`: what is wrong, and what mends it."""

from __future__ import annotations

from archcaps.questions.fix.goals import LEVELS, LOWEST
from archcaps.questions.fix.results import Answer, Cure, Judged
from archcaps.questions.results import FINE

__all__ = ["headline"]


def headline(now: list[Judged], level: int, answers: list[Answer]) -> str:
    """Return one or two sentences."""
    if level == 1:
        return "NOTHING TO MEND: the guest is told the truth, and is safe."
    best = answers[-1]
    if not best.cures:
        open_now = ", ".join(verdict.vulnerability for verdict in now if not verdict.fine)
        surely = [verdict for verdict in now if verdict.exposed or not FINE & set(verdict.truth.possible)]
        if not surely:
            return f"TELL ME FIRST what is missing for {open_now}. No change helps whatever that is."
        if best.left_out:
            return f"NO CURE FOUND: none of the {best.tried:,} sets of changes that were tried betters {open_now}."
        return f"NO CURE: nothing that may be changed betters {open_now}. The guest stays {LEVELS[level]}."
    cure = best.cures[0]
    made = f"{_count(cure)} by {_owners(cure)}"
    if best.level == 1:
        return f"{made[0].upper()}{made[1:]} mend{'s' if len(cure.steps) == 1 else ''} all of it: {_first(cure)}."
    left = ", ".join(item.vulnerability for item in best.remains)
    if best.level == LOWEST:
        return f"BETTER, NOT MENDED, by {made}: the guest stays {LEVELS[LOWEST]}. What remains: {left}."
    return f"MENDED IN PART by {made}: then the guest is {LEVELS[best.level]}. What remains: {left}."


def _count(cure: Cure) -> str:
    return "one change" if len(cure.steps) == 1 else f"{len(cure.steps)} changes"


def _owners(cure: Cure) -> str:
    return " and ".join(dict.fromkeys(f"the {step.owner}" for step in cure.steps))


def _first(cure: Cure) -> str:
    return "; ".join(step.what for step in cure.steps)
