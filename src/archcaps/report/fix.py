"""An answer of `fix` for a person at a terminal: what is wrong, what mends it, what stays, and the proof."""

from __future__ import annotations

import msgspec

from archcaps.questions.fix.goals import LEVELS, LOWEST
from archcaps.questions.fix.results import Answer, Cure, FixResult, Judged, Step, Text
from archcaps.report.asking import what_to_ask
from archcaps.report.page import Page, Style, coloured, machine
from archcaps.report.safe import safe
from archcaps.tables.changes import needs

__all__ = ["fix_schema", "render", "render_json"]

#: So many cures of one cost stand on the screen without --all.
_CURES = 3
#: So many lines of a patch.
_DIFF = 24
_HEAD = "  "
_INDENT = "     "


def render_json(result: FixResult) -> str:
    """Return the answer as one JSON object on one line, with a line feed at its end."""
    return msgspec.json.encode(result).decode() + "\n"


def fix_schema() -> dict[str, object]:
    """Return the JSON Schema of `archcaps fix --json`."""
    return msgspec.json.schema(FixResult)


def render(result: FixResult, style: Style, *, everything: bool = False, width: int = 100) -> str:
    """Return the answer as text of `width` columns (66 at the least, 100 at the most)."""
    result = safe(result, (Text,))
    page = Page(style, min(max(width, 66), 100), everything)
    first, *rest = result.headline.split(": ", 1)
    lines = [style(line, bold=True) for line in page.fill(first + (":" if rest else ""), "", "")]
    lines += page.fill(rest[0], "  ", "  ") if rest else []
    lines += ["", *page.fill(f"host:  {machine(result.host, result.host_kernel)}")]
    lines += page.fill(f"guest: {machine(result.guest, result.guest_kernel)}")
    lines += ["", "Now:", *_table(result.now, page)]
    for number, answer in enumerate(result.answers):
        lines += _answer(answer, page, last=number == len(result.answers) - 1)
    lines += ["", *(line for limit in result.limits for line in page.fill(f"Not tried: {limit}."))]
    lines += [line for notice in result.notices for line in page.fill(f"Notice: {notice.text}")]
    if everything or not result.answers:
        lines += [f"[{number}] {text}" for text, number in page.sources.items()]
    lines += page.fill("Assumed: " + "; ".join(assumption.text for assumption in result.assumptions) + ".")
    return "\n".join(_without_double_blanks(lines)).rstrip() + "\n"


def _without_double_blanks(lines: list[str]) -> list[str]:
    return [line for before, line in zip(["x", *lines], lines, strict=False) if before or line]


def _table(verdicts: list[Judged], page: Page) -> list[str]:
    """Return a line for each vulnerability that is not as it should be, and one for the others."""
    lines, fine = [], []
    for each in verdicts:
        if each.fine and not page.everything:
            fine.append(each.vulnerability)
            continue
        truth = each.truth.value or "undecided"
        safety = _safety(each)
        said = str(each.concludes) if each.concludes.decided else "text not known"
        cells = f"{_HEAD}{each.vulnerability:24}{coloured(truth, page.style, 16)} {coloured(safety, page.style, 14)} "
        plain = f"{_HEAD}{each.vulnerability:24}{truth:16} {safety:14} "
        room = page.width - len(plain)
        if len(said) > room:
            said = said[: max(room - 3, 0)] + "..."
        lines.append((cells + said).rstrip())
    if fine:
        lines += page.fill(f"told the truth, and safe: {', '.join(fine)}", _HEAD)
    return lines


def _safety(each: Judged) -> str:
    if each.safety.value == "exposed":
        return "exposed"
    if each.host_safety.value == "exposed":
        return "exposes host"
    return "safe" if each.safe else "undecided"


