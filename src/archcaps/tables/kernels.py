"""Kernel releases and their behaviours: what a release does, where its source was read, and where nobody looked.

A reading says that one release has or has not a behaviour. Between the last reading without and the first with it, a
behaviour is unknown; between two that agree it is what they say. A long-term line stands alone: what it took back from
later kernels is known only from readings of that line.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from packaging.version import Version

from archcaps.tables.files import read_csv
from archcaps.tables.releases import Release

__all__ = [
    "BEHAVIOURS", "READINGS", "Behaviour", "Finding", "Release", "Track", "behaviour", "is_newest", "never_taken_away",
    "newest_of_line", "outruns_readings", "readings_of", "too_old",
]  # fmt: skip

#: Lines kept for years, each with its own backports. Source: kernel.org/category/releases.html
LONG_TERM: Final = frozenset(("5.4", "5.10", "5.15", "6.1", "6.6", "6.12", "6.18"))

#: The last line of each major number that is over. Source: kernel.org, /pub/linux/kernel
LAST_OF_MAJOR: Final = {3: 19, 4: 20, 5: 19, 6: 19}

#: The tables of readings: each has a column a behaviour, each behaviour stands in one of them.
READINGS: Final = (
    "kernels/readings/verw_family.csv",
    "kernels/readings/kvm.csv",
    "kernels/readings/linux_bugs.csv",
    "kernels/readings/linux_branches.csv",
)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One thing that kernels do or do not."""

    name: str
    meaning: str
    source: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of a behaviour at a release: its value (None: unknown), and where it was read or why not.

    `newer`: the release is newer than all that was read and speaks for it; `assumed`: it is supposed, and `source` says
    what.
    """

    value: bool | None
    source: str
    newer: bool = False
    assumed: bool = False


def _behaviours() -> dict[str, Behaviour]:
    return {row["name"]: Behaviour(**row) for row in read_csv("kernels/behaviours.csv")}


BEHAVIOURS: Final[Mapping[str, Behaviour]] = MappingProxyType(_behaviours())


@dataclass(frozen=True, slots=True)
class Track:
    """Readings by version, sorted for the question which of them speak for a release."""

    main: tuple[Version, ...]
    lines: Mapping[str, tuple[Version, ...]]

    @classmethod
    def of(cls, versions: Iterable[Version]) -> Track:
        """Return the track of these readings."""
        return cls.of_sorted(sorted(versions))

    @classmethod
    def of_sorted(cls, versions: Iterable[Version]) -> Track:
        """Return the track of these readings, which come in order."""
        lines: dict[str, list[Version]] = {}
        main = []
        for version in versions:
            line, on_main = _place(version)
            lines.setdefault(line, []).append(version)
            if on_main:
                main.append(version)
        return cls(tuple(main), {line: tuple(own) for line, own in lines.items()})

    def bracket(self, version: Version) -> tuple[Version | None, Version | None]:
        """Return the newest reading not after `version` and the oldest one not before it that speaks for it.

        In a long-term line only that line's own readings stand above, and what the mainline says of its first
        release stands below. A point release of any other line may hold what later kernels got until that line ended,
        some weeks after the next release: only its own line's readings, or those from the release after the next on,
        stand above it (6.7.10 has RFDS, which came after 6.8).
        """
        line = f"{version.major}.{version.minor}"
        start = Version(line)
        if version <= start:
            return _around(self.main, version)
        own = self.lines.get(line, ())
        if line not in LONG_TERM:
            later = [reading for reading in self.main if reading >= _after_next(version)]
            below, above = _around(self.main, version)[0], _around(own, version)[1]
            return below, above or (later[0] if later else None)
        below, above = _around(own, version)
        return below or _around(self.main, start)[0], above

    def passed_over(self, version: Version, above: Version) -> tuple[Version, ...]:
        """Return the mainline readings after `version` that `bracket` passed over on the way to `above`.

        A point release of a short line may hold what one of them has: what came and went meanwhile is not known there.
        """
        line = f"{version.major}.{version.minor}"
        if line in LONG_TERM or version <= Version(line):
            return ()
        first = bisect_left(self.main, version)
        return tuple(reading for reading in self.main[first:] if version < reading < above)


@cache
def _place(version: Version) -> tuple[str, bool]:
    """Return the line of a reading, and whether it stands on the mainline track: early ones of long-term lines do."""
    line = f"{version.major}.{version.minor}"
    return line, line not in LONG_TERM or version.micro < 10


def _after_next(version: Version) -> Version:
    """Return the first release of the second line after that of `version`."""
    major, minor = version.major, version.minor + 2
    last = LAST_OF_MAJOR.get(major)
    if last is not None and minor > last:
        major, minor = major + 1, minor - last - 1
    return Version(f"{major}.{minor}")


def _around(versions: Sequence[Version], version: Version) -> tuple[Version | None, Version | None]:
    index = bisect_left(versions, version)
    above = versions[index] if index < len(versions) else None
    if above == version:
        return above, above
    return (versions[index - 1] if index else None), above


@cache
def readings_of(name: str) -> Mapping[str, tuple[bool, str]]:
    """Return the readings of behaviour `name` by release as the table writes it: its value and its source.

    Raises:
        KeyError: no table has that behaviour.
    """
    rows = read_csv(_table_of(name))
    return {row["release"]: (row[name] == "1", row["source"]) for row in rows if row[name]}


@cache
def _readings(name: str) -> tuple[Track, dict[Version, tuple[bool, str]]]:
    """Return the readings of behaviour `name` by version: which there are, and each one's value and source."""
    readings = readings_of(name)
    found = {version: readings[release] for release, version in _in_order(_table_of(name)) if release in readings}
    return Track.of_sorted(found), found


