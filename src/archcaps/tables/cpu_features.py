"""Every CPU feature that QEMU or libvirt has a name for: where its bit stands, and how KVM comes to offer it.

Places are libvirt's cpu_map and, of what it lacks, a table of their own; names are QEMU's properties.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, cast

from archcaps.tables import qemu
from archcaps.tables.bits import BITS, REGISTERS, feature_words
from archcaps.tables.files import read_csv
from archcaps.tables.libvirt_cpu_map import QEMU_NAMES, RELEASES, features_of

__all__ = ["CpuFeature", "by_libvirt", "cpu_feature", "cpu_features", "needed_by"]

#: always, never: on every host. host: where the host has it, in every KVM read. made: by KVM itself or from other bits
#: of the host, which tells nothing. passed: at the most where the host has it. qemu: QEMU supports it in any case.
Rule = Literal["always", "never", "host", "made", "passed", "qemu"]

_KINDS: Final = ("feature", "kvm", "vmx")
#: In this order QEMU and libvirt go through the words of one leaf.
_OUTPUTS: Final = {"": 0, "edx": 1, "ecx": 2, "ebx": 0, "eax": 0}
_OF_LEAF_7: Final = {"eax": 0, "ebx": 1, "ecx": 2, "edx": 3}


@dataclass(frozen=True, slots=True)
class CpuFeature:
    """One feature by QEMU's name; `libvirt` is libvirt's, `names` are all that QEMU takes.

    `address`, `subleaf` (None: the leaf has none), `output` and `bit` say where it stands: in CPUID or an MSR.
    `register` is the word's name in snapshots, `known_as` our own name of the bit; either may be empty.
    """

    name: str
    libvirt: str
    names: tuple[str, ...]
    kind: str
    address: int
    subleaf: int | None
    output: str
    bit: int
    register: str
    known_as: str
    rule: Rule

    @property
    def place(self) -> tuple[bool, int, int, int, int]:
        """Where it stands among all: CPUID before MSRs, by leaf, and the words of a leaf as QEMU goes through them."""
        outputs = _OF_LEAF_7 if self.address == 7 else _OUTPUTS
        return self.kind == "msr", self.address, self.subleaf or 0, outputs[self.output], self.bit


@cache
def cpu_features() -> Mapping[str, CpuFeature]:
    """Return every feature by each name that QEMU takes for it, in the order of their places."""
    rules = {row["feature"]: row["rule"] for row in read_csv("kvm_features.csv")}
    found = sorted((_feature(*row, rules) for row in _places()), key=lambda feature: feature.place)
    return {name: feature for feature in found for name in feature.names}


def cpu_feature(name: str) -> CpuFeature | None:
    """Return the feature that QEMU calls so; None: QEMU has no such name, or nobody says where it stands."""
    return cpu_features().get(name)


@cache
def by_libvirt() -> Mapping[str, CpuFeature]:
    """Return every feature that libvirt has a name for, by that name."""
    return {feature.libvirt: feature for feature in cpu_features().values() if feature.libvirt}


_Place = tuple[str, int, int | None, str, int]


def _places() -> list[tuple[str, tuple[str, ...], _Place]]:
    """Return libvirt's name, QEMU's names and the place of each feature that QEMU has a name for."""
    ours = {name for name, row in qemu.properties().items() if row.kind in _KINDS}
    found = []
    for row in features_of(RELEASES[-1]).values():
        names = (QEMU_NAMES.get(row.name, row.name), row.name, *row.qemu_names)
        taken = tuple(dict.fromkeys(name for name in names if name in ours))
        if taken:
            place = (row.kind, row.address, row.subleaf, row.output, row.mask.bit_length() - 1)
            found.append((row.name, taken, place))
    for line in read_csv("qemu/feature_places.csv"):
        bit = int(line["mask"], 0).bit_length() - 1
        found.append(("", (line["name"],), (line["kind"], int(line["address"], 0), None, line["output"], bit)))
    return found


def _feature(libvirt: str, names: tuple[str, ...], place: _Place, rules: Mapping[str, str]) -> CpuFeature:
    kind, address, subleaf, output, bit = place
    register = _registers().get((kind, address, subleaf or 0, output), "")
    rule = cast(Rule, next((rules[name] for name in names if name in rules), "passed"))
    known_as = _known_as().get((register, bit), "")
    return CpuFeature(names[0], libvirt, names, kind, address, subleaf, output, bit, register, known_as, rule)


@cache
def _registers() -> Mapping[tuple[str, int, int, str], str]:
    every = (*REGISTERS.values(), *feature_words().values())
    return {(row.kind, row.address, row.subleaf, row.output): row.id for row in every}


@cache
def _known_as() -> Mapping[tuple[str, int], str]:
    return {(bit.register, bit.bit): name for name, bit in BITS.items()}


@cache
def _dependencies() -> Mapping[tuple[str, int, str], str]:
    rows = read_csv("qemu/dependencies.csv")
    return {(row["kind"], int(row["address"], 0), row["output"]): row["needs"] for row in rows}


def needed_by(feature: CpuFeature) -> str:
    """Return the feature without which QEMU clears the whole word of this one; empty: there is none."""
    return _dependencies().get((feature.kind, feature.address, feature.output), "")
