"""Linux's lists of parts: cpu_vuln_whitelist and cpu_vuln_blacklist, as each kernel line has them.

The first row that fits wins, and only its flags count (arch/x86/kernel/cpu/match.c x86_match_cpu).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from packaging.version import Version

from archcaps.tables.files import read_csv
from archcaps.tables.kernels import Finding, Release, Track

__all__ = ["VENDORS", "Part", "bad_spectre_microcode", "list_flag"]

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


def _fits(row: dict[str, str], part: Part) -> bool | None:
    """Return whether `row` fits `part`: True, False, or None where the part is not known well enough."""
    vendor = None if part.vendor is None else VENDORS.get(part.vendor, part.vendor)
    low, high = row["step_min"], row["step_max"]
    tests = [
        row["vendor"] == "ANY" or _same(vendor, row["vendor"]),
        row["family"] == "ANY" or _same(part.family, int(row["family"], 16)),
        row["model_hex"] == "ANY" or _same(part.model, int(row["model_hex"], 16)),
        low == "ANY" or (None if part.stepping is None else int(low, 16) <= part.stepping <= int(high, 16)),
        row["cpu_type"] == "ANY" or _core_fits(row["cpu_type"], part),
    ]
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
    return any(flag in row["flags"].split("|") for row in read_csv(f"linux_lists/{name}-{version}.csv"))


def _flag_in(version: str, name: str, flag: str, part: Part) -> bool | None:
    """Return whether the first row of the list that fits has `flag`: every row that may be the first must agree."""
    answers = set()
    for row in read_csv(f"linux_lists/{name}-{version}.csv"):
        fits = _fits(row, part)
        if fits is not False:
            answers.add(flag in row["flags"].split("|"))
        if fits:
            break
    else:
        answers.add(False)
    return answers.pop() if len(answers) == 1 else None


def list_flag(name: str, flag: str, part: Part, release: Release) -> Finding:
    """Return whether `release`'s list `name` (``whitelist``, ``blacklist``) gives `part` this flag.

    Where the release itself was not read, the lists on both sides of it must agree, or else every list there is.
    """
    track, lists = _lists_with(flag)
    below, above = (None, None) if release.hides_point_release else track.bracket(release.version)
    if below is not None and above is not None:
        versions = {lists[below][0], lists[above][0]}
        where = lists[below][1]
    elif min(lists) <= release.version <= max(lists):
        versions = {version for version, _ in lists.values() if _knows(version, name, flag)}
        where = "the same in every list read that has the flag"
    else:
        return Finding(None, f"no {name} was read near {release.text}")
    found = {_flag_in(version, name, flag, part) for version in versions}
    if len(found) > 1 and below is not None:
        return Finding(None, f"{flag} differs between the {name}s around {release.text}")
    value = found.pop() if len(found) == 1 else None
    return Finding(value, f"cpu_vuln_{name} (common.c), {where}")


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
