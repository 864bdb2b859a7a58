"""The list of rules as text and JSON, and the look-up tables as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from archcaps.questions.sql.listing import RuleList
from archcaps.questions.sql.lookups import Row, columns_of

__all__ = ["render", "render_json", "render_lookups", "rules_schema"]


def render(listed: RuleList) -> str:
    """Return the list as text: a name a line, then what it can hold or means."""
    lines = []
    if listed.columns:
        lines.append("Columns, and what each can hold beside undecided:")
        lines += [f"  {each.name:42}{_labels(each.labels)}" for each in listed.columns]
    if listed.columns and listed.rules:
        lines.append("")
    if listed.rules:
        lines.append("Rules, true, false or NULL (archcaps explain NAME says more):")
        lines += [f"  {each.name:52}{each.meaning}" for each in listed.rules]
    return "\n".join(lines) + "\n"


def _labels(labels: Sequence[str]) -> str:
    if len(labels) > 9 or any(len(label) > 20 for label in labels):
        return f"{len(labels)} texts of its file"
    return ", ".join(labels)


def render_json(listed: RuleList) -> str:
    """Return the list as one JSON object on a line (schemas/rules-1.json)."""
    return msgspec.json.encode(listed).decode() + "\n"


def rules_schema() -> dict[str, Any]:
    """Return the JSON schema of `render_json`."""
    return msgspec.json.schema(RuleList)


def render_lookups(tables: Mapping[str, Sequence[Row]]) -> dict[str, str]:
    """Return a CSV file for each table, by its name: true, false, and nothing for unknown."""
    found = {}
    for table, rows in tables.items():
        names = list(columns_of(table))
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["lookup_key", *names])
        for key, values in rows:
            writer.writerow([key, *("" if values.get(name) is None else str(values[name]).lower() for name in names)])
        found[f"{table}.csv"] = out.getvalue()
    return found
