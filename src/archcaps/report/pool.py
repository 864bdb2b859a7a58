"""An answer of `pool` for a person at a terminal: the CPU, what is wrong with it, what to leave out, and the proof."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from archcaps.fleet.pool.results import Document, Fault, PoolBit, PoolResult
from archcaps.report.page import Page, Style
from archcaps.report.safe import safe
from archcaps.tables.bits import ARCH_CAPABILITIES

__all__ = ["pool_schema", "render", "render_json"]

#: So many hosts, faults and bits are told one by one; the others are counted.
_HOSTS: Final = 6
_FAULTS: Final = 6
_BITS: Final = 8
_COLOURS: Final = {0: "green", 1: "yellow", 2: "red", 3: "cyan"}
_NO_REASON: Final = (
    "not for guests", "no host suffers from it", "Intel's: it says nothing of AMD's CPUs", "AMD's leaf"
)  # fmt: skip


def render_json(result: PoolResult) -> str:
    """Return the answer as one JSON object on one line, with a line feed at its end."""
    return msgspec.json.encode(result).decode() + "\n"


def pool_schema() -> dict[str, object]:
    """Return the JSON Schema of `archcaps pool --json`."""
    return msgspec.json.schema(PoolResult)


def render(result: PoolResult, style: Style, *, everything: bool = False, width: int = 100) -> str:
    """Return the answer as text of `width` columns (66 to 100); `everything`: nothing is merely counted."""
    result = safe(result, (Document,))
    page = Page(style, min(max(width, 66), 100), everything)
    head = page.fill(result.headline, "", "")
    lines = [style(line, fg=_COLOURS[result.exit_code], bold=True) for line in head]
    lines += ["", *_machines(result, page), "", *_shown(result, page)]
    lines += _hidden(result, page)
    lines += _wrong(result, page)
    lines += _plain(result, page)
    lines += ["", *page.fill(_proof(result))]
    qemu = next((one for one in result.documents if one.vmm == "qemu" and one.text), None)
    if qemu is not None and result.vmm == "qemu":
        lines += ["", qemu.text.rstrip()]
    lines += ["", *page.fill("Other languages: --format libvirt, kubevirt, firecracker.")]
    lines += [line for notice in result.notices for line in page.fill(f"Notice: {notice}")]
    lines += [line for told in result.not_told for line in page.fill(f"Not told: {told}")]
    lines += page.fill("Assumed: " + "; ".join(result.assumptions) + ".")
    return "\n".join(lines).rstrip() + "\n"


def _machines(result: PoolResult, page: Page) -> list[str]:
    found = []
    shown = result.hosts if page.everything else result.hosts[:_HOSTS]
    for host in shown:
        found += page.fill(f"{host.hosts} x {host.example} ({host.name})", "host:  ", "       ")
    if len(shown) < len(result.hosts):
        found.append(f"host:  and {len(result.hosts) - len(shown)} more classes (--all)")
    return [*found, *page.fill(f"guest: Linux {', '.join(result.guest_kernels)}")]


def _shown(result: PoolResult, page: Page) -> list[str]:
    one = result.identity
    numbers = "/".join(f"{number:#x}" for number in (one.family, one.model, one.stepping))
    lines = page.fill(f"identity: {one.vendor} {numbers}, {one.of}", "  ", "      ")
    register = [bit for bit in result.bits if bit.shown and bit.name in ARCH_CAPABILITIES]
    cpuid = [bit for bit in result.bits if bit.shown and bit.name not in ARCH_CAPABILITIES]
    lines += page.fill(f"MSR 0x10a: {result.arch_capabilities}: {_names(register) or 'no bit'}", "  ", "      ")
    lines += page.fill(f"CPUID: {_names(cpuid)}", "  ", "      ")
    return [page.style("The CPU", bold=True), *lines]


def _names(bits: Iterable[PoolBit]) -> str:
    return ", ".join(bit.name for bit in bits)


def _hidden(result: PoolResult, page: Page) -> list[str]:
    """Return why bits are not shown that some hosts could show: the same reasons together."""
    decisive = set(result.proof.bits)
    reasons: dict[str, list[PoolBit]] = {}
    for bit in result.bits:
        if not bit.shown and bit.why not in _NO_REASON and (bit.classes or bit.name in decisive):
            reasons.setdefault(bit.why, []).append(bit)
    rows = sorted(reasons.items(), key=lambda row: (not any(bit.name in decisive for bit in row[1]), row[0]))
    told = rows if page.everything else rows[:_BITS]
    lines = [line for why, bits in told for line in page.fill(f"{_names(bits)}: {why}", "  ", "      ")]
    if len(told) < len(rows):
        lines.append(f"  and {len(rows) - len(told)} more reasons (--all)")
    return ["", page.style("Not shown", bold=True), *lines] if lines else []


def _wrong(result: PoolResult, page: Page) -> list[str]:
    if not result.wrong:
        return []
    lines = ["", page.style("Not as it should be", bold=True), *_faults(result.wrong, result, page)]
    out = result.without_fault
    if out is None:
        return lines
    if out.leave_out is None:
        text = "Of no host, even alone, is a CPU known that is truthful and safe: leaving hosts out does not help."
    else:
        text = (
            f"No CPU is truthful and safe on all. The fewest hosts to leave out ({out.hosts}): "
            f"{'; '.join(out.leave_out)}."
        )
    return [*lines, *page.fill(text, "  ", "  ")]


def _faults(faults: Sequence[Fault], result: PoolResult, page: Page) -> list[str]:
    told = faults if page.everything else faults[:_FAULTS]
    lines = []
    for fault in told:
        under = "" if fault.kernels == result.guest_kernels else f" under Linux {', '.join(fault.kernels)}"
        host = "" if fault.host_safety == "safe" else f", host {fault.host_safety}"
        text = f"{fault.example}: {fault.vulnerability} {fault.truth}, {fault.safety}{host}{under}"
        lines += page.fill(text, "  ", "      ")
    if len(told) < len(faults):
        lines.append(f"  and {len(faults) - len(told)} more (--all)")
    return lines


def _plain(result: PoolResult, page: Page) -> list[str]:
    """Return what a plain intersection has otherwise, and what would follow."""
    if not result.plain:
        return ["", *page.fill("libvirt's plain intersection has the same bits.")]
    reasons: dict[tuple[str, str], list[str]] = {}
    for bit in result.plain:
        reasons.setdefault(("keeps" if bit.plain else "drops", bit.why), []).append(bit.name)
    lines = ["", page.style("libvirt's plain intersection", bold=True)]
    for (word, why), names in reasons.items():
        lines += page.fill(f"{word} {', '.join(names)}: {why}", "  ", "      ")
    lines += _faults(result.plain_wrong, result, page) or ["  No verdict would be another."]
    return lines


def _proof(result: PoolResult) -> str:
    proof = result.proof
    bits = f"{len(proof.bits)} {'bit' if len(proof.bits) == 1 else 'bits'} ({', '.join(proof.bits)})"
    return (
        f"Proof: {proof.choices} choices of {bits if proof.bits else 'no bit'} and "
        f"{proof.identities} identities were tried, all there are, in {proof.verdicts} pairs of guest and host; "
        f"{proof.without_fault} have no fault. No other bit changes a verdict or can be chosen."
    )
