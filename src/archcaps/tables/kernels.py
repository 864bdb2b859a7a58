"""Kernel releases and their behaviours: what a release does, where its source was read, and where nobody looked.

A reading says that one release has or has not a behaviour. Between the last reading without and the first with it, a
behaviour is unknown; between two that agree it is what they say. A long-term line stands alone: what it took back from
later kernels is known only from readings of that line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from packaging.version import InvalidVersion, Version

from archcaps.tables.files import read_csv

__all__ = ["BEHAVIOURS", "Behaviour", "Finding", "Release", "behaviour", "bracket"]

#: Lines kept for years, each with its own backports. Source: kernel.org/category/releases.html
LONG_TERM: Final = frozenset(("5.4", "5.10", "5.15", "6.1", "6.6", "6.12", "6.18"))

_RELEASE = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?(?:-(rc\d+))?(?:[-+~.](.+))?\Z")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One thing that kernels do or do not."""

    name: str
    meaning: str
    source: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of a behaviour at a release: its value (None: unknown), and where it was read or why not."""

    value: bool | None
    source: str


@dataclass(frozen=True, slots=True)
class Release:
    """A kernel release as uname -r prints it: its upstream version, and what a distribution appended."""

    text: str
    version: Version
    suffix: str

    @classmethod
    def parse(cls, text: str) -> Release:
        """Return the release that `text` names, for example ``6.1.192`` or ``6.18.30-61.116.amzn2023.x86_64``.

        Raises:
            ValueError: `text` does not start like a kernel release.
        """
        match = _RELEASE.match(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a kernel release (expected something like 6.12.117)")
        major, minor, point, candidate, suffix = match.groups()
        try:
            version = Version(f"{major}.{minor}.{point or 0}{candidate or ''}")
        except InvalidVersion as error:  # the pattern above lets nothing through that packaging refuses
            raise AssertionError(text) from error
        return cls(text.strip(), version, suffix or "")

    @property
    def line(self) -> str:
        """The line the release belongs to, for example ``6.1``."""
        return f"{self.version.major}.{self.version.minor}"

    @property
    def hides_point_release(self) -> bool:
        """Whether a distribution's suffix hides which point release this is, as in ``6.1.0-49-amd64``."""
        return bool(self.suffix) and self.version.micro == 0 and not self.version.is_prerelease


def _behaviours() -> dict[str, Behaviour]:
    return {row["name"]: Behaviour(**row) for row in read_csv("kernels/behaviours.csv")}


BEHAVIOURS: Final[Mapping[str, Behaviour]] = MappingProxyType(_behaviours())


@cache
def _readings(name: str) -> tuple[tuple[Version, bool, str], ...]:
    """Return (version, value, source) of every reading of behaviour `name`, oldest first."""
    found = [
        (Release.parse(row["release"]).version, row[name] == "1", row["source"])
        for row in read_csv("kernels/readings.csv")
        if row[name]
    ]
    return tuple(sorted(found))


def bracket(version: Version, readings: Sequence[Version]) -> tuple[Version | None, Version | None]:
    """Return the readings that speak for `version`: the newest one not after it and the oldest one not before it.

    In a long-term line only that line's own readings stand above, and the line's first release stands on what
    the mainline releases around it say.
    """
    line = (version.major, version.minor)
    own = [seen for seen in readings if (seen.major, seen.minor) == line]
    main = [seen for seen in readings if f"{seen.major}.{seen.minor}" not in LONG_TERM or _opens_line(seen)]
    start = Version(f"{version.major}.{version.minor}")
    if f"{version.major}.{version.minor}" in LONG_TERM and version > start:
        below = max((seen for seen in own if seen <= version), default=None)
        above = min((seen for seen in own if seen >= version), default=None)
        if below is None:
            below = max((seen for seen in main if seen <= start), default=None)
        return below, above
    below = max((seen for seen in main if seen <= version), default=None)
    above = min((seen for seen in main if seen >= version), default=None)
    return below, above


def _opens_line(version: Version) -> bool:
    """Whether this release of a long-term line still stands on the mainline track (early point releases do)."""
    return version.micro < 10


def behaviour(name: str, release: Release) -> Finding:
    """Return what is known of behaviour `name` at `release`.

    Raises:
        KeyError: no table has that behaviour.
    """
    meaning = BEHAVIOURS[name].meaning
    if release.hides_point_release:
        return Finding(None, f"{release.text} does not say which point release it is made from")
    readings = {version: (value, source) for version, value, source in _readings(name)}
    below, above = bracket(release.version, list(readings))
    if below is None or above is None:
        side = "older" if below is None else "newer"
        return Finding(None, f"{release.text} is {side} than every release that was read ({meaning})")
    (first, source), (second, other) = readings[below], readings[above]
    if first is not second:
        return Finding(
            None, f"{meaning}: {'yes' if first else 'no'} in {below}, {'yes' if second else 'no'} in {above}"
        )
    return Finding(first, source if below == above else f"{source}; the same in {other}")
