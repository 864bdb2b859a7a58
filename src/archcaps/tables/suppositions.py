"""What is supposed of a kernel release that nobody read: which release, that was read, it behaves like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from packaging.version import Version

from archcaps.tables.kernels import Finding, Release, is_newest, newest_of_line, outruns_readings
from archcaps.tables.releases import Tells

__all__ = ["AS_UPSTREAM", "NEWEST_READING", "Supposition", "limits_of", "supposed", "suppositions_of"]

#: Names of assumptions, as answers have them.
AS_UPSTREAM: Final = "as-upstream"
NEWEST_READING: Final = "newest-reading"


@dataclass(frozen=True, slots=True)
class Supposition:
    """One assumption about a release: its name, what it supposes, and the release that answers in its place."""

    name: str
    text: str
    stands_in: Release


@lru_cache(maxsize=1024)
def suppositions_of(release: Release) -> tuple[Supposition, ...]:
    """Return what is supposed of a release, one on top of the other; none where its own readings speak, or none can.

    Of a distribution that follows upstream's point releases: that it does what upstream's does. Of a release that is
    newer than the newest one of its line that was read: that it does what that one does. A line of which no release
    was read has none to stand in, and a kernel that may have taken over anything is like no other.
    """
    found, upstream = [], _plain(release.version)
    if not release.is_upstream:
        whose = release.distribution
        if whose is None or whose.version is not Tells.POINT_RELEASE or release.hides_point_release:
            return ()
        text = f"{release.text} ({whose.name}) behaves as upstream {upstream.text}"
        found.append(Supposition(AS_UPSTREAM, text, upstream))
    newest = newest_of_line(upstream)
    if newest is not None and outruns_readings(upstream):
        like = _plain(newest)
        text = f"{upstream.text} behaves as {like.text}, the newest release of its line that was read"
        found.append(Supposition(NEWEST_READING, text, like))
    return tuple(found)


def _plain(version: Version) -> Release:
    """Return upstream's release of a version."""
    return Release(str(version).replace("rc", "-rc"), version, "")


def limits_of(release: Release) -> str:
    """Return what of a release keeps its behaviours open, as a sentence; empty: nothing but what lies between readings.

    That is: somebody may have patched it, or it is newer than what was read.
    """
    if not release.is_upstream:
        return f"{release.why_unknown}; what changed after {_plain(release.version).text} is unknown"
    newest = newest_of_line(release)
    if newest is not None and outruns_readings(release):
        return (
            f"{release.text} is newer than {_plain(newest).text}, the newest release of its line that was read; what "
            "changed since is unknown"
        )
    if newest is None and is_newest(release):
        return f"no release of the line {release.line} was read; any text is possible"
    return ""


def supposed(look_up: Callable[[Release], Finding], release: Release, *, strict: bool = False) -> Finding:
    """Return what a table says of a release; where it leaves that open, what is supposed (not if `strict`).

    The newest reading stands in only where nothing that was read later speaks for the release.
    """
    found = answer = look_up(release)
    texts: list[str] = []
    for supposition in () if strict else suppositions_of(release):
        if answer.value is not None or (supposition.name == NEWEST_READING and not answer.newer):
            break
        answer = look_up(supposition.stands_in)
        texts.append(supposition.text)
    return found if not texts or answer.value is None else replace(answer, source="; ".join(texts), assumed=True)
