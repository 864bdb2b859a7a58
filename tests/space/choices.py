"""One choice of a cell: its part, its releases, and the facts that they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from archcaps.space.cells import Cell
from archcaps.space.lookups import Kernels, PartClass
from archcaps.space.names import UNKNOWN
from archcaps.space.releases import releases
from archcaps.tables.bits import BITS
from tests.space.brute import Part, table_values

Values = Mapping[str, bool | str]


def choice_of(cell: Cell) -> Values:
    """Return the facts of one choice of a cell: values, or the variable that says which."""
    part, kernels = cell.host.members[-1]
    if cell.other_part:
        host = next(signatures(part))
        guest, guest_kernels = next(
            (each, own) for other, own in cell.guest.members for each in signatures(other) if each != host.plain
        )
    else:
        part, kernels, guest_kernels = next(
            (part, kernels, own)
            for part, kernels in cell.host.members
            for same, own in cell.guest.own_members
            if same is part
        )
        host = next(signatures(part))
        guest = host.plain
    return facts_of_choice(
        host, release_of(kernels, "host_kernel"), guest, release_of(guest_kernels, "guest_kernel"), guest_kernels.built
    )


def signatures(found: PartClass) -> Iterator[Part]:
    """Yield the signatures of a class of parts, the last of each box first."""
    for box in reversed(found.boxes):
        for stepping in reversed(box.steppings):
            yield Part(box.vendor, box.families[-1], box.models[-1], stepping, box.hybrid, box.atom)
        yield Part(box.vendor, box.families[0], box.models[0], box.steppings[0], box.hybrid, box.atom)


def release_of(kernels: Kernels, kernel: str) -> str:
    return releases()[kernels.places[kernel][-1] if kernel in kernels.places else -1].text


def facts_of_choice(host: Part, kvm: str, guest: Part, kernel: str, built: bool) -> Values:
    old, new = (table_values(host, kvm, guest, kernel, built, recent) for recent in (False, True))
    found: dict[str, bool | str] = {}
    for name in old.keys() & new.keys():
        whose = "guest" if name.startswith("guest.") else "host"
        found[name] = old[name] if old[name] is new[name] else f"{whose}.recent_microcode"
    return found


def variable(name: str, values: Values) -> bool | str:
    """Return a fact's value, or the variable that it is; not for bits of a guest."""
    scope, _, what = name.partition(".")
    if what in BITS:
        return False if what == "hypervisor" else f"host.{what}"
    if scope in ("vm", "assume") or what == "smt_active":
        return name
    return values.get(name, UNKNOWN + name)
