"""A roll-out's answer for a terminal, and as JSON."""

from __future__ import annotations

import msgspec

from archcaps.fleet.roll_out_results import RollOutResult
from archcaps.report.page import Page, Style
from archcaps.report.safe import safe
from archcaps.report.set_aside import set_aside
from archcaps.report.supposed import passed_over, supposed

__all__ = ["render", "render_json", "roll_out_schema"]

#: So many changes of one vulnerability's verdict are listed.
_LISTED = 12


def render_json(result: RollOutResult) -> str:
    """Return the answer as one JSON object on one line, with a line feed at its end."""
    return msgspec.json.encode(result).decode() + "\n"


def roll_out_schema() -> dict[str, object]:
    """Return the JSON Schema of `archcaps roll-out --json`."""
    return msgspec.json.schema(RollOutResult)


def headline(result: RollOutResult) -> str:
    """Return the answer in one sentence."""
    if result.newly_exposed or result.newly_open_hosts:
        parts = []
        if result.newly_exposed:
            parts.append(f"{result.newly_exposed:,} GUESTS NEWLY EXPOSED")
        if result.newly_open_hosts:
            parts.append(f"HOSTS NEWLY OPEN TO {result.newly_open_hosts:,} GUESTS")
        return f"{', '.join(parts)}: data can leak that could not before."
    if result.newly_undecided:
        return f"{result.newly_undecided:,} GUESTS UNDECIDED: facts are missing to tell whether it gets worse."
    if result.newly_lied_to:
        return f"{result.newly_lied_to:,} GUESTS NEWLY LIED TO, but nothing leaks that did not before."
    return "NOBODY THAT CAN BE JUDGED IS WORSE OFF." if result.rejected else "NOBODY IS WORSE OFF."


def render(result: RollOutResult, style: Style, columns: int = 100) -> str:
    """Return the answer as text of `columns` columns (66 at the least, 100 at the most)."""
    result = safe(result)
    page = Page(style, min(max(columns, 66), 100), False)
    lines = [style(line, bold=True) for line in page.fill(headline(result), "", "")]
    lines += page.fill(f"Cured: {result.cured:,} guests of {result.guests:,}.", "", "")
    where = f", only where {' and '.join(result.only)}" if result.only else ""
    lines += ["", *page.fill(f"Change: {', '.join(result.changes)}{where}.", "", "  ")]
    lines += page.fill("Cost: " + "; ".join(f"{what} {count:,}" for what, count in result.cost.items()) + ".", "", "  ")
    lines += ["", f"{'':<12}{'before':>14}{'after':>14}"]
    lines += [f"{word:<12}{count:>14,}{result.after[word]:>14,}" for word, count in result.before.items()]
    if result.moves:
        lines += ["", "Guests by verdict before and after"]
        lines += [f"  {move:<28}{count:>12,}" for move, count in result.moves.items()]
    if result.by_vulnerability:
        lines += ["", "By vulnerability"]
        for one in result.by_vulnerability[:_LISTED]:
            what = f"{one.vulnerability} {one.question}"
            lines.append(f"  {what:<40}{f'{one.before} -> {one.after}':<36}{one.guests:>12,}")
        if len(result.by_vulnerability) > _LISTED:
            lines.append(f"  and {len(result.by_vulnerability) - _LISTED} more (--json has all)")
    if result.worse:
        lines += ["", "Worse off, the largest classes first, as they will be"]
        for worse in result.worse[:5]:
            lines += page.fill(f"  {worse.guests:,} guests: {worse.guest} on {worse.host}", "", "    ")
            lines += page.fill(f"    {worse.headline}", "", "    ")
    lines += set_aside(result.rejected, page)
    said = [*passed_over(result.passed_over), *supposed(result.supposed)]
    lines += ["", *(line for sentence in said for line in page.fill(sentence, "", "  "))] if said else []
    if result.files:
        lines += ["", *(f"wrote {path}" for path in result.files.values())]
    return "\n".join(lines).rstrip() + "\n"
