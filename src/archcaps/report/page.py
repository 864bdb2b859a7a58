"""A page of text: its width and style, its numbered sources, and inputs named with theirs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from archcaps.questions.results import Deciding, Line, ShownBit
from archcaps.tables.names import KERNEL_LOOKUPS

__all__ = ["FB_CLEAR_DIS", "Page", "Style", "bit", "coloured", "inputs", "listed", "machine", "plain", "shown_bits"]

#: What is said where KVM sets FB_CLEAR_DIS for a guest, where not, and where that is unknown.
FB_CLEAR_DIS = (
    "KVM sets FB_CLEAR_DIS while it runs",
    "KVM does not set FB_CLEAR_DIS for it",
    "does KVM set FB_CLEAR_DIS? not known",
)
_COLOURS = {
    "truthful": "green", "safe": "green", "unsaid": "green",
    "needless-work": "yellow", "false-alarm": "yellow", "withheld": "yellow",
    "false-immunity": "red", "broken-promise": "red", "exposed": "red",
}  # fmt: skip
_SCOPES = {
    "silicon": "hardware", "guest_kernel": "guest kernel", "host_kernel": "host kernel", "offered": "host",
    "true": "host", "kvm": "KVM", "vm": "virtual machine",
}  # fmt: skip


class Style(Protocol):
    """How to colour text: `click.style`, or anything that takes the same words."""

    def __call__(self, text: str, *, fg: str | None = None, bold: bool | None = None) -> str:
        """Return `text` in that colour and weight."""
        ...


@dataclass
class Page:
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


def machine(name: str, release: str | None, system: str = "Linux") -> str:
    """Return a machine's name with its kernel, which many a name tells already."""
    if release is not None and release in name:
        return name
    kernel = f"{system} of a release not known" if system != "Linux" else "kernel not known"
    return f"{name}, {kernel if release is None else f'{system} {release}'}"


def bit(value: bool | None) -> str:
    """Return a bit as a character; a question mark where it is unknown."""
    return {True: "1", False: "0", None: "?"}[value]


def inputs(root: Line, roots: set[str], page: Page) -> str:
    """Return the inputs under a root, those of one source together; what has a line of its own is only named."""
    groups: dict[int, list[Line]] = {}
    for leaf in _leaves(root, roots):
        if leaf.provenance in ("unknown", "modelled") or (not page.everything and _ordinary(leaf)):
            continue
        number = page.source(leaf.provenance, leaf.source)
        groups.setdefault(number, []).append(leaf)
    named = [FB_CLEAR_DIS[0] for child in _rules(root) if child in roots]
    parts = [f"{_facts(leaves)} [{number}]" for number, leaves in groups.items()]
    return "; ".join([*dict.fromkeys(named), *parts])


def _facts(leaves: list[Line]) -> str:
    """Return facts with their values, whose they are said once: ``host mds_no=1, taa_no=1, guest mds_no=0``."""
    owners: dict[str, dict[str, None]] = {}
    for leaf in leaves:
        owner, _, name = plain(leaf.name).rpartition(" ")
        owners.setdefault(owner, {})[f"{name}={bit(leaf.value)}"] = None
    return ", ".join(f"{owner} {', '.join(names)}" for owner, names in owners.items())


def listed(found: Iterable[Deciding], page: Page) -> str:
    """Return every input with its value and the number of its source."""
    return ", ".join(
        f"{plain(item.name)}={bit(item.value)} [{page.source(item.provenance, item.source)}]" for item in found
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
        usual = name.startswith("vector_")  # mitigated unless an option takes it out
        return (name in KERNEL_LOOKUPS and leaf.value is usual) or name.startswith(plain)
    return name in ("listed_no_speculation", "arch_capabilities", "hypervisor") or name.startswith("vendor_")


def plain(name: str) -> str:
    """Return an input's name as a person says it: ``host kernel toggles_fb_clear``."""
    scope, _, rest = name.partition(".")
    if rest.startswith("concludes["):
        return f"{scope} text of {rest[len('concludes[') :].partition(',')[0]}"
    if rest == "clear_cpu_buf":
        return f"{scope} VERW by its texts"
    return f"{_SCOPES.get(scope, scope)} {rest}"


def shown_bits(bits: list[ShownBit]) -> str:
    """Return the bits as the guest reads them, those apart that are not as KVM offers them or as the hardware is."""
    groups: dict[str, list[str]] = {}
    for each in bits:
        if each.offered is not None and each.offered is not each.guest:
            kind = "not as KVM offers: "
        elif each.hardware is not None and each.hardware is not each.guest:
            kind = "not as the hardware: "
        else:
            kind = ""
        groups.setdefault(kind, []).append(f"{each.name}={bit(each.guest)}")
    return "; ".join(kind + ", ".join(names) for kind, names in sorted(groups.items()))


def coloured(word: str, style: Style, width: int) -> str:
    """Return a word of a verdict in its colour, filled up to `width` columns."""
    return style(word, fg=_COLOURS.get(word, "cyan")) + " " * max(width - len(word), 0)
