"""Classes of hosts and of guests that a node can not tell apart, and the configurations of one of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from archcaps.logic.diagram import Function
from archcaps.space.lookups import Kernels, PartClass, Value

__all__ = ["Cell", "GuestClass", "HostClass"]


@dataclass(eq=False)
class HostClass:
    """Hosts that are alike: a part and releases of the host's kernels, and every other such choice.

    `possible` holds for what their hardware can be, `defaults` are the bits that a guest is shown by default;
    `over_facts`: what is given and the root, with these values. `members` are the choices; `parts` says in how many
    ways signature and releases can be chosen, for each class of parts.
    """

    values: Mapping[str, Value]
    possible: Function
    defaults: Mapping[str, Function]
    over_facts: tuple[Function, Function]
    members: list[tuple[PartClass, Kernels]] = field(default_factory=list)
    parts: dict[PartClass, int] = field(default_factory=dict)

    @cached_property
    def places(self) -> frozenset[int]:
        """The places of all releases of its kernels, once every choice was added."""
        return _places(self.members)

    def add(self, part: PartClass, kernels: Kernels) -> None:
        """Add one more choice."""
        self.members.append((part, kernels))
        self.parts[part] = self.parts.get(part, 0) + part.hosts * kernels.ways

    def join(self, other: HostClass) -> None:
        """Add all choices of another class."""
        for part, kernels in other.members:
            self.add(part, kernels)


@dataclass(eq=False)
class GuestClass:
    """Guests that are alike: the part that they are shown, and releases of their kernels.

    `members` are the choices of another part than the host's, and `ways` in how many ways signature and releases can be
    chosen for them; `own_members` those of the host's own part, and `own` in how many ways the releases can be.
    """

    values: Mapping[str, Value]
    members: list[tuple[PartClass, Kernels]] = field(default_factory=list)
    own_members: list[tuple[PartClass, Kernels]] = field(default_factory=list)
    ways: int = 0
    own: dict[PartClass, int] = field(default_factory=dict)

    @cached_property
    def places(self) -> frozenset[int]:
        """The places of all releases of its kernels where another part is shown, once every choice was added."""
        return _places(self.members)

    @cached_property
    def own_places(self) -> frozenset[int]:
        """The same where the host's own part is shown."""
        return _places(self.own_members)

    def add(self, part: PartClass, kernels: Kernels) -> None:
        """Add one more choice of another part than the host's."""
        self.members.append((part, kernels))
        self.ways += part.guests * kernels.ways

    def add_own(self, part: PartClass, kernels: Kernels) -> None:
        """Add one more choice of the host's own part."""
        self.own_members.append((part, kernels))
        self.own[part] = self.own.get(part, 0) + kernels.ways

    def join(self, other: GuestClass) -> None:
        """Add all choices of another class."""
        for part, kernels in other.members:
            self.add(part, kernels)
        for part, kernels in other.own_members:
            self.add_own(part, kernels)


@dataclass(frozen=True)
class Cell:
    """The configurations of one class of hosts and one of guests, that are shown the host's part or another one.

    `weight` is how many choices of signatures and releases they are; `possible` holds for every configuration, `found`
    for those where the root holds too.
    """

    host: HostClass
    guest: GuestClass
    other_part: bool
    weight: int
    possible: Function
    found: Function

    @property
    def guest_places(self) -> frozenset[int]:
        """The places of all releases of its guests' kernels."""
        return self.guest.places if self.other_part else self.guest.own_places


def _places(members: Iterable[tuple[PartClass, Kernels]]) -> frozenset[int]:
    return frozenset(place for _, kernels in members for chosen in kernels.places.values() for place in chosen)
