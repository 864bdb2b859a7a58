"""libvirt's CPU models and features (its cpu_map), by release.

A release that was read is known wholly. One between two that were read has what both have; where they differ, and after
the newest, it is unknown. libvirt has never taken a feature name back, so a name that an older release knows is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from archcaps.tables.files import read_csv

__all__ = [
    "NEVER_PASSED_ON", "QEMU_NAMES", "RELEASES", "CpuMap", "Feature", "Model", "cpu_map", "features_of",
    "knows_feature", "model_has", "models_named", "speaking_for",
]  # fmt: skip

#: The releases whose cpu_map was read, oldest first.
RELEASES: Final = tuple(row["release"] for row in read_csv("libvirt/releases.csv"))

#: QEMU's name of a feature that libvirt names otherwise; all others have one name.
QEMU_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {row["libvirt"]: row["qemu"] for row in read_csv("libvirt/qemu_names.csv") if row["qemu"]}
)

#: Features that libvirt knows and never hands to QEMU.
NEVER_PASSED_ON: Final = frozenset(row["libvirt"] for row in read_csv("libvirt/qemu_names.csv") if not row["qemu"])


#: The first release read whose check='partial' asks QEMU what blocks a model: only models with
#: <check partial='compat'/> are compared there, as all were in 9.0.0.
#: Source: libvirt 9.0.0 qemu_process.c qemuProcessUpdateGuestCPU, 11.3.0 qemu_domain.c qemuDomainCheckCPU
_ASKS_QEMU: Final = (11, 3, 0)


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature: `mask` (u32 for CPUID, u64 for an MSR) of one register; `qemu_names` are what QEMU calls it too."""

    name: str
    kind: str
    address: int
    subleaf: int | None
    output: str
    mask: int
    migratable: bool
    qemu_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A CPU model. Signatures are family/model or family/model/first-last stepping, decimal.

    `features` are all it has, `added` those of them that came later (a check='full' passes over them), `removed` what
    it once had and a fresh start switches off unless the domain names it. `compat_check`: check='partial' compares
    `features` with the host's; else QEMU is asked what blocks the model. Before 11.3.0 every model was compared.
    """

    name: str
    vendor: str
    signatures: tuple[str, ...]
    decode_host: bool
    decode_guest: bool
    compat_check: bool
    features: frozenset[str]
    added: frozenset[str]
    removed: frozenset[str]


@dataclass(frozen=True, slots=True)
class CpuMap:
    """The features and models of one release, by name."""

    release: str
    features: Mapping[str, Feature]
    models: Mapping[str, Model]


@cache
def cpu_map(release: str) -> CpuMap:
    """Return what one of `RELEASES` has.

    Raises:
        KeyError: that release was not read.
    """
    if release not in RELEASES:
        raise KeyError(release)
    models = {row["model"]: _model(row, release) for row in _rows("models.csv", release)}
    return CpuMap(release, features_of(release), MappingProxyType(models))


@cache
def features_of(release: str) -> Mapping[str, Feature]:
    """Return the features of one of `RELEASES` by name, without its models."""
    return MappingProxyType({row["feature"]: _feature(row) for row in _rows("features.csv", release)})


def _rows(table: str, release: str) -> Iterator[dict[str, str]]:
    return (row for row in read_csv(f"libvirt/{table}") if release in row["releases"].split())


def _feature(row: dict[str, str]) -> Feature:
    return Feature(
        row["feature"],
        row["kind"],
        int(row["address"], 0),
        int(row["subleaf"], 0) if row["subleaf"] else None,
        row["output"],
        int(row["mask"], 0),
        row["migratable"] != "no",
        tuple(row["qemu_names"].split()),
    )


def _model(row: dict[str, str], release: str) -> Model:
    return Model(
        row["model"],
        row["vendor"],
        tuple(row["signatures"].split()),
        row["decode_host"] == "on",
        row["decode_guest"] == "on",
        row["partial_check"] == "compat" or version(release) < _ASKS_QEMU,
        frozenset(row["features"].split()),
        frozenset(row["added"].split()),
        frozenset(row["removed"].split()),
    )


def version(release: str) -> tuple[int, ...]:
    """Return a release as numbers to compare: 9.0.0-4+deb12u2 is (9, 0, 0).

    Raises:
        ValueError: it does not start with a number.
    """
    match = re.match(r"\d+(\.\d+){0,2}", release)
    if match is None:
        raise ValueError(f"{release!r} is no release of libvirt (expected numbers as 9.0.0)")
    return (*map(int, match.group().split(".")), 0, 0)[:3]


def speaking_for(release: str | None) -> tuple[str, ...]:
    """Return the releases of `RELEASES` that bracket a release; all of them if it is not known which it is.

    Raises:
        ValueError: it is no release.
    """
    if release is None:
        return RELEASES
    asked = version(release)
    before = [known for known in RELEASES if version(known) <= asked]
    after = [known for known in RELEASES if version(known) >= asked]
    return tuple(dict.fromkeys(before[-1:] + after[:1]))


def knows_feature(name: str, release: str | None) -> bool | None:
    """Return whether a release knows a feature by name; None where no release that was read tells.

    Raises:
        ValueError: it is no release.
    """
    found = {name in cpu_map(known).features for known in speaking_for(release)}
    if release is None or len(found) > 1:
        return None if len(found) > 1 else found.pop()
    asked = version(release)
    if asked > version(RELEASES[-1]):  # names only come
        return True if True in found else None
    if asked < version(RELEASES[0]):
        return None if True in found else False
    return found.pop()


def models_named(name: str, release: str | None) -> tuple[Model | None, ...]:
    """Return what a model may be in a release: one entry where that is known; None in it: the model is missing there.

    Nothing at all is said (an empty tuple) outside the releases that were read.

    Raises:
        ValueError: it is no release.
    """
    if release is not None and not version(RELEASES[0]) <= version(release) <= version(RELEASES[-1]):
        return ()
    return tuple(dict.fromkeys(cpu_map(known).models.get(name) for known in speaking_for(release)))


def model_has(name: str, feature: str, release: str | None) -> bool | None:
    """Return whether a model has a feature, where every release that speaks for this one agrees; else None.

    Raises:
        ValueError: it is no release.
    """
    found = {None if model is None else feature in model.features for model in models_named(name, release)}
    return found.pop() if len(found) == 1 else None
