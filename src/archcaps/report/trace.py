"""An answer of `trace` for a person at a terminal: a table of the steps, why each is taken, and what it comes to."""

from __future__ import annotations

import msgspec

from archcaps.questions.trace_results import Border, Entry, Step, TraceResult
from archcaps.report.asking import what_to_ask
from archcaps.report.page import Page, Style, bit, inputs
from archcaps.report.safe import safe

__all__ = ["render", "render_json", "trace_schema"]

_HOLDS = {True: "host data", False: "clear", None: "?"}
_DONE = {True: "yes", False: "no", None: "?"}
_COLOURS = {"host data": "red", "clear": "green", "safe": "green", "exposed": "red"}


def render_json(result: TraceResult) -> str:
    """Return the answer as one JSON object on one line, with a line feed at its end."""
    return msgspec.json.encode(result).decode() + "\n"


def trace_schema() -> dict[str, object]:
    """Return the JSON Schema of `archcaps trace --json`."""
    return msgspec.json.schema(TraceResult)


def render(result: TraceResult, style: Style, *, everything: bool = False, width: int = 100) -> str:
    """Return the answer as text of `width` columns (66 at the least, 100 at the most)."""
    result = safe(result)
    page = Page(style, min(max(width, 66), 100), everything)
    kernel = "a kernel that is not known" if result.host_kernel is None else f"Linux {result.host_kernel}"
    by = f", {result.technology}" if result.technology else ""
    lines = [style(line, bold=True) for line in page.fill(f"VM entry and exit on {kernel}{by}", "", "")]
    lines += [f"host:  {result.host}", f"guest: {result.guest}"]
    for entry in result.entries:
        lines += ["", *_table(entry, page, result.technology == "VMX")]
    if not result.entries:
        lines += ["", "The host's vendor is not known: guests run under VMX or SVM, two different paths."]
    if result.entries:
        lines += ["", *_reasons(result.entries[0], page)]
    lines += ["", *_outcome(result.borders, page)]
    if result.missing:
        lines += ["", "What would decide it:"]
        lines += [line for request in what_to_ask(result.missing) for line in page.fill(request, "  ", "      ")]
    lines += [""] if page.sources else []
    lines += [line for text, number in page.sources.items() for line in page.fill(f"[{number}] {text}", "", "    ")]
    lines += [line for notice in result.notices for line in page.fill(f"Notice: {notice.text}")]
    lines += page.fill("Assumed: " + "; ".join(assumption.text for assumption in result.assumptions) + ".")
    return "\n".join(lines).rstrip() + "\n"


def _table(entry: Entry, page: Page, vmx: bool) -> list[str]:
    heads = ["L1D", "fill bufs", "store, load", "registers"] if vmx else ["TSA"]
    dis = "  FB_CLEAR_DIS" if vmx else ""
    cells = "".join(f"  {head:11}" for head in heads).rstrip()
    lines = [page.style(f"{entry.kind}:", bold=True), f"{'':32}{dis}{cells}"]
    start = "".join(f"  {'host data':11}" for _ in heads).rstrip()
    lines.append(f"  {'in the host':30}" + ("  0           " if vmx else "") + start)
    return lines + [_row(number, step, page, vmx) for number, step in enumerate(entry.steps, 1)]


def _row(number: int, step: Step, page: Page, vmx: bool) -> str:
    dis = f"  {bit(step.fb_clear_dis):12}" if vmx else ""
    cells = []
    for buffer in step.buffers:
        word = _HOLDS[buffer.holds_host_data]
        cells.append("  " + page.style(word, fg=_COLOURS.get(word, "cyan")) + " " * (11 - len(word)))
    return f"{number} {step.name:25} {_DONE[step.done]:4}{dis}{''.join(cells)}".rstrip()


def _reasons(entry: Entry, page: Page) -> list[str]:
    """Return why each step is taken or not."""
    lines = []
    told: dict[tuple[str, ...], int] = {}
    for number, step in enumerate(entry.steps, 1):
        same = tuple(line.name for line in step.why)
        first = told.setdefault(same, number)
        if not step.why or first != number:
            lines += page.fill(f"{number} {step.name} ({step.what}): as {first}") if step.why else []
            continue
        said = {True: "taken", False: "not taken", None: "taken? not known"}[step.done]
        found = "; ".join(filter(None, (inputs(line, set(), page) for line in step.why)))
        lines += page.fill(f"{number} {step.name} ({step.what}): {said}" + (f": {found}" if found else ""), "", "    ")
    return lines


def _outcome(borders: list[Border], page: Page) -> list[str]:
    lines = []
    for each in borders:
        safety = each.host_safety or "undecided"
        if each.guest_can_sample is False:
            why = "the guest has nothing to sample"
        else:
            why = {
                True: "every entry clears it",
                False: "not every entry clears it",
                None: "cleared? not known",
            }[each.cleared_before_entry]
        works = {True: "works", False: "is in vain", None: "works? not known"}[each.guest_verw_works]
        word = page.style(safety, fg=_COLOURS.get(safety, "cyan")) + " " * (10 - len(safety))
        lines.append(f"{each.vulnerability:22} host {word} {why}; guest's VERW {works}")
    return lines