@cache
def _in_order(table: str) -> tuple[tuple[str, Version], ...]:
    """Return the releases of a table of readings with their versions, oldest first."""
    releases = [(row["release"], _version(row["release"])) for row in read_csv(table)]
    return tuple(sorted(releases, key=lambda item: item[1]))


def _table_of(name: str) -> str:
    """Return the table of readings that has a column for a behaviour.

    Raises:
        KeyError: none has.
    """
    for table in READINGS:
        if name in read_csv(table)[0]:
            return table
    raise KeyError(name)


@cache
def _version(release: str) -> Version:
    return Release.parse(release).version


@lru_cache(maxsize=4096)
def behaviour(name: str, release: Release) -> Finding:
    """Return what is known of behaviour `name` at `release`.

    Raises:
        KeyError: no table has that behaviour.
    """
    BEHAVIOURS[name]  # unknown names are an error
    found = _read(name, release) if release.is_upstream else _kept(name, release)
    if found.value is None and (source := _never_lost(name, release)):
        return Finding(True, source)
    return found


def _read(name: str, release: Release) -> Finding:
    """Return what the readings on both sides of an upstream release say."""
    meaning = BEHAVIOURS[name].meaning
    track, readings = _readings(name)
    below, above = track.bracket(release.version)
    if below is None or above is None:
        side = "older" if below is None else "newer"
        why = f"{release.text} is {side} than every release that was read and speaks for it ({meaning})"
        return Finding(None, why, newer=above is None and below is not None)
    (first, source), (second, other) = readings[below], readings[above]
    if first is not second:
        return Finding(
            None, f"{meaning}: {'yes' if first else 'no'} in {below}, {'yes' if second else 'no'} in {above}"
        )
    other_way = [reading for reading in track.passed_over(release.version, above) if readings[reading][0] is not first]
    if other_way:
        words = ("no", "yes") if first else ("yes", "no")
        return Finding(None, f"{meaning}: {words[1]} in {below} and {above}, {words[0]} in {other_way[0]} between them")
    return Finding(first, source if below == above else f"{source}; the same in {other}")


