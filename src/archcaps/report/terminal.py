"""An answer of `check` for a person at a terminal: the headline first, then what it rests on."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from archcaps.questions.results import (
    NO_SUCH_FILE,
    Assumption,
    CheckResult,
    Deciding,
    Line,
    Possible,
    ShownBit,
    Verdict,
)
from archcaps.report.asking import what_to_ask
from archcaps.tables.names import KERNEL_LOOKUPS

__all__ = ["Style", "render"]

_COLOURS = {
    "truthful": "green", "safe": "green", "unsaid": "green",
    "needless-work": "yellow", "false-alarm": "yellow", "withheld": "yellow",
    "false-immunity": "red", "broken-promise": "red", "exposed": "red",
}  # fmt: skip
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
    "vmx_update_fb_clear_dis": (
        "KVM sets FB_CLEAR_DIS while it runs",
        "KVM does not set FB_CLEAR_DIS for it",
        "does KVM set FB_CLEAR_DIS? not known",
    ),
}
_SCOPES = {
    "silicon": "hardware", "guest_kernel": "guest kernel", "host_kernel": "host kernel", "offered": "host",
    "true": "host", "kvm": "KVM",
    "vm": "virtual machine",
}  # fmt: skip
#: Up to so many possible answers are named; more are "undecided".
_NAMED = 3


class Style(Protocol):
    """How to colour text: `click.style`, or anything that takes the same words."""

    def __call__(self, text: str, *, fg: str | None = None, bold: bool | None = None) -> str:
        """Return `text` in that colour and weight."""
        ...


@dataclass
class _Page:
    """What is being written: how wide, in which style, and what was said so far."""

    style: Style
    width: int
    everything: bool
    sources: dict[str, int] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def fill(self, text: str, first: str = "", rest: str | None = None) -> list[str]:
        """Return `text` in lines of the page's width."""
        return textwrap.wrap(
            text, self.width, initial_indent=first, subsequent_indent=first + "  " if rest is None else rest,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip

    def source(self, provenance: str, source: str) -> int:
        """Return the number of a source, in the order they are first named."""
        return self.sources.setdefault(f"{provenance}: {source}", len(self.sources) + 1)


def render(result: CheckResult, style: Style, *, everything: bool = False, width: int = 100) -> str:
    """Return the answer as text of `width` columns (66 at the least, 100 at the most).

    `everything` explains every vulnerability and names every deciding input.
    """
    page = _Page(style, min(max(width, 66), 100), everything)
    first, *rest = result.headline.split(". ")
    lines = [style(line, bold=True) for line in page.fill(first.rstrip(".") + ".", "", "")]
    lines += page.fill(". ".join(rest), "", "") if rest else []
    lines += ["", *page.fill(_machine("host", result.host, result.host_kernel))]
    lines += [*page.fill(_machine("guest", result.guest, result.guest_kernel)), ""]
    for verdict in result.vulnerabilities:
        lines += _row(verdict, page)
    lines += _host_line(result.vulnerabilities, page)
    for verdict in result.vulnerabilities:
        undecided = not (verdict.truth.decided and verdict.safety.decided)
        if everything or verdict.exposed or undecided or verdict.wrong:
            lines += ["", *_explained(verdict, page)]
    for verdict in result.vulnerabilities:
        if everything or verdict.exposes_host:
            lines += ["", *_host_explained(verdict, page)]
    lines += [*_missing(result.vulnerabilities, page), ""]
    lines += [line for text, number in page.sources.items() for line in page.fill(f"[{number}] {text}", "", "    ")]
    lines += [line for notice in result.notices for line in page.fill(f"Notice: {notice.text}")]
    lines += page.fill("Assumed: " + "; ".join(_assumed(each, page) for each in result.assumptions) + ".")
    return "\n".join(lines).rstrip() + "\n"


def _assumed(assumption: Assumption, page: _Page) -> str:
    inputs = f" ({', '.join(map(_plain, assumption.inputs))})" if page.everything and assumption.inputs else ""
    return assumption.text + inputs


def _machine(role: str, name: str, release: str | None) -> str:
    kernel = "kernel not known" if release is None else f"Linux {release}"
    return f"{role + ':':7}{name}" + ("" if release is not None and release in name else f", {kernel}")


def _row(verdict: Verdict, page: _Page) -> list[str]:
    truth = verdict.truth.value or "undecided"
    safety = verdict.safety.value or "undecided"
    words = f"{_coloured(truth, page.style, 15)} {_coloured(safety, page.style, 9)}"
    head = f"{verdict.vulnerability:23} {words} {_verw(verdict):14}"
    said = [text if text == NO_SUCH_FILE else f'"{text}"' for text in verdict.concludes.possible[:3]]
    more = len(verdict.concludes.possible) - len(said)
    text = " or ".join(said) + (f" or {more} others" if more > 0 else "")
    if len(text) <= page.width - 66:
        return [f"{head} {text}"]
    return [head.rstrip(), *page.fill(text, "  ")]


def _host_line(verdicts: list[Verdict], page: _Page) -> list[str]:
    """Return the other border in a line: which vulnerabilities let the guest sample its host."""
    by_safety: dict[str, list[str]] = {}
    for verdict in verdicts:
        by_safety.setdefault(verdict.host_safety.value or "undecided", []).append(verdict.vulnerability)
    if len(by_safety) == 1:
        return [f"guest against host: {_coloured(next(iter(by_safety)), page.style, 0)}"]
    said = [f"{_coloured(word, page.style, 0)} ({', '.join(by_safety[word])})" for word in sorted(by_safety)]
    return page.fill("guest against host: " + "; ".join(said))


def _host_explained(verdict: Verdict, page: _Page) -> list[str]:
    who = "" if verdict.host_responsible.value in (None, "nobody") else f"; responsible: {verdict.host_responsible}"
    title = f"{verdict.vulnerability}, guest against host: {_value(verdict.host_safety)}{who}"
    lines = [page.style(line, bold=True) for line in page.fill(title)]
    for line in verdict.host_why:
        inputs = _inputs(line, {root.name for root in verdict.host_why}, page)
        heading = _heading(line, verdict)
        lines += page.fill(f"{heading}: {inputs}" if inputs else heading, "  ", "      ")
    return lines


def _verw(verdict: Verdict) -> str:
    if verdict.affected is False and verdict.claim.value == "not-affected":
        return "-"
    if verdict.runs_verw is None:
        return "VERW: ?"
    if not verdict.runs_verw:
        return "no VERW"
    return {True: "VERW works", False: "VERW in vain", None: "VERW: works?"}[verdict.verw_works]


def _coloured(word: str, style: Style, width: int) -> str:
    return style(word, fg=_COLOURS.get(word, "cyan")) + " " * max(width - len(word), 0)


def _explained(verdict: Verdict, page: _Page) -> list[str]:
    who = "" if verdict.responsible.value in (None, "nobody") else f"; responsible: {verdict.responsible}"
    title = f"{verdict.vulnerability}: {_value(verdict.truth)}, {_value(verdict.safety)}{who}"
    lines = [page.style(line, bold=True) for line in page.fill(title)]
    lines += page.fill(f"shown to it: {_shown(verdict.shown)}", "  ", "      ")
    roots = {line.name for line in verdict.why}
    for line in verdict.why:
        heading = _heading(line, verdict)
        if line.name in page.told and not page.everything:
            continue
        page.told.add(line.name)
        inputs = _inputs(line, roots, page)
        lines += page.fill(f"{heading}: {inputs}" if inputs else heading, "  ", "      ")
    if page.everything:
        lines += page.fill("decided by: " + _listed(verdict.decided_by, page), "  ", "      ")
    return lines


def _missing(verdicts: list[Verdict], page: _Page) -> list[str]:
    """Return once for all verdicts what would decide them."""
    missing = {name: why for verdict in verdicts for name, why in verdict.missing.items()}
    if not missing:
        return []
    lines = ["", "What would decide it:"]
    lines += [line for request in what_to_ask(missing) for line in page.fill(request, "  ", "      ")]
    if page.everything:
        lines += page.fill("unknown: " + ", ".join(map(_plain, missing)), "  ", "      ")
    return lines


def _value(possible: Possible) -> str:
    return str(possible) if len(possible.possible) <= _NAMED else "undecided"


def _shown(bits: list[ShownBit]) -> str:
    """Return the bits as the guest reads them, those apart that are not as KVM offers them or as the hardware is."""
    groups: dict[str, list[str]] = {}
    for bit in bits:
        if bit.offered is not None and bit.offered is not bit.guest:
            kind = "not as KVM offers: "
        elif bit.hardware is not None and bit.hardware is not bit.guest:
            kind = "not as the hardware: "
        else:
            kind = ""
        groups.setdefault(kind, []).append(f"{bit.name}={_bit(bit.guest)}")
    return "; ".join(kind + ", ".join(names) for kind, names in sorted(groups.items()))


def _bit(value: bool | None) -> str:
    return {True: "1", False: "0", None: "?"}[value]


def _heading(line: Line, verdict: Verdict) -> str:
    rule = line.name.rpartition(".")[2].partition("[")[0]
    if rule == "concludes":
        return f"its kernel concludes {verdict.claim}"
    for start, (holds, fails, unknown) in _HEADINGS.items():
        if rule.startswith(start):
            return {True: holds, False: fails, None: unknown}[line.value]
    return f"{line.meaning} {_bit(line.value)}"


def _inputs(root: Line, roots: set[str], page: _Page) -> str:
    """Return the inputs under a root, those of one source together; what has a line of its own is only named."""
    groups: dict[int, list[Line]] = {}
    for leaf in _leaves(root, roots):
        if leaf.provenance in ("unknown", "modelled") or (not page.everything and _ordinary(leaf)):
            continue
        number = page.source(leaf.provenance, leaf.source)
        groups.setdefault(number, []).append(leaf)
    named = [_HEADINGS["vmx_update_fb_clear_dis"][0] for child in _rules(root) if child in roots]
    parts = [f"{_facts(leaves)} [{number}]" for number, leaves in groups.items()]
    return "; ".join([*dict.fromkeys(named), *parts])


def _facts(leaves: list[Line]) -> str:
    """Return facts with their values, whose they are said once: ``host mds_no=1, taa_no=1, guest mds_no=0``."""
    owners: dict[str, dict[str, None]] = {}
    for leaf in leaves:
        owner, _, name = _plain(leaf.name).rpartition(" ")
        owners.setdefault(owner, {})[f"{name}={_bit(leaf.value)}"] = None
    return ", ".join(f"{owner} {', '.join(names)}" for owner, names in owners.items())


def _listed(inputs: Iterable[Deciding], page: _Page) -> str:
    return ", ".join(
        f"{_plain(item.name)}={_bit(item.value)} [{page.source(item.provenance, item.source)}]" for item in inputs
    )


def _leaves(line: Line, roots: set[str]) -> Iterator[Line]:
    if not line.children:
        yield line
    for child in line.children:
        if child.name not in roots:
            yield from _leaves(child, roots)


def _rules(line: Line) -> Iterator[str]:
    """Yield the names of the rules under a root that are true and have a line of their own."""
    for child in line.children:
        if child.value and child.name.endswith("vmx_update_fb_clear_dis"):
            yield child.name
        yield from _rules(child)


def _ordinary(leaf: Line) -> bool:
    """Whether an input is as on any other machine: an option not given, a file the kernel has, the vendor."""
    scope, _, name = leaf.name.partition(".")
    if scope.endswith("_kernel"):
        plain = ("has_", "attack_", "reads_", "asks_", "tests_", "arch_cap_")
        return (name in KERNEL_LOOKUPS and not leaf.value) or name.startswith(plain)
    return name in ("listed_no_speculation", "arch_capabilities", "hypervisor") or name.startswith("vendor_")


def _plain(name: str) -> str:
    scope, _, rest = name.partition(".")
    if rest.startswith("concludes["):
        return f"{scope} text of {rest[len('concludes[') :].partition(',')[0]}"
    if rest == "clear_cpu_buf":
        return f"{scope} VERW by its texts"
    return f"{_SCOPES.get(scope, scope)} {rest}"
