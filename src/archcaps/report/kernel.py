"""Kernel profiles for a person at a terminal, and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from archcaps.questions.kernel_results import BehaviourLine, KernelAnswer, KernelProfile, Mask, ShortAnswer
from archcaps.report.safe import safe

if TYPE_CHECKING:
    from archcaps.report.page import Style

__all__ = ["kernel_schema", "render", "render_json"]

_NARROWEST = 40
#: More possible answers than these are listed with --all only.
_FEW = 2
_SIGNS = {True: "yes", False: "no", None: "?"}
_MASK_TITLE = "Bits passed on"


def render_json(answer: KernelAnswer) -> str:
    """Return the answer as one JSON object on one line, with a line feed at its end."""
    import msgspec  # noqa: PLC0415  # for JSON alone

    return msgspec.json.encode(answer).decode() + "\n"


def kernel_schema() -> dict[str, object]:
    """Return the JSON Schema of `archcaps kernel --json`."""
    import msgspec  # noqa: PLC0415  # as above

    return msgspec.json.schema(KernelAnswer)


def render(answer: KernelAnswer, style: Style, width: int, *, everything: bool = False, running: bool = False) -> str:
    """Return one release's profile, or what differs between several, as text of at most `width` columns.

    `everything` adds sources and commits; `running` says that the first release is this machine's own.
    """
    answer = safe(answer)
    page = _Page(style, max(width, _NARROWEST))
    if len(answer.kernels) == 1:
        _one(page, answer.kernels[0], everything=everything, running=running)
    else:
        _several(page, answer, everything=everything)
    return "\n".join(page.lines) + "\n"


class _Page:
    """Lines of text, filled to the width."""

    def __init__(self, style: Style, width: int) -> None:
        self.style = style
        self.width = width
        self.lines: list[str] = []

    def heading(self, text: str) -> None:
        if self.lines:
            self.lines.append("")
        self.lines += [self.style(line, bold=True) for line in self._fill(text, "", "  ")]

    def text(self, text: str, indent: str = "") -> None:
        self.lines += self._fill(text, indent, indent)

    def item(self, label: str, text: str, column: int, *, fg: str | None = None) -> None:
        """Add a label and its text, which stands in a column of its own."""
        first, *rest = self._fill(text, f"  {label:<{column}}  ", " " * (column + 4))
        shown = self.style(label, fg=fg) if fg else label
        self.lines += [first.replace(label, shown, 1), *rest]

    def _fill(self, text: str, first: str, more: str) -> list[str]:
        filled = textwrap.wrap(
            text, self.width, initial_indent=first, subsequent_indent=more, break_on_hyphens=False,
            break_long_words=False,
        )  # fmt: skip
        return filled or [first.rstrip()]


def _one(page: _Page, item: KernelProfile, *, everything: bool, running: bool) -> None:
    page.heading(f"Linux {item.asked}" + (" (running here)" if running else ""))
    for sentence in _provenance(item):
        page.text(sentence)
    if everything or _known(item):
        _in_short(page, item, everything=everything)
    for theme, lines in groupby(item.behaviours, lambda line: line.theme):
        page.heading(theme)
        for line in lines:
            _behaviour(page, line, everything=everything, one_reason=item.unknown_because)
    if not everything:
        page.lines.append("")
        page.text(f"Where it was read, and the commits: archcaps kernel --all {item.asked}.")


def _in_short(page: _Page, item: KernelProfile, *, everything: bool) -> None:
    page.heading("In short")
    column = max(len(_MASK_TITLE), *(len(answer.title) for answer in item.profile))
    page.item(_MASK_TITLE, _mask(item.mask), column)
    for answer in item.profile:
        page.item(answer.title, _answer(answer, everything=everything), column)
        if everything:
            page.item("", f"[{answer.source}]", column)


def _provenance(item: KernelProfile) -> Iterator[str]:
    """Yield whose kernel it is, and what is assumed or unknown because of that."""
    if item.unknown_because:
        start = "What changed later is not known" if _known(item) else "Nothing can be said by the release alone"
        yield f"{start}: {item.unknown_because}."
        if item.distribution and item.distribution.observation:
            yield "With that text in --version-text the point release is known."
        yield (
            "What would show each behaviour on a machine stands beside it; archcaps check takes what was observed "
            "from a snapshot (kernel.behaviours)."
        )
    if item.assumption:
        yield f"Assumed: {item.assumption}."
    if item.distribution:
        yield f"[{item.distribution.source}]"


def _known(item: KernelProfile) -> bool:
    """Whether anything is known of a kernel."""
    return any(line.value is not None for line in item.behaviours)


def _mask(mask: Mask) -> str:
    if mask.unknown != "0x0":
        return f"at least {mask.passes}; not known of {mask.unknown}"
    return mask.passes if mask.masked else f"no mask: whatever the host's own MSR 0x10a has of {mask.passes}"


def _answer(answer: ShortAnswer, *, everything: bool) -> str:
    if len(answer.texts) == 1:
        return answer.texts[0]
    if len(answer.texts) > _FEW and not everything:
        return f"unknown: any of {len(answer.texts)} (--all lists them)"
    return "unknown, one of: " + "; ".join(f"({number}) {text}" for number, text in enumerate(answer.texts, start=1))


def _behaviour(page: _Page, line: BehaviourLine, *, everything: bool, one_reason: str) -> None:
    text = f"{line.meaning} ({line.name})"
    if line.value is None:
        reason = "" if line.source == one_reason else f"; {line.source}"
        page.item("?", f"{text}{reason}; shown by {line.observation}", 3, fg="yellow")
    else:
        page.item(_SIGNS[line.value], text + _when(line), 3)
    if everything:
        page.item("", f"[{line.source}; {line.commit}]" if line.value is not None else f"[{line.commit}]", 3)


def _when(line: BehaviourLine) -> str:
    """Return since when it is so, and in which later release of the line no longer."""
    parts = []
    if line.since is not None and line.not_in is not None:
        since = line.since if line.exact else f"{line.since} at the latest (not in {line.not_in})"
        parts.append(f"since {since}" if line.value else f"no longer since {since}")
    elif line.since is not None and line.value:
        parts.append(f"since before {line.since}, the oldest read")
    if line.assumed:
        parts.append("assumed")
    if line.until is not None:
        start = "from" if line.until_exact else "at the latest from"
        parts.append(f"{start} {line.until} on: {_SIGNS[not line.value]}")
    return "".join(f"; {part}" for part in parts)


def _several(page: _Page, answer: KernelAnswer, *, everything: bool) -> None:
    """Show side by side what differs between releases, or what each of them does with --all."""
    page.heading("  ".join(f"Linux {item.asked}" for item in answer.kernels))
    for item in answer.kernels:
        for line in _provenance(item):
            page.text(f"{item.asked}: {line}")
    if not answer.differences:
        page.text("No difference in anything that archcaps knows of them.")
        return
    column = max(len(item.asked) for item in answer.kernels)
    if "mask" in answer.differences:
        page.heading(_MASK_TITLE)
        for item in answer.kernels:
            page.item(item.asked, _mask(item.mask), column)
    for answers in zip(*(item.profile for item in answer.kernels), strict=True):
        if answers[0].question in answer.differences:
            page.heading(answers[0].title)
            for item, short in zip(answer.kernels, answers, strict=True):
                page.item(item.asked, _answer(short, everything=everything), column)
    rows = [lines for lines in zip(*(item.behaviours for item in answer.kernels), strict=True)
            if lines[0].name in answer.differences]  # fmt: skip
    for theme, group in groupby(rows, lambda lines: lines[0].theme):
        page.heading(theme)
        for row in group:
            page.text(f"{row[0].meaning} ({row[0].name})", "  ")
            _side_by_side(page, [item.asked for item in answer.kernels], row, everything=everything)


def _side_by_side(page: _Page, releases: Sequence[str], lines: Sequence[BehaviourLine], *, everything: bool) -> None:
    column = max(map(len, releases)) + 2
    for release, line in zip(releases, lines, strict=True):
        said = f"{_SIGNS[line.value]}{_when(line)}" if line.value is not None else f"?: {line.source}"
        page.item(f"  {release}", said + (f" [{line.source}]" if everything and line.value is not None else ""), column)
