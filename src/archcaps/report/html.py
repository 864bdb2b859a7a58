"""An audit's answer as one HTML file: it needs no network and no script, and can be printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2

from archcaps.fleet.results import AuditResult, Cell
from archcaps.report.audit import MEANINGS, beyond, coverage, groups, headline
from archcaps.report.cures import cure_sentences
from archcaps.report.safe import safe
from archcaps.report.supposed import passed_over, supposed
from archcaps.safe_files import replace_file
from archcaps.tables.names import VULNERABILITIES

__all__ = ["render_html", "write_html"]


@dataclass(frozen=True)
class _HeatCell:
    worst: str
    share: str
    strength: int
    guests: int
    words: str


def render_html(result: AuditResult) -> str:
    """Return the answer as an HTML document that stands alone."""
    result = safe(result)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("archcaps.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    kernels: dict[str, list[Any]] = {}
    for one in result.by_kernel_and_vulnerability:
        kernels.setdefault(one.kernel, []).append(one)
    return environment.get_template("audit.html.j2").render(
        result=result,
        headline=headline(result),
        meanings=MEANINGS,
        vulnerabilities=tuple(VULNERABILITIES),
        kernels=kernels,
        heat=_heat(result),
        groups=groups(result),
        cure_sentences=cure_sentences,
        coverage=coverage(result),
        beyond=beyond(result),
        said=[*passed_over(result.passed_over), *supposed(result.supposed)],
        version=version("archcaps"),
        n=lambda number: f"{number:,}",
        share=lambda count: f"{100 * count / result.guests:.1f}\u00a0%" if result.guests else "",
        ordered=lambda counts: sorted(counts.items(), key=lambda item: -item[1]),
    )


def write_html(result: AuditResult, path: Path) -> None:
    """Write the document to a file, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    replace_file(path, render_html(result).encode())


def _heat(result: AuditResult) -> Mapping[str, Any]:
    return {
        "hosts": list(dict.fromkeys(cell.host for cell in result.heat_map)),
        "guests": list(dict.fromkeys(sorted((cell.guest for cell in result.heat_map), key=_others_last))),
        "cells": {(cell.host, cell.guest): _cell(cell) for cell in result.heat_map},
    }


def _others_last(name: str) -> tuple[bool, str]:
    return name == "others", name


def _cell(cell: Cell) -> _HeatCell:
    """The colour of the bad verdict that most of the cell's guests have, the worse one where two have as many."""
    bad = {verdict: cell.verdicts.get(verdict, 0) for verdict in MEANINGS if verdict != "truthful"}
    share = sum(bad.values()) / cell.guests
    worst = max(bad, key=lambda verdict: bad[verdict]) if share else "truthful"
    words = ", ".join(f"{verdict} {count:,}" for verdict, count in cell.verdicts.items())
    strength = round(12 + 48 * share) if share else 14
    return _HeatCell(worst, f"{100 * share:.0f} %", strength, cell.guests, f"{cell.guest} on {cell.host}: {words}")
