"""An audit's answer for a terminal, as Markdown, as JSON, and its classes as CSV or NDJSON."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from archcaps.fleet.results import AuditResult, ByGroup, ClassVerdict
from archcaps.report.cures import cure_sentences
from archcaps.report.page import Page, Style
from archcaps.report.safe import safe
from archcaps.report.set_aside import set_aside
from archcaps.report.supposed import passed_over, supposed
from archcaps.safe_text import one_line

__all__ = [
    "MEANINGS",
    "audit_schema",
    "beyond",
    "coverage",
    "groups",
    "headline",
    "render",
    "render_classes",
    "render_json",
    "render_markdown",
]

_VERDICTS = ("exposed", "undecided", "untruthful", "truthful")
_COLOURS = {"exposed": "red", "undecided": "yellow", "untruthful": "yellow", "truthful": "green"}
#: What each verdict says, the worst first.
MEANINGS = {
    "exposed": "data can leak",
    "undecided": "facts are missing to tell",
    "untruthful": "not told the truth, but nothing leaks",
    "truthful": "told the truth, and safe",
}
#: So many groups are shown of each kind, so many of the worst classes, so many columns to collect.
_GROUPS, _WORST, _COLUMNS = 4, 3, 6
#: Where HTML would begin in Markdown (CommonMark 0.31, sections 4.6 and 6.6); "<0.1 %" is none.
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
#: How a spreadsheet's formula begins (OWASP, CSV Injection).
_FORMULA = ("=", "+", "-", "@")


def render_json(result: AuditResult) -> str:
    """Return the answer as one JSON object on one line, with a line feed at its end."""
    return msgspec.json.encode(result).decode() + "\n"


def audit_schema() -> dict[str, object]:
    """Return the JSON Schema of `archcaps audit --json`."""
    return msgspec.json.schema(AuditResult)


def render_classes(classes: Mapping[str, Any], form: str) -> Iterator[str]:
    """Yield the table of classes as CSV lines, the names first, or as one JSON object a line."""
    names = list(classes)
    columns = [values.tolist() for values in classes.values()]
    if form == "csv":
        yield _csv_line(names)
    for row in zip(*columns, strict=True):
        if form == "csv":
            yield _csv_line(row)
        else:
            yield msgspec.json.encode(dict(zip(names, row, strict=True))).decode() + "\n"


def _csv_line(cells: Sequence[object]) -> str:
    """Return cells as a line; what a spreadsheet would take for a formula gets an apostrophe, as OWASP advises."""
    buffer = io.StringIO()
    shown = [one_line(cell) if isinstance(cell, str) else cell for cell in cells]
    safe_cells = [f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell for cell in shown]
    csv.writer(buffer, lineterminator="\n").writerow(safe_cells)
    return buffer.getvalue()


def headline(result: AuditResult) -> str:
    """Return the answer in one sentence."""
    counts, every = result.verdicts, result.guests
    for verdict in ("exposed", "undecided", "untruthful"):
        if counts[verdict]:
            return f"{counts[verdict]:,} OF {every:,} GUESTS {verdict.upper()}: {MEANINGS[verdict]}."
    return f"ALL {every:,} GUESTS ARE TOLD THE TRUTH, AND SAFE."


def render(result: AuditResult, style: Style, columns: int = 100) -> str:
    """Return the answer as text of `columns` columns (66 at the least, 100 at the most)."""
    result = safe(result)
    page = Page(style, min(max(columns, 66), 100), False)
    lines = [style(headline(result), bold=True)]
    lines += page.fill(
        f"{result.guests:,} guests on {result.hosts:,} hosts; {result.guest_classes:,} kinds of guests and "
        f"{result.host_classes:,} of hosts make {result.classes:,} classes.", "", "",
    )  # fmt: skip
    lines.append("")
    for verdict in _VERDICTS:
        count = result.verdicts[verdict]
        row = f"{verdict:<12}{count:>14,}  {_share(count, result.guests)}  {MEANINGS[verdict]}"
        lines.append(style(row, fg=_COLOURS[verdict]) if count else row)
    lines += ["", "By vulnerability: guests by what they are told, and by what can leak"]
    for one in result.by_vulnerability:
        told = ", ".join(f"{word} {count:,}" for word, count in _ordered(one.truth))
        leak = ", ".join(f"{word} {count:,}" for word, count in _ordered(one.safety) if word != "safe")
        host = ", ".join(f"host {word} {count:,}" for word, count in _ordered(one.host_safety) if word != "safe")
        lines += page.fill(
            f"  {one.vulnerability}: {'; '.join(part for part in (told, leak, host) if part)}", "", "    "
        )
    for title, kinds in groups(result):
        lines += ["", f"{title}: guests, and of these exposed, undecided, untruthful"]
        for group in kinds[:_GROUPS]:
            bad = "  ".join(f"{group.verdicts.get(verdict, 0):>11,}" for verdict in _VERDICTS[:3])
            lines.append(f"  {group.name[:44]:<44}{group.guests:>11,}  {bad}")
        if len(kinds) > _GROUPS:
            lines.append(f"  and {len(kinds) - _GROUPS} more")
    lines += _worst(result.worst, page)
    lines += _collect(result, page)
    lines += set_aside(result.rejected, page)
    said = [*passed_over(result.passed_over), *supposed(result.supposed)]
    lines += ["", *(line for sentence in said for line in page.fill(sentence, "", "  "))] if said else []
    lines += [""] if result.files or result.assumptions else []
    lines += [f"wrote {path}" for path in result.files.values()]
    lines += page.fill(f"Assumed: {', '.join(result.assumptions)}.") if result.assumptions else []
    return "\n".join(lines).rstrip() + "\n"


def groups(result: AuditResult) -> list[tuple[str, list[ByGroup]]]:
    """Return the tables of groups with their titles."""
    return [
        ("By host CPU", result.by_host),
        ("By host kernel", result.by_host_kernel),
        ("By guest kernel", result.by_guest_kernel),
    ]


def _ordered(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])


def _share(count: int, every: int) -> str:
    share = 100 * count / every if every else 0.0
    return f"{'<0.1' if 0 < share < 0.1 else f'{share:.1f}':>5} %"


def _worst(worst: Sequence[ClassVerdict], page: Page) -> list[str]:
    if not worst:
        return []
    lines = ["", "Worst first: the largest classes of what is most wrong"]
    for one in worst[:_WORST]:
        lines += page.fill(f"  {one.guests:,} guests, class {one.id}: {one.guest} on {one.host}", "", "    ")
        lines += page.fill(f"    {one.headline}", "", "    ")
        if one.cure is not None:
            lines += page.fill(f"    {' '.join(cure_sentences(one.cure))}", "", "    ")
    if len(worst) > _WORST:
        lines.append(f"  and {len(worst) - _WORST} more (--json, --html)")
    if all(one.cure is None for one in worst):
        lines.append("  What would mend them: --cures")
    return lines


def coverage(result: AuditResult) -> str:
    """Return of how many guests a question is open, and that all of them were looked at; empty where none is."""
    asked = result.open_questions
    if not asked.guests:
        return ""
    also = asked.guests - result.verdicts["undecided"]
    besides = f" ({also:,} of them are surely exposed besides)" if also else ""
    classes = "1 class" if asked.classes == 1 else f"{asked.classes:,} classes"
    return f"Of {asked.guests:,} guests in {classes} a question is open{besides}; all of them were looked at."


def beyond(result: AuditResult) -> str:
    """Return on what guests hang that no column of an inventory says; empty where there is none."""
    asked = result.open_questions
    if not asked.beyond_guests:
        return ""
    facts = ", ".join(f"{fact} ({count:,})" for fact, count in asked.beyond.items())
    return f"{asked.beyond_guests:,} of them depend also on what no column says, and may stay undecided: {facts}."


def _collect(result: AuditResult, page: Page) -> list[str]:
    if not result.open_questions.guests:
        return []
    lines = ["", *page.fill(coverage(result), "", "")]
    if result.collect:
        lines.append("What to collect, the most telling column first, each once those above it are there:")
    for one in result.collect[:_COLUMNS]:
        settles = f"settles {one.settles:,} guests more" if one.settles else "settles none for sure"
        lines += page.fill(f"  {one.column} of the {one.role}: {settles}; {one.hang_on_it:,} lack it", "", "    ")
    more = result.collect[_COLUMNS:]
    if more:
        settled = sum(one.settles for one in more)
        lines.append(f"  and {len(more)} more, which settle {settled:,} together")
    return [*lines, *page.fill(beyond(result), "", "")] if beyond(result) else lines


def render_markdown(result: AuditResult) -> str:
    """Return the answer as Markdown."""
    result = safe(result)
    lines = [f"# {headline(result)}", ""]
    lines += [f"{result.guests:,} guests on {result.hosts:,} hosts, {result.classes:,} classes.", ""]
    lines += _table(
        ("verdict", "guests", "share", "meaning"),
        [
            (verdict, f"{result.verdicts[verdict]:,}", _share(result.verdicts[verdict], result.guests).strip(), meaning)
            for verdict, meaning in MEANINGS.items()
        ],
    )
    lines += ["## By vulnerability", ""]
    rows = []
    for one in result.by_vulnerability:
        asked = (one.truth, one.safety, one.host_safety)
        cells = ["; ".join(f"{word} {count:,}" for word, count in _ordered(counts)) for counts in asked]
        rows.append((one.vulnerability, *cells))
    lines += _table(("vulnerability", "truth", "safety", "host's safety"), rows)
    for title, kinds in groups(result):
        lines += [f"## {title}", ""]
        lines += _table(
            (title.removeprefix("By "), "guests", *_VERDICTS),
            [
                (group.name, f"{group.guests:,}", *(f"{group.verdicts.get(verdict, 0):,}" for verdict in _VERDICTS))
                for group in kinds
            ],
        )
    if result.worst:
        lines += ["## Worst classes", ""]
        lines += [
            f"* {one.guests:,} guests, `{one.id}`: {_markdown(f'{one.guest} on {one.host}')}. "
            + " ".join([one.headline, *([] if one.cure is None else cure_sentences(one.cure))])
            for one in result.worst
        ]
        lines.append("")
    if result.open_questions.guests:
        lines += ["## What to collect", "", coverage(result), ""]
        rows = [(one.role, one.column, f"{one.settles:,}", f"{one.hang_on_it:,}") for one in result.collect]
        lines += _table(("of the", "column", "settles more guests", "lack it"), rows) if rows else []
        lines += [beyond(result), ""] if beyond(result) else []
    if result.rejected:
        lines += ["## Rows set aside", ""]
        rows = [(lost.role, lost.reason, f"{lost.rows:,}", lost.example) for lost in result.rejected]
        lines += _table(("role", "reason", "rows", "example"), rows)
    said = [*passed_over(result.passed_over), *supposed(result.supposed)]
    lines += ["## Supposed", "", *(f"* {sentence}" for sentence in said)] if said else []
    return "\n".join(lines).rstrip() + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(_markdown, line)) + " |" for line in lines] + [""]


def _markdown(text: str) -> str:
    """Return text that Markdown shows as it is: no column, code, link, picture or HTML of a stranger's begins in it."""
    return _TAG.sub("&lt;", re.sub(r"([\\|`\[\]*])", r"\\\1", text))
