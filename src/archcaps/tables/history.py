"""Since when a kernel has a behaviour, and how one observes it: the readings of its line, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from packaging.version import Version

from archcaps.tables.files import read_csv
from archcaps.tables.kernels import BEHAVIOURS, LONG_TERM, Release, Track, readings_of

__all__ = ["OTHER", "Change", "Observation", "adjacent", "change", "observation_of", "since"]

#: The theme of a behaviour that observations.csv does not name.
OTHER = "Other behaviours"


@dataclass(frozen=True, slots=True)
class Change:
    """Where readings change: the first release read with a value, and the last one before it with the other.

    `before` is None where every older reading agrees; `exact` says that nothing lies between the two.
    """

    first: str
    before: str | None
    exact: bool


@dataclass(frozen=True, slots=True)
class Observation:
    """To which theme a behaviour belongs, and what would show on a machine whether its kernel has it."""

    behaviour: str
    theme: str
    observation: str
    source: str


@cache
def _observations() -> Mapping[str, Observation]:
    return MappingProxyType({row["behaviour"]: Observation(**row) for row in read_csv("kernels/observations.csv")})


@cache
def observation_of(name: str) -> Observation:
    """Return how behaviour `name` is observed; where the table does not say: by reading the kernel's source."""
    source = BEHAVIOURS[name].source
    return _observations().get(name) or Observation(name, OTHER, "the source of the kernel", source)


def adjacent(one: Version, other: Version) -> bool:
    """Return whether `other` is the release right after `one`: the next point release or release candidate."""
    if one.pre is not None and other.pre is not None:
        return one.release == other.release and other.pre[1] == one.pre[1] + 1
    if one.is_prerelease or other.is_prerelease:
        return False
    return one.release[:2] == other.release[:2] and other.micro == one.micro + 1


def _walk(release: Release, versions: Iterable[Version], *, later: bool) -> list[Version]:
    """Return the readings of a release's past, newest first, or of the rest of its line, oldest first."""
    track = Track.of(versions)
    version, start = release.version, Version(release.line)
    own = track.lines.get(release.line, ())
    if later:
        return [reading for reading in own if reading > version]
    if release.line in LONG_TERM and version > start:
        past = [reading for reading in track.main if reading <= start]
        past += [reading for reading in own if start < reading <= version]
    else:
        past = [reading for reading in track.main if reading <= version]
    return past[::-1]


@cache
def _readings(name: str) -> Mapping[Version, tuple[str, bool]]:
    """Return the readings of behaviour `name` by version: the release as the table writes it, and the value."""
    found = {Release.parse(text).version: (text, value) for text, (value, _) in readings_of(name).items()}
    return MappingProxyType(found)


def since(name: str, release: Release) -> Change | None:
    """Return since when `release` and those before it have behaviour `name` as it has it; None: nothing was read.

    Only for a release at which the behaviour is known.
    """
    readings = _readings(name)
    past = _walk(release, readings, later=False)
    if not past:
        return None
    first = past[0]
    for reading in past[1:]:
        if readings[reading][1] is not readings[first][1]:
            return Change(readings[first][0], readings[reading][0], adjacent(reading, first))
        first = reading
    return Change(readings[first][0], None, exact=False)


def change(name: str, release: Release, *, value: bool) -> Change | None:
    """Return where later releases of `release`'s own line stop having `value` for behaviour `name`; None: nowhere."""
    readings = _readings(name)
    last = release.version
    for reading in _walk(release, readings, later=True):
        text, found = readings[reading]
        if found is not value:
            return Change(text, readings[last][0] if last in readings else release.text, adjacent(last, reading))
        last = reading
    return None
