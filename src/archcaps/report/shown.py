"""An answer of `shown` for a person at a terminal, on one screen, and as JSON."""

from __future__ import annotations

import msgspec

from archcaps.questions.shown_results import DifferentFeature, ShownFeature, ShownResult
from archcaps.report.page import Page, Style
from archcaps.report.safe import safe
from archcaps.tables.bits import ARCH_CAPABILITIES

__all__ = ["render", "render_json", "shown_schema"]

_ALL = "0xffffffffffffffff"
#: So many lines of a VMM's own words are given.
_MESSAGES = 4
_CALLED = {
    "qemu": "QEMU", "kvm": "KVM", "firecracker": "Firecracker", "cloud-hypervisor": "Cloud Hypervisor",
    "proxmox": "Proxmox VE", "xen": "Xen",
}  # fmt: skip


def render_json(result: ShownResult) -> str:
    """Return the answer as one JSON object on one line, with a line feed at its end."""
    return msgspec.json.encode(result).decode() + "\n"


def shown_schema() -> dict[str, object]:
    """Return the JSON Schema of `archcaps shown --json`."""
    return msgspec.json.schema(ShownResult)


def render(result: ShownResult, style: Style, *, everything: bool = False, width: int = 100) -> str:
    """Return the answer as text of `width` columns (66 at the least, 100 at the most).

    `everything` lists the bits that are as KVM offers them too.
    """
    result = safe(result)
    page = Page(style, min(max(width, 66), 100), everything)
    lines = [style(line, bold=True) for line in page.fill(result.headline)]
    if result.refused is not None:
        lines += page.fill(result.refused, "  ")
    lines += ["", *page.fill(f"asked: {_asked(result)}", "", "       ")]
    lines += page.fill(f"host:  {result.host or 'not given'}", "", "       ")
    lines += page.fill(f"guest: {_identity(result)}", "", "       ")
    lines += ["", *_msr(result, page), *_cpuid(result, page)]
    lines += _differences(result, page)
    lines += _messages(result, page)
    lines += _sentences("What the configuration does not say:", result.lost_in_words, page)
    lines += _sentences("Notices:", [text for text in result.notices if text not in result.lost_in_words], page)
    if page.sources:
        lines += [
            "",
            *(line for text, place in page.sources.items() for line in page.fill(f"[{place}] {text}", "", "    ")),
        ]
    if result.assumptions:
        lines += ["", *page.fill("Assumed: " + "; ".join(result.assumptions) + ".")]
    return "\n".join(lines).rstrip() + "\n"


def _asked(result: ShownResult) -> str:
    vmm = _CALLED.get(result.vmm, result.vmm)
    parts = [f"{vmm} {result.release or '(release not given)'}"]
    if result.machine:
        parts.append(f"machine {result.machine}")
    if result.accelerator:
        parts.append(result.accelerator)
    named = [
        f"{'+' if each.policy in ('require', 'force', 'optional') else '-'}{each.name}"
        + ("" if each.policy in ("require", "disable") else f" ({each.policy})")
        for each in result.asked
    ]
    if len(named) > 12 and result.live:
        named = []  # a live CPU tells of each of its features: the bits below are those
    return f"{', '.join(parts)}: {result.model or 'no CPU named'}{' ' + ' '.join(named) if named else ''}"


def _identity(result: ShownResult) -> str:
    numbers = [result.family, result.cpu_model, result.stepping]
    if None in numbers:
        return f"{result.vendor or 'vendor not known'}, family/model/stepping not known"
    return f"{result.vendor or 'vendor not known'} {result.family}/{result.cpu_model:#x}/{result.stepping}"


def _msr(result: ShownResult, page: Page) -> list[str]:
    if result.arch_capabilities_visible is False:
        return page.fill("MSR 0x10a: not there (CPUID hides arch-capabilities; reading it faults)", "", "    ")
    value = result.arch_capabilities
    if result.arch_capabilities_known != _ALL:
        value += f", bits known: {result.arch_capabilities_known}"
    if result.arch_capabilities_visible is None:
        value += " (whether CPUID shows it is not known)"
    bits = [each for each in result.bits if each.name in ARCH_CAPABILITIES]
    return [*page.fill(f"MSR 0x10a: {value}", "", "    "), *_bits(bits, page, result.host is not None)]


def _cpuid(result: ShownResult, page: Page) -> list[str]:
    bits = [each for each in result.bits if each.name not in ARCH_CAPABILITIES]
    return ["CPUID, what speaks of vulnerabilities:", *_bits(bits, page, result.host is not None)]


def _bits(bits: list[ShownFeature], page: Page, with_host: bool) -> list[str]:
    groups = {
        "shown": [each.name for each in bits if each.guest],
        "not shown, though KVM offers": [each.name for each in bits if each.guest is False and each.offered],
        "not known": [each.name for each in bits if each.guest is None],
    }
    if page.everything or not with_host:
        groups["not shown"] = [each.name for each in bits if each.guest is False and not each.offered]
    return [
        line
        for head, names in groups.items()
        if names
        for line in page.fill(f"{head}: {' '.join(names)}", "  ", "      ")
    ]


def _differences(result: ShownResult, page: Page) -> list[str]:
    groups: dict[tuple[str, bool | None, str, str], list[DifferentFeature]] = {}
    for each in result.differences:
        groups.setdefault((each.by, each.shown, each.reason, each.source), []).append(each)
    lines = ["", "Otherwise than asked:"] if groups else []
    for (by, on, reason, source), members in groups.items():
        names = ", ".join(each.name for each in members)
        word = {True: "added", False: "dropped", None: "not known"}[on]
        lines += page.fill(
            f"{names}: {word} by {_CALLED.get(by, by)}: {reason} [{page.source('source', source)}]", "  ", "      "
        )
    return lines


def _messages(result: ShownResult, page: Page) -> list[str]:
    """Return the VMM's own words, a line each: all of them or the first few."""
    shown = result.messages if page.everything else result.messages[:_MESSAGES]
    more = len(result.messages) - len(shown)
    lines = [line for text in shown for line in page.fill(text, "  ", "      ")]
    lines += [f"  {more} more (--all)"] if more else []
    return ["", "QEMU says:", *lines] if lines else []


def _sentences(head: str, texts: list[str], page: Page) -> list[str]:
    return ["", head, *(line for text in texts for line in page.fill(text, "  ", "      "))] if texts else []
