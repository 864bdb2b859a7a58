"""What a verdict takes for granted: about the attacker, about inputs nobody observed, about distributions."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from archcaps.errors import InputError
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.reader import Reader
from archcaps.questions.results import Assumption, Deciding, Verdict
from archcaps.tables.kernels import Release
from archcaps.tables.names import ASSUMPTIONS, KERNEL_LOOKUPS, STRICT, VM_LOOKUPS
from archcaps.tables.suppositions import suppositions_of

__all__ = ["assumptions_of", "held_assumptions", "naming"]

DEFAULT_OPTIONS: Final = "default-options"

_ATTACKER = (
    "the attackers are guest user code, against its kernel, and the guest, against its host, at switches between the "
    "two (not modelled: sibling threads)"
)


def held_assumptions(assumptions: Iterable[str], *, strict: bool) -> frozenset[str]:
    """Return the assumptions of a question as `Reader` takes them; ``strict`` among them stands for `strict`.

    Raises:
        InputError: something is to be supposed, and nothing.
    """
    held = frozenset(assumptions)
    strict = strict or STRICT in held
    if strict and held - {STRICT}:
        raise InputError(
            f"strict supposes nothing, and {', '.join(sorted(held - {STRICT}))} is to be supposed", "strict"
        )
    return frozenset((STRICT,)) if strict else held


def assumptions_of(reader: Reader, verdicts: list[Verdict]) -> list[Assumption]:
    """Return what the verdicts assume, the inputs that rest on each with it."""
    found = [Assumption(_ATTACKER), *_of_mmio(reader, verdicts)]
    for snapshot in (reader.host, reader.guest):
        found += _identity(snapshot)
    if STRICT not in reader.assumptions:
        found += [each for snapshot in (reader.host, reader.guest) for each in _of_release(snapshot, verdicts)]
    by_source: dict[str, set[str]] = {}
    for item in _assumed(verdicts):
        if not item.name.startswith(("assume.", "vm.")):
            by_source.setdefault(item.source, set()).add(item.name)
    said = " ".join(assumption.text for assumption in found)
    for text, names in by_source.items():
        if f"({text})" not in said and not all(part in said for part in text.split("; ")):
            found.append(Assumption(text, _inputs(verdicts, names), _name(reader, text, names)))
    return found


def _name(reader: Reader, text: str, names: Collection[str]) -> str:
    """Return the name of an assumption by its text and the facts that rest on it: of options that nobody gave."""
    options = all(name.partition(".")[2] in KERNEL_LOOKUPS for name in names) and "guest_kernel.xen_pv" not in names
    kernels = (reader.host.kernel, reader.guest.kernel)
    bare = any(kernel.options_provenance == "assumed" and kernel.options_source == text for kernel in kernels)
    return DEFAULT_OPTIONS if options and (bare or DEFAULT_OPTIONS in reader.assumptions) else ""


def naming(headline: str, assumptions: list[Assumption], *, safe: bool) -> str:
    """Return a headline; one that says that something is `safe` names the assumptions on which its inputs rest."""
    names = sorted({each.name for each in assumptions if each.name and each.inputs})
    return f"{headline} Assumed for that: {', '.join(names)}." if safe and names else headline


def _assumed(verdicts: list[Verdict]) -> list[Deciding]:
    return [item for verdict in verdicts for item in verdict.decided_by if item.provenance == "assumed"]


def _inputs(verdicts: list[Verdict], names: Collection[str]) -> list[str]:
    """Return those of the inputs named on which verdicts rest, each with its value."""
    return sorted({f"{item.name}={int(item.value)}" for item in _assumed(verdicts) if item.name in names})


def _of_mmio(reader: Reader, verdicts: list[Verdict]) -> list[Assumption]:
    """Return what is assumed of MMIO: that none is mapped into guest user code, nor the host's into the guest."""
    found = []
    for name, (held, otherwise) in ASSUMPTIONS.items():
        known = name == "host_mmio" and not _assumes_devices(reader)
        word = name.replace("_", "-")
        holds = word in reader.assumptions
        if known or (STRICT in reader.assumptions and not holds):
            continue
        names = {f"vm.{each}" for each in VM_LOOKUPS} if name == "host_mmio" else {f"assume.{name}"}
        found.append(
            Assumption(held if holds else otherwise, _inputs(verdicts, names), word if holds else f"no-{word}")
        )
    return found


def _of_release(snapshot: Snapshot, verdicts: list[Verdict]) -> list[Assumption]:
    """Return what is supposed of a machine's kernel release."""
    kernel = snapshot.kernel
    if kernel.release is None or kernel.system != "linux":
        return []
    scopes = ("host", "kvm") if snapshot.role == "host" else ("guest", "offered", "true")
    found = []
    for one in suppositions_of(Release.parse(kernel.release).doubted):
        names = {item.name for item in _assumed(verdicts) if one.text in item.source and item.name.startswith(scopes)}
        found.append(Assumption(f"the {snapshot.role}'s kernel {one.text}", _inputs(verdicts, names), one.name))
    return found


def _assumes_devices(reader: Reader) -> bool:
    """Return whether anything is assumed of the guest's devices: not where they are known, or known to be there."""
    vm = reader.guest.vm
    if None not in (vm.has_mapped_host_mmio, vm.has_assigned_device):
        return False
    return "host-mmio" in reader.assumptions or not (
        vm.has_host_device or vm.has_assigned_device or vm.has_mapped_host_mmio
    )


def _identity(snapshot: Snapshot) -> list[Assumption]:
    """Return what is assumed of a machine's CPU and kernel, by which its rows in the tables were looked up."""
    cpu, kernel = snapshot.cpu, snapshot.kernel
    assumed: dict[str, list[str]] = {}
    if (cpu.provenance or snapshot.provenance) == "assumed" and cpu.family is not None:
        assumed.setdefault(cpu.source or snapshot.source, []).append(f"CPU {cpu.family}/{cpu.model}/{cpu.stepping}")
    if (kernel.provenance or snapshot.provenance) == "assumed" and kernel.release is not None:
        assumed.setdefault(kernel.source or snapshot.source, []).append(f"Linux {kernel.release}")
    return [Assumption(f"{snapshot.role}: {' and '.join(what)} ({source})") for source, what in assumed.items()]
