"""Write which instructions no machine of a part has, from a collection of CPUID dumps (InstLatx64's checkout).

Usage: python -m tools.part_features FOLDER

A part is a family and model of which the collection has two machines or more. What firmware and microcode switch on
and off (TSX, SGX, what mitigates) is not among the features: that a few machines lack it says nothing of the others.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from archcaps.tables.cpu_features import CpuFeature, cpu_features
from archcaps.tables.qemu import CpuModel, model_names, model_versions

TABLE: Final = Path(__file__).parents[1] / "src" / "archcaps" / "tables" / "silicon" / "part_features.csv"
COLLECTION: Final = "InstLatx64@087af2c"
FEATURES: Final = (
    "pni", "pclmulqdq", "ssse3", "fma", "cx16", "pcid", "sse4.1", "sse4.2", "movbe", "popcnt", "aes", "xsave",
    "avx", "f16c", "rdrand", "fsgsbase", "bmi1", "avx2", "smep", "bmi2", "erms", "invpcid", "mpx", "avx512f",
    "avx512dq", "rdseed", "adx", "smap", "avx512ifma", "clflushopt", "clwb", "avx512pf", "avx512er", "avx512cd",
    "sha-ni", "avx512bw", "avx512vl", "avx512vbmi", "avx512vbmi2", "gfni", "vaes", "vpclmulqdq", "avx512vnni",
    "avx512bitalg", "avx512-vpopcntdq", "rdpid", "cldemote", "movdiri", "movdir64b", "avx512-4vnniw",
    "avx512-4fmaps", "fsrm", "avx512-vp2intersect", "serialize", "amx-bf16", "avx512-fp16", "amx-tile", "amx-int8",
    "avx-vnni", "avx512-bf16", "cmpccxadd", "fzrm", "fsrs", "fsrc", "amx-fp16", "avx-ifma", "xsaveopt", "xsavec",
    "xgetbv1", "xsaves", "rdtscp", "pdpe1gb", "mmxext", "fxsr-opt", "3dnow", "3dnowext", "lahf-lm", "svm",
    "cr8legacy", "abm", "sse4a", "misalignsse", "3dnowprefetch", "osvw", "xop", "fma4", "tbm", "clzero",
    "xsaveerptr", "wbnoinvd", "vmx", "invtsc",
)  # fmt: skip
VENDORS: Final = ("GenuineIntel", "AuthenticAMD", "HygonGenuine")
HYPERVISOR: Final = 1 << 31
_LINE: Final = re.compile(r"CPUID ([0-9A-F]{8})[:\s].*?([0-9A-F]{8})-([0-9A-F]{8})-([0-9A-F]{8})-([0-9A-F]{8})")
_OUTPUTS: Final = ("eax", "ebx", "ecx", "edx")
#: Size and place of AVX's state, subleaf 2 of leaf 0xd: a dump in which it comes second leaves subleaf 1 out.
_STATE_OF_AVX: Final = (0x100, 0x240)

Leaves = dict[int, list[tuple[int, ...]]]
Part = tuple[str, int, int]


def first_cpu(text: str) -> Leaves:
    """Return the leaves of a dump's first CPU: of each the answers in order, which is that of the subleaves."""
    found: Leaves = {}
    for match in _LINE.finditer(text):
        leaf, *words = (int(part, 16) for part in match.groups())
        if leaf == 0 and found:
            break
        found.setdefault(leaf, []).append(tuple(words))
    return found


def part_of(leaves: Leaves) -> Part:
    """Return vendor, family and model of a CPU."""
    version, name = leaves[1][0][0], leaves[0][0]
    family, model = version >> 8 & 15, version >> 4 & 15
    if family in (6, 15):
        model |= (version >> 16 & 15) << 4
    if family == 15:
        family += version >> 20 & 255
    vendor = b"".join(name[place].to_bytes(4, "little") for place in (1, 3, 2)).decode("latin-1")
    return vendor, family, model


def has(leaves: Leaves, feature: CpuFeature) -> bool | None:
    """Return whether a CPU has a feature; a leaf past its last has none. None: the dump leaves that subleaf out."""
    if feature.address > leaves.get(feature.address & 0x80000000, [(0,)])[0][0]:
        return False
    answers, subleaf = leaves.get(feature.address, []), feature.subleaf or 0
    if feature.address == 0xD and len(answers) > 1 and answers[1][:2] == _STATE_OF_AVX:
        return None
    if subleaf < len(answers):
        return bool(answers[subleaf][_OUTPUTS.index(feature.output)] >> feature.bit & 1)
    return False if feature.address == 7 and answers and subleaf > answers[0][0] else None


def machines(folder: Path) -> Iterator[tuple[Part, dict[str, bool | None]]]:
    """Yield every machine of the collection that is no virtual one: its part, and which features it has."""
    known = cpu_features()
    for path in sorted(folder.rglob("*_CPUID*.txt")):
        leaves = first_cpu(path.read_text(encoding="utf-8", errors="replace"))
        if 0 in leaves and 1 in leaves and not leaves[1][0][2] & HYPERVISOR:
            yield part_of(leaves), {name: has(leaves, known[name]) for name in FEATURES}


def lacks(part: Part, seen: Sequence[Mapping[str, bool | None]]) -> list[str]:
    """Return the features that two machines or more are known to lack, and none has, nor a QEMU's model of the part."""
    answers = {name: [each[name] for each in seen] for name in FEATURES}
    of_models = frozenset[str]().union(*(each.features for each in _models() if _identity(each) == part))
    return [
        name for name, told in answers.items() if True not in told and told.count(False) > 1 and name not in of_models
    ]


def _models() -> Iterator[CpuModel]:
    for name in model_names():
        yield from model_versions(name)


def _identity(model: CpuModel) -> Part:
    return model.vendor, model.family, model.model


def main(folder: str) -> None:
    """Write the table."""
    parts: Mapping[Part, list[dict[str, bool | None]]] = defaultdict(list)
    for part, features in machines(Path(folder)):
        parts[part].append(features)
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["vendor", "family", "model", "machines", "lacks", "source"])
        for (vendor, family, model), seen in sorted(parts.items()):
            if vendor in VENDORS and family >= 6 and len(seen) > 1:
                writer.writerow(
                    [
                        vendor,
                        hex(family),
                        hex(model),
                        len(seen),
                        " ".join(lacks((vendor, family, model), seen)),
                        COLLECTION,
                    ]
                )


if __name__ == "__main__":
    main(sys.argv[1])
