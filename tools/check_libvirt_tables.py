"""What can be wrong with the tables of libvirt's CPU models and features; part of check_tables.py."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

Rows = list[dict[str, str]]


def libvirt_faults(tables: Path) -> Iterator[str]:
    """Yield the faults of the libvirt tables, alone and against the table of bits."""
    features, models, releases, names = (
        _read(tables / "libvirt" / f"{name}.csv") for name in ("features", "models", "releases", "qemu_names")
    )
    known = [row["release"] for row in releases]
    for table, key, rows in (("features", "feature", features), ("models", "model", models)):
        pairs = Counter((row[key], release) for row in rows for release in row["releases"].split())
        yield from (f"libvirt/{table}: {' '.join(pair)} stands twice" for pair, count in pairs.items() if count > 1)
        yield from (
            f"libvirt/{table}: unknown release {name}" for name in sorted({pair[1] for pair in pairs} - {*known})
        )
    by_release = {name: {row["feature"] for row in features if name in row["releases"].split()} for name in known}
    yield from _place_faults(features)
    for row in models:
        named = set(row["features"].split()) | set(row["removed"].split())
        for release in row["releases"].split():
            yield from (
                f"libvirt/models: {row['model']}: {name} is no feature of {release}"
                for name in sorted(named - by_release.get(release, set()))
            )
        yield from (
            f"libvirt/models: {row['model']}: signature {text!r}"
            for text in row["signatures"].split()
            if not re.fullmatch(r"\d+/\d+(/\d+(-\d+)?)?", text)
        )
    for before, after in pairwise(known):
        yield from (
            f"libvirt/features: {name} of {before} is gone in {after}"
            for name in sorted(by_release[before] - by_release[after])
        )
    yield from _bit_faults(_read(tables / "registers.csv"), _read(tables / "bits.csv"), features, known[-1])
    every = set().union(*by_release.values())
    yield from (  # kvm_pv_*: switched by <features>, in no cpu_map
        f"libvirt/qemu_names: unknown feature {row['libvirt']}"
        for row in names
        if row["libvirt"] not in every and not row["libvirt"].startswith("kvm_")
    )


def _place_faults(features: Rows) -> Iterator[str]:
    for row in features:
        mask = int(row["mask"], 16)
        width = 64 if row["kind"] == "msr" else 32
        if row["kind"] not in ("msr", "cpuid") or not 0 < mask < 1 << width:
            yield f"libvirt/features: {row['feature']}: {row['kind']} {row['mask']}"
        if (row["kind"] == "cpuid") != (row["output"] in ("eax", "ebx", "ecx", "edx")):
            yield f"libvirt/features: {row['feature']}: output {row['output']!r}"


def _bit_faults(registers: Rows, bits: Rows, features: Rows, newest: str) -> Iterator[str]:
    """Yield names that the table of bits gives libvirt and libvirt has not, or has for another bit."""
    of = {row["id"]: row for row in registers}
    places = {
        row["feature"]: (
            row["kind"],
            int(row["address"], 16),
            int(row["subleaf"] or "0", 16),
            row["output"],
            row["mask"],
        )
        for row in features
        if newest in row["releases"].split()
    }
    for row in bits:
        name, register = row["libvirt"], of[row["register"]]
        if not name:
            continue
        subleaf = int(register["subleaf"] or "0", 16)
        address, mask = int(register["address"], 16), hex(1 << int(row["bit"]))
        place = (register["kind"], address, subleaf, register["output"], mask)
        if places.get(name) != place:
            yield f"bits: {row['name']}: libvirt {newest} has {name} at {places.get(name)}, not at {place}"


def _read(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
