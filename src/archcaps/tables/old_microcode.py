"""Linux's tables of the newest microcode of Intel's parts, as each kernel has them: cpu_latest_microcode.

The first row that fits decides (arch/x86/kernel/cpu/match.c x86_match_cpu); a part without a row has no old microcode.
A table that was not read itself has bounds: revisions never go down from one table to the next, so that each row has at
least what the table before it has, and at most what a recorded answer calls new enough (`at_most`).
"""

from __future__ import annotations

from functools import cache
from typing import Final

from packaging.version import Version

from archcaps.tables.files import read_csv
from archcaps.tables.kernels import Finding, Release, Track
from archcaps.tables.linux_lists import Part

__all__ = ["old_microcode"]

#: Revisions with this bit are for debugging, and count as old. Source: Linux common.c cpu_has_old_microcode
_DEBUG: Final = 1 << 31

#: A model that takes any: x86_match_cpu's X86_MODEL_ANY is 0, and there are rows of family 0xf with it.
_ANY_MODEL: Final = 0

#: A row: family, model, mask of steppings, mask of platforms (0: any), the newest revision: at least, and at most.
_Row = tuple[int, int, int, int, int, int]


@cache
def _releases() -> tuple[Track, dict[Version, tuple[str, str]]]:
    found = {
        Release.parse(row["release"]).version: (row["table"], row["source"])
        for row in read_csv("linux_lists/old_microcode.csv")
    }
    return Track.of(found), found


@cache
def _rows(table: str) -> tuple[_Row, ...]:
    columns = ("family", "model", "stepping_mask", "platform_mask", "min_revision")
    found = []
    for row in read_csv(f"linux_lists/{table}.csv"):
        family, model, steppings, mask, least = (int(row[column], 16) for column in columns)
        found.append((family, model, steppings, mask, least, int(row.get("at_most") or row["min_revision"], 16)))
    return tuple(found)


def _is_old(revision: int | None, least: int, most: int) -> bool | None:
    """Return whether a revision is older than the newest, which lies between two bounds."""
    if revision is None:
        return None
    if revision & _DEBUG or revision < least:
        return True
    return False if revision >= most else None


def _answers(table: str, part: Part, platform: int | None, revision: int | None) -> set[bool | None]:
    """Return what each row that may be the first to fit would answer."""
    found: set[bool | None] = set()
    for family, model, steppings, platforms, least, most in _rows(f"old_microcode-{table}"):
        tests = [
            None if part.family is None else part.family == family,
            True if model == _ANY_MODEL else None if part.model is None else part.model == model,
            None if part.stepping is None else part.stepping < 16 and bool(steppings >> part.stepping & 1),
            True if not platforms else None if platform is None else bool(platforms >> platform & 1),
        ]
        if False in tests:
            continue
        found.add(_is_old(revision, least, most))
        if None not in tests:
            return found
    return found | {False}


def old_microcode(part: Part, platform: int | None, revision: int | None, release: Release) -> Finding:
    """Return whether `release`'s table has a newer microcode than `revision` for the part, or it is one for debugging.

    `platform` is the part's platform number (MSR 0x17, bits 52:50), 0 to 7; tables before 7.1 do not ask for it.
    """
    where = "cpu_latest_microcode (intel-ucode-defs.h)"
    if part.vendor is not None and part.vendor != "GenuineIntel":
        return Finding(False, f"{where}: Intel's parts only")
    track, tables = _releases()
    below, above = track.bracket(release.version) if release.is_upstream else (None, None)
    if below is None or above is None:
        newer = below is not None and above is None
        return Finding(None, f"no {where} was read near {release.text}", newer=newer)
    found: set[bool | None] = set() if part.vendor is not None else {False}
    between = track.passed_over(release.version, above)
    for version in {tables[each][0] for each in (below, *between, above)}:
        found |= _answers(version, part, platform, revision)
    value = found.pop() if len(found) == 1 else None
    missing = "the microcode revision is not known" if revision is None else "the part, its platform or the table"
    return Finding(value, f"{where}, {tables[below][1]}" if value is not None else f"{missing}: {where}")
