"""An answer of `migrate` for a person at a terminal: who takes the guest, which bits block, what it believes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from archcaps.questions.migrate_results import BitMove, LayerAnswer, MigrateResult, VerdictMove
from archcaps.questions.results import Possible
from archcaps.questions.upgrade_results import Judged
from archcaps.report.asking import what_to_ask
from archcaps.report.page import Page, Style, bit, machine
from archcaps.report.safe import safe

__all__ = ["migrate_schema", "render", "render_json"]

#: Up to so many possible words stand in a line.
_NAMED: Final = 3
_ACCEPTS: Final = {"yes": "green", "changes": "yellow", "no": "red", "unknown": "cyan"}
_TRUE: Final = {True: "true", False: "untrue", None: "?"}
_WORDS: Final = {
    "safe": "green", "true": "green", "harmless": "green", "costs": "yellow", "lie": "yellow", "exposes": "red",
    "unknown": "cyan",
}  # fmt: skip


def render_json(result: MigrateResult) -> str:
    """Return the answer as one JSON object on one line, with a line feed at its end."""
    return msgspec.json.encode(result).decode() + "\n"


def migrate_schema() -> dict[str, object]:
    """Return the JSON Schema of `archcaps migrate --json`."""
    return msgspec.json.schema(MigrateResult)


def render(
    result: MigrateResult, style: Style, *, further: bool = False, everything: bool = False, width: int = 100
) -> str:
    """Return the answer as text of `width` columns (66 at the least, 100 at the most).

    `everything` shows what stays the same, and what is assumed; `further`: further verdicts count, as was asked.
    """
    result = safe(result)
    page = Page(style, min(max(width, 66), 100), everything)
    first, *rest = result.headline.split(". ")
    lines = [style(line, bold=True) for line in page.fill(first.rstrip(".") + ".", "", "")]
    lines += page.fill(". ".join(rest), "", "") if rest else []
    lines += ["", *_who(result, page)]
    size = max(len(layer.layer) for layer in result.layers) + 2
    lines += ["", "Who takes it:", *(line for layer in result.layers for line in _layer(layer, size, page))]
    lines += _bits(result.bits, page)
    lines += _verdicts(result, page, further=further)
    lines += _silent(result, page)
    lines += _peers(result, page)
    if result.advice:
        lines += ["", "What helps:"]
        for advice in result.advice:
            lines += page.fill(f"{advice.where}: {advice.change}: {advice.effect}.", "  ", "      ")
    if result.missing:
        lines += ["", "What would decide it:"]
        lines += [line for request in what_to_ask(result.missing) for line in page.fill(request, "  ", "      ")]
    lines += ["", *(line for notice in result.notices for line in page.fill(f"Notice: {notice.text}"))]
    lines += [line for text, number in page.sources.items() for line in page.fill(f"[{number}] {text}", "", "    ")]
    lines += _assumed(result, page)
    return "\n".join(lines).rstrip() + "\n"


def _who(result: MigrateResult, page: Page) -> list[str]:
    versions = [version or "?" for version in (result.from_vmm_version, result.to_vmm_version)]
    vmm = "no VMM" if result.vmm == "kvm" else result.vmm
    if result.from_vmm_version or result.to_vmm_version:
        vmm += f", QEMU {versions[0]} to {versions[1]}"
    if result.machine:
        vmm += f", {result.machine}"
    return [
        *page.fill(f"from:  {machine(result.from_host, result.from_kernel)}"),
        *page.fill(f"to:    {machine(result.to_host, result.to_kernel)}"),
        *page.fill(f"guest: {machine(result.guest, result.guest_kernel)}; under {vmm}"),
    ]


def _layer(layer: LayerAnswer, size: int, page: Page) -> list[str]:
    word = page.style(layer.accepts, fg=_ACCEPTS[layer.accepts], bold=True)
    number, left = page.source("source", layer.source), " " * (size + 11)
    lines = page.fill(f"{layer.layer:{size}}{layer.accepts:8} {layer.why} [{number}]", "  ", left)
    lines[0] = lines[0].replace(f"{layer.accepts:8}", word + " " * (8 - len(layer.accepts)), 1)
    said = layer.message.splitlines()
    more = f" (and {len(said) - 1} more)" if len(said) > 1 and not page.everything else ""
    for line in said if page.everything else said[:1]:
        # A program's own words may hold no blank for a hundred characters.
        lines += textwrap.wrap(
            f'"{line}"{more}', page.width, initial_indent=left, subsequent_indent=left + " ", break_on_hyphens=False
        )
    return lines


def _bits(bits: Sequence[BitMove], page: Page) -> list[str]:
    if not bits:
        return []
    size = max(18, *(len(each.name) + 1 for each in bits))
    what = "offered: by KVM there; claim: of that host; drop: hide it before the move; fake: show it there all the same"
    lines = ["", *page.fill(f"Bits ({what}):")]
    lines.append(page.style(f"  {'bit':{size}}guest offered claim   drop    fake     blocks", bold=True))
    for each in bits:
        cells = [f"  {each.name:{size}}{bit(each.shown):6}{bit(each.offered_to):8}{_TRUE[each.true_to]:8}"]
        for word, column in ((each.drop.word, 8), (each.fake.word, 9)):
            cells.append(page.style(word, fg=_WORDS[word]) + " " * (column - len(word)))
        blocks = ", ".join(each.blocks) or "-"
        fits = size + 41 + len(blocks) <= page.width
        lines.append("".join([*cells, blocks if fits else ""]).rstrip())
        lines += [] if fits else page.fill(f"blocks: {blocks}", "      ", "        ")
        lines += _why(each, page)
    return lines


def _why(each: BitMove, page: Page) -> Iterator[str]:
    for name, judgement in (("drop", each.drop), ("fake", each.fake)):
        if judgement.verdicts and (each.blocks or page.everything):
            shown = judgement.verdicts if page.everything else judgement.verdicts[:_NAMED]
            more = len(judgement.verdicts) - len(shown)
            text = "; ".join(shown) + (f"; {more} more" if more else "")
            yield from page.fill(f"{name}: {text}", "      ", "        ")


def _verdicts(result: MigrateResult, page: Page, *, further: bool) -> list[str]:
    every = [*result.vulnerabilities, *(result.further if further or page.everything else [])]
    shown = [each for each in every if page.everything or each.worse is not False or each.cured or _other_boot(each)]
    lines = ["", *page.fill("The guest there (it says what it concluded at boot, until it boots again):")]
    for each in shown:
        lines += page.fill(f"{each.subject}: {_moved(each)}", "  ", "      ")
        if each.worse or each.cured or page.everything:
            said = each.concludes.value if each.concludes.decided else "one of several texts"
            lines += page.fill(f'it says "{said}"', "      ", "        ")
    same = [each.subject for each in every if each not in shown]
    if same:
        lines += page.fill(f"as before: {', '.join(same)}", "  ", "      ")
    if not further and not page.everything:
        worse = [each.subject for each in result.further if each.worse]
        lines += page.fill(f"further (--further counts them too): worse ({', '.join(worse)})", "  ") if worse else []
    for border in result.border:
        if border.newly_exposed is not False or page.everything:
            text = f"guest against host, {border.vulnerability}: {border.before} -> {border.after}"
            who = "" if border.responsible.value in (None, "nobody") else f"; responsible: {border.responsible}"
            lines += page.fill(text + who, "  ", "      ")
    return lines


def _other_boot(each: VerdictMove) -> bool:
    return (str(each.after.truth), str(each.after.safety)) != (str(each.rebooted.truth), str(each.rebooted.safety))


def _moved(each: VerdictMove) -> str:
    before, after, rebooted = _verdict(each.before), _verdict(each.after), _verdict(each.rebooted)
    said = f"{after}, as before" if before == after else f"{before} -> {after}"
    if each.worse is None:
        said += " (not known whether that is worse)"
    if each.worse and each.after.affected is False:
        said += " (this part is not affected)"
    if each.after.responsible.value not in (None, "nobody") and before != after:
        said += f"; responsible: {each.after.responsible}"
    return said if rebooted == after else f"{said}; booted again there: {rebooted}"


def _verdict(judged: Judged) -> str:
    return f"{_few(judged.truth)}, {_few(judged.safety)}"


def _few(possible: Possible) -> str:
    return str(possible) if len(possible.possible) <= _NAMED else "undecided"


def _silent(result: MigrateResult, page: Page) -> list[str]:
    if not result.silent:
        return []
    lines = ["", "Other there, and compared by nobody:"]
    for each in result.silent:
        lines += page.fill(f"{each.name}: {bit(each.before)} -> {bit(each.after)}: {each.meaning}", "  ", "      ")
    return lines


def _peers(result: MigrateResult, page: Page) -> list[str]:
    if not result.peers or not (page.everything or result.bits):
        return []
    lines = ["", *page.fill("What others' rules say of the two values (not asked on the way):")]
    for each in result.peers:
        number = page.source("source", each.source)
        lines += page.fill(f"{each.peer}: {each.why} [{number}]", "  ", "      ")
    return lines


def _assumed(result: MigrateResult, page: Page) -> list[str]:
    texts = [assumption.text for assumption in result.assumptions]
    if page.everything:
        return page.fill("Assumed: " + "; ".join(texts) + ".")
    more = len(texts) - 1
    return page.fill(f"Assumed: {texts[0]}; {more} more (--all).") if texts else []
