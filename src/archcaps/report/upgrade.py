"""An answer of `upgrade` for a person at a terminal: what changes, file by file, and who is responsible."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import msgspec

from archcaps.questions.results import NO_SUCH_FILE
from archcaps.questions.upgrade_results import FileChange, InputChange, Judged, Said, UpgradeResult, VerdictChange
from archcaps.report.asking import what_to_ask
from archcaps.report.page import Page, Style, plain
from archcaps.report.safe import safe

__all__ = ["render", "render_json", "upgrade_schema"]

_COLUMN = 26
#: Up to so many possible texts stand in a cell.
_NAMED = 3
_RUNS = {True: "runs", False: "does not run", None: "not known"}
_HAS = {True: "yes", False: "no", None: "unknown"}


def render_json(result: UpgradeResult) -> str:
    """Return the answer as one JSON object on one line, with a line feed at its end."""
    return msgspec.json.encode(result).decode() + "\n"


def upgrade_schema() -> dict[str, object]:
    """Return the JSON Schema of `archcaps upgrade --json`."""
    return msgspec.json.schema(UpgradeResult)


def render(
    result: UpgradeResult, style: Style, *, further: bool = False, everything: bool = False, width: int = 100
) -> str:
    """Return the answer as text of `width` columns (66 at the least, 100 at the most).

    `everything` shows what stays the same too; `further`: further verdicts count, as `upgrade` was asked.
    """
    result = safe(result)
    page = Page(style, min(max(width, 66), 100), everything)
    first, *rest = result.headline.split(". ")
    lines = [style(line, bold=True) for line in page.fill(first.rstrip(".") + ".", "", "")]
    lines += page.fill(". ".join(rest), "", "") if rest else []
    on = "kernel not known" if result.host_kernel is None else f"Linux {result.host_kernel}"
    lines += ["", *page.fill(f"host:  {result.host}, {on}")]
    lines += page.fill(f"guest: {result.guest}, Linux {result.from_kernel} to {result.to_kernel}")
    lines += _table(result, page)
    lines += _because(result, page)
    lines += _verdicts(result, page, further=further)
    lines += _still_open(result, page)
    lines += [""]
    lines += [line for text, number in page.sources.items() for line in page.fill(f"[{number}] {text}", "", "    ")]
    lines += [line for notice in result.notices for line in page.fill(f"Notice: {notice.text}")]
    lines += page.fill("Assumed: " + "; ".join(assumption.text for assumption in result.assumptions) + ".")
    return "\n".join(lines).rstrip() + "\n"


def _table(result: UpgradeResult, page: Page) -> list[str]:
    """Return the rows that change, or all of them: what it is, before, after."""
    rows: list[tuple[str, str, str, bool]] = []
    for change in result.files:
        shown = change.changes or (change.changes is None and _differs(change))
        if page.everything or shown:
            rows.append((change.file, _texts(change.before), _texts(change.after), bool(shown)))
    for verw in result.verw:
        if page.everything or verw.changes:
            rows.append((f"VERW {verw.when}", _RUNS[verw.before], _RUNS[verw.after], verw.changes))
    rows += _bugs(result, page)
    if not rows:
        return ["", "No file, no bug of /proc/cpuinfo and no VERW changes."]
    heads = ("", f"Linux {result.from_kernel}", f"Linux {result.to_kernel}")
    return ["", *_row(heads, page, bold=True), *(line for row in rows for line in _row(row[:3], page, bold=row[3]))]


def _differs(change: FileChange) -> bool:
    """Whether the texts that are possible are others: a change that cannot be told is listed apart where not."""
    return (change.before.possible, change.before.complete) != (change.after.possible, change.after.complete)


def _bugs(result: UpgradeResult, page: Page) -> list[tuple[str, str, str, bool]]:
    changed = [bug for bug in result.bugs if bug.changes]
    rows = []
    if changed:
        before, after = (
            " ".join(f"{bug.name}{'?' if value is None else ''}" for bug, value in side if value is not False) or "-"
            for side in ([(bug, bug.before) for bug in changed], [(bug, bug.after) for bug in changed])
        )
        rows.append(("bugs of /proc/cpuinfo", before, after, True))
    if page.everything:
        same = " ".join(bug.name + ("?" if bug.after is None else "") for bug in result.bugs if not bug.changes)
        rows.append(("bugs that stay", same or "-", "the same", False))
    return rows


def _texts(said: Said) -> str:
    """Return the text as it is, or the first of those that are possible in quotes."""
    if said.value is not None:
        return said.value
    named = " or ".join(text if text == NO_SUCH_FILE else f'"{text}"' for text in said.possible[:_NAMED])
    more = len(said.possible) - _NAMED
    if not said.complete:
        return f"{named} or one of more than {more} others"
    return named if more <= 0 else f"{named} or {more} more"


def _row(cells: Sequence[str], page: Page, *, bold: bool) -> list[str]:
    """Return a row of the table, its cells filled side by side."""
    half = (page.width - _COLUMN - 2) // 2
    widths = (_COLUMN - 1, half, half)
    columns = [
        textwrap.wrap(cell, width, break_on_hyphens=False) or [""] for cell, width in zip(cells, widths, strict=True)
    ]
    lines = []
    for number in range(max(map(len, columns))):
        name, before, after = (column[number] if number < len(column) else "" for column in columns)
        head = page.style(name, bold=True) if bold and name else name
        lines.append(f"{head}{'':{_COLUMN - len(name)}}{before:{half}}  {after}".rstrip())
    return lines


def _because(result: UpgradeResult, page: Page) -> list[str]:
    """Return once what the kernels do differently, each with what it changes."""
    concerned: dict[str, tuple[InputChange, list[str]]] = {}
    for change in result.files:
        if change.changes:
            for each in change.because:
                concerned.setdefault(each.name, (each, []))[1].append(change.file)
    for verw in result.verw:
        for each in verw.because:
            concerned.setdefault(each.name, (each, []))[1].append(f"VERW {verw.when}")
    if not concerned:
        return []
    lines = ["", "What the kernels do differently:"]
    for each, where in concerned.values():
        source = page.source("source", each.source)
        values = f"{_HAS[each.before]} before, {_HAS[each.after]} after ({plain(each.name)}) [{source}]"
        lines += page.fill(": ".join(filter(None, (", ".join(where), each.meaning, values))), "  ", "      ")
    return lines


def _verdicts(result: UpgradeResult, page: Page, *, further: bool) -> list[str]:
    every = [*result.vulnerabilities, *result.further]
    counted = every if further else result.vulnerabilities
    shown = [each for each in every if page.everything or each.changes or (each.undecided and each in counted)]
    unclear = [each.subject for each in counted if each.changes is None and each not in shown]
    lines = ["", "Verdicts:"] if shown else []
    for each in shown:
        lines += page.fill(f"{each.subject}: {_judged(each)}", "  ", "      ")
    if any(each.worse is not False for each in shown):
        lines += page.fill(f"The whole why: archcaps check with --guest-kernel {result.to_kernel}.", "  ")
    if unclear:
        lines += ["", *page.fill(f"Undecided, but not worse than before: {', '.join(unclear)}.")]
    if not further:
        silent = [each.subject for each in result.further if each.undecided and each not in shown]
        worse = [each.subject for each in result.further if each.worse]
        parts = [f"{word} ({', '.join(names)})" for word, names in (("worse", worse), ("undecided", silent)) if names]
        lines += ["", *page.fill(f"further (--further counts them too): {'; '.join(parts)}")] if parts else []
    return lines or ["", "No verdict changes."]


def _judged(each: VerdictChange) -> str:
    before, after = _verdict(each.before), _verdict(each.after)
    said = f"{after}, as before" if before == after else f"{before} -> {after}"
    if each.worse is None:
        said += " (not known whether that is worse)"
    who = each.after.responsible.possible
    if who == ["nobody"]:
        who = each.before.responsible.possible
        return said if who == ["nobody"] or len(who) > _NAMED else f"{said}; responsible before: {' or '.join(who)}"
    return said if len(who) > _NAMED else f"{said}; responsible: {' or '.join(who)}"


def _verdict(judged: Judged) -> str:
    truth = str(judged.truth) if len(judged.truth.possible) <= _NAMED else "undecided"
    return f"{truth}, {judged.safety}"


def _still_open(result: UpgradeResult, page: Page) -> list[str]:
    """Return what cannot be told, and what would decide it."""
    silent = [change.file for change in result.files if change.changes is None and not _differs(change)]
    lines: list[str] = []
    if silent:
        lines += ["", *page.fill("Facts are missing to tell whether these change: " + ", ".join(silent) + ".")]
    if result.missing:
        lines += ["", "What would decide it:"]
        lines += [line for request in what_to_ask(result.missing) for line in page.fill(request, "  ", "      ")]
    return lines
