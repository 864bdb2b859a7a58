"""Kernel releases as `uname -r` prints them: the upstream version, and what a distribution made of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import Final

from packaging.version import Version

from archcaps.tables.files import read_csv, read_toml

__all__ = ["Distribution", "Release", "Tells", "distribution_of", "distributions", "own_texts"]

#: Linux prints at most 64 characters (include/uapi/linux/utsname.h __NEW_UTS_LEN).
LONGEST: Final = 64

#: Four numbers there are (5.15.167.4), five there are not.
_RELEASE: Final = re.compile(
    r"([0-9]{1,3})\.([0-9]{1,4})(?:\.([0-9]{1,4})|(?!\.))(?:-(rc[0-9]{1,3}))?(?!\.[0-9]+\.[0-9])([-+~._]\S+|\+)?\Z"
)
#: What looks like a release in other words, as in "v6.12.117" or "Linux 6.12.117".
_WITHIN: Final = re.compile(r"[0-9]{1,3}\.[0-9]{1,4}[-+~._0-9A-Za-z]*+")


class Tells(Enum):
    """What the version of a distribution's kernel tells."""

    POINT_RELEASE = "point release"
    HIDDEN = "hidden"
    BASE = "base"


@dataclass(frozen=True, slots=True)
class Distribution:
    """Who makes kernels with a certain suffix, and what their version tells.

    `point_release` finds the upstream release in ``uname -v``, /proc/version or /proc/version_signature (None: nothing
    there tells it), and `observation` says where a user reads it. `upstream`: with a point release its kernels do what
    upstream's do, as far as the tables ask. `bases`: lines older than all readings whose texts are known all the same.
    """

    name: str
    pattern: re.Pattern[str]
    version: Tells
    meaning: str
    observation: str
    point_release: re.Pattern[str] | None
    examples: tuple[str, ...]
    source: str
    upstream: bool = False
    bases: tuple[str, ...] = ()


@cache
def distributions() -> tuple[Distribution, ...]:
    """Return every distribution of kernels/distributions.toml, in its order."""
    return tuple(
        Distribution(
            entry["name"],
            re.compile(entry["pattern"], re.ASCII),
            Tells(entry["version"]),
            entry["meaning"],
            entry.get("observation", ""),
            re.compile(entry["point_release"], re.ASCII | re.MULTILINE) if "point_release" in entry else None,
            tuple(entry["examples"]),
            entry["source"],
            entry.get("upstream", False),
            tuple(entry.get("bases", ())),
        )
        for entry in read_toml("kernels/distributions.toml")["distribution"]
    )


@cache
def distribution_of(text: str) -> Distribution | None:
    """Return whose kernel the release `text` is; None where its suffix is nobody's that the table knows."""
    return next((item for item in distributions() if item.pattern.search(text)), None)


@dataclass(frozen=True, slots=True)
class Release:
    """A kernel release as uname -r prints it: its upstream version, and what a distribution appended.

    `is_doubted`: of nobody's kernels but upstream's own is it taken for granted that they do what upstream's do.
    """

    text: str
    version: Version
    suffix: str
    is_doubted: bool = False

    @classmethod
    def parse(cls, text: str) -> Release:
        """Return the release that `text` names, for example ``6.1.192`` or ``6.18.30-61.116.amzn2023.x86_64``.

        Raises:
            ValueError: `text` does not start like a kernel release, or is longer than any.
        """
        stripped = text.strip()
        if len(stripped) > LONGEST:
            raise ValueError(
                f"{stripped[:20]!r}... is no kernel release: {len(stripped)} characters, and uname -r prints at most "
                f"{LONGEST}"
            )
        match = _RELEASE.match(stripped)
        if match is None or not stripped.isprintable():
            within = _WITHIN.search(stripped)
            nearly = within is not None and within[0] != stripped and _RELEASE.match(within[0])
            meant = f"did you mean {within[0]}?" if within and nearly else "expected something like 6.12.117"
            raise ValueError(f"{text!r} is not a kernel release ({meant})")
        major, minor, point, candidate, tail = match.groups(default="")
        return cls(stripped, Version(f"{major}.{minor}.{point or 0}{candidate}"), tail[1:] or tail)

    @property
    def line(self) -> str:
        """The line the release belongs to, for example ``6.1``."""
        return f"{self.version.major}.{self.version.minor}"

    @property
    def distribution(self) -> Distribution | None:
        """Whose kernel this is; None for upstream's own, and for a suffix that the table does not know."""
        return distribution_of(self.text) if self.suffix else None

    @property
    def hides_point_release(self) -> bool:
        """Whether the version is not that of the upstream point release, as in ``6.1.0-49-amd64``.

        A suffix behind point release 0 hides it whoever appended it: upstream prints 6.1, distributions 6.1.0.
        """
        if not self.suffix:
            return False
        found = self.distribution
        if found is not None and found.version is not Tells.POINT_RELEASE:
            return True
        return self.version.micro == 0 and not self.version.is_prerelease

    @property
    def is_upstream(self) -> bool:
        """Whether it does what the upstream release of its version does: upstream's own, or made with few patches.

        Upstream's own is bare, or a release candidate: whatever else stands behind it somebody appended.
        """
        found = self.distribution
        if not self.suffix:
            return True
        return found is not None and found.upstream and not self.is_doubted and not self.hides_point_release

    @property
    def doubted(self) -> Release:
        """The same release, of which only what was read of upstream's counts, unless it is supposed."""
        return replace(self, is_doubted=True) if self.suffix else self

    @property
    def base(self) -> Version:
        """The oldest upstream release that this one can be made from; only for a release that is not upstream's.

        Builds that are made before x.y.0 comes out have that number already: 6.9.0-0.rc5.47.fc41, 6.8.0-7-generic.
        """
        hidden = self.version.micro == 0 and not self.version.is_prerelease
        return Version(f"{self.line}rc1") if hidden else self.version

    @property
    def why_unknown(self) -> str:
        """Why what changed later is unknown; only for a release that is not upstream's."""
        if self.hides_point_release:
            return self.why_hidden
        found = self.distribution
        if found is None:
            return (
                f"{self.text} is not upstream's {self.version}, and nobody is known to call kernels -{self.suffix}: "
                "it may have taken over anything that came later"
            )
        return f"{self.text} is not upstream's {self.version} ({found.name}: {found.meaning})"

    @property
    def why_hidden(self) -> str:
        """Why what changed later is unknown; only for a release that hides its point release."""
        found = self.distribution
        if found is None:
            return f"{self.text} does not say which point release it is made from"
        if found.version is Tells.BASE:
            return f"{self.text} does not tell what it holds ({found.name}: {found.meaning})"
        where = "; ".join(filter(None, (found.name, found.observation)))
        return f"{self.text} does not say which point release it is made from ({where})"

    def made_from(self, version_text: str) -> Release | None:
        """Return the upstream release that ``uname -v``, /proc/version or /proc/version_signature names.

        None where that text does not name one, or one of another line.
        """
        found = self.distribution
        match = found.point_release.search(version_text) if found and found.point_release else None
        if match is None:
            return None
        try:
            upstream = Release.parse(match[1])
        except ValueError:  # digits, but no release
            return None
        return upstream if upstream.line == self.line else None


def own_texts(release: Release) -> tuple[dict[str, str], ...]:
    """Return the texts that a distribution's kernel may say in the place of upstream's: file, like, text."""
    found = release.distribution
    rows = read_csv("kernels/own_texts.csv") if found is not None else ()
    return tuple(row for row in rows if found and (row["distribution"], row["line"]) == (found.name, release.line))