def _kept(name: str, release: Release) -> Finding:
    """Return what a kernel does that somebody made of an upstream release and may have patched.

    It may have taken back whatever changed later, in upstream or in another line: what is the same in the release that
    it is made from (at the earliest) and in everything later holds, what is not is unknown.
    """
    track, readings = _readings(name)
    below, above = track.bracket(release.base)
    if below is None or above is None or readings[below][0] is not readings[above][0]:
        return Finding(None, release.why_unknown)
    value, source = readings[below]
    later = [version for version in readings if _can_be_taken_back(name, version, release.base)]
    if all(version.release[:2] <= release.version.release[:2] for version in later):
        return Finding(None, release.why_unknown)  # too new: nothing was read that came later
    if any(readings[version][0] is not value for version in later):
        return Finding(None, release.why_unknown)
    return Finding(value, f"{source}; the same in every release read that came later")


def _can_be_taken_back(name: str, reading: Version, base: Version) -> bool:
    """Whether what a reading says may have come into a kernel made from `base`: it is later, or its line changed."""
    if reading > base:
        return True
    first = _first_change(name).get(f"{reading.major}.{reading.minor}")
    return first is not None and reading >= first


@cache
def _first_change(name: str) -> Mapping[str, Version]:
    """Return for each long-term line the first reading that differs from the one before it in that line."""
    track, readings = _readings(name)
    return {
        line: next(new for old, new in pairwise(own) if readings[old][0] is not readings[new][0])
        for line, own in track.lines.items()
        if line in LONG_TERM and len({readings[version][0] for version in own}) > 1
    }


@cache
def never_taken_away() -> Mapping[str, str]:
    """Return the behaviours that no kernel lost once it had them, each with its source."""
    return {row["behaviour"]: row["source"] for row in read_csv("kernels/never_taken_away.csv")}


def _never_lost(name: str, release: Release) -> str:
    """Return why a kernel has a behaviour that none ever lost: from where it descends; empty: it may not have it."""
    why = never_taken_away().get(name)
    if why is None:
        return ""
    _, readings = _readings(name)
    version = release.base if "rc" in release.suffix else release.version
    having = [reading for reading, (value, _) in readings.items() if value and _descends(version, reading)]
    return f"{readings[max(having)][1]}; {why}" if having else ""


def _descends(version: Version, reading: Version) -> bool:
    """Whether all that a reading has without ever losing it, a release `version` has too.

    A point release may hold fixes that the first releases of the next line have not: 6.7.10 has RFDS, 6.8.0 has not.
    """
    if (version.major, version.minor) == (reading.major, reading.minor):
        return reading <= version
    if reading.micro == 0:
        return reading <= version
    return _place(reading)[1] and _after_next(reading) <= version


@cache
def _all_readings() -> Mapping[str, tuple[Version, ...]]:
    """Return every release that any table of readings has, by its line, oldest first."""
    found: dict[str, set[Version]] = {}
    for table in READINGS:
        for _, version in _in_order(table):
            found.setdefault(f"{version.major}.{version.minor}", set()).add(version)
    return {line: tuple(sorted(versions)) for line, versions in found.items()}


def newest_of_line(release: Release) -> Version | None:
    """Return the newest release of this line that was read; None: none was."""
    return _all_readings().get(release.line, (None,))[-1]


@lru_cache(maxsize=1024)
def outruns_readings(release: Release) -> bool:
    """Return whether a release is newer than the newest of its line that was read, and no later line speaks for it."""
    newest = newest_of_line(release)
    if newest is None or release.version <= newest:
        return False
    tracks = (Track.of(version for _, version in _in_order(table)) for table in READINGS)
    return any(track.bracket(release.version)[1] is None for track in tracks)


def is_newest(release: Release) -> bool:
    """Return whether a release is newer than all that was read, of any line."""
    return release.version > max(versions[-1] for versions in _all_readings().values())


def too_old(release: Release) -> str:
    """Return why nothing can be said of a release that is older than all that was read; empty: it is not."""
    oldest = min(versions[0] for versions in _all_readings().values())
    found = release.distribution
    if release.version >= oldest or (found is not None and release.line in found.bases):
        return ""
    return (
        f"{release.text} is older than Linux {oldest.major}.{oldest.minor}, the oldest that was read: archcaps does "
        f"not know its texts (expected a release from {oldest.major}.{oldest.minor} on)"
    )
