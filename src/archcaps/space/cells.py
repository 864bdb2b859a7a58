"""Classes of hosts and of guests that a node cannot tell apart, and the configurations of one of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_

from archcaps.logic.diagram import Function
from archcaps.space.choices import Choices
from archcaps.space.facts import Deviating, Shows
from archcaps.space.lookups import Kernels, PartClass

__all__ = ["Cell", "GuestClass", "Guests", "HostClass"]


class Guests:
    """A set of choices of guests, weighed once: classes are made of such, in several ways for several hosts."""

    def __init__(self, choices: Choices, chosen: int) -> None:
        self.choices = choices
        self.chosen = chosen

    @cached_property
    def ways(self) -> tuple[int, Mapping[PartClass, int]]:
        """In how many ways signature and releases can be chosen of another part than the host's, and of each own."""
        others, found = 0, dict[PartClass, int]()
        for (part, own), ways in self.choices.ways(self.chosen):
            if own:
                found[part] = found.get(part, 0) + ways
            else:
                others += part.guests * ways
        return others, found

    @cached_property
    def beside_others(self) -> int:
        """All choices with the kernels that see another part than the host's."""
        return self.choices.beside(self.chosen & self.choices.others)

    @cached_property
    def places(self) -> frozenset[int]:
        """The places of all releases of its kernels where another part than the host's is shown."""
        return self.choices.places(self.chosen & self.choices.others)


@dataclass(eq=False)
class GuestClass:
    """Guests that are alike on the same hosts: the part that they are shown, and releases of their kernels.

    They are all of `parts`, which have no choice in common; `given` and `root` are what is left of what is given and of
    the node that is asked about, as functions of facts.
    """

    choices: Choices
    parts: Sequence[Guests]
    given: Function
    root: Function

    @cached_property
    def chosen(self) -> int:
        """The set of choices."""
        return reduce(or_, (part.chosen for part in self.parts))

    @cached_property
    def members(self) -> list[tuple[PartClass, Kernels]]:
        """The choices of another part than the host's."""
        return [(part, kernels) for (part, own), kernels in self.choices.members(self.chosen) if not own]

    @cached_property
    def own_members(self) -> list[tuple[PartClass, Kernels]]:
        """The choices of the host's own part."""
        return [(part, kernels) for (part, own), kernels in self.choices.members(self.chosen) if own]

    @cached_property
    def ways(self) -> int:
        """In how many ways the signature of another part and the releases can be chosen."""
        return sum(part.ways[0] for part in self.parts)

    @cached_property
    def own(self) -> Mapping[PartClass, int]:
        """In how many ways the releases can be chosen for the host's own part, for each class of parts."""
        found: dict[PartClass, int] = {}
        for own in (each.ways[1] for each in self.parts):
            for part, ways in own.items():
                found[part] = found.get(part, 0) + ways
        return found

    @cached_property
    def beside_others(self) -> int:
        """All choices with the kernels that see another part than the host's."""
        return reduce(or_, (part.beside_others for part in self.parts))

    @cached_property
    def places(self) -> frozenset[int]:
        """The places of all releases of its kernels where another part is shown."""
        return frozenset[int]().union(*(part.places for part in self.parts))

    def own_places_of(self, parts: Iterable[PartClass]) -> frozenset[int]:
        """Return the same where the host's own part is shown, and it is one of `parts`."""
        shown = self.choices.of_columns((part, True) for part in parts if part in self.own)
        return self.choices.places(self.chosen & shown)


@dataclass(eq=False)
class HostClass:
    """Hosts that are alike: a part and releases of the host's kernels, with the `guests` they tell apart.

    `chosen` is a set of `choices`. `possible` holds for what their hardware can be, `defaults` are the bits that a
    guest is shown by default. `shows` reads functions over what guests are shown, `deviating` makes of these such over
    what deviates.
    """

    choices: Choices
    chosen: int
    guests: Sequence[GuestClass]
    possible: Function
    defaults: Mapping[str, Function]
    shows: Shows
    deviating: Deviating

    @cached_property
    def members(self) -> list[tuple[PartClass, Kernels]]:
        """The choices."""
        return [(part, kernels) for (part, _), kernels in self.choices.members(self.chosen)]

    @cached_property
    def parts(self) -> Mapping[PartClass, int]:
        """In how many ways signature and releases can be chosen, for each class of parts."""
        found: dict[PartClass, int] = {}
        for (part, _), ways in self.choices.ways(self.chosen):
            found[part] = found.get(part, 0) + part.hosts * ways
        return found

    @cached_property
    def places(self) -> frozenset[int]:
        """The places of all releases of its kernels."""
        return self.choices.places(self.chosen)

    def places_of(self, parts: Iterable[PartClass]) -> frozenset[int]:
        """Return the same of hosts that are one of `parts`."""
        wanted = frozenset(parts)
        columns = [column for column in self.choices.columns if column[0] in wanted]
        return self.choices.places(self.chosen & self.choices.of_columns(columns))


@dataclass(frozen=True)
class Cell:
    """The configurations of one class of hosts and one of guests, that are shown the host's part or another one.

    `weight` is how many choices of signatures and releases they are; `shown` are the two functions below, over the bits
    that the guest is shown instead of what deviates.
    """

    host: HostClass
    guest: GuestClass
    other_part: bool
    weight: int
    shown: tuple[Function, Function]

    @property
    def possible(self) -> Function:
        """Holds for every configuration."""
        return self.host.deviating(self.shown[0])

    @property
    def found(self) -> Function:
        """Holds for the configurations where the root holds too."""
        return self.host.deviating(self.shown[1])

    @property
    def guest_places(self) -> frozenset[int]:
        """The places of all releases of its guests' kernels: with the host's part shown, of those with its parts."""
        return self.guest.places if self.other_part else self.guest.own_places_of(self.host.parts)

    @property
    def host_places(self) -> frozenset[int]:
        """The places of all releases of its hosts' kernels: with the host's part shown, of those with a guest's."""
        return self.host.places if self.other_part else self.host.places_of(self.guest.own)
