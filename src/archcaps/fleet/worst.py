"""The worst classes of a fleet, as `check` tells them, with what mends them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from msgspec.structs import replace

from archcaps.fleet.classes import VERDICTS, Classes, Judged, Progress
from archcaps.fleet.cures import cure_of_class
from archcaps.fleet.results import ClassVerdict
from archcaps.fleet.summary import machine_name
from archcaps.machine.row import snapshot_of
from archcaps.questions.check import judge
from archcaps.questions.reader import Reader
from archcaps.questions.results import CheckResult

__all__ = ["worst_classes"]

#: So many classes are explained.
_EXPLAINED: Final = 6


def worst_classes(
    classes: Classes,
    judged: Judged,
    machines: tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]],
    ids: Sequence[str],
    assumptions: frozenset[str],
    progress: Progress = lambda _, __: None,
    *,
    cures: bool = True,
) -> list[ClassVerdict]:
    """Return the classes that are not told the truth, safe and decided, the worst first, of each verdict the largest.

    `machines` are the classes of hosts and of guests as rows, `ids` the names of the pairs. Without `cures` nobody asks
    what would mend them, which takes by far the longest.
    """
    # Of two with as many guests the one whose name is first: the engine's order is chance.
    order = np.lexsort((np.array(ids), -classes.guests_of_pair, judged.verdict))
    chosen = order[(judged.verdict[order] >= 0) & (judged.verdict[order] < VERDICTS.index("truthful"))][:_EXPLAINED]
    found = []
    for done, pair in enumerate(chosen.tolist()):
        progress("explaining", done / len(chosen))
        host, guest = machines[0][classes.pair_host[pair]], machines[1][classes.pair_guest[pair]]
        reader = Reader(snapshot_of(host, "host"), snapshot_of(guest, "guest"), assumptions)
        guests, verdict = int(classes.guests_of_pair[pair]), VERDICTS[judged.verdict[pair]]
        one = _class_verdict(judge(reader, brief=True), ids[pair], guests, verdict, host, guest)
        if cures:
            one = replace(one, cure=cure_of_class(host, guest, assumptions))
        found.append(one)
    progress("explaining", 1)
    return found


def _class_verdict(
    said: CheckResult, identity: str, guests: int, verdict: str, host: Mapping[str, Any], guest: Mapping[str, Any]
) -> ClassVerdict:
    every = said.vulnerabilities
    wrong = [one for one in every if one.wrong or one.exposed or one.exposes_host or one.undecided]
    responsible = [str(one.responsible) for one in every if one.wrong or one.exposed]
    responsible += [str(one.host_responsible) for one in every if one.exposes_host]
    return ClassVerdict(
        id=identity,
        guests=guests,
        verdict=verdict,
        host=machine_name(host),
        guest=machine_name(guest),
        truth={one.vulnerability: str(one.truth) for one in wrong if one.wrong or not one.truth.decided},
        safety={one.vulnerability: str(one.safety) for one in wrong if one.exposed or not one.safety.decided},
        host_safety={
            one.vulnerability: str(one.host_safety) for one in wrong if one.exposes_host or not one.host_safety.decided
        },
        responsible=list(dict.fromkeys(responsible)),
        headline=said.headline,
        decided_by={fact.name: str(fact.value).lower() for one in wrong for fact in one.decided_by},
        missing={fact: why for one in wrong for fact, why in one.missing.items()},
    )
