"""Which CPU a model name is in a release of QEMU and on a machine type, as QEMU defines it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from archcaps.errors import InputError, nearest
from archcaps.tables import qemu as tables

__all__ = ["Definition", "Setting", "definition", "setting"]


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a guest runs: QEMU's release (numbers and text), its machine type, and what of that was supposed."""

    release: tuple[int, ...]
    text: str
    machine: tables.Machine
    assumptions: tuple[str, ...] = ()

    def has_property(self, name: str) -> bool | None:
        """Return whether this release takes a property's name; None: it is not known of this release."""
        return _has_property(name, self.release)


@cache
def _has_property(name: str, release: tuple[int, ...]) -> bool | None:
    found = tables.properties().get(name)
    return False if found is None else found.span.has(release)


@dataclass(frozen=True, slots=True)
class Definition:
    """A model as a release defines it on a machine type: who it is, and the features that are on.

    `unsure` are features and parts of the identity that the machine type may change, whose version is not known.
    """

    name: str
    vendor: str
    family: int
    model: int
    stepping: int
    features: frozenset[str]
    unsure: frozenset[str] = frozenset()


def setting(release: str | None, machine: str | None, where: str) -> Setting:
    """Return where a guest runs; what is not said is QEMU's default, of the newest release that archcaps knows.

    Raises:
        InputError: it is no release.
    """
    assumed = []
    newest, text = tables.RECORDED[-1], release or tables.NEWEST
    numbers = tables.parse_release(text)
    if numbers is None:
        raise InputError(f"{release!r} is no release of QEMU (expected one like 8.2 or 10.1.2)", where)
    if release is None:
        assumed.append(f"QEMU's release is not given: taken as {text}, the newest that archcaps has tables of")
    elif numbers[:2] > newest:
        assumed.append(
            f"QEMU {text} is newer than archcaps' tables: taken as {tables.NEWEST} (no release so far has changed a "
            f"model's version that an earlier one had)"
        )
        numbers = newest
    if machine is None:
        assumed.append("the machine type is not given: taken as QEMU's default, the newest pc type of its release")
    return Setting(numbers, text, _machine(machine or "pc", numbers, assumed), tuple(assumed))


def _machine(name: str, release: tuple[int, ...], assumed: list[str]) -> tables.Machine:
    found = tables.machine_type({"pc": "pc-i440fx-", "q35": "pc-q35-"}.get(name, name))
    if name in ("pc", "q35"):
        found = replace(found, version=release[:2], known=True)
    if not found.known:
        like = "a pc type, on which a plain model name is version 1" if name.startswith("pc") else "one like pc"
        assumed.append(
            f"the machine type {name} is not in archcaps' tables: taken as {like}; what its version decides is unknown"
        )
    return found


def definition(name: str, where_it_runs: Setting, where: str) -> Definition:
    """Return a model by its name: plain, with a version (-v4), or fixed (-noTSX).

    Raises:
        InputError: this release has no such model, or whether it has is not known.
    """
    if name == "base":  # all zeros, for tools to build on
        return Definition(name, "", 0, 0, 0, frozenset())
    release, text = where_it_runs.release, where_it_runs.text
    versions, wanted = _versions(name)
    if not versions:
        raise InputError(f"QEMU has no CPU model {name[:80]!r}{nearest(name, tables.model_names())}", where)
    there = [each for each in versions if each.span.has(release)]
    if wanted is None:
        if not there:
            raise _missing(name, versions[0], text, release, where)
        found = there[-1] if where_it_runs.machine.newest else there[0]
    else:
        same = [each for each in versions if each.version == wanted]
        found = next((each for each in same if each.span.has(release)), (same or versions)[-1])
        if found.version != wanted or not found.span.has(release):
            raise _missing(name, found, text, release, where, exists=bool(same))
    features, identity = set(found.features), {"family": found.family, "model": found.model, "stepping": found.stepping}
    for change in tables.machine_changes(name, where_it_runs.machine):
        if change.name in identity:
            identity[change.name] = int(change.value)
        else:
            (features.add if change.value == "on" else features.discard)(change.name)
    unsure = tables.possible_changes(name, where_it_runs.machine)
    return Definition(found.full_name, found.vendor, **identity, features=frozenset(features), unsure=unsure)


def _versions(name: str) -> tuple[tuple[tables.CpuModel, ...], int | None]:
    """Return a model's versions, and which of them the name means; None: the machine type says."""
    versions = tables.model_versions(name)
    if versions:
        return versions, None
    plain, _, number = (tables.fixed_alias(name) or name).rpartition("-v")
    return tables.model_versions(plain), int(number) if number.isdecimal() and len(number) < 4 else 0


def _missing(
    name: str, model: tables.CpuModel, text: str, release: tuple[int, ...], where: str, *, exists: bool = True
) -> InputError:
    has = model.span.has(release) if exists else False
    seen = ".".join(map(str, model.span.first))
    if exists and has is None:
        return InputError(
            f"whether QEMU {text} has the CPU model {name} is not known (the first release that archcaps has seen it "
            f"in is {seen})",
            where,
        )
    known = f" ({seen} has it)" if exists and release < model.span.first else ""
    return InputError(f"QEMU {text} has no CPU model {name}{known}", where)
