"""What published lists say of parts: affected, not affected, or nothing.

A part that no list names is unknown here, while it is "not listed" to a kernel's rule: two different look-ups.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from archcaps.tables.files import read_csv
from archcaps.tables.linux_lists import VENDORS, Part

__all__ = [
    "Published", "mds_listed_immune", "microcode_against", "published", "tsa_microcode", "tsa_microcode_needed",
]  # fmt: skip

#: Columns of Intel's list that speak of a vulnerability.
_COLUMNS: Final = {
    "mds": ("mlpds", "msbds", "mfbds"),
    "mmio_stale_data": ("mmio_drpw", "mmio_sbds_sbdr"),
    "reg_file_data_sampling": ("rfds",),
    "meltdown": ("meltdown",),
    "l1tf": ("l1tf",),
    "spec_store_bypass": ("ssb",),
    "itlb_multihit": ("itlb_multihit",),
    "gather_data_sampling": ("gds",),
    "indirect_target_selection": ("its_ibpb", "its_guest_host", "its_cbpf"),
    "retbleed": ("retbleed_rsba",),
    "bhi": ("bhi",),
    "pbrsb": ("pbrsb",),
}
#: What the cells of Intel's list mean. "Hardware+MCU" (fixed partly in hardware) says neither yes nor no.
_CELLS: Final = {
    "Not Affected": False,
    "MCU": True,
    "MCU+Software": True,
    "MCU_BIOS+BIOS": True,
    "MCU_BIOS+Software": True,
    "No planned mitigation": True,
    "Hardware+MCU": None,
    "Software": True,
    "Hardware+Software": True,
}
_INTEL = "intel/Intel-affected-processor-list@71c2859"
#: Alder Lake S and Raptor Lake S, sold with and without Atom cores. Source: as for `_by_cores`
_HYBRID_DESKTOP: Final = (0x97, 0xB7)
#: CPUID leaf 0x1A's core type of an Atom core. Source: Intel SDM volume 2, CPUID leaf 1AH
_ATOM: Final = 0x20
_BLACK_LISTS: Final = ("5.10.265", "5.15.215", "6.1.192", "6.6.150", "6.12.117", "7.1.5")
_FLAGS: Final = {
    "mmio_stale_data": "MMIO",
    "reg_file_data_sampling": "RFDS",
    "gather_data_sampling": "GDS",
    "indirect_target_selection": "ITS",
    "retbleed": "RETBLEED",
}
#: Those of which Linux has no black list: what is not on the white list is affected.
_AFFECTED_UNLESS: Final = frozenset(("meltdown", "l1tf", "spec_store_bypass", "itlb_multihit", "spectre_v2"))
#: The flag of a white-list row that says a part is immune.
_IMMUNE: Final = {
    "mds": "NO_MDS",
    "mmio_stale_data": "NO_MMIO",
    "meltdown": "NO_MELTDOWN",
    "l1tf": "NO_L1TF",
    "spec_store_bypass": "NO_SSB",
    "itlb_multihit": "NO_ITLB_MULTIHIT",
    "pbrsb": "NO_EIBRS_PBRSB",
    "bhi": "NO_BHI",
    "spectre_v2": "NO_SPECTRE_V2",
}
#: What does not speculate has none of these, whatever else its row says; ITLB multihit is looked at before.
#: Source: Linux 7.1.5 arch/x86/kernel/cpu/common.c cpu_set_bug_bits
_SPARED: Final = dict.fromkeys((*(name for name in _IMMUNE if name != "itlb_multihit"), *_FLAGS), "NO_SPECULATION")


@dataclass(frozen=True, slots=True)
class Published:
    """What lists say: affected (None: nobody said, or they disagree), where, and whether that is verified."""

    affected: bool | None
    source: str
    verified: bool = True


@lru_cache(maxsize=1024)
def published(vulnerability: str, part: Part) -> Published:
    """Return whether published lists have `part` as affected by `vulnerability` (a sysfs name, not TAA).

    Intel's list comes first, then statements about models, families or a whole vendor, then the rows of Linux's lists;
    what is on none of them is unknown.
    """
    for ask in (
        _by_cores,
        _by_intel,
        _by_part,
        _by_vendor,
        _by_linux_black_list,
        _by_linux_white_list,
        _by_linux_default,
    ):
        answer = ask(vulnerability, part)
        if answer is not None:
            return answer
    return Published(None, f"no published list names this part for {vulnerability}")


def _by_cores(vulnerability: str, part: Part) -> Published | None:
    """Desktop parts with their Atom cores off, or without any, have nothing of RFDS: HYBRID is 0 there.

    One core of the other kind is always on. Of all other parts this says nothing.
    """
    desktop = part.vendor == "GenuineIntel" and part.family == 6 and part.model in _HYBRID_DESKTOP
    if vulnerability != "reg_file_data_sampling" or not desktop or part.hybrid or part.core_type == _ATOM:
        return None
    source = "Linux 7.2.13 arch/x86/kernel/cpu/common.c vulnerable_to_rfds: Atom cores, and HYBRID_CPU where they are"
    if part.hybrid is None:
        return Published(None, f"{source}; CPUID's hybrid is not known")
    return Published(False, source)


def _by_intel(vulnerability: str, part: Part) -> Published | None:
    if part.vendor != "GenuineIntel" or vulnerability not in _COLUMNS:
        return None
    if part.family is None or part.model is None:
        return Published(None, "the part is not known")
    steppings = range(16) if part.stepping is None else (part.stepping,)
    signatures = {_signature(part.family, part.model, stepping) for stepping in steppings}
    rows = _intel_rows(frozenset(signatures))
    if not rows:
        return None
    if part.stepping is None:
        return Published(None, f"{_INTEL}: the answer may depend on the stepping")
    answers = {_row_says(row, vulnerability) for row in rows}
    if len(answers) > 1:
        names = "; ".join(f"{row['name']} ({row['segment']})" for row in rows)
        return Published(None, f"{_INTEL}: rows of the same signature disagree: {names}")
    return Published(answers.pop(), f"{_INTEL}, {signatures.pop():#x}: {_first_name(rows[0])}")


def _signature(family: int, model: int, stepping: int) -> int:
    """Return CPUID.1:EAX of a part (Intel SDM volume 2, CPUID: extended family and model)."""
    extended = max(family - 15, 0)
    return extended << 20 | (model >> 4) << 16 | min(family, 15) << 8 | (model & 15) << 4 | stepping


def _first_name(row: dict[str, str]) -> str:
    """Return the part's name; where the list numbers several, the first."""
    return row["name"].removeprefix("1. ").partition(" - 2.")[0]