def _answer(answer: Answer, page: Page, *, last: bool) -> list[str]:
    lines = [""]
    if not answer.cures:
        lines += page.fill(f"{answer.who[0].upper()}{answer.who[1:]}: no change betters it.")
    else:
        best = answer.cures[0]
        who = f"{answer.who[0].upper()}{answer.who[1:]}"
        reached = f"{who} can make the guest {LEVELS[answer.level]} (cost {best.cost}):"
        if answer.level == LOWEST:
            reached = f"{who} can better it (cost {best.cost}); the guest stays {LEVELS[LOWEST]}:"
        lines += [page.style(line, bold=True) for line in page.fill(reached)]
        shown = answer.cures if page.everything else answer.cures[:_CURES]
        for number, cure in enumerate(shown):
            lines += _cure(cure, page, number, whole=last or page.everything)
        more = answer.more + len(answer.cures) - len(shown)
        if more:
            lines.append(f"{_HEAD}and {more} more of the same cost{'' if page.everything else ' (--all)'}")
    for cure in answer.lesser:
        made = "; ".join(step.what for step in cure.steps)
        then = "less good, and it stays" if cure.level == LOWEST else "then it is"
        lines += page.fill(f"Cheaper (cost {cure.cost}), but {then} {LEVELS[cure.level]}: {made}.", _HEAD)
    if last:
        lines += _remains(answer, page)
    if answer.unwritable and (page.everything or (last and answer.level > 1)):
        lines.append("What the configuration cannot say:")
        lines += [line for what, why in answer.unwritable.items() for line in page.fill(f"{what}: {why}", _HEAD)]
    lines += page.fill(_proof(answer))
    return lines


def _cure(cure: Cure, page: Page, number: int, *, whole: bool) -> list[str]:
    lines = [f"{_HEAD}or:"] if number else []
    for step in cure.steps:
        mark = f" [{page.source('source', step.source)}]" if page.everything and step.source else ""
        lines += page.fill(f"* {step.what}: {step.owner}{_forced(step)}{mark}", _HEAD, _HEAD + "  ")
    if cure.text is not None and whole and not number:
        diff = cure.text.diff.expandtabs().rstrip().splitlines()
        shown = diff if page.everything else diff[:_DIFF]
        more = [f"... and {len(diff) - len(shown)} lines more (--all shows them, --write FILE writes it)"]
        lines += ["", *(_INDENT + line for line in shown + (more if len(diff) > len(shown) else [])), ""]
    if cure.words and whole:
        values = (f"{word.register} {word.before or 'not known'} -> {word.after or 'not known'}" for word in cure.words)
        lines += page.fill("; ".join(values), _INDENT)
    if not number:
        asked = {step.needs for step in cure.steps}
        need = next(name for name in ("host-reboot", "power-cycle", "guest-reboot") if name in asked)
        lines += page.fill(f"then {needs()[need]}", _INDENT)
    if cure.untrue_bits and whole:
        names = ", ".join(cure.untrue_bits)
        lines += page.fill(f"still shown, though not true of the hardware (no verdict depends on it): {names}", _INDENT)
    return lines


def _forced(step: Step) -> str:
    return "; KVM does not offer it, so the VMM has to set it by itself" if step.kind == "forced-flags" else ""


def _remains(answer: Answer, page: Page) -> list[str]:
    lines = ["", "What remains:"] if answer.remains else []
    asked: dict[str, str] = {}
    for each in answer.remains:
        truth = str(each.truth) if len(each.truth.possible) <= 2 else "undecided"
        leaks = f"{each.safety}, host {each.host_safety}" if each.host_safety.value != "safe" else str(each.safety)
        lines += page.fill(f"{each.vulnerability}: {truth}, {leaks}; {'; '.join(each.why)}", _HEAD)
        if page.everything:
            names = ", ".join(f"{item.name}={int(item.value)}" for item in each.deciding)
            lines += page.fill(f"decided by: {names}", _INDENT) if names else []
        asked |= each.missing
    if asked:
        lines.append("What would decide it:")
        lines += [line for request in what_to_ask(asked) for line in page.fill(request, _HEAD)]
    return [*lines, ""] if lines else []


def _proof(answer: Answer) -> str:
    sets = f"{answer.tried:,} sets of changes were tried ({', '.join(answer.kinds)})"
    if answer.left_out:
        return f"No proof: {sets}, and there are more."
    if not answer.cures:
        return f"Proof: {sets}, and none betters it."
    if not answer.cheaper:
        return f"Proof: {sets}; none is cheaper."
    are = "is" if answer.cheaper == 1 else "are"
    return f"Proof: {sets}; {answer.cheaper:,} {are} cheaper, and none of these does as well."
