"""Rows of a fleet that were set aside, as lines of text."""

from __future__ import annotations

from collections.abc import Sequence

from archcaps.fleet.results import Rejected
from archcaps.report.page import Page

__all__ = ["set_aside"]

#: So many reasons are listed.
_LISTED = 10


def set_aside(rejected: Sequence[Rejected], page: Page) -> list[str]:
    """Return how many rows were set aside, and the most frequent reasons with an id each; nothing if there are none."""
    if not rejected:
        return []
    lines = ["", f"Set aside: {sum(one.rows for one in rejected):,} rows"]
    for lost in rejected[:_LISTED]:
        example = f" (as {lost.example})" if lost.example else ""
        lines += page.fill(f"  {lost.rows:,} of {lost.role}s: {lost.reason}{example}", "", "    ")
    if len(rejected) > _LISTED:
        rest = sum(one.rows for one in rejected[_LISTED:])
        lines.append(f"  {rest:,} for {len(rejected) - _LISTED} more reasons (rejected.parquet in --out has all rows)")
    return lines
