"""The page of kernel behaviours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby

from archcaps.tables.files import read_csv
from archcaps.tables.history import observation_of
from archcaps.tables.kernels import BEHAVIOURS, LONG_TERM, READINGS, Release, readings_of
from archcaps.tables.releases import distributions
from tools.pages import WRITTEN_BY, table

__all__ = ["kernels_page"]

KERNELS_HEAD = """# Kernel behaviours

Rules ask a kernel for a behaviour, never for its version. These tables (`behaviours.csv` and `readings/` in
`src/archcaps/tables/kernels`) say what each behaviour means and in which releases it was read. Between two readings
that agree the behaviour is what they say; between two that differ, and beyond the last, it is unknown. A long-term
line stands alone: what it took back is known from its own readings. A point release of any other line is known between
a reading before it and one of its own line, or of the release after the next. How that works and why: [decision
0003](../decisions/0003-readings-not-versions.md). What one release does: `archcaps kernel`.
"""
DISTRIBUTIONS_HEAD = """The first row whose pattern is found in the release counts. *point release*: the version is
upstream's. *hidden*: it is not in the version. *base*: the version is where the kernel was forked, and says nothing of
what it holds.
"""


def readings_by_line(name: str) -> Mapping[str, list[tuple[str, bool]]]:
    """The readings of a behaviour, oldest first, by line; the mainline's under ``mainline``."""
    found: dict[str, list[tuple[str, bool]]] = {}
    rows = [(Release.parse(release), value) for release, (value, _) in readings_of(name).items()]
    for release, value in sorted(rows, key=lambda item: item[0].version):
        line = release.line if release.line in LONG_TERM else "mainline"
        found.setdefault(line, []).append((release.text, value))
    return found


def in_short(line: str, readings: Iterable[tuple[str, bool]]) -> str:
    """Readings in one cell: those that agree as from the first to the last."""
    parts = []
    for value, group in groupby(readings, lambda item: item[1]):
        releases = [text if line == "mainline" else text.removeprefix(line) for text, _ in group]
        span = releases[0] if len(releases) == 1 else f"{releases[0]} to {releases[-1]}"
        parts.append(f"{'yes' if value else 'no'} {span}")
    return "; ".join(parts) or "not read"


def kernels_page() -> str:
    lines = ["mainline", *sorted(LONG_TERM, key=lambda line: [int(part) for part in line.split(".")])]
    meanings = [[f"`{item.name}`", item.meaning, item.source] for item in BEHAVIOURS.values()]
    readings = []
    for name in BEHAVIOURS:
        found = readings_by_line(name)
        readings.append([f"`{name}`", *(in_short(line, found.get(line, [])) for line in lines)])
    releases = [[row["release"], row["source"]] for name in READINGS for row in read_csv(name)]
    observed = [[f"`{item.behaviour}`", item.theme, item.observation, item.source]
                for item in map(observation_of, BEHAVIOURS)]  # fmt: skip
    suffixes = [
        [item.name, f"`{item.pattern.pattern}`", item.version.value, item.meaning, item.observation, item.source]
        for item in distributions()
    ]
    return "\n".join([
        WRITTEN_BY, KERNELS_HEAD,
        "## What they mean\n", table(["behaviour", "meaning", "source"], meanings),
        "## Where they were read\n",
        "First and last reading of each value, by line; `.48` in column 5.15 is 5.15.48.\n",
        table(["behaviour", *lines], readings),
        "## What shows them on a machine\n", table(["behaviour", "theme", "shown by", "source"], observed),
        "## What a distribution's suffix tells\n", DISTRIBUTIONS_HEAD,
        table(["kernel of", "pattern", "its version", "meaning", "where the point release stands", "source"], suffixes),
        "## What was read of each release\n", table(["release", "source"], releases),
    ])  # fmt: skip
