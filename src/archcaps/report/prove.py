"""The answer of `prove` on a terminal."""

from __future__ import annotations

import msgspec

from archcaps.questions.prove_results import HOLDS, NOT_DECIDED, REFUTED, UNKNOWN, CounterExample, Outcome, ProveResult
from archcaps.report.page import Page, Style
from archcaps.report.safe import safe

__all__ = ["example_lines", "prove_schema", "render", "render_json", "rounded"]

_COLOURS = {HOLDS: "green", REFUTED: "red", UNKNOWN: "yellow", NOT_DECIDED: "yellow"}
_WORDS = {HOLDS: "HOLDS", REFUTED: "DOES NOT HOLD", UNKNOWN: "NOT KNOWN", NOT_DECIDED: "NOT DECIDED"}


def render_json(result: ProveResult) -> str:
    """Return the answer as one JSON object on one line."""
    return msgspec.json.encode(result).decode() + "\n"


def prove_schema() -> dict[str, object]:
    """Return the JSON Schema of `archcaps prove --json`."""
    return msgspec.json.schema(ProveResult)


def rounded(number: str) -> str:
    """Return a count in at most three digits and a power of ten; small ones as they are."""
    return number if len(number) <= 6 else f"{number[0]}.{number[1:3]}e{len(number) - 1}"


def render(result: ProveResult, style: Style, width: int, *, everything: bool = False) -> str:
    """Return the answer as text; `everything`: with what it was asked over and what it rests on, in full."""
    result = safe(result)
    page = Page(style, width, everything)
    lines = [
        style(f"{_WORDS[result.verdict]}: {result.property}", fg=_COLOURS[result.verdict], bold=True),
        *page.fill(result.sentence),
    ]
    quiet = [outcome for outcome in result.outcomes if outcome.verdict == HOLDS]
    for outcome in result.outcomes:
        if outcome.verdict != HOLDS:
            lines += ["", *_outcome(outcome, page)]
    if quiet:
        lines += ["", *_holding(quiet, page)]
    first = next((row.example for outcome in result.outcomes for row in outcome.deviations), None)
    if first is not None:
        lines += ["", *_example(first, page)]
    lines += ["", *_about(result, page)]
    return "\n".join(lines) + "\n"


def _holding(outcomes: list[Outcome], page: Page) -> list[str]:
    if not page.everything and len(outcomes) > 5:
        return page.fill("holds for: " + ", ".join(outcome.subject for outcome in outcomes))
    return [
        line
        for outcome in outcomes
        for line in page.fill(
            f"{outcome.subject}: holds for all {int(outcome.configurations):,} configurations"
            if outcome.configurations != "0"
            else f"{outcome.subject}: there is no such configuration"
        )
    ]


def _outcome(outcome: Outcome, page: Page) -> list[str]:
    if outcome.verdict == NOT_DECIDED:
        return page.fill(f"{outcome.subject}: {outcome.why_not}")
    lines: list[str] = []
    if not outcome.configurations:
        deviates = ", ".join(outcome.deviations[0].deviates) or "nothing: just what KVM offers"
        return page.fill(f"{outcome.subject}: a counter-example; it deviates from KVM's default by {deviates}")
    if outcome.verdict == REFUTED:
        lines += page.fill(
            f"{outcome.subject}: {int(outcome.refuting):,} counter-examples among {int(outcome.configurations):,} "
            f"configurations of the {len(outcome.deciding)} inputs that matter"
        )
        lines += _table(outcome, page) if outcome.deviations else []
    if outcome.hanging != "0":
        hangs = outcome.hangs_on if page.everything else outcome.hangs_on[:4]
        more = f" and {len(outcome.hangs_on) - len(hangs)} more" if len(hangs) < len(outcome.hangs_on) else ""
        lines += page.fill(
            f"{outcome.subject}: {rounded(outcome.hanging)} of {rounded(outcome.configurations)} configurations depend "
            f"on what no table knows: {', '.join(hangs)}{more}",
            first="  " if lines else "",
        )
    return lines


def _table(outcome: Outcome, page: Page) -> list[str]:
    rows = [
        (
            " ".join(row.deviates) or "(just what KVM offers)",
            rounded(row.configurations),
            _releases(row.kvm),
            _releases(row.guest_kernels),
        )
        for row in outcome.deviations
    ]
    head = ("deviates from KVM's default by", "number", "KVM", "guest kernel")
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(3)]
    lines = []
    for row in (head, *rows):
        start = "  ".join(cell.ljust(size) for cell, size in zip(row[:3], widths, strict=True))
        lines.append(f"  {start}  {row[3]}".rstrip())
    listed = len({tuple(sorted(word.partition("=")[0] for word in row.deviates)) for row in outcome.deviations})
    if listed < outcome.deviation_sets:
        lines.append(f"  ... and {outcome.deviation_sets - listed} more sets of things that deviate (--list)")
    return lines


def _releases(names: list[str]) -> str:
    """Return ranges of releases in short: the first and the last, and how many gaps are between."""
    if not names:
        return "-"
    if len(names) == 1:
        return names[0].replace(" to ", "-")
    first, last = names[0].partition(" to ")[0], names[-1].rpartition(" to ")[2]
    return f"{first}-{last}, {len(names)} lines"


def _example(example: CounterExample, page: Page) -> list[str]:
    first = "The first of them" + (", replayed:" if example.replayed else ", which no three-valued reading settles:")
    return [first, *example_lines(example, page)]


def example_lines(example: CounterExample, page: Page) -> list[str]:
    """Return a configuration in a few lines: its two machines, and what is not in their snapshots."""
    lines: list[str] = []
    for machine in (example.host, example.guest):
        cpu = machine.cpu
        shown = ", ".join(machine.cpuid.shown) if machine.cpuid is not None else ""
        value = machine.registers["ia32_arch_capabilities"].value
        lines += page.fill(
            f"{machine.role}: {cpu.vendor} {cpu.family}/{cpu.model}/{cpu.stepping}, Linux {machine.kernel.release}, "
            f"MSR 0x10a {value}, CPUID {shown or 'none of the bits that matter'}",
            first="  ",
        )
    for scope, release in example.later.items():
        lines.append(f"  later: {scope.replace('_', ' ').removeprefix('later ')} {release}")
    if example.assumptions:
        lines.append(f"  assumed: {', '.join(example.assumptions)}")
    if example.changed:
        lines.append(f"  changed while it runs: {', '.join(example.changed)}")
    vm = example.guest.vm
    if vm.has_mapped_host_mmio or vm.has_assigned_device:
        said = [
            ("host MMIO is mapped into it", vm.has_mapped_host_mmio),
            ("KVM counts a device assigned to it", vm.has_assigned_device),
        ]
        lines.append("  guest: " + ", ".join(text for text, so in said if so))
    return lines


def _about(result: ProveResult, page: Page) -> list[str]:
    lines: list[str] = []
    for text in result.free if page.everything else [f"Over every choice of: {'; '.join(result.free)}."]:
        lines += page.fill(("free: " if page.everything else "") + text)
    for text in result.fixed if page.everything else [f"For all: {'; '.join(result.fixed)}."]:
        lines += page.fill(("fixed: " if page.everything else "") + text)
    if page.everything:
        lines += page.fill("axioms about hardware: " + (", ".join(result.axioms) or "none"))
    else:
        lines += page.fill(
            f"Hardware that exists: {len(result.axioms)} axioms (--all names them; --any-silicon lifts them)."
        )
    for rest in result.rests_on:
        lines += page.fill(f"Unverified: {rest.name}: {rest.meaning} [{rest.source}]")
    return lines
