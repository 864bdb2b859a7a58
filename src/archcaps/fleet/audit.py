"""audit: who of a fleet is lied to, who is exposed, and what to mend first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec.structs import replace

from archcaps.fleet.classes import (
    NO_MATTER,
    UNDECIDED,
    VERDICTS,
    Classes,
    Judged,
    Progress,
    content_id,
    judge,
    pair_id,
    silent,
    supposed,
)
from archcaps.fleet.collecting import open_questions
from archcaps.fleet.engine import Engine, Settings, check_written, opened, put_in_place, set_aside
from archcaps.fleet.inventory import Inventory
from archcaps.fleet.reasons import reasons_of
from archcaps.fleet.results import FORMAT_VERSION, AuditResult, Rejected
from archcaps.fleet.summary import (
    by_group,
    by_kernel_and_vulnerability,
    by_vulnerability,
    cpu_name,
    heat_map,
    kernel_name,
    rows_of,
    totals,
)
from archcaps.fleet.worst import worst_classes
from archcaps.tables.kernels import Release
from archcaps.tables.names import STRICT, VULNERABILITIES
from archcaps.tables.suppositions import suppositions_of

__all__ = ["Audited", "audit"]

#: The questions whose answers stand in the table of classes.
_TABLE_QUESTIONS: Final = ("concludes", "claim", "truth", "safety", "responsible", "host_safety", "host_responsible")

#: So many releases of which something is supposed are named; more are counted.
_NAMED: Final = 5


@dataclass(frozen=True)
class Audited:
    """The answer of an audit, and the table of classes behind it: arrays of one value for each class."""

    result: AuditResult
    classes: Mapping[str, Any]


@dataclass(frozen=True)
class _Extras:
    """What is asked for besides the verdicts (see `audit`)."""

    wide: bool
    reasons: bool
    cures: bool


def audit(  # noqa: PLR0913  # each asks for one thing, by name
    inventory: Inventory,
    out: Path | None,
    *,
    assumptions: Iterable[str] = (),
    settings: Settings = Settings(),  # noqa: B008  # it cannot be changed
    wide: bool = False,
    reasons: bool = False,
    cures: bool = False,
    progress: Progress = silent,
) -> Audited:
    """Return the verdicts on a fleet in numbers; with `out`, write each guest's to that folder.

    The folder gets ``verdicts.parquet`` (one row a guest), ``classes.parquet`` (one row for each class of guests on a
    class of hosts, with every answer) and, where rows were set aside, ``rejected.parquet``. They appear together at
    the end, or not at all; with Spark each is a folder of part files. `wide`: the guests' rows have their host and
    every truth and safety besides. `reasons`: ``reasons.parquet`` is written too, the facts that decide each class,
    which takes about 20 ms a class. `cures`: what mends the worst classes is looked for, about half a second for each
    of six. `settings`: which engine works, and with what.

    Raises:
        InputError: the inventory cannot be read, no guest can be judged, or the folder cannot be written.
    """
    with opened(inventory, out, settings, progress) as (engine, work):
        return _audit(engine, out, work, frozenset(assumptions), _Extras(wide, reasons, cures), progress)


def _audit(
    engine: Engine, out: Path | None, work: Path, assumptions: frozenset[str], extras: _Extras, progress: Progress
) -> Audited:
    classes = engine.classes(assumptions)
    judged = judge(classes, progress)
    set_aside(engine, judged.refused, progress)
    names = _names(classes)
    files: dict[str, Path] = {}
    written: int | None = None
    table = _class_columns(classes, judged, names)
    if out is not None:
        files["verdicts"] = work / "verdicts.parquet"
        columns = _verdict_columns(classes, judged, names, wide=extras.wide)
        chosen = [name for name in columns if name not in ("host_class", "guest_class")]
        ids = ("guest_id", "host_id") if extras.wide else ("guest_id",)
        written = engine.write_verdicts(files["verdicts"], columns, chosen, ids)
        files["classes"] = work / "classes.parquet"
        engine.write_table(files["classes"], table)
        files["reasons"] = work / "reasons.parquet"
        if extras.reasons:
            engine.write_table(files["reasons"], _reasons(classes, judged, names, assumptions, progress))
    files["rejected"] = work / "rejected.parquet"
    rejected = [Rejected(*row) for row in engine.rejected(files["rejected"])]
    result = _result(classes, judged, names, rejected, assumptions, progress, cures=extras.cures)
    result = replace(result, hosts=_hosts_judged(engine, judged), passed_over=engine.passed_over)
    check_written(engine, written, result.guests)
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


def _reasons(
    classes: Classes, judged: Judged, names: _Names, assumptions: frozenset[str], progress: Progress
) -> dict[str, Any]:
    """Return the table of the facts that decide the classes, the largest first."""
    kept = np.flatnonzero(judged.verdict >= 0)
    kept = kept[np.argsort(-classes.guests_of_pair[kept], kind="stable")].tolist()
    machines = [(names.hosts[classes.pair_host[pair]], names.guests[classes.pair_guest[pair]]) for pair in kept]
    ids = _pair_ids(classes, names)
    return reasons_of([ids[pair] for pair in kept], machines, assumptions, progress)


def _words(judged: Judged, column: str) -> Any:  # noqa: ANN401  # an array of objects
    found = np.array((*judged.labels[column], UNDECIDED), dtype=object)[judged.columns[column]]
    return np.where((judged.columns[column] < 0) & ~judged.is_open(column), NO_MATTER, found)


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
    of_guest = [
        ",".join(name for name, of in classes.guests.supposed.items() if of[number])
        for number in range(len(names.guests))
    ]
    found["supposed"] = np.array(of_guest, dtype=object)[classes.pair_guest][kept]
    for name in VULNERABILITIES:
        for question in _TABLE_QUESTIONS:
            found[f"{name}_{question}"] = _words(judged, f"{name}_{question}")[kept]
    return found


def _assumed(names: _Names, assumptions: frozenset[str]) -> list[str]:
    """Return what is assumed, and what is supposed of the kernels of the classes: a few by name, the rest counted."""
    if STRICT in assumptions:
        return []
    rows = [row for row in (*names.hosts, *names.guests) if row.get("system") in (None, "linux")]
    by_name: dict[str, dict[str, None]] = {}
    for text in dict.fromkeys(str(row["kernel"]) for row in rows if row.get("kernel") is not None):
        with suppress(ValueError):  # no release: the class is set aside, and said so elsewhere
            for each in suppositions_of(Release.parse(text).doubted):
                by_name.setdefault(each.name, {}).setdefault(each.text)
    found = sorted(assumptions)
    for name, texts in sorted(by_name.items()):
        more = f"; and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
        found.append(f"{name} ({'; '.join(sorted(texts)[:_NAMED])}{more})")
    return found


def _result(
    classes: Classes,
    judged: Judged,
    names: _Names,
    rejected: list[Rejected],
    assumptions: frozenset[str],
    progress: Progress,
    *,
    cures: bool,
) -> AuditResult:
    counts = totals(classes, judged)
    weights = classes.guests_of_pair
    still_open, to_collect = open_questions(classes, judged, progress)
    machines = (names.hosts, names.guests)
    worst = worst_classes(classes, judged, machines, _pair_ids(classes, names), assumptions, progress, cures=cures)
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
        open_questions=still_open,
        collect=to_collect,
        rejected=rejected,
        assumptions=_assumed(names, assumptions),
        supposed=supposed(classes, judged.verdict >= 0),
        passed_over=[],
        files={},
    )
