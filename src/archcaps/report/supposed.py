"""What a fleet's answer supposes of guests, of how many, and which columns it passed over: in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from archcaps.fleet.results import PassedOver

__all__ = ["passed_over", "supposed"]

_SAID: Final = {
    "no-host-mmio": "no device is assigned and no host MMIO mapped (else: --assume host-mmio, or the guests' columns "
    "has_assigned_device and has_mapped_host_mmio)",
    "host-mmio": "host MMIO is mapped, by a device that is assigned",
    "no-user-mmio": "no guest user maps MMIO (else: --assume user-mmio)",
    "user-mmio": "guest user code maps MMIO",
}
#: So many columns are named.
_NAMED: Final = 8


def supposed(counts: Mapping[str, int]) -> list[str]:
    """Return a sentence for each thing that is supposed, with the number of guests of which it is."""
    return [f"Supposed of {count:,} guests ({name}): {_SAID.get(name, name)}." for name, count in counts.items()]


def passed_over(columns: Sequence[PassedOver]) -> list[str]:
    """Return a sentence that names the columns that were not read, those that may be misspelt first; or nothing."""
    if not columns:
        return []
    ordered = sorted(columns, key=lambda one: (not one.nearest, one.role, one.column))
    names = [
        f"{one.column} of the {one.role}s" + (f" (did you mean {one.nearest}?)" if one.nearest else "")
        for one in ordered[:_NAMED]
    ]
    more = f", and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    return [f"Passed over, since no column is called so: {', '.join(names)}{more}."]