def _intel_rows(signatures: frozenset[int]) -> list[dict[str, str]]:
    """Return the rows of Intel's list that name one of these signatures, in the list's order."""
    every, named = _by_signature()
    return [every[place] for place in sorted({place for asked in signatures for place in named.get(asked, ())})]


@cache
def _by_signature() -> tuple[list[dict[str, str]], dict[int, list[int]]]:
    """Return the rows of Intel's list, and the places of those that name each signature."""
    every = list(read_csv("silicon/intel_affected.csv"))
    named: dict[int, list[int]] = {}
    for place, row in enumerate(every):
        for signature in {int(text, 16) for text in row["signature"].split()}:
            named.setdefault(signature, []).append(place)
    return every, named


def _row_says(row: dict[str, str], vulnerability: str) -> bool | None:
    cells = [_CELLS[row[column]] for column in _COLUMNS[vulnerability]]
    if True in cells:
        return True
    return None if None in cells else False


def _by_part(vulnerability: str, part: Part) -> Published | None:
    for row in read_csv("silicon/parts.csv"):
        same = (row["vendor"], row["vulnerability"]) == (part.vendor, vulnerability)
        if same and part.family == int(row["family"], 16) and row["model"] in ("ANY", _hex(part.model)):
            return Published(row["affected"] == "yes", row["source"], row["status"] == "documented")
    return None


def _hex(value: int | None) -> str:
    return "" if value is None else f"{value:#04x}"


def _by_vendor(vulnerability: str, part: Part) -> Published | None:
    for row in read_csv("silicon/vendors.csv"):
        if (row["vendor"], row["vulnerability"]) == (part.vendor, vulnerability):
            return Published(row["affected"] == "yes", row["source"])
    return None


def _by_linux_black_list(vulnerability: str, part: Part) -> Published | None:
    """A black-list row is a published statement that the part is affected; its absence says nothing."""
    flag = _FLAGS.get(vulnerability)
    newest = _newest_rows("blacklist", part.vendor, part.family, part.model)
    if flag is None or not newest or None in (part.model, part.stepping):
        return None
    fitting = [row for row in newest if row["step_min"] == "ANY" or _within(row, part)]
    if any(row["cpu_type"] != "ANY" for row in fitting):
        return Published(None, f"Linux 7.1.5 cpu_vuln_blacklist: {flag} depends on the type of core")
    # The first fitting row decides, and its flag is a statement only where it is set.
    if fitting and flag in fitting[0]["flags"].split("|"):
        return Published(True, f"Linux 7.1.5 cpu_vuln_blacklist: {fitting[0]['model_name']} {flag}")
    return None


