"""What QEMU's releases know of CPUs: models and their versions, property names, machine types.

Recorded from real programs, of some releases; what both neighbours of a release in between agree on holds for it too,
and what they differ in is unknown for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from archcaps.tables.files import read_csv

__all__ = [
    "NEWEST", "RECORDED", "CpuModel", "Machine", "MachineChange", "Property", "Span", "Version", "accelerator_defaults",
    "fixed_alias", "holds", "machine_changes", "machine_type", "model_names", "model_versions", "parse_release",
    "possible_changes", "properties", "rule_source",
]  # fmt: skip

Version = tuple[int, ...]

_RELEASE = re.compile(r"v?(\d{1,4}(?:\.\d{1,4}){1,3})(?:[^\d.].*)?\Z", re.ASCII)
#: More than any stable release's last number.
_ANY: Final = 10_000
#: Source: proxmox/qemu-server@e6352be src/PVE/QemuServer/Machine.pm
_PROXMOX = re.compile(r"\+pve\d{1,4}\Z", re.ASCII)
_MACHINE = re.compile(r"pc-(?:i440fx|q35)-(\d{1,3}\.\d{1,3}(?:\.\d{1,3})?)\Z", re.ASCII)


def parse_release(text: str) -> Version | None:
    """Return a release's numbers, as (10, 1, 2) of ``10.1.2`` or ``10.1.2 (Debian ...)``; None: it is no release."""
    match = _RELEASE.match(text.strip())
    return None if match is None else _numbers(match[1])


def _numbers(text: str) -> Version:
    return tuple(int(part) for part in text.split("."))


#: The releases that were recorded, by their first two numbers.
RECORDED: Final[tuple[Version, ...]] = tuple(_numbers(row["release"]) for row in read_csv("qemu/releases.csv"))
#: The newest of them.
NEWEST: Final = ".".join(map(str, RECORDED[-1]))


@dataclass(frozen=True, slots=True)
class Span:
    """The recorded releases from `first` to `last` in which something is; `known` is its first release at all."""

    first: Version
    last: Version
    known: Version | None = None

    def has(self, release: Version) -> bool | None:
        """Return whether a release has it; None: it came or went between two releases that were recorded."""
        release = release[:2]
        if self.first <= release <= self.last:
            return True
        if release < self.first:
            if self.known is not None:
                return release >= self.known
            before = max((each for each in RECORDED if each < self.first), default=None)
            return False if before is not None and release <= before else None
        after = min((each for each in RECORDED if each > self.last), default=None)
        return False if after is not None and release >= after else None


def _span(row: Mapping[str, str], known: str | None = None) -> Span:
    return Span(_numbers(row["first"]), _numbers(row["last"]), None if known is None else _numbers(known))


@dataclass(frozen=True, slots=True)
class Property:
    """A name that -cpu takes: a feature, a second name of one (`of`), a nested-virtualisation control, an option."""

    name: str
    kind: str
    of: str
    span: Span


@cache
def properties() -> Mapping[str, Property]:
    """Return every name that some recorded release takes with -cpu."""
    known = {row["name"]: row["release"] for row in read_csv("qemu/first_releases.csv")}
    found: dict[str, Property] = {}
    for row in read_csv("qemu/properties.csv"):
        found[row["name"]] = Property(row["name"], row["kind"], row["of"], _span(row, known.get(row["name"])))
    return found


@dataclass(frozen=True, slots=True)
class CpuModel:
    """One version of a CPU model as QEMU defines it, before an accelerator changes or filters it."""

    name: str
    version: int
    vendor: str
    family: int
    model: int
    stepping: int
    features: frozenset[str]
    span: Span

    @property
    def full_name(self) -> str:
        """The name with the version: Icelake-Server-v4."""
        return f"{self.name}-v{self.version}"


@cache
def _models() -> Mapping[str, tuple[CpuModel, ...]]:
    """Return the models by name, the versions of each in order, the features of a version on top of the one before.

    A version that releases define differently stands there once for each definition.
    """
    found: dict[str, list[CpuModel]] = {}
    for row in read_csv("qemu/models.csv"):
        versions = found.setdefault(row["name"], [])
        before = [each for each in versions if each.version == int(row["version"]) - 1]
        features = set(before[-1].features) if before else set()
        for word in row["features"].split():
            (features.add if word[0] == "+" else features.remove)(word[1:])
        family, model, stepping = (int(row[key]) for key in ("family", "model", "stepping"))
        numbers = (int(row["version"]), row["vendor"], family, model, stepping)
        versions.append(CpuModel(row["name"], *numbers, frozenset(features), _span(row)))
    return {name: tuple(versions) for name, versions in found.items()}


@cache
def model_names() -> tuple[str, ...]:
    """Return every name of a CPU model that some recorded release takes: plain, with a version, and fixed ones."""
    names = [name for plain, versions in _models().items() for name in (plain, *(each.full_name for each in versions))]
    return (*dict.fromkeys(names), *(row["name"] for row in read_csv("qemu/aliases.csv")))


