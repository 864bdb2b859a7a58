"""Every CPU signature there is, in boxes of those that all tables answer alike.

A signature is vendor, family, model and stepping, as CPUID tells them. A box is some models of a family with some
steppings; one part of it is asked for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from archcaps.machine.identity import first_models, first_steppings, identity_lookups
from archcaps.tables.files import read_csv
from archcaps.tables.linux_lists import VENDORS as LISTED_VENDORS
from archcaps.tables.linux_lists import Part, list_files

__all__ = ["ATOM", "FAMILIES", "MODELS", "STEPPINGS", "VENDORS", "Box", "boxes"]

#: Vendors of x86 CPUs that run KVM, or that a guest may be told.
VENDORS: Final = ("GenuineIntel", "AuthenticAMD", "HygonGenuine", "  Shanghai  ")
#: How many families, models and steppings there are: no family above 0x1f is in any table.
FAMILIES, MODELS, STEPPINGS = 32, 256, 16
#: CPUID leaf 0x1A's core type of an Atom core. Source: Intel SDM volume 2, CPUID leaf 1AH
ATOM: Final = 0x20


@dataclass(frozen=True, slots=True)
class Box:
    """Signatures that are alike: some models of some families of a vendor, with some steppings.

    `named`: some table names the models, or all of their family. `hybrid` and `atom` (the core's type) count for the
    few models of which a list asks them; everywhere else both are False.
    """

    vendor: str
    families: tuple[int, ...]
    models: tuple[int, ...]
    steppings: range
    named: bool
    hybrid: bool = False
    atom: bool = False

    @property
    def part(self) -> Part:
        """The part that is asked for all of them."""
        core = ATOM if self.atom else 0
        return Part(
            self.vendor, self.families[0], self.models[0], self.steppings[0], hybrid=self.hybrid, core_type=core
        )

    @property
    def plain(self) -> bool:
        """Whether a guest is shown such a part by default: KVM offers neither hybrid nor a core's type."""
        return not self.hybrid and not self.atom

    def signatures(self) -> Iterator[tuple[str, int, int, int]]:
        """Yield its signatures: vendor, family, model, stepping."""
        for family in self.families:
            for model in self.models:
                for stepping in self.steppings:
                    yield self.vendor, family, model, stepping

    def __len__(self) -> int:
        return len(self.families) * len(self.models) * len(self.steppings)


@cache
def _named() -> Mapping[tuple[str, int], Mapping[int | None, frozenset[int]]]:
    """Return what tables name: by vendor and family, for each model the steppings at which an answer may change.

    The model None stands for a row about all models of a family.
    """
    found: dict[tuple[str, int], dict[int | None, set[int]]] = {}

    def name(vendor: str, family: int, model: int | None, first: Iterable[int] = ()) -> None:
        found.setdefault((vendor, family), {}).setdefault(model, set()).update(first)

    for path in list_files():
        for vendor, family, model, first in _listed(path):
            name(vendor, family, model, first)
    for row in read_csv("silicon/intel_affected.csv"):
        for text in row["signature"].split():
            eax = int(text, 16)  # CPUID.1:EAX, Intel SDM volume 2
            stepping = eax & 0xF
            name("GenuineIntel", eax >> 8 & 0xF, eax >> 12 & 0xF0 | eax >> 4 & 0xF, (stepping, stepping + 1))
    for row in read_csv("silicon/parts.csv"):
        name(row["vendor"], int(row["family"], 16), None if row["model"] == "ANY" else int(row["model"], 16))
    for row in read_csv("silicon/amd_tsa_microcode.csv"):
        stepping = int(row["stepping"], 16)
        name("AuthenticAMD", int(row["family"], 16), int(row["model"], 16), (stepping, stepping + 1))
    return {part: {model: frozenset(first) for model, first in models.items()} for part, models in found.items()}


def _listed(path: str) -> Iterator[tuple[str, int, int | None, tuple[int, ...]]]:
    """Yield the rows of a list: vendor, family, model, and the steppings at which a row begins or has ended."""
    vendors = {listed: vendor for vendor, listed in LISTED_VENDORS.items() if vendor in VENDORS}
    for row in read_csv(path):
        if row["vendor"] in vendors and row["family"] != "ANY":
            model = None if row["model_hex"] == "ANY" else int(row["model_hex"], 16)
            ends = () if row["step_min"] == "ANY" else (int(row["step_min"], 16), int(row["step_max"], 16) + 1)
            yield vendors[row["vendor"]], int(row["family"], 16), model, ends


@cache
def _typed() -> frozenset[tuple[str, int, int | None]]:
    """Return the parts of which some list asks the type of a core."""
    rows = [row for path in list_files() for row in read_csv(path) if row["cpu_type"] != "ANY"]
    vendors = {listed: vendor for vendor, listed in LISTED_VENDORS.items()}
    return frozenset((vendors[row["vendor"]], int(row["family"], 16), int(row["model_hex"], 16)) for row in rows)


@cache
def _of_any_vendor() -> frozenset[int]:
    """Return the families that a list speaks of whatever the vendor: such a row names no vendor's parts."""
    rows = [row for path in list_files() for row in read_csv(path) if row["vendor"] == "ANY"]
    return frozenset(int(row["family"], 16) for row in rows if row["family"] != "ANY")


@cache
def boxes() -> tuple[Box, ...]:
    """Return boxes that together hold every signature."""
    found: list[Box] = []
    for vendor in VENDORS:
        families = [family for family in range(FAMILIES) if (vendor, family) in _named()]
        alike: dict[object, list[int]] = {}
        for family in (family for family in range(FAMILIES) if family not in families):
            if len(first_models(family)) > 1:
                families.append(family)
            else:
                listed = family if family in _of_any_vendor() else None
                answers = identity_lookups(Part(vendor, family, 0, 0))
                alike.setdefault((listed, *answers.values()), []).append(family)
        for others in alike.values():
            found.append(Box(vendor, tuple(others), tuple(range(MODELS)), range(STEPPINGS), named=False))
        for family in families:
            found += _of_family(vendor, family)
    return tuple(found)


def _of_family(vendor: str, family: int) -> Iterator[Box]:
    models = _named().get((vendor, family), {})
    for model in (model for model in models if model is not None):
        for steppings in _steppings(first_steppings(family, model) | models[model]):
            for hybrid, atom in _cores(vendor, family, model):
                yield Box(vendor, (family,), (model,), steppings, named=True, hybrid=hybrid, atom=atom)
    for rest in _alike(family, [model for model in range(MODELS) if model not in models]):
        # Only a model that stands alone has steppings that differ.
        for steppings in _steppings(first_steppings(family, rest[0])):
            yield Box(vendor, (family,), rest, steppings, named=None in models)


def _steppings(first: Iterable[int]) -> Iterator[range]:
    """Yield the ranges of steppings that begin at these, and at 0."""
    ends = sorted({0, *(stepping for stepping in first if stepping < STEPPINGS)})
    for begin, end in zip(ends, [*ends[1:], STEPPINGS], strict=True):
        yield range(begin, end)


def _cores(vendor: str, family: int, model: int) -> tuple[tuple[bool, bool], ...]:
    """Return the kinds of core there are: hybrid or not, Atom or not."""
    if (vendor, family, model) not in _typed():
        return ((False, False),)
    return ((False, False), (False, True), (True, False), (True, True))


def _alike(family: int, models: list[int]) -> Iterator[tuple[int, ...]]:
    """Yield the models together that look-ups by ranges of models answer alike."""
    ends = sorted(first_models(family))
    for first, last in zip(ends, [*ends[1:], MODELS], strict=True):
        here = tuple(model for model in models if first <= model < last)
        if here:
            yield here