def _by_linux_white_list(vulnerability: str, part: Part) -> Published | None:
    """A white-list row is a published statement that the part is immune."""
    flags = [flag for flag in (_IMMUNE.get(vulnerability), _SPARED.get(vulnerability)) if flag is not None]
    rows = _newest_rows("whitelist", part.vendor, part.family, part.model)
    said = [flag for flag in flags if rows and flag in rows[0]["flags"].split("|")]
    return Published(False, f"Linux 7.1.5 cpu_vuln_whitelist: {said[0]}") if said else None


def mds_listed_immune(part: Part) -> bool:
    """Return whether Linux's newest white list has `part` as immune to MDS, so that it need not say so itself."""
    found = _by_linux_white_list("mds", part)
    return found is not None and found.affected is False


def _by_linux_default(vulnerability: str, part: Part) -> Published | None:
    """Where Linux lists only who is immune, it counts every other part as affected: a statement too."""
    intel = part.vendor == "GenuineIntel" and part.family == 6 and part.model is not None
    amd = part.vendor in ("AuthenticAMD", "HygonGenuine") and part.family is not None
    if vulnerability not in _AFFECTED_UNLESS or not (intel or amd):
        return None
    return Published(True, f"Linux 7.1.5 cpu_vuln_whitelist: no row gives the part {_IMMUNE[vulnerability]}")


@lru_cache(maxsize=4096)
def _newest_rows(name: str, vendor: str | None, family: int | None, model: int | None) -> list[dict[str, str]]:
    """Return the rows of Linux 7.1.5's list `name` that name this vendor, family and model, in order."""
    if vendor is None or family is None:
        return []
    return [
        row
        for row in read_csv(f"linux_lists/{name}-7.1.5.csv")
        if row["vendor"] == VENDORS.get(vendor)
        and (row["family"] == "ANY" or int(row["family"], 16) == family)
        and (row["model_hex"] == "ANY" or (model is not None and int(row["model_hex"], 16) == model))
    ]


def _within(row: dict[str, str], part: Part) -> bool:
    return part.stepping is not None and int(row["step_min"], 16) <= part.stepping <= int(row["step_max"], 16)


@cache
def _tsa_revisions() -> dict[tuple[int, int, int], int]:
    return {
        (int(row["family"], 16), int(row["model"], 16), int(row["stepping"], 16)): int(row["min_revision"], 16)
        for row in read_csv("silicon/amd_tsa_microcode.csv")
    }


def tsa_microcode(part: Part, revision: int | None, *, unlisted: bool | None) -> bool | None:
    """Return whether `revision` is at least the one from which Linux counts on VERW_CLEAR; None where unknown.

    `unlisted` is the answer for a part that the table does not name: False for a kernel, which has just this table;
    None for the silicon, of which nobody said.
    Source: Linux 5.10.265 to 7.1.5 arch/x86/kernel/cpu/amd.c amd_check_tsa_microcode (same 16 rows in all).
    """
    if part.vendor not in (None, "AuthenticAMD"):
        return False
    if part.vendor is None or part.family is None or part.model is None or part.stepping is None:
        return None
    minimum = _tsa_revisions().get((part.family, part.model, part.stepping))
    if minimum is None:
        return unlisted
    # The part is written in the revision's upper bytes: that of another part says nothing of this silicon.
    if revision is None or (unlisted is None and revision >> 8 != minimum >> 8):
        return None
    return revision >= minimum


def tsa_microcode_needed(part: Part) -> int | None:
    """Return the revision from which Linux counts on VERW_CLEAR on this part; None where its table has none."""
    if part.vendor != "AuthenticAMD" or part.family is None or part.model is None or part.stepping is None:
        return None
    return _tsa_revisions().get((part.family, part.model, part.stepping))


def microcode_against(columns: Iterable[str], part: Part) -> bool:
    """Return whether Intel's list says that microcode (MCU) mends what these of its columns are about on `part`.

    Every row of the part's signature has to say so.
    """
    if part.vendor != "GenuineIntel" or part.family is None or part.model is None or part.stepping is None:
        return False
    signature = _signature(part.family, part.model, part.stepping)
    rows = _intel_rows(frozenset((signature,)))
    return bool(rows) and all(any(row[column].startswith("MCU") for column in columns) for row in rows)
