"""What is wrong with the tables of QEMU: part of tools/check_tables.py."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

__all__ = ["SOURCED", "qemu_faults"]

#: Those whose rows each have a source; the others are recorded whole (sources.csv).
SOURCED = [
    f"qemu/{name}.csv"
    for name in (
        "releases",
        "rules",
        "first_releases",
        "accelerator_defaults",
        "distribution_machines",
        "dependencies",
        "feature_places",
    )
]
KINDS = {"feature", "alias", "vmx", "kvm", "hyperv", "option", "value"}

Rows = list[dict[str, str]]


def numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def qemu_faults(tables: Path, bits: Rows) -> Iterator[str]:
    """Yield what is wrong with the tables of QEMU below a folder of tables."""
    found: dict[str, Rows] = {}
    for path in sorted((tables / "qemu").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found[path.stem] = list(csv.DictReader(file))
    recorded = [row["release"] for row in found["releases"]]
    if recorded != sorted(recorded, key=numbers):
        yield "qemu/releases: not in their order"
    for table in ("properties", "models", "aliases", "machines"):
        for row in found[table]:
            if not {row["first"], row["last"]} <= set(recorded) or numbers(row["first"]) > numbers(row["last"]):
                yield f"qemu/{table}: {row.get('name') or row['machine']}: {row['first']} to {row['last']}"
    yield from property_faults(found["properties"], bits)
    features = {row["name"] for row in found["properties"] if row["kind"] == "feature"}
    yield from model_faults(found["models"], features)
    models = {f"{row['name']}-v{row['version']}" for row in found["models"]}
    names = {"max"} | models | {row["name"] for row in found["models"]} | {row["name"] for row in found["aliases"]}
    yield from (f"qemu/aliases: {row['means']} is no model" for row in found["aliases"] if row["means"] not in models)
    for row in found["machine_changes"]:
        if row["property"] not in features | {"family", "model", "stepping"}:
            yield f"qemu/machine_changes: unknown property {row['property']}"
        yield from (f"qemu/machine_changes: {name} is no model" for name in row["models"].split() if name not in names)
    for table in ("first_releases", "accelerator_defaults"):
        for row in found[table]:
            name = row.get("name") or row["property"]
            if name not in features:
                yield f"qemu/{table}: {name} is no feature"


def property_faults(properties: Rows, bits: Rows) -> Iterator[str]:
    kinds = {row["name"]: row["kind"] for row in properties}
    for row in properties:
        if row["kind"] not in KINDS:
            yield f"qemu/properties: {row['name']}: kind {row['kind']!r}"
        if bool(row["of"]) is not (row["kind"] == "alias") or (row["of"] and row["of"] not in kinds):
            yield f"qemu/properties: {row['name']}: second name of {row['of']!r}"
    for row in bits:
        if row["qemu"] and kinds.get(row["qemu"]) != "feature":
            yield f"qemu/properties: {row['qemu']}, QEMU's name of {row['name']}, is no feature"


def model_faults(models: Rows, features: set[str]) -> Iterator[str]:
    """Yield versions out of order, and features that are unknown, or added and taken away for nothing."""
    on: dict[str, dict[int, set[str]]] = defaultdict(dict)
    for row in models:
        where, version = f"qemu/models: {row['name']}-v{row['version']}", int(row["version"])
        versions = on[row["name"]]
        if version > 1 and version - 1 not in versions:
            yield f"{where}: no version before it"
        now = set(versions.get(version - 1, ()))
        for word in row["features"].split():
            name = word[1:]
            if name not in features:
                yield f"{where}: unknown feature {name}"
            if word[0] not in "+-" or (word[0] == "+") is (name in now):
                yield f"{where}: {word} changes nothing"
            now ^= {name}
        versions[version] = now
