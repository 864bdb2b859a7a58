"""The answer of `diff` on a terminal."""

from __future__ import annotations

import msgspec

from archcaps.questions.diff_results import Difference, DiffResult, Sample
from archcaps.report.page import Page, Style
from archcaps.report.prove import example_lines, rounded
from archcaps.report.safe import safe

__all__ = ["diff_schema", "render", "render_json"]

_HEAD = {
    "equivalent": ("EQUIVALENT", "green"), "better": ("THE SECOND IS BETTER", "green"),
    "worse": ("THE SECOND IS WORSE", "red"), "incomparable": ("INCOMPARABLE", "yellow"),
    "unknown": ("NOT KNOWN", "yellow"), "not-decided": ("NOT DECIDED", "yellow"),
}  # fmt: skip
_TRUTH = {
    "the same truth": "Both tell the same truth.", "more truth": "The second tells more truth.",
    "less truth": "The second tells less truth.",
    "incomparable": "Each lies where the other does not.", "not decided": "Which tells more truth is not decided.",
    "not known": "Which tells more truth depends on what no table knows.",
}  # fmt: skip


def render_json(result: DiffResult) -> str:
    """Return the answer as one JSON object on one line."""
    return msgspec.json.encode(result).decode() + "\n"


def diff_schema() -> dict[str, object]:
    """Return the JSON Schema of `archcaps diff --json`."""
    return msgspec.json.schema(DiffResult)


def render(result: DiffResult, style: Style, width: int) -> str:
    """Return the answer as text."""
    result = safe(result)
    page = Page(style, width, everything=False)
    words, colour = _HEAD[result.relation]
    if result.relation == "unknown" and (known := _known(result)):
        words = f"{_HEAD[known][0]}, as far as is known"
    lines = [style(words, fg=colour, bold=True), _TRUTH[result.truth]]
    lines += ["", f"first:  {result.first}", f"second: {result.second}", "", *_table(result)]
    open_ = [row for row in result.differences if row.hanging not in ("", "0")]
    if open_:
        said = ", ".join(f"{row.what} of {row.subject} ({rounded(row.hanging)})" for row in open_)
        lines += page.fill(f"Configurations that depend on what no table knows: {said}.")
    lines += [line for row in result.differences for line in _samples(row, page)]
    lines += ["", *page.fill(f"Over every choice of: {'; '.join(result.free)}.")]
    lines += page.fill(f"For all: {'; '.join(result.fixed)}.")
    return "\n".join(lines) + "\n"


def _known(result: DiffResult) -> str:
    """Return how the second is in the configurations that are known; "" where these show no difference."""
    worse = any(row.second_only not in ("", "0") for row in result.differences)
    better = any(row.first_only not in ("", "0") for row in result.differences)
    return "incomparable" if worse and better else "worse" if worse else "better" if better else ""


def _table(result: DiffResult) -> list[str]:
    head = ("", "", "first only", "second only", "both", "of", "")
    rows: list[tuple[str, ...]] = [head]
    for row in result.differences:
        if row.why_not:
            rows.append((row.what, row.subject, row.why_not, "", "", "", ""))
        else:
            counts = (row.first_only, row.second_only, row.both, row.configurations)
            rows.append((row.what, row.subject, *map(rounded, counts), row.relation))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return ["  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in rows]


def _samples(row: Difference, page: Page) -> list[str]:
    lines: list[str] = []
    for which, sample in (("first", row.first_sample), ("second", row.second_sample)):
        if sample is not None:
            lines += ["", *_sample(f"{row.what} of {row.subject} with the {which} only", sample, page)]
    return lines


def _sample(what: str, sample: Sample, page: Page) -> list[str]:
    deviates = ", ".join(sample.deviates) or "nothing: just what KVM offers"
    return [*page.fill(f"{what}; least deviation: {deviates}"), *example_lines(sample.example, page)]
