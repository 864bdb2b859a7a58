"""The typed answer of `prove`: printed, written as JSON, and returned to Python. Counts are text: they are large."""

from __future__ import annotations

from dataclasses import dataclass

from archcaps.machine.snapshot import Snapshot

__all__ = [
    "FORMAT_VERSION", "HOLDS", "NOT_DECIDED", "REFUTED", "UNKNOWN", "CounterExample", "Deviation", "Outcome",
    "ProveResult", "RestsOn",
]  # fmt: skip

FORMAT_VERSION = 1

#: What a property, or one subject of it, turns out to be. `UNKNOWN`: it depends on facts that nobody knows.
HOLDS, REFUTED, UNKNOWN, NOT_DECIDED = "holds", "refuted", "unknown", "not-decided"


@dataclass(eq=False)
class CounterExample:
    """One configuration as snapshots that `check` takes; beside them the release of a kernel that comes later, by name.

    `changed`: what root changes before a later vCPU is made. `supposed`: facts that no table knows, with a value under
    which it is one. `replayed`: the ternary interpretation, reading the snapshots, agrees.
    """

    host: Snapshot
    guest: Snapshot
    later: dict[str, str]
    assumptions: list[str]
    changed: list[str]
    supposed: dict[str, bool]
    replayed: bool


@dataclass(eq=False)
class Deviation:
    """One least deviation from what KVM offers by default (none: a guest that is shown just that).

    `configurations` counts the counter-examples that deviate just so and would be none with less; `kvm` and
    `guest_kernels` are the releases with one. The example is that of the newest of them.
    """

    deviates: list[str]
    configurations: str
    kvm: list[str]
    guest_kernels: list[str]
    example: CounterExample


@dataclass(eq=False)
class Outcome:
    """The answer for one vulnerability, or one bit.

    `configurations` counts all, `refuting` those where the property fails whatever nobody knows, `hanging` those where
    that depends on it (on the facts `hangs_on`). `deciding` are the inputs that matter; all others can be anything.
    `deviations` are the least ones, those of fewest things first; `deviation_sets` says how many there are in all.
    """

    subject: str
    verdict: str
    configurations: str
    refuting: str
    hanging: str
    hangs_on: list[str]
    deciding: list[str]
    deviation_sets: int
    deviations: list[Deviation]
    why_not: str = ""


@dataclass(eq=False)
class RestsOn:
    """Something unverified that the answer rests on: an axiom about hardware, or a datum."""

    name: str
    meaning: str
    source: str


@dataclass(eq=False)
class ProveResult:
    """The answer of `prove`. `free` says what the configurations differ in, `fixed` what they have in common.

    `axioms` are those about real hardware that were used, by name; `rests_on` the unverified among them and other data.
    """

    format_version: int
    exit_code: int
    property: str
    sentence: str
    verdict: str
    rules: list[str]
    free: list[str]
    fixed: list[str]
    axioms: list[str]
    rests_on: list[RestsOn]
    outcomes: list[Outcome]
