"""Write the tables of libvirt's CPU models and features from libvirt's own cpu_map folders.

    python tools/libvirt_cpu_map.py 9.0.0=/usr/share/libvirt/cpu_map 12.8.0=FOLDER ...

A folder comes from a libvirt package (libvirt-common, before 11 libvirt0): usr/share/libvirt/cpu_map. Rows that are the
same in several releases are written once.
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

TABLES = Path(__file__).parents[1] / "src" / "archcaps" / "tables" / "libvirt"
Row = dict[str, str]
Named = tuple[str, Row]

FEATURE_COLUMNS: Final = ("kind", "address", "subleaf", "output", "mask", "migratable", "qemu_names")
MODEL_COLUMNS: Final = (
    "vendor", "signatures", "decode_host", "decode_guest", "partial_check", "features", "added", "removed",
)  # fmt: skip


def number(text: str | None) -> int:
    return int(text or "0", 0)


def feature_row(feature: ElementTree.Element) -> Row:
    """One bit in one CPUID register, or in one MSR (eax is its low half, edx its high half)."""
    names = [alias.get("name", "") for alias in feature.findall("alias") if alias.get("source") == "qemu"]
    row = {"migratable": feature.get("migratable", ""), "qemu_names": " ".join(names)}
    msr = feature.find("msr")
    if msr is not None:
        mask = number(msr.get("edx")) << 32 | number(msr.get("eax"))
        address = hex(number(msr.get("index")))
        return {**row, "kind": "msr", "address": address, "subleaf": "", "output": "", "mask": hex(mask)}
    cpuid = feature.find("cpuid")
    assert cpuid is not None
    ((output, mask),) = [
        (name, number(cpuid.get(name))) for name in ("eax", "ebx", "ecx", "edx") if number(cpuid.get(name))
    ]
    subleaf = cpuid.get("ecx_in")
    return {
        **row, "kind": "cpuid", "address": hex(number(cpuid.get("eax_in"))),
        "subleaf": "" if subleaf is None else hex(number(subleaf)), "output": output, "mask": hex(mask),
    }  # fmt: skip


def steppings(signature: ElementTree.Element) -> str:
    text = f"{signature.get('family')}/{signature.get('model')}"
    return text + (f"/{signature.get('stepping')}" if signature.get("stepping") else "")


def model_row(name: str, elements: dict[str, ElementTree.Element]) -> Row:
    """A model as libvirt has it after it has followed <model name=.../> to the model it is built on."""
    element = elements[name]
    base = element.find("model")
    row = dict.fromkeys(MODEL_COLUMNS, "")
    if base is not None:
        # Vendor, signatures and features are handed down, the rest is not (cpu_x86.c x86ModelParseAncestor).
        row = model_row(base.get("name", ""), elements) | {"partial_check": "", "added": "", "removed": ""}
    features = {part: set(row[part].split()) for part in ("features", "added", "removed")}
    for feature in element.findall("feature"):
        found = feature.get("name", "")
        if feature.get("removed") == "yes":
            features["removed"].add(found)
            continue
        features["features"].add(found)
        if feature.get("added") == "yes":
            features["added"].add(found)
    row |= {part: " ".join(sorted(names)) for part, names in features.items()}
    decode, vendor, check = element.find("decode"), element.find("vendor"), element.find("check")
    if decode is not None:
        row |= {"decode_host": decode.get("host", ""), "decode_guest": decode.get("guest", "")}
    if vendor is not None:
        row["vendor"] = vendor.get("name", "")
    if check is not None:
        row["partial_check"] = check.get("partial", "")
    if element.find("signature") is not None:
        row["signatures"] = " ".join(steppings(each) for each in element.findall("signature"))
    return row


def read(folder: Path) -> tuple[list[Named], list[Named]]:
    """Return the features and the models of one release, by name."""
    features = [
        (feature.get("name", ""), feature_row(feature))
        for feature in ElementTree.parse(folder / "x86_features.xml").getroot().iter("feature")
    ]
    elements = {
        model.get("name", ""): model
        for file in sorted(folder.glob("x86_*.xml"))
        for model in ElementTree.parse(file).getroot().findall("model")
    }
    return features, [(name, model_row(name, elements)) for name in elements]


def merged(by_release: dict[str, list[Named]], columns: tuple[str, ...], key: str) -> list[list[str]]:
    """Rows with the releases that have them, each content once; sorted by name, then by release."""
    releases: dict[tuple[str, ...], list[str]] = {}
    for release, rows in by_release.items():
        for name, row in rows:
            releases.setdefault((name, *(row[column] for column in columns)), []).append(release)
    order = list(by_release)
    found = sorted(releases.items(), key=lambda item: (item[0][0], order.index(item[1][0])))
    return [[key, "releases", *columns], *([row[0], " ".join(names), *row[1:]] for row, names in found)]


def main(arguments: list[str]) -> int:
    folders = {release: Path(folder) for release, _, folder in (argument.partition("=") for argument in arguments)}
    if not folders or not all(re.fullmatch(r"\d+\.\d+\.\d+", release) for release in folders):
        print(__doc__)
        return 64
    read_in = {release: read(folder) for release, folder in folders.items()}
    tables = {
        "features.csv": merged({name: both[0] for name, both in read_in.items()}, FEATURE_COLUMNS, "feature"),
        "models.csv": merged({name: both[1] for name, both in read_in.items()}, MODEL_COLUMNS, "model"),
    }
    for name, rows in tables.items():
        with (TABLES / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
        print(f"{name}: {len(rows) - 1} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
