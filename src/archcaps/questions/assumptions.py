"""What a verdict takes for granted: about the attacker, about inputs nobody observed, about distributions."""

from __future__ import annotations

from archcaps.machine.snapshot import Snapshot
from archcaps.questions.reader import Reader
from archcaps.questions.results import Assumption, Verdict
from archcaps.tables.kernels import Release
from archcaps.tables.names import ASSUMPTIONS

__all__ = ["assumptions_of"]

_ATTACKER = (
    "the attackers are guest user code, against its kernel, and the guest, against its host, at switches between the "
    "two (not modelled: sibling threads)"
)


def assumptions_of(reader: Reader, verdicts: list[Verdict]) -> list[Assumption]:
    """Return what the verdicts assume, the inputs that rest on each with it."""
    found = [Assumption(_ATTACKER)]
    for name, (held, otherwise) in ASSUMPTIONS.items():
        if name == "host_mmio" and not _assumes_devices(reader):
            continue
        found.append(Assumption(held if name.replace("_", "-") in reader.assumptions else otherwise))
    for snapshot in (reader.host, reader.guest):
        found += _identity(snapshot)
    by_source: dict[str, set[str]] = {}
    for item in (item for verdict in verdicts for item in verdict.decided_by):
        if item.provenance == "assumed" and not item.name.startswith(("assume.", "vm.")):
            by_source.setdefault(item.source, set()).add(f"{item.name}={int(item.value)}")
    said = " ".join(assumption.text for assumption in found)
    found += [Assumption(text, sorted(inputs)) for text, inputs in by_source.items() if f"({text})" not in said]
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
    found = [Assumption(f"{snapshot.role}: {' and '.join(what)} ({source})") for source, what in assumed.items()]
    if kernel.release is not None:
        release = Release.parse(kernel.release)
        if release.suffix and not release.hides_point_release:
            name = f" ({release.distribution.name})" if release.distribution else ""
            upstream = release.version
            found.append(
                Assumption(f"the {snapshot.role}'s kernel {kernel.release}{name} behaves as upstream {upstream}")
            )
    return found
