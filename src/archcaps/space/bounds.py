"""Which configurations are asked about: parts, releases, facts that are given, and what a VMM may show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from archcaps.space import releases as kernels
from archcaps.space.parts import Box
from archcaps.tables.names import KERNEL_LOOKUPS

__all__ = ["Bounds", "PartPattern", "Shown"]


class Shown(StrEnum):
    """What a VMM may show a guest."""

    ANY = "any"  # whatever it likes
    SUBSET = "subset"  # the host's part, and of what KVM offers what it likes
    OFFERED = "offered"  # the host's part and just what KVM offers


@dataclass(frozen=True, slots=True)
class PartPattern:
    """Parts by vendor, family, model and stepping; None takes any."""

    vendor: str | None = None
    family: int | None = None
    model: int | None = None
    stepping: int | None = None

    def fits(self, vendor: str, family: int, model: int, stepping: int) -> bool:
        """Return whether that signature is one of these."""
        pairs = ((self.vendor, vendor), (self.family, family), (self.model, model), (self.stepping, stepping))
        return all(wanted is None or wanted == has for wanted, has in pairs)


def _all() -> frozenset[int]:
    return frozenset(range(len(kernels.releases())))


@dataclass(frozen=True)
class Bounds:
    """The configurations that are looked at; by default all of them.

    `host_parts`: the hosts, of those that tables name (none: all); `kvm` and `guest_kernels`: places in `releases()`;
    `given`: facts and rules with the value that they have to have; an option of a kernel is set to it. `any_silicon`:
    without the axioms about real hardware. The command lines are those of every host's and every guest's kernel.
    `kernels`: places for single kernels by name, of which a later one then need not be later.
    """

    host_parts: tuple[PartPattern, ...] = ()
    kvm: frozenset[int] = field(default_factory=_all)
    guest_kernels: frozenset[int] = field(default_factory=_all)
    given: Mapping[str, bool] = field(default_factory=dict)
    any_silicon: bool = False
    shown: Shown = Shown.ANY
    host_cmdline: str = ""
    guest_cmdline: str = ""
    kernels: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def places_of(self, kernel: str) -> frozenset[int]:
        """Return the places of the releases that the kernel `kernel` may have."""
        if kernel in self.kernels:
            return self.kernels[kernel]
        return self.kvm if kernel.endswith("host_kernel") else self.guest_kernels

    def cmdline_of(self, kernel: str) -> str:
        """Return the command line of the kernel `kernel`."""
        return self.host_cmdline if kernel.endswith("host_kernel") else self.guest_cmdline

    def count_hosts(self, box: Box) -> int:
        """Return how many of a box's signatures a host may have: those that tables name, and that are asked about."""
        if not box.named or not self.host_parts:
            return len(box) if box.named else 0
        return sum(any(part.fits(*signature) for part in self.host_parts) for signature in box.signatures())

    def among(self, places: frozenset[int]) -> Bounds:
        """Return these bounds for the kernels at `places` alone; all of them where they have none of those."""
        return replace(
            self, kvm=self.kvm & places or self.kvm, guest_kernels=self.guest_kernels & places or self.guest_kernels
        )

    def showing(self, shown: Shown) -> Bounds:
        """Return the same bounds, with what a VMM may show a guest."""
        return replace(self, shown=shown)

    @property
    def fixed(self) -> Mapping[str, bool]:
        """What is given of kernels' options: they are set so, and do not choose among releases."""
        return {name: value for name, value in self.given.items() if name.partition(".")[2] in KERNEL_LOOKUPS}
