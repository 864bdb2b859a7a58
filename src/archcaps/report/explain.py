"""An explanation for a person at a terminal, wrapped to its width, and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from archcaps.questions.explain_results import (
    BitFacts,
    Condition,
    Explained,
    Explanation,
    FileState,
    LineFacts,
    Readings,
    RuleFacts,
    TruthTable,
    VulnerabilityFacts,
)
from archcaps.report.safe import safe

if TYPE_CHECKING:
    from archcaps.report.page import Style

__all__ = ["explain_schema", "render", "render_json", "render_names"]

_NARROWEST = 40
_STEP = "  "
#: A rule with more different formulas is shown with one line for each; a longer line is left out.
_GROUPS, _LONGEST = 8, 1000
_USERS = {"intel": "Intel", "linux": "Linux", "qemu": "QEMU", "libvirt": "libvirt", "xen": "Xen"}
_CELLS = {True: "yes", False: "no", None: "-"}


def render_json(answer: Explained) -> str:
    """Return the answer as one JSON object on one line, with a line feed at its end."""
    import msgspec  # noqa: PLC0415  # for JSON alone

    return msgspec.json.encode(answer).decode() + "\n"


def explain_schema() -> dict[str, object]:
    """Return the JSON Schema of `archcaps explain --json`."""
    import msgspec  # noqa: PLC0415  # as above

    return msgspec.json.schema(Explained)


def render_names(answer: Explained, style: Style, width: int) -> str:
    """Return the names of everything that can be explained, by kind."""
    page = _Page(style, width)
    for kind, names in answer.names.items():
        page.heading(kind)
        page.text(("; " if kind == "text" else ", ").join(names), _STEP)
    return page.result()


def render(answer: Explained, style: Style, width: int) -> str:
    """Return every meaning of a name as text of at most `width` columns."""
    answer = safe(answer)
    page = _Page(style, width)
    for number, item in enumerate(answer.explanations):
        if number:
            page.lines += ["", page.rule()]
        _explanation(page, item)
    return page.result()


class _Page:
    """Lines of text, filled to the width."""

    def __init__(self, style: Style, width: int) -> None:
        self.style = style
        self.width = max(width, _NARROWEST)
        self.lines: list[str] = []

    def result(self) -> str:
        return "\n".join(self.lines) + "\n"

    def rule(self) -> str:
        return "-" * min(self.width, 40)

    def heading(self, text: str) -> None:
        if self.lines and self.lines[-1]:
            self.lines.append("")
        self.lines += [self.style(line, bold=True) for line in self.fill(f"{text}:", "", _STEP)]

    def text(self, text: str, indent: str = "", more: str = "") -> None:
        self.lines += self.fill(text, indent, indent + more)

    def field(self, label: str, text: str) -> None:
        """Add a line with a label, if there is anything to say."""
        if text:
            first, *rest = self.fill(f"{label}: {text}", "", _STEP)
            start = f"{label}:"
            if first.startswith(start):
                first = self.style(start, bold=True) + first.removeprefix(start)
            self.lines += [first, *rest]

    def items(self, pairs: Iterable[tuple[str, str]], indent: str = _STEP) -> None:
        """Add names with what they mean."""
        for name, meaning in pairs:
            self.text(f"{name}: {meaning}" if meaning else name, indent, _STEP)

    def outline(self, condition: Condition, indent: str = _STEP) -> None:
        for depth, text in condition.in_words:
            mark = "" if depth == 0 else "- "
            self.text(mark + text, indent + _STEP * max(depth - 1, 0), _STEP)

    def fill(self, text: str, first: str, more: str) -> list[str]:
        filled = textwrap.wrap(
            text, self.width, initial_indent=first, subsequent_indent=more, break_on_hyphens=False,
            break_long_words=False,
        )  # fmt: skip
        return filled or [first.rstrip()]


def _explanation(page: _Page, item: Explanation) -> None:
    page.lines += [page.style(line, bold=True) for line in page.fill(f"{item.name} ({item.kind})", "", _STEP)]
    if item.note.startswith("UNVERIFIED"):
        page.lines += [page.style(line, fg="yellow") for line in page.fill(item.note, "", "")]
    page.text(item.meaning)
    if item.note and not item.note.startswith("UNVERIFIED"):
        page.text(item.note)
    page.lines.append("")
    if item.bit is not None:
        _bit(page, item.bit)
    if item.register is not None:
        page.items((f"bits {number}" if "to" in number else f"bit {number}", name)
                   for number, name in item.register.bits.items())  # fmt: skip
    if item.line is not None:
        _line(page, item.line)
    if item.vulnerability is not None:
        _vulnerability(page, item.vulnerability)
    if item.rule is not None:
        _rule(page, item.rule)
    if item.behaviour is not None:
        if item.behaviour.kernels:
            page.heading("In which kernels it was read")
            _readings(page, item.behaviour.kernels)
        _mentions(page, "Read by", [(mention.name, mention.meaning) for mention in item.behaviour.read_by])
    _verdict(page, item)
    if item.what_to_do and item.vulnerability is None:
        page.heading("What to do")
        page.text(item.what_to_do, _STEP)
    while page.lines[-1] == "":
        page.lines.pop()
    page.lines.append("")
    page.field("Source" if len(item.sources) == 1 else "Sources", "; ".join(item.sources))


def _mentions(page: _Page, heading: str, pairs: Sequence[tuple[str, str]]) -> None:
    if pairs:
        page.heading(heading)
        page.items(pairs)


def _bit(page: _Page, bit: BitFacts) -> None:
    page.field("Where", f"bit {bit.bit} of {bit.register}, mask {bit.mask}")
    if bit.kind != "unverified":
        page.field("Kind", f"{bit.kind}. {bit.news}")
    users: dict[str, list[str]] = {}
    for user, name in bit.names.items():
        users.setdefault(name, []).append(_USERS.get(user, user))
    page.field("Called", "; ".join(f"{name} ({', '.join(who)})" for name, who in users.items()))
    page.field("Speaks of", ", ".join(bit.vulnerabilities))
    page.field("In a pool", f"{bit.pool}. {bit.pool_meaning}" if bit.pool else "")
    page.field("Status", bit.status)
    page.field("Files whose text depends on it", ", ".join(bit.files))
    if bit.read_by:
        _mentions(page, "Read by", [(mention.name, mention.meaning) for mention in bit.read_by])
    else:
        page.field("Read by", "no rule")


def _rule(page: _Page, rule: RuleFacts) -> None:
    short = len(rule.formulas) > _GROUPS
    for formula in rule.formulas:
        sign = "; " if any("," in argument for argument in formula.arguments) else ", "
        which = f"For {sign.join(formula.arguments)} it" if formula.arguments else "It"
        if short:
            page.field(f"{which} holds where", formula.condition.formula)
            continue
        page.heading(f"{which} holds where")
        page.outline(formula.condition)
        if len(formula.condition.formula) < _LONGEST:
            page.text(f"In short: {formula.condition.formula}", _STEP, _STEP)
        if formula.table is not None and len(rule.formulas) == 1:
            page.heading("Truth table (-: whatever it is)")
            _table(page, formula.table)
    if rule.arguments and (len(rule.formulas) > 1 or len(rule.formulas[0].arguments) > 1):
        page.lines.append("")
        page.text(f"More on one of these with brackets behind the name, as [{rule.arguments[0]}].")
    _mentions(page, "Used by", [(mention.name, mention.meaning) for mention in rule.used_by])
    if not rule.used_by:
        page.lines.append("")
        page.field("Used by", "no other rule; the answers ask for it")


def _table(page: _Page, table: TruthTable) -> None:
    names = list(table.inputs)
    if len(_STEP) + sum(len(name) + 2 for name in (*names, "holds")) > page.width:
        letters = [chr(ord("a") + index) for index in range(len(names))]
        page.items(zip(letters, names, strict=True))
        names = letters
    widths = [max(len(name), 3) for name in (*names, "holds")]
    for cells in ([*names, "holds"], *([_CELLS[value] for value in row] for row in table.rows)):
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        page.lines.append((_STEP + line).rstrip())


def _readings(page: _Page, kernels: Sequence[Readings], indent: str = _STEP) -> None:
    for item in kernels:
        unknown = f" (unknown: {', '.join(item.unknown)})" if item.unknown else ""
        page.text(f"{item.line}: {item.readings}{unknown}", indent, _STEP)


def _line(page: _Page, line: LineFacts) -> None:
    page.field("Claim", f"{line.claim}. {line.claim_meaning}")
    if line.suffix:
        page.field(line.suffix, f"{line.suffix_meaning} {line.suffix_what_to_do}")
    for state in line.files:
        page.heading(f"In {state.file} where")
        _state(page, state)
    behaviours = _all_behaviours(line.files)
    if behaviours:
        page.heading("Which kernels those are")
        for (name, value), kernels in behaviours.items():
            read = [span for item in kernels if (span := _spans(item, value))]
            seen = "; ".join(read) or "none was read"
            page.text(f"{'with' if value == 'yes' else 'without'} {name}: {seen}", _STEP, _STEP)


def _spans(item: Readings, value: str) -> str:
    """Return the releases of a line that were read with this value."""
    return ", ".join(part.removeprefix(f"{value} ") for part in item.readings.split("; ") if part.startswith(value))


def _all_behaviours(states: Iterable[FileState]) -> Mapping[tuple[str, str], list[Readings]]:
    found: dict[tuple[str, str], list[Readings]] = {}
    for state in states:
        found |= {(name, "yes"): kernels for name, kernels in state.needs.items()}
        found |= {(name, "no"): kernels for name, kernels in state.never_with.items()}
    return found


def _state(page: _Page, state: FileState) -> None:
    page.outline(state.condition)
    said = " ".join(text for _, text in state.condition.in_words)
    kernels = [f"with {name}" for name in state.needs if f" {name} " not in said]
    kernels += [f"without {name}" for name in state.never_with if f" {name} " not in said]
    if kernels:
        page.text(f"That takes a kernel {' and '.join(kernels)}", _STEP, _STEP)
    page.text(f"VERW on exit to user: {state.verw}", _STEP, _STEP)


def _vulnerability(page: _Page, facts: VulnerabilityFacts) -> None:
    page.field("Also called", ", ".join(facts.aliases))
    _mentions(page, "Bits that speak of it", [(mention.name, mention.meaning) for mention in facts.bits])
    page.heading("The silicon is affected where")
    page.outline(facts.affected)
    page.heading("What the guest's kernel prints")
    for text, state in facts.states.items():
        page.text(f'"{text}" where' if text != "no such file" else "nothing (no such file) where", _STEP)
        page.outline(state.condition, _STEP * 2)
        page.text(f"VERW on exit to user: {state.verw}", _STEP * 2, _STEP)
    page.heading("Every text")
    for text in facts.texts:
        page.text(text, _STEP, _STEP)
    page.heading("VERW clears what it samples where")
    page.outline(facts.verw_works)
    page.heading("Links")
    for link in facts.links:
        page.text(link, _STEP)


def _verdict(page: _Page, item: Explanation) -> None:
    if item.truth:
        page.heading("What it means for the truth")
        for case in item.truth:
            page.text(f"{case.truth}, {'always' if case.condition.formula == 'always' else 'if'}", _STEP)
            if case.condition.formula != "always":
                page.outline(case.condition, _STEP * 2)
            page.text(f"What to do: {case.what_to_do}", _STEP * 2, _STEP)
    for row in item.verdict:
        claims = f" the text claims {' or '.join(row.claims)}, and" if row.claims else ""
        if row.condition.formula == "always":
            page.heading(f"It is so where{claims.removesuffix(', and')}")
            continue
        page.heading(f"It is so where{claims}")
        page.outline(row.condition)