def model_versions(name: str) -> tuple[CpuModel, ...]:
    """Return the versions of a model by its plain name, in order; none: there is no such model."""
    return _models().get(name, ())


def fixed_alias(name: str) -> str | None:
    """Return the model version that a name like Haswell-noTSX always means; None: it is no such name."""
    return next((row["means"] for row in read_csv("qemu/aliases.csv") if row["name"] == name), None)


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine type: its version, and which version of a model its plain name means there.

    `newest`: the newest that the release has; else version 1. `version` is None for types without one, and where it is
    not known: then `known` is false too. `always_on`: what a distribution sets x-arch-cap-always-on to, itself.
    """

    name: str
    version: Version | None
    newest: bool
    known: bool
    always_on: bool | None = None

    @property
    def arch_cap_always_on(self) -> bool | None:
        """What x-arch-cap-always-on is: true on pc machine types up to 10.0; None: the type's version is not known."""
        if self.always_on is not None:
            return self.always_on
        if not self.known:
            return None
        return self.version is not None and self.version <= (10, 0)


@cache
def machine_type(name: str) -> Machine:
    """Return what is known of a machine type; pc and q35 are the newest of their kind.

    Proxmox VE puts its own revision behind QEMU's version (pc-q35-9.0+pve1); other distributions have names of their
    own, of which only those in the table tell their version.
    """
    upstream = _PROXMOX.sub("", name)
    match = _MACHINE.match(upstream)
    if match is None and (own := _distributions().get(name)) is not None:
        always_on = None if not own["arch_cap_always_on"] else own["arch_cap_always_on"] == "1"
        return Machine(name, _numbers(own["version"]), newest=False, known=True, always_on=always_on)
    version = None if match is None else _numbers(match[1])
    rows = [row for row in read_csv("qemu/machines.csv") if row["machine"] == upstream]
    newest = any(row["plain_name_means_version"] == "newest" for row in rows)
    return Machine(name, version, newest, version is not None or bool(rows) or name in ("pc", "q35", "none"))


@cache
def _distributions() -> Mapping[str, Mapping[str, str]]:
    return {row["machine"]: row for row in read_csv("qemu/distribution_machines.csv")}


@dataclass(frozen=True, slots=True)
class MachineChange:
    """What old pc machine types set on top of a model: a feature on or off, or a part of the identity."""

    name: str
    value: str


def machine_changes(model: str, machine: Machine) -> tuple[MachineChange, ...]:
    """Return what a machine type changes in a model, whose name is taken as it was written."""
    if machine.version is None or machine.version > _newest_changed():
        return ()
    return tuple(
        MachineChange(row["property"], row["value"])
        for row in _changes_of(model)
        if machine.version <= _numbers(row["last"]) and (not row["first"] or machine.version >= _numbers(row["first"]))
    )


def possible_changes(model: str, machine: Machine) -> frozenset[str]:
    """Return what some pc machine type changes in a model, where it is not known which version this one has."""
    return frozenset() if machine.known else frozenset(row["property"] for row in _changes_of(model))


def _changes_of(model: str) -> list[dict[str, str]]:
    return [row for row in read_csv("qemu/machine_changes.csv") if model in row["models"].split()]


@cache
def _newest_changed() -> Version:
    """Return the newest machine type that changes any model: nearly all are newer."""
    return max(_numbers(row["last"]) for row in read_csv("qemu/machine_changes.csv"))


def accelerator_defaults(accelerator: str) -> dict[str, bool]:
    """Return the features that an accelerator sets in every named model, before the user's own words."""
    return {
        row["property"]: row["value"] == "on"
        for row in read_csv("qemu/accelerator_defaults.csv")
        if row["accelerator"] == accelerator
    }


def holds(rule: str, release: Version) -> bool | None:
    """Return whether a release follows one of the rules of rules.csv; None: that is not known.

    A release of two numbers stands for the last of its stable ones.
    """
    row = _rule(rule)
    release, first, without = _last_of(release), _numbers(row["first"]), _last_of(_numbers(row["without"]))
    for word in row["stable"].split():  # 10.0.4-10.0.12:unknown, of stable releases that differ from their line
        span, _, answer = word.partition(":")
        low, _, high = span.partition("-")
        if _numbers(low) <= release <= _numbers(high or low):
            return {"yes": True, "no": False}.get(answer)
    if release >= first:
        return not row["last"] or release <= _numbers(row["last"])
    if release > without:
        return None
    stable_of_older = release[:2] < first[:2] and release[2] > 0
    return None if stable_of_older and row["older_stable"] == "unknown" else False


def _last_of(release: Version) -> Version:
    return release if len(release) > 2 else (*release, _ANY)


def rule_source(rule: str) -> str:
    """Return where a rule of rules.csv was read."""
    return _rule(rule)["source"]


def _rule(rule: str) -> Mapping[str, str]:
    return next(row for row in read_csv("qemu/rules.csv") if row["rule"] == rule)
