"""What a verdict takes for granted: about the attacker, about inputs nobody observed, about distributions."""

from __future__ import annotations

from archcaps.machine.snapshot import Snapshot
from archcaps.questions.reader import Reader
from archcaps.questions.results import Assumption, Verdict
from archcaps.tables.kernels import Release
from archcaps.tables.names import ASSUMPTIONS

__all__ = ["assumptions_of"]

_ATTACKER = "the attacker is code in guest user mode; sibling threads and guest against host are not modelled here"


def assumptions_of(reader: Reader, verdicts: list[Verdict]) -> list[Assumption]:
    """Return what the verdicts assume, the inputs that rest on each with it."""
    found = [Assumption(_ATTACKER)]
    for name, (held, otherwise) in ASSUMPTIONS.items():
        found.append(Assumption(held if name.replace("_", "-") in reader.assumptions else otherwise))
    for snapshot in (reader.host, reader.guest):
        found += _identity(snapshot)
    by_source: dict[str, set[str]] = {}
    for item in (item for verdict in verdicts for item in verdict.decided_by):
        if item.provenance == "assumed" and not item.name.startswith("assume."):
            by_source.setdefault(item.source, set()).add(f"{item.name}={int(item.value)}")
    known = {assumption.text for assumption in found}
    return found + [Assumption(text, sorted(inputs)) for text, inputs in by_source.items() if text not in known]


def _identity(snapshot: Snapshot) -> list[Assumption]:
    """Return what is assumed of a machine's CPU and kernel, by which its rows in the tables were looked up."""
    cpu, kernel = snapshot.cpu, snapshot.kernel
    found = []
    if (cpu.provenance or snapshot.provenance) == "assumed" and cpu.family is not None:
        found.append(
            Assumption(
                f"the {snapshot.role} is a CPU {cpu.family}/{cpu.model}/{cpu.stepping}: {cpu.source or snapshot.source}"
            )
        )
    if kernel.release is None:
        return found
    if (kernel.provenance or snapshot.provenance) == "assumed":
        found.append(Assumption(f"the {snapshot.role} runs Linux {kernel.release}: {kernel.source or snapshot.source}"))
    release = Release.parse(kernel.release)
    if release.suffix and not release.hides_point_release:
        found.append(Assumption(f"the {snapshot.role}'s kernel {kernel.release} behaves as upstream {release.version}"))
    return found
