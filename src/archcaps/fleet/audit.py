"""audit: who of a fleet is lied to, who is exposed, and what to mend first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec.structs import replace

from archcaps.fleet.classes import UNDECIDED, VERDICTS, Classes, Judged, Progress, content_id, judge, pair_id, silent
from archcaps.fleet.engine import Engine, Settings, opened, put_in_place, set_aside
from archcaps.fleet.inventory import Inventory
from archcaps.fleet.results import FORMAT_VERSION, AuditResult, ClassVerdict, Rejected
from archcaps.fleet.summary import (
    by_group,
    by_kernel_and_vulnerability,
    by_vulnerability,
    collect,
    cpu_name,
    heat_map,
    kernel_name,
    machine_name,
    rows_of,
    totals,
)
from archcaps.machine.row import snapshot_of
from archcaps.questions.check import judge as check_reader
from archcaps.questions.many.judge import questions
from archcaps.questions.reader import Reader
from archcaps.questions.results import CheckResult
from archcaps.tables.names import VULNERABILITIES

__all__ = ["Audited", "audit"]

#: The questions whose answers stand in the table of classes.
_TABLE_QUESTIONS: Final = ("concludes", "claim", "truth", "safety", "responsible", "host_safety", "host_responsible")
#: Classes that are explained by `check`, worst first, and undecided ones that are asked what is missing.
_EXPLAINED: Final = 6
_ASKED: Final = 40


@dataclass(frozen=True)
class Audited:
    """The answer of an audit, and the table of classes behind it: arrays of one value for each class."""

    result: AuditResult
    classes: Mapping[str, Any]


def audit(
    inventory: Inventory,
    out: Path | None,
    *,
    assumptions: Iterable[str] = (),
    settings: Settings = Settings(),  # noqa: B008  # it can not be changed
    wide: bool = False,
    progress: Progress = silent,
) -> Audited:
    """Return the verdicts on a fleet in numbers; with `out`, write each guest's to that folder.

    The folder gets ``verdicts.parquet`` (one row a guest), ``classes.parquet`` (one row for each class of guests on a
    class of hosts, with every answer) and, where rows were set aside, ``rejected.parquet``. They appear together at
    the end, or not at all; with Spark each is a folder of part files. `wide`: the guests' rows have their host and
    every truth and safety besides. `settings`: which engine works, and with what.

    Raises:
        InputError: the inventory can not be read, no guest can be judged, or the folder can not be written.
    """
    with opened(inventory, out, settings, progress) as (engine, work):
        return _audit(engine, out, work, frozenset(assumptions), wide=wide, progress=progress)


def _audit(
    engine: Engine, out: Path | None, work: Path, assumptions: frozenset[str], *, wide: bool, progress: Progress
) -> Audited:
    classes = engine.classes(assumptions)
    judged = judge(classes, progress)
    set_aside(engine, judged.refused, progress)
    names = _names(classes)
    files: dict[str, Path] = {}
    table = _class_columns(classes, judged, names)
    if out is not None:
        files["verdicts"] = work / "verdicts.parquet"
        columns = _verdict_columns(classes, judged, names, wide=wide)
        chosen = [name for name in columns if name not in ("host_class", "guest_class")]
        ids = ("guest_id", "host_id") if wide else ("guest_id",)
        engine.write_verdicts(files["verdicts"], columns, chosen, ids)
        files["classes"] = work / "classes.parquet"
        engine.write_table(files["classes"], table)
    files["rejected"] = work / "rejected.parquet"
    rejected = [Rejected(*row) for row in engine.rejected(files["rejected"])]
    result = _result(classes, judged, names, rejected, assumptions, progress)
    result = replace(result, hosts=_hosts_judged(engine, judged))
    if out is not None:
        result = replace(result, files=put_in_place(files, out))
    return Audited(result, table)


def _hosts_judged(engine: Engine, judged: Judged) -> int:
    refused = [number for role, number in judged.refused if role == "host"]
    return int(np.delete(engine.host_counts(), refused).sum())


class _Names:
    """The content-addressed names of classes, and of pairs."""

    def __init__(self, hosts: list[dict[str, Any]], guests: list[dict[str, Any]]) -> None:
        self.hosts, self.guests = hosts, guests
        self.host_ids = [content_id(row) for row in hosts]
        self.guest_ids = [content_id(row) for row in guests]


def _names(classes: Classes) -> _Names:
    return _Names(rows_of(classes.hosts), rows_of(classes.guests))


def _pair_ids(classes: Classes, names: _Names) -> list[str]:
    pairs = zip(classes.pair_host.tolist(), classes.pair_guest.tolist(), strict=True)
    return [pair_id(names.host_ids[host], names.guest_ids[guest]) for host, guest in pairs]


def _verdict_columns(classes: Classes, judged: Judged, names: _Names, *, wide: bool) -> dict[str, Any]:
    """Return what is joined to the guests: the verdict and the class of each pair that was judged."""
    kept = judged.verdict >= 0
    found: dict[str, Any] = {
        "host_class": classes.pair_host[kept].astype(np.int32),
        "guest_class": classes.pair_guest[kept].astype(np.int32),
        "verdict": np.array(VERDICTS, dtype=object)[judged.verdict[kept]],
        "class": np.array(_pair_ids(classes, names), dtype=object)[kept],
    }
    if wide:
        for name in VULNERABILITIES:
            for question in ("truth", "safety", "host_safety"):
                found[f"{name}_{question}"] = _words(judged, f"{name}_{question}")[kept]
    return found


def _words(judged: Judged, column: str) -> Any:  # noqa: ANN401  # an array of objects
    return np.array((*judged.labels[column], UNDECIDED), dtype=object)[judged.columns[column]]


def _class_columns(classes: Classes, judged: Judged, names: _Names) -> dict[str, Any]:
    """Return the table of classes: what the machines are, how many guests, and every answer."""
    kept = judged.verdict >= 0
    found: dict[str, Any] = {
        "class": np.array(_pair_ids(classes, names), dtype=object)[kept],
        "guests": classes.guests_of_pair[kept],
        "verdict": np.array(VERDICTS, dtype=object)[judged.verdict[kept]],
        "host": np.array(names.host_ids, dtype=object)[classes.pair_host][kept],
        "guest": np.array(names.guest_ids, dtype=object)[classes.pair_guest][kept],
    }
    for prefix, rows, index in (("host", names.hosts, classes.pair_host), ("guest", names.guests, classes.pair_guest)):
        found[f"{prefix}_cpu"] = np.array([cpu_name(row) for row in rows], dtype=object)[index][kept]
        found[f"{prefix}_kernel"] = np.array([kernel_name(row) for row in rows], dtype=object)[index][kept]
    for name in VULNERABILITIES:
        for question in _TABLE_QUESTIONS:
            found[f"{name}_{question}"] = _words(judged, f"{name}_{question}")[kept]
    return found


def _result(
    classes: Classes,
    judged: Judged,
    names: _Names,
    rejected: list[Rejected],
    assumptions: frozenset[str],
    progress: Progress,
) -> AuditResult:
    counts = totals(classes, judged)
    weights = classes.guests_of_pair
    worst, missing = _explained(classes, judged, names, assumptions, progress)
    hosts = [cpu_name(row) for row in names.hosts]
    host_kernels = [kernel_name(row) for row in names.hosts]
    guest_kernels = [kernel_name(row) for row in names.guests]
    return AuditResult(
        format_version=FORMAT_VERSION,
        exit_code=2
        if counts["exposed"]
        else 3
        if counts["undecided"]
        else 1
        if counts["untruthful"] or rejected
        else 0,
        hosts=0,
        guests=int(weights[judged.verdict >= 0].sum()),
        host_classes=classes.hosts.count,
        guest_classes=classes.guests.count,
        classes=int((judged.verdict >= 0).sum()),
        verdicts=counts,
        by_vulnerability=by_vulnerability(classes, judged),
        by_host=by_group(hosts, classes.pair_host, judged, weights),
        by_host_kernel=by_group(host_kernels, classes.pair_host, judged, weights),
        by_guest_kernel=by_group(guest_kernels, classes.pair_guest, judged, weights),
        heat_map=heat_map(
            [f"{cpu}, {kernel}" for cpu, kernel in zip(hosts, host_kernels, strict=True)],
            [f"{cpu_name(row)}, {kernel}" for row, kernel in zip(names.guests, guest_kernels, strict=True)],
            classes,
            judged,
        ),
        by_kernel_and_vulnerability=by_kernel_and_vulnerability(guest_kernels, classes, judged),
        worst=worst,
        collect=collect(missing),
        rejected=rejected,
        assumptions=sorted(assumptions),
        files={},
    )


def _explained(
    classes: Classes, judged: Judged, names: _Names, assumptions: frozenset[str], progress: Progress
) -> tuple[list[ClassVerdict], list[tuple[int, list[str]]]]:
    """Return the worst classes as `check` tells them, and what the largest undecided ones lack."""
    truthful = VERDICTS.index("truthful")
    # Of two with as many guests the one whose name is first: the engine's order is chance.
    order = np.lexsort((np.array(_pair_ids(classes, names)), -classes.guests_of_pair, judged.verdict))
    order = order[(judged.verdict[order] >= 0) & (judged.verdict[order] < truthful)]
    undecided = [pair for pair in order.tolist() if _open_questions(judged, pair)]
    undecided = sorted(undecided, key=lambda pair: -classes.guests_of_pair[pair])[:_ASKED]
    chosen = order[:_EXPLAINED].tolist()
    worst, missing = [], []
    both = list(dict.fromkeys([*chosen, *undecided]))
    for done, pair in enumerate(both):
        on, of = names.hosts[classes.pair_host[pair]], names.guests[classes.pair_guest[pair]]
        reader = Reader(snapshot_of(on, "host"), snapshot_of(of, "guest"), assumptions)
        guests = int(classes.guests_of_pair[pair])
        if pair in undecided:
            missing.append((guests, _missing(reader, _open_questions(judged, pair))))
        if pair in chosen:
            identity = pair_id(names.host_ids[classes.pair_host[pair]], names.guest_ids[classes.pair_guest[pair]])
            said = check_reader(reader, brief=True)
            worst.append(_class_verdict(said, identity, guests, VERDICTS[judged.verdict[pair]], on, of))
        progress("explaining", (done + 1) / len(both))
    return worst, missing


def _open_questions(judged: Judged, pair: int) -> list[str]:
    asked = (f"{name}_{question}" for name in VULNERABILITIES for question in ("truth", "safety", "host_safety"))
    return [question for question in asked if judged.columns[question][pair] < 0]


def _missing(reader: Reader, asked: Iterable[str]) -> list[str]:
    """Return the unknown facts that keep questions open."""
    choices = (questions()[question] for question in asked)
    nodes = (choice.is_in([label]) for choice in choices for label in choice.labels)
    return sorted(frozenset().union(*(reader.ternary.missing(node) for node in nodes)))


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
