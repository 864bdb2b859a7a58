"""What is supposed of a kernel release that nobody read: which release, that was read, it behaves like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from archcaps.tables.kernels import Finding, Release, is_newest, newest_of_line
from archcaps.tables.releases import Tells

__all__ = ["AS_UPSTREAM", "NEWEST_READING", "Supposition", "limits_of", "supposed", "supposition_of"]

#: Names of assumptions, as answers have them.
AS_UPSTREAM: Final = "as-upstream"
NEWEST_READING: Final = "newest-reading"


@dataclass(frozen=True, slots=True)
class Supposition:
    """The release that answers in the place of another, and for that what is supposed, by the assumption's name."""

    stands_in: Release
    supposes: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """All that is supposed, as one sentence."""
        return "; ".join(text for _, text in self.supposes)


@lru_cache(maxsize=1024)
def supposition_of(release: Release) -> Supposition | None:
    """Return what is supposed of a release; None: nothing, its own readings speak for it, or none can.

    Of a distribution that follows upstream's point releases: that it does what upstream's does. Of a release that is
    newer than the newest one of its line that was read: that it does what that one does. A line of which no release
    was read has none to stand in, and a kernel that may have taken over anything is like no other.
    """
    supposes: list[tuple[str, str]] = []
    upstream = Release(str(release.version).replace("rc", "-rc"), release.version, "")
    if not release.is_upstream:
        found = release.distribution
        if found is None or found.version is not Tells.POINT_RELEASE or release.hides_point_release:
            return None
        supposes.append((AS_UPSTREAM, f"{release.text} ({found.name}) behaves as upstream {upstream.text}"))
    newest = newest_of_line(release)
    if newest is not None and newest < release.version:
        text = str(newest).replace("rc", "-rc")
        supposes.append(
            (NEWEST_READING, f"{release.text} behaves as {text}, the newest release of its line that was read")
        )
        upstream = Release(text, newest, "")
    return Supposition(upstream, tuple(supposes)) if supposes else None


def limits_of(release: Release) -> str:
    """Return what of a release keeps its behaviours open, as a sentence; empty: nothing but what lies between readings.

    That is: somebody may have patched it, or it is newer than what was read.
    """
    if not release.is_upstream:
        return f"{release.why_unknown}; what changed after {release.version} is unknown"
    newest = newest_of_line(release)
    if newest is not None and newest < release.version:
        return (
            f"{release.text} is newer than {newest}, the newest release of its line that was read: what changed since "
            "is unknown"
        )
    if newest is None and is_newest(release):
        return f"no release of the line {release.line} was read: any text is possible"
    return ""


def supposed(look_up: Callable[[Release], Finding], release: Release, *, strict: bool = False) -> Finding:
    """Return what a table says of a release; where it leaves that open, what is supposed (not if `strict`)."""
    found = look_up(release)
    supposition = None if strict or found.value is not None else supposition_of(release)
    if supposition is None:
        return found
    other = look_up(supposition.stands_in)
    return found if other.value is None else replace(other, source=supposition.text, assumed=True)
