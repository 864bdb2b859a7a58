"""An answer of `check` for a person at a terminal: the headline first, then what it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from archcaps.questions.results import (
    FINE,
    NO_SUCH_FILE,
    Assumption,
    CheckResult,
    FurtherVerdict,
    Line,
    Possible,
    Verdict,
)
from archcaps.report.asking import what_to_ask
from archcaps.report.further import further_explained, further_lines, further_table
from archcaps.report.page import FB_CLEAR_DIS, Page, Style, bit, coloured, inputs, listed, machine, plain, shown_bits
from archcaps.report.safe import safe

__all__ = ["render"]

#: Headings of the why, by the start of the rule's name: where it holds, where not, where that is unknown.
_HEADINGS = {
    "affected": ("the silicon is affected", "the silicon is not affected", "is the silicon affected? not known"),
    "verw_works": ("VERW works here", "VERW does not work here", "does VERW work here? not known"),
    "clear_cpu_buf": (
        "it runs VERW on exit to user",
        "it runs no VERW on exit to user",
        "does it run VERW on exit to user? not known",
    ),
    "guest_can_sample": (
        "the guest could sample it",
        "the guest has nothing to sample",
        "could the guest sample it? not known",
    ),
    "cleared_before_entry": (
        "every VM entry overwrites it first",
        "not every VM entry overwrites it first",
        "does every VM entry overwrite it first? not known",
    ),
    "vmx_update_fb_clear_dis": FB_CLEAR_DIS,
}
#: Up to so many possible answers are named; more are "undecided".
_NAMED = 3


def render(
    result: CheckResult, style: Style, *, further: bool = False, everything: bool = False, width: int = 100
) -> str:
    """Return the answer as text of `width` columns (66 at the least, 100 at the most).

    `everything` explains every vulnerability and names every deciding input; `further` explains what else
    IA32_ARCH_CAPABILITIES speaks of.
    """
    result = safe(result)
    page = Page(style, min(max(width, 66), 100), everything)
    first, *rest = result.headline.split(". ")
    lines = [style(line, bold=True) for line in page.fill(first.rstrip(".") + ".", "", "")]
    lines += page.fill(". ".join(rest), "", "") if rest else []
    lines += ["", *page.fill(_machine("host", result.host, result.host_kernel))]
    lines += [*page.fill(_machine("guest", result.guest, result.guest_kernel, result.guest_system)), ""]
    for verdict in result.vulnerabilities:
        lines += _row(verdict, page)
    lines += _host_line(result.vulnerabilities, page)
    lines += further_table(result.further, page) if further or everything else further_lines(result.further, page)
    for verdict in result.vulnerabilities:
        undecided = not (verdict.truth.settled(FINE) and verdict.safety.decided)
        if everything or verdict.exposed or undecided or verdict.wrong:
            lines += ["", *_explained(verdict, page)]
    for verdict in result.vulnerabilities:
        if everything or verdict.exposes_host:
            lines += ["", *_host_explained(verdict, page)]
    for each in result.further if further or everything else ():
        if everything or each.exposed or each.undecided or each.wrong:
            lines += ["", *further_explained(each, page)]
    lines += [*_missing([*result.vulnerabilities, *(result.further if further else [])], page), ""]
    lines += [line for text, number in page.sources.items() for line in page.fill(f"[{number}] {text}", "", "    ")]
    lines += [line for notice in result.notices for line in page.fill(f"Notice: {notice.text}")]
    lines += page.fill("Assumed: " + "; ".join(_assumed(each, page) for each in result.assumptions) + ".")
    return "\n".join(lines).rstrip() + "\n"


def _assumed(assumption: Assumption, page: Page) -> str:
    inputs = f" ({', '.join(map(plain, assumption.inputs))})" if page.everything and assumption.inputs else ""
    return assumption.text + inputs


def _machine(role: str, name: str, release: str | None, system: str = "Linux") -> str:
    return f"{role + ':':7}{machine(name, release, system)}"


def _row(verdict: Verdict, page: Page) -> list[str]:
    truth = verdict.truth.value or ("true or unsaid" if verdict.truth.settled(FINE) else "undecided")
    safety = verdict.safety.value or "undecided"
    words = f"{coloured(truth, page.style, 15)} {coloured(safety, page.style, 9)}"
    head = f"{verdict.vulnerability:23} {words} {_verw(verdict):14}"
    said = [text if text == NO_SUCH_FILE else f'"{text}"' for text in verdict.concludes.possible[:3]]
    more = len(verdict.concludes.possible) - len(said)
    text = " or ".join(said) + (f" or {more} others" if more > 0 else "")
    if len(text) <= page.width - 66:
        return [f"{head} {text}"]
    return [head.rstrip(), *page.fill(text, "  ")]


def _host_line(verdicts: list[Verdict], page: Page) -> list[str]:
    """Return the other border in a line: which vulnerabilities let the guest sample its host."""
    by_safety: dict[str, list[str]] = {}
    for verdict in verdicts:
        by_safety.setdefault(verdict.host_safety.value or "undecided", []).append(verdict.vulnerability)
    if len(by_safety) == 1:
        return [f"guest against host: {coloured(next(iter(by_safety)), page.style, 0)}"]
    said = [f"{coloured(word, page.style, 0)} ({', '.join(by_safety[word])})" for word in sorted(by_safety)]
    return page.fill("guest against host: " + "; ".join(said))


def _host_explained(verdict: Verdict, page: Page) -> list[str]:
    who = "" if verdict.host_responsible.value in (None, "nobody") else f"; responsible: {verdict.host_responsible}"
    title = f"{verdict.vulnerability}, guest against host: {_value(verdict.host_safety)}{who}"
    lines = [page.style(line, bold=True) for line in page.fill(title)]
    for line in verdict.host_why:
        found = inputs(line, {root.name for root in verdict.host_why}, page)
        heading = _heading(line, verdict)
        lines += page.fill(f"{heading}: {found}" if found else heading, "  ", "      ")
    return lines


def _verw(verdict: Verdict) -> str:
    if verdict.affected is False and verdict.claim.value == "not-affected":
        return "-"
    if verdict.runs_verw is None:
        return "VERW: ?"
    if not verdict.runs_verw:
        return "no VERW"
    return {True: "VERW works", False: "VERW in vain", None: "VERW: works?"}[verdict.verw_works]


def _explained(verdict: Verdict, page: Page) -> list[str]:
    who = "" if verdict.responsible.value in (None, "nobody") else f"; responsible: {verdict.responsible}"
    title = f"{verdict.vulnerability}: {_value(verdict.truth)}, {_value(verdict.safety)}{who}"
    lines = [page.style(line, bold=True) for line in page.fill(title)]
    lines += page.fill(f"shown to it: {shown_bits(verdict.shown)}", "  ", "      ")
    roots = {line.name for line in verdict.why}
    for line in verdict.why:
        heading = _heading(line, verdict)
        if line.name in page.told and not page.everything:
            continue
        page.told.add(line.name)
        found = inputs(line, roots, page)
        lines += page.fill(f"{heading}: {found}" if found else heading, "  ", "      ")
    if page.everything:
        lines += page.fill("decided by: " + listed(verdict.decided_by, page), "  ", "      ")
    return lines


def _missing(verdicts: Sequence[Verdict | FurtherVerdict], page: Page) -> list[str]:
    """Return once for all verdicts what would decide them."""
    missing = {name: why for verdict in verdicts for name, why in verdict.missing.items()}
    if not missing:
        return []
    quickest = [
        f"{verdict.vulnerability}: {answer.question.replace('_', ' ')} is {answer.answer} if "
        + " and ".join(f"{plain(name)} is {bit(value)}" for name, value in answer.facts.items())
        for verdict in verdicts
        if isinstance(verdict, Verdict) and verdict.exact is not None
        for answer in verdict.exact.quickest
    ]
    stopped = {verdict.exact.why_not for verdict in verdicts if isinstance(verdict, Verdict) and verdict.exact}
    lines = ["", "What would decide it:"]
    lines += [line for request in what_to_ask(missing) for line in page.fill(request, "  ", "      ")]
    lines += [f"  the diagrams: {text}" for text in sorted(filter(None, stopped))]
    if quickest:
        lines.append("Quickest (nothing else matters then):")
        lines += [line for text in quickest for line in page.fill(text, "  ", "      ")]
    if page.everything:
        lines += page.fill("unknown: " + ", ".join(map(plain, missing)), "  ", "      ")
    return lines


def _value(possible: Possible) -> str:
    return str(possible) if len(possible.possible) <= _NAMED else "undecided"


def _heading(line: Line, verdict: Verdict) -> str:
    rule = line.name.rpartition(".")[2].partition("[")[0]
    if rule == "concludes":
        return f"its kernel concludes {verdict.claim}"
    for start, (holds, fails, unknown) in _HEADINGS.items():
        if rule.startswith(start):
            return {True: holds, False: fails, None: unknown}[line.value]
    return f"{line.meaning} {bit(line.value)}"
