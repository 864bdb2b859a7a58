"""Firecracker's custom templates as its own tests have them, from a table of their bitmaps.

Source: firecracker@81b38b9 tests/data/custom_cpu_templates/*.json
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

_DATA = Path(__file__).parent / "data" / "firecracker-custom-templates.csv"
ROWS = list(csv.DictReader(_DATA.read_text(encoding="utf-8").splitlines()))
NAMES = sorted({row["template"] for row in ROWS})


def template(name: str) -> str:
    """Return a template's JSON."""
    leaves: dict[tuple[str, str], dict[str, Any]] = {}
    msrs = []
    for row in ROWS:
        if row["template"] != name:
            continue
        if not row["register"]:
            msrs.append({"addr": row["address"], "bitmap": row["bitmap"]})
            continue
        key = row["address"], row["subleaf"]
        leaf: dict[str, Any] = {"leaf": key[0], "subleaf": key[1], "flags": int(row["flags"]), "modifiers": []}
        leaves.setdefault(key, leaf)["modifiers"].append({"register": row["register"], "bitmap": row["bitmap"]})
    return json.dumps({"cpuid_modifiers": list(leaves.values()), "msr_modifiers": msrs}, indent=2) + "\n"
