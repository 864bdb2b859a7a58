"""Bits, registers, kernel behaviours and look-ups explained, from their tables."""

from __future__ import annotations

from collections.abc import Container, Iterable
from itertools import groupby, pairwise

from packaging.version import Version

from archcaps.questions.explain_results import BehaviourFacts, BitFacts, Explanation, Mention, Readings, RegisterFacts
from archcaps.questions.explain_rules import LOOKUPS, files_reading, readers_of
from archcaps.tables.bits import BITS, FIELDS, REGISTERS, Register, bits_of, fields_of
from archcaps.tables.history import adjacent
from archcaps.tables.kernels import BEHAVIOURS, LONG_TERM, Release, Track, never_taken_away, readings_of
from archcaps.tables.names import (
    ACCESS_LOOKUPS,
    ASSUMPTIONS,
    CPU_LOOKUPS,
    KERNEL_LOOKUPS,
    SILICON_LOOKUPS,
    VM_LOOKUPS,
)
from archcaps.tables.words import words

__all__ = ["explain_behaviour", "explain_bit", "explain_field", "explain_lookup", "explain_register", "kernels_with"]

MAINLINE = "mainline"


def _said(kind: str, name: str) -> str:
    return next((word.meaning for word in words() if word.kind == kind and word.name == name), "")


def _place(register: Register) -> str:
    if register.kind == "msr":
        return f"MSR {register.address:#x}"
    return f"CPUID leaf {register.address:#x}, subleaf {register.subleaf}, {register.output}"


def explain_bit(name: str) -> Explanation:
    """Return what a bit means, who calls it how, and which rules read it."""
    bit = BITS[name]
    register = REGISTERS[bit.register]
    note = ""
    if bit.status == "unverified":
        note = "UNVERIFIED: this rests on a single or indirect statement that nobody could check."
    return Explanation(
        name, "bit", bit.meaning, bit.source.split("; "), note=note,
        bit=BitFacts(
            f"{register.title} ({_place(register)})" if register.kind == "msr" else f"{register.title}", bit.bit,
            f"{bit.mask:#x}", bit.kind, _said("kind of bit", bit.kind), list(bit.vulnerabilities), bit.pool,
            _said("pool rule", bit.pool), dict(bit.names), bit.status, readers_of(name), files_reading(name),
        ),
    )  # fmt: skip


def explain_register(name: str) -> Explanation:
    """Return what a register is, and its bits."""
    register = REGISTERS[name]
    bits = {str(bit.bit): bit.name for bit in bits_of(name).values() if bit.status != "reserved"}
    bits |= {f"{field.low} to {field.high}": field.name for field in fields_of(name).values()}
    what = "A model-specific register" if register.kind == "msr" else "A word that the CPUID instruction returns"
    meaning = f"{what}: {register.title}, {_place(register)}."
    return Explanation(
        name, "register", meaning, register.source.split("; "),
        register=RegisterFacts(f"{register.address:#x}", register.kind, bits),
    )  # fmt: skip


def explain_field(name: str) -> Explanation:
    """Return what a number is that takes several bits of a register."""
    field = FIELDS[name]
    register = REGISTERS[field.register]
    values = ", ".join(f"{number:#x} {says}" for number, says in field.values.items())
    note = f"Bits {field.low} to {field.high} of {register.title}" + (f": {values}." if values else ".")
    return Explanation(name, "field", field.meaning, field.source.split("; "), note=note)


def explain_behaviour(name: str) -> Explanation:
    """Return what a kernel behaviour is, and which kernels were seen with and without it."""
    item = BEHAVIOURS[name]
    return Explanation(
        name, "behaviour", f"{item.meaning}.", item.source.split("; "),
        note="The commit's hash is UNVERIFIED; the readings are not." if "UNVERIFIED" in item.source else "",
        behaviour=BehaviourFacts(kernels_with(name), readers_of(name)),
    )  # fmt: skip


def explain_lookup(name: str) -> Explanation:
    """Return what a look-up, an option or an assumption means."""
    kinds: dict[str, Container[str]] = {
             "look-up of a CPU": CPU_LOOKUPS, "look-up of the silicon": SILICON_LOOKUPS,
             "boot option or configuration": KERNEL_LOOKUPS, "access to an MSR": ACCESS_LOOKUPS,
             "look-up of a virtual machine": VM_LOOKUPS, "assumption": ASSUMPTIONS}  # fmt: skip
    kind = next(kind for kind, names in kinds.items() if name in names)
    meaning = f"True where {LOOKUPS[name]}."
    read_by = [Mention(item.name, item.meaning) for item in readers_of(name)]
    return Explanation(name, kind, meaning, ["src/archcaps/tables/names.py"], behaviour=BehaviourFacts([], read_by))


def kernels_with(name: str) -> list[Readings]:
    """Return what was read of a behaviour, by line of kernels, with the releases that stay unknown in between."""
    read = {release: value for release, (value, _) in readings_of(name).items()}
    releases = {Release.parse(text).version: text for text in read}
    track = Track.of(releases)
    lines = {MAINLINE: [releases[version] for version in track.main]}
    for line in sorted(LONG_TERM, key=lambda line: [int(part) for part in line.split(".")]):
        own = [releases[version] for version in track.lines.get(line, ())]
        if own:
            lines[line] = own
    found = []
    for line, texts in lines.items():
        start = _start(line, texts, read, track, releases)
        found.append(Readings(line, _spans(texts, read), [*start, *_zones(name, texts, read)]))
    return found


def _spans(texts: Iterable[str], read: dict[str, bool]) -> str:
    """Return readings in one line: those that agree as from the first to the last."""
    parts = []
    for value, group in groupby(texts, lambda text: read[text]):
        same = list(group)
        span = same[0] if len(same) == 1 else f"{same[0]} to {same[-1]}"
        parts.append(f"{'yes' if value else 'no'} {span}")
    return "; ".join(parts)


def _zones(name: str, texts: list[str], read: dict[str, bool]) -> list[str]:
    """Return the releases between two readings that differ and do not follow each other, and those after the last.

    What no kernel ever lost is known of those too.
    """
    found = []
    for first, second in pairwise(texts):
        if read[first] is not read[second] and not adjacent(
            Release.parse(first).version, Release.parse(second).version
        ):
            found.append(f"after {first} and before {second}")
    stays = bool(texts) and read[texts[-1]] and name in never_taken_away()
    return found if stays or not texts else [*found, f"after {texts[-1]}"]


def _start(line: str, texts: list[str], read: dict[str, bool], track: Track, releases: dict[Version, str]) -> list[str]:
    """Return the unknown releases before the first reading of a line."""
    if line == MAINLINE:
        return [f"before {texts[0]}"] if texts else []
    start = Release.parse(line).version
    first = Release.parse(texts[0]).version
    if first <= start:
        return []
    below = [version for version in track.main if version <= start]
    if below and read[releases[below[-1]]] is read[texts[0]]:
        return []
    return [f"from {line} and before {texts[0]}"]
