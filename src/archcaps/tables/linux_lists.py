"""Linux's lists of parts: cpu_vuln_whitelist and cpu_vuln_blacklist, as each kernel line has them.

The first row that fits wins, and only its flags count (arch/x86/kernel/cpu/match.c x86_match_cpu).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from packaging.version import Version

from archcaps.tables.files import read_csv
from archcaps.tables.kernels import BEHAVIOURS, Finding, Release, Track, behaviour

__all__ = [
    "EVERY_LIST",
    "VENDORS",
    "Part",
    "asks_for_cores",
    "bad_spectre_microcode",
    "list_files",
    "list_flag",
    "lists_for",
]

#: Vendor strings of CPUID leaf 0, and the names Linux's lists have for them.
VENDORS: Final = {
    "GenuineIntel": "INTEL",
    "AuthenticAMD": "AMD",
    "HygonGenuine": "HYGON",
    "CentaurHauls": "CENTAUR",
    "  Shanghai  ": "ZHAOXIN",
    "Geode by NSC": "NSC",
    "Vortex86 SoC": "VORTEX",
}

#: Native core types of CPUID leaf 0x1A EAX[31:24]. Source: Intel SDM volume 2, CPUID leaf 1AH
CORE_TYPES: Final = {0x20: "ATOM", 0x40: "CORE"}
#: Where a release's own lists were not read: what all lists agree on.
EVERY_LIST: Final = "the same in every list read that has the flag"
#: Behaviours of a kernel that has a flag, where they are not called like it.
_CAME_WITH: Final = {"MMIO": "has_mmio_stale_data"}
#: Stands for the list of a release that may be older than the flag, and then gives it to no part.
_NO_LIST: Final = ""


@dataclass(frozen=True, slots=True)
class Part:
    """What identifies a CPU to the lists; None where unknown. `hybrid` is CPUID.7.0:EDX[15]."""

    vendor: str | None
    family: int | None
    model: int | None
    stepping: int | None
    hybrid: bool | None = None
    core_type: int | None = None


@cache
def _lists_with(flag: str) -> tuple[Track, dict[Version, tuple[str, str]]]:
    """Return the releases whose lists were read, and for each: the version whose list files it has, and the source.

    A list does not speak for the flags in `later` (the release took them up later, or has other rows for them), and
    where `only` names flags it speaks for these alone.
    """
    found = {
        Release.parse(row["release"]).version: (row["list"], row["source"])
        for row in read_csv("linux_lists/releases.csv")
        if flag not in row["later"].split("|") and (not row["only"] or flag in row["only"].split("|"))
    }
    return Track.of(found), found


@cache
def _oldest() -> Version:
    """Return the oldest release whose lists were read: the flags that it has are older than all that is modelled."""
    return min(Release.parse(row["release"]).version for row in read_csv("linux_lists/releases.csv"))


def list_files() -> tuple[str, ...]:
    """Return the tables that are a list of some release; where only flags of one list were read, there is no other."""
    found: dict[str, None] = {}
    for row in read_csv("linux_lists/releases.csv"):
        only = row["only"].split("|") if row["only"] else []
        immune = [flag.startswith("NO_") or flag == "MSBDS_ONLY" for flag in only]
        if not only or any(immune):
            found[f"linux_lists/whitelist-{row['list']}.csv"] = None
        if not only or not all(immune):
            found[f"linux_lists/blacklist-{row['list']}.csv"] = None
    return tuple(found)


def asks_for_cores(name: str, flag: str) -> bool:
    """Return whether some release's list gives a flag by the type of a core."""
    rows = [row for path in list_files() if f"/{name}-" in path for row in read_csv(path)]
    return any(row["cpu_type"] != "ANY" and flag in row["flags"].split("|") for row in rows)


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a list; None where it takes any."""

    vendor: str | None
    family: int | None
    model: int | None
    steppings: range | None
    core_type: str | None
    flags: frozenset[str]


@cache
def _rows(version: str, name: str) -> tuple[_Row, ...]:
    def number(text: str) -> int | None:
        return None if text == "ANY" else int(text, 16)

    def steppings(low: int | None, high: int | None) -> range | None:
        return None if low is None or high is None else range(low, high + 1)

    return tuple(
        _Row(
            None if row["vendor"] == "ANY" else row["vendor"],
            number(row["family"]),
            number(row["model_hex"]),
            steppings(number(row["step_min"]), number(row["step_max"])),
            None if row["cpu_type"] == "ANY" else row["cpu_type"],
            frozenset(row["flags"].split("|")),
        )
        for row in read_csv(f"linux_lists/{name}-{version}.csv")
    )


@lru_cache(maxsize=1 << 13)
def _rows_of_model(
    version: str, name: str, vendor: str | None, family: int | None, model: int | None
) -> tuple[_Row, ...]:
    """Return the rows that a part of this vendor, family and model may fit, in order (one look for all steppings)."""
    rows = _rows(version, name) if model is None else _rows_of_model(version, name, vendor, family, None)
    part = Part(vendor, family, model, None)
    return tuple(row for row in rows if _fits(row, part) is not False)


def _fits(row: _Row, part: Part) -> bool | None:
    """Return whether `row` fits `part`: True, False, or None where the part is not known well enough."""
    tests = (
        row.vendor is None or _same(part.vendor and VENDORS.get(part.vendor, part.vendor), row.vendor),
        row.family is None or _same(part.family, row.family),
        row.model is None or _same(part.model, row.model),
        row.steppings is None or (None if part.stepping is None else part.stepping in row.steppings),
        row.core_type is None or _core_fits(row.core_type, part),
    )
    if False in tests:
        return False
    return None if None in tests else True


def _same(known: object, wanted: object) -> bool | None:
    return None if known is None else known == wanted


def _core_fits(wanted: str, part: Part) -> bool | None:
    """A row that asks for a core type fits that native type, and every core of a hybrid CPU."""
    if part.hybrid or (part.core_type is not None and CORE_TYPES.get(part.core_type) == wanted):
        return True
    return None if part.hybrid is None or part.core_type is None else False


@cache
def _knows(version: str, name: str, flag: str) -> bool:
    """Whether a list uses `flag` at all: the list of a kernel older than a vulnerability says nothing of it."""
    return any(flag in row.flags for row in _rows(version, name))


@lru_cache(maxsize=1 << 16)
def _flags(version: str, name: str, part: Part) -> tuple[frozenset[str], frozenset[str]]:
    """Return the flags that the first row that fits has for sure, and those that it may have."""
    candidates = []
    for row in _rows_of_model(version, name, part.vendor, part.family, part.model):
        fits = _fits(row, part)
        if fits is not False:
            candidates.append(row.flags)
        if fits:
            break
    else:
        candidates.append(frozenset())
    return frozenset.intersection(*candidates), frozenset.union(*candidates)


def _flag_in(version: str, name: str, flag: str, part: Part) -> bool | None:
    """Return whether the first row of the list that fits has `flag`: every row that may be the first must agree."""
    if version == _NO_LIST:
        return False
    sure, possible = _flags(version, name, part)
    return True if flag in sure else None if flag in possible else False


@lru_cache(maxsize=1 << 14)
def lists_for(name: str, flag: str, release: Release) -> tuple[frozenset[str], str]:
    """Return the versions of the list that speak for `flag` at `release`, and where; none: nothing near was read."""
    track, lists = _lists_with(flag)
    below, above = track.bracket(release.version)
    if release.is_upstream and below is not None and above is not None:
        between = track.passed_over(release.version, above)
        return frozenset(lists[version][0] for version in (below, *between, above)), lists[below][1]
    if not lists or not min(lists) <= release.version <= max(lists):
        return frozenset(), ""
    versions = {version for version, _ in lists.values() if _knows(version, name, flag)}
    nearest = min(lists) if below is None and min(lists) == _oldest() else below
    older = not _came(flag, release) if nearest is None else not _knows(lists[nearest][0], name, flag)
    if older:
        versions.add(_NO_LIST)
    return frozenset(versions), EVERY_LIST


def _came(flag: str, release: Release) -> bool:
    """Return whether a release is known to have the bug that a flag stands for: its list came with it."""
    name = _CAME_WITH.get(flag, f"has_{flag.lower()}")
    return name in BEHAVIOURS and behaviour(name, release).value is True


@lru_cache(maxsize=4096)
def list_flag(name: str, flag: str, part: Part, release: Release) -> Finding:
    """Return whether `release`'s list `name` (``whitelist``, ``blacklist``) gives `part` this flag.

    Where the release itself was not read, the lists on both sides of it must agree, or else every list there is.
    """
    versions, where = lists_for(name, flag, release)
    below, above = _lists_with(flag)[0].bracket(release.version)
    newer = below is not None and above is None
    if not versions:
        return Finding(None, f"no {name} was read near {release.text}", newer=newer)
    found = {_flag_in(version, name, flag, part) for version in versions}
    if len(found) > 1 and where is not EVERY_LIST:
        return Finding(None, f"{flag} differs between the {name}s around {release.text}")
    value = found.pop() if len(found) == 1 else None
    return Finding(value, f"cpu_vuln_{name} (common.c), {where}", newer=newer)


def bad_spectre_microcode(part: Part, revision: int | None) -> Finding:
    """Return whether `revision` is on Linux's list of bad Spectre microcode: at most the one listed for the part.

    The list is the same in every kernel read (5.4.120 to 7.1.5); a part that it does not name is not on it.
    Source: Linux arch/x86/kernel/cpu/intel.c spectre_bad_microcodes, bad_spectre_microcode.
    """
    where = "spectre_bad_microcodes (intel.c), 5.4.120 to 7.1.5"
    if part.vendor not in (None, "GenuineIntel") or part.family not in (None, 6):
        return Finding(False, f"{where}: Intel family 6 only")
    fitting = [
        int(row["highest_bad_revision"], 16)
        for row in read_csv("linux_lists/bad_spectre_microcode.csv")
        if _same(part.model, int(row["model"], 16)) is not False
        and _same(part.stepping, int(row["stepping"], 16)) is not False
    ]
    if not fitting:
        return Finding(False, f"{where}: not listed")
    if None in (part.vendor, part.family, part.model, part.stepping):
        return Finding(None, "the part is not known")
    if revision is None:
        return Finding(None, f"the microcode revision is not known, and {where} has the part")
    return Finding(revision <= fitting[0], f"{where}: up to {fitting[0]:#x}")
