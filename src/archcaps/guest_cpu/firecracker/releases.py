"""What Firecracker does, and its static templates, by release; without a release, what all of them have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from packaging.version import InvalidVersion, Version

from archcaps.errors import InputError
from archcaps.guest_cpu.firecracker.template import Modifier
from archcaps.tables.files import read_csv

__all__ = [
    "HOSTS",
    "STATIC_TEMPLATES",
    "TemplateHosts",
    "behaviour",
    "check_release",
    "flags_of",
    "newest",
    "static_template",
]


@dataclass(frozen=True, slots=True)
class TemplateHosts:
    """The CPUs that a static template is for: the vendor, and (family, model, stepping) of each part."""

    vendor: str
    parts: tuple[tuple[int, int, int], ...]
    source: str


@dataclass(frozen=True, slots=True)
class _Row:
    modifier: Modifier
    flags: int
    first: Version
    last: Version | None
    source: str

    def holds(self, release: Version) -> bool:
        return self.first <= release and (self.last is None or release <= self.last)


@cache
def _rows() -> Mapping[str, tuple[_Row, ...]]:
    found: dict[str, list[_Row]] = {}
    for row in read_csv("firecracker/static_templates.csv"):
        modifier = Modifier(
            int(row["address"], 0),
            int(row["subleaf"] or "0", 0),
            row["output"],
            int(row["mask"], 0),
            int(row["value"], 0),
        )
        last = Version(row["last"]) if row["last"] else None
        flags = int(row["flags"] or "0")
        found.setdefault(row["template"], []).append(_Row(modifier, flags, Version(row["first"]), last, row["source"]))
    return MappingProxyType({name: tuple(rows) for name, rows in found.items()})


#: Static templates for x86_64; V1N1 is for ARM.
STATIC_TEMPLATES: Final = ("C3", "T2", "T2S", "T2CL", "T2A")

HOSTS: Final[Mapping[str, TemplateHosts]] = MappingProxyType({
    row["template"]: TemplateHosts(
        row["vendor"],
        tuple((int(f, 0), int(m, 0), int(s, 0)) for f, m, s in (part.split("/") for part in row["parts"].split("|"))),
        row["source"],
    )
    for row in read_csv("firecracker/template_hosts.csv")
})  # fmt: skip


def check_release(release: str | None, where: str = "") -> Version | None:
    """Return a release of Firecracker as a number that can be compared.

    Raises:
        InputError: it is none.
    """
    if release is None:
        return None
    try:
        return Version(release.removeprefix("v"))
    except InvalidVersion as error:
        raise InputError(f"{release[:40]!r} is no release of Firecracker (expected one as 1.16.1)", where) from error


def behaviour(name: str, release: Version | None) -> bool | None:
    """Return whether Firecracker of a release does what a row of firecracker/behaviours.csv says; None: unknown.

    Raises:
        KeyError: no row has that name.
    """
    row = {row["name"]: row for row in read_csv("firecracker/behaviours.csv")}[name]
    if release is None:
        return None
    if release >= Version(row["first_with"]):
        return True
    return False if release <= Version(row["last_without"]) else None


def static_template(name: str, release: Version | None) -> tuple[list[Modifier], list[Modifier]]:
    """Return the modifiers of a static template, and the bits about which releases differ where it is not known.

    Of the second list only `mask` counts: what these bits are depends on the release. A release between two that were
    read takes part with both.

    Raises:
        KeyError: there is no such template.
    """
    rows = _rows()[name]
    certain: list[Modifier] = []
    unsure: list[Modifier] = []
    for key in dict.fromkeys(row.modifier.key for row in rows):
        of_key = [row for row in rows if row.modifier.key == key]
        given = (
            of_key if release is None else [row for row in of_key if row.holds(release)] or list(_near(of_key, release))
        )
        masks = [row.modifier.mask for row in given]
        both = _all(masks)
        differ = _any(masks) & ~both
        for row in given:
            differ |= both & (row.modifier.value ^ given[0].modifier.value)
        fixed = both & ~differ
        certain.append(Modifier(*key, fixed, given[0].modifier.value & fixed))
        if differ:
            unsure.append(Modifier(*key, differ, 0))
    return certain, unsure


def _near(rows: list[_Row], release: Version) -> Iterator[_Row]:
    """Yield the rows before and after a release that stands between two: it may be as either."""
    before = [row for row in rows if row.first <= release]
    after = [row for row in rows if row.first > release]
    yield from before[-1:]
    yield from after[:1]


def _all(masks: list[int]) -> int:
    found = masks[0]
    for mask in masks:
        found &= mask
    return found


def _any(masks: list[int]) -> int:
    found = 0
    for mask in masks:
        found |= mask
    return found


def newest() -> Version:
    """Return the newest release that a static template's row is from."""
    return max(row.first for rows in _rows().values() for row in rows)


def flags_of(name: str) -> dict[tuple[int, int, str], int]:
    """Return the KVM flags of each CPUID leaf of a static template, by the modifiers' keys."""
    return {row.modifier.key: row.flags for row in _rows()[name]}
