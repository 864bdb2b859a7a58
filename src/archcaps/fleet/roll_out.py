"""roll-out: what a change over a whole fleet does: who is newly lied to, newly exposed, cured, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from archcaps.errors import InputError
from archcaps.fleet.changes import Change, Only, apply
from archcaps.fleet.classes import (
    UNDECIDED,
    VERDICTS,
    Classes,
    Judged,
    Progress,
    Refused,
    content_id,
    judge,
    pair_id,
    silent,
    supposed,
)
from archcaps.fleet.engine import Engine, Settings, check_written, opened, put_in_place, set_aside
from archcaps.fleet.inventory import Inventory
from archcaps.fleet.results import Rejected
from archcaps.fleet.roll_out_results import FORMAT_VERSION, ByChange, ChangedClass, RollOutResult
from archcaps.fleet.summary import machine_name, rows_of
from archcaps.machine.row import snapshot_of
from archcaps.questions.check import check
from archcaps.tables.names import VULNERABILITIES

__all__ = ["Plan", "roll_out"]

_Mask = npt.NDArray[np.bool_]
#: So many classes that get worse are explained.
_EXPLAINED: Final = 8


@dataclass(frozen=True)
class Plan:
    """What is rolled out: the changes, on the machines for which all of `only` holds; `assumptions` as for `check`."""

    changes: Sequence[Change]
    only: Sequence[Only] = ()
    assumptions: frozenset[str] = frozenset()


def roll_out(
    inventory: Inventory,
    plan: Plan,
    *,
    out: Path | None = None,
    settings: Settings = Settings(),  # noqa: B008  # it cannot be changed
    progress: Progress = silent,
) -> RollOutResult:
    """Return the verdicts on a fleet before and after a plan.

    With `out`, ``roll-out.parquet`` is written there: each guest with its verdict before and after; and, where rows
    were set aside, ``rejected.parquet``; with Spark as folders of part files. A guest that cannot be judged as it is,
    or as it will be, is set aside: it is in no number, and not in ``roll-out.parquet``. `settings`: which engine works,
    and with what.

    Raises:
        InputError: the inventory cannot be read, no guest can be judged, or no change is given.
    """
    if not plan.changes:
        raise InputError("nothing to roll out (expected --change WHAT=VALUE)", "roll-out")
    with opened(_as_asked(inventory, plan), out, settings, progress) as (engine, work):
        return _roll_out(engine, plan, out, work, progress)


def _as_asked(inventory: Inventory, plan: Plan) -> Inventory:
    """Return the inventory with whole command lines where the plan looks for something in them."""
    roles = {condition.role for condition in plan.only if condition.column == "cmdline"}
    guests = inventory.guests
    return Inventory(
        replace_fields(inventory.hosts, whole_cmdline="host" in roles),
        None if guests is None else replace_fields(guests, whole_cmdline="guest" in roles),
    )


def _roll_out(engine: Engine, plan: Plan, out: Path | None, work: Path, progress: Progress) -> RollOutResult:
    every = engine.classes(plan.assumptions)
    hosts, host_changed = apply(every.hosts, plan.changes, plan.only)
    guests, guest_changed = apply(every.guests, plan.changes, plan.only)
    later = Classes(hosts, guests, every.pair_host, every.pair_guest, every.guests_of_pair)
    before, after = judge(every, progress), judge(later, progress)
    refused = _refused(before, after)
    set_aside(engine, refused, progress)
    both = (before.verdict >= 0) & (after.verdict >= 0)
    before, after, later = _of(before, both), _of(after, both), _pairs_of(later, both)
    weights = later.guests_of_pair
    files: dict[str, Path] = {}
    written: int | None = None
    if out is not None:
        files["roll-out"] = work / "roll-out.parquet"
        columns: dict[str, Any] = {
            "host_class": later.pair_host.astype(np.int32),
            "guest_class": later.pair_guest.astype(np.int32),
            "before": np.array(VERDICTS, dtype=object)[before.verdict],
            "after": np.array(VERDICTS, dtype=object)[after.verdict],
        }
        written = engine.write_verdicts(files["roll-out"], columns, ("before", "after"))
    files["rejected"] = work / "rejected.parquet"
    rejected = [Rejected(*row) for row in engine.rejected(files["rejected"])]
    truth_worse, exposed, opened, open_questions, cured, vain = _compared(before, after)
    worse = exposed | opened | truth_worse
    changed_hosts = np.array(host_changed, dtype=bool)
    changed_hosts[[number for role, number in refused if role == "host"]] = False
    result = RollOutResult(
        format_version=FORMAT_VERSION,
        exit_code=2 if weights[exposed | opened].sum() else 3 if weights[open_questions].sum()
        else 1 if weights[truth_worse].sum() or rejected else 0,
        changes=[f"{change.what}={change.value}" for change in plan.changes],
        only=[f"{one.role}.{one.column}={one.pattern}" for one in plan.only],
        guests=int(weights.sum()),
        before=_totals(before, weights),
        after=_totals(after, weights),
        moves=_moves(before, after, weights),
        newly_exposed=int(weights[exposed].sum()),
        newly_open_hosts=int(weights[opened].sum()),
        newly_lied_to=int(weights[truth_worse].sum()),
        newly_undecided=int(weights[open_questions].sum()),
        cured=int(weights[cured].sum()),
        cost={
            "hosts changed": int(engine.host_counts()[changed_hosts].sum()),
            "guests changed": int(weights[np.array(guest_changed, dtype=bool)[later.pair_guest]].sum()),
            "guests that clear in vain": int(weights[vain].sum()),
        },
        by_vulnerability=_by_vulnerability(before, after, weights),
        worse=_explained(later, before, after, worse, plan.assumptions),
        rejected=rejected,
        supposed=supposed(later, later.guests_of_pair > 0),
        passed_over=engine.passed_over,
        files={},
    )  # fmt: skip
    check_written(engine, written, result.guests)
    return result if out is None else replace(result, files=put_in_place(files, out))


def _refused(before: Judged, after: Judged) -> Refused:
    """Return why classes cannot be judged as they are, or, where they can, as they will be."""
    only_then = {what: f"after the change: {why}" for what, why in after.refused.items()}
    return only_then | dict(before.refused)


def _of(judged: Judged, kept: _Mask) -> Judged:
    """Return the verdicts on the pairs that are kept."""
    columns = {name: numbers[kept] for name, numbers in judged.columns.items()}
    possible = {name: masks[kept] for name, masks in judged.possible.items()}
    return replace_fields(judged, verdict=judged.verdict[kept], columns=columns, possible=possible)


def _pairs_of(classes: Classes, kept: _Mask) -> Classes:
    return replace_fields(
        classes,
        pair_host=classes.pair_host[kept],
        pair_guest=classes.pair_guest[kept],
        guests_of_pair=classes.guests_of_pair[kept],
    )


def _totals(judged: Judged, weights: npt.NDArray[np.int64]) -> dict[str, int]:
    return {word: int(weights[judged.verdict == number].sum()) for number, word in enumerate(VERDICTS)}


def _moves(before: Judged, after: Judged, weights: npt.NDArray[np.int64]) -> dict[str, int]:
    found = {}
    for old, was in enumerate(VERDICTS):
        for new, becomes in enumerate(VERDICTS):
            count = int(weights[(before.verdict == old) & (after.verdict == new)].sum())
            if count and old != new:
                found[f"{was} -> {becomes}"] = count
    return dict(sorted(found.items(), key=lambda item: -item[1]))


_LIES: Final = ("false-immunity", "broken-promise")


def _compared(before: Judged, after: Judged) -> tuple[_Mask, _Mask, _Mask, _Mask, _Mask, _Mask]:
    """Return pairs newly lied to, newly exposed, with a newly open host, newly undecided, cured, clearing in vain."""
    size = len(before.verdict)
    lied, exposed, opened, undecided, cured, vain = (np.zeros(size, dtype=bool) for _ in range(6))
    for name in VULNERABILITIES:
        was, becomes = (_is(judged, name, "truth", _LIES) for judged in (before, after))
        lied |= becomes & ~was
        cured |= was & ~becomes & (after.columns[f"{name}_truth"] >= 0)
        vain |= _is(after, name, "truth", ("needless-work",)) & ~_is(before, name, "truth", ("needless-work",))
        for question, into in (("safety", exposed), ("host_safety", opened)):
            was, becomes = (_is(judged, name, question, ("exposed",)) for judged in (before, after))
            np.logical_or(into, becomes & ~was, out=into)
            cured |= was & ~becomes & (after.columns[f"{name}_{question}"] >= 0)
        for question in ("truth", "safety", "host_safety"):
            column = f"{name}_{question}"
            undecided |= after.is_open(column) & ~before.is_open(column)
    return lied, exposed, opened, undecided, cured & ~(lied | exposed | opened), vain


def _is(judged: Judged, name: str, question: str, words: Sequence[str]) -> _Mask:
    labels = judged.labels[f"{name}_{question}"]
    return np.isin(judged.columns[f"{name}_{question}"], [labels.index(word) for word in words])


def _by_vulnerability(before: Judged, after: Judged, weights: npt.NDArray[np.int64]) -> list[ByChange]:
    found = []
    for name in VULNERABILITIES:
        for question in ("truth", "safety", "host_safety"):
            column = f"{name}_{question}"
            old, new = before.columns[column], after.columns[column]
            changed = old != new
            words = (*before.labels[column], UNDECIDED)
            for was, becomes in sorted(set(zip(old[changed].tolist(), new[changed].tolist(), strict=True))):
                count = int(weights[changed & (old == was) & (new == becomes)].sum())
                found.append(ByChange(name, question, words[was], words[becomes], count))
    return sorted(found, key=lambda one: (-one.guests, one.vulnerability, one.question))


def _explained(
    later: Classes, before: Judged, after: Judged, worse: _Mask, assumptions: frozenset[str]
) -> list[ChangedClass]:
    hosts, guests = rows_of(later.hosts), rows_of(later.guests)
    host_ids, guest_ids = [content_id(row) for row in hosts], [content_id(row) for row in guests]

    def largest(pair: int) -> tuple[int, str]:
        """Of two with as many guests the one whose name is first: the engine's order is chance."""
        name = pair_id(host_ids[later.pair_host[pair]], guest_ids[later.pair_guest[pair]])
        return -int(later.guests_of_pair[pair]), name

    order = sorted(np.flatnonzero(worse).tolist(), key=largest)
    found = []
    for pair in order[:_EXPLAINED]:
        host, guest = hosts[later.pair_host[pair]], guests[later.pair_guest[pair]]
        said = check(snapshot_of(host, "host"), snapshot_of(guest, "guest"), assumptions, brief=True)
        words = (VERDICTS[before.verdict[pair]], VERDICTS[after.verdict[pair]])
        count = int(later.guests_of_pair[pair])
        found.append(ChangedClass(count, machine_name(host), machine_name(guest), *words, said.headline))
    return found
