"""What is looked up of parts and of releases, for all of them; parts and releases that are alike are one class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TypeAlias

from archcaps.machine.facts import LIST_FLAGS, PUBLISHED
from archcaps.machine.identity import identity_lookups
from archcaps.space import releases
from archcaps.space.bounds import Bounds
from archcaps.space.names import CPUS, KERNELS, LATER, UNKNOWN, microcode_of, split
from archcaps.space.parts import Box, boxes
from archcaps.tables.linux_lists import asks_for_cores, list_flag
from archcaps.tables.silicon import mds_listed_immune, published, tsa_microcode, tsa_microcode_needed

__all__ = [
    "Kernels",
    "PartClass",
    "Value",
    "kernel_classes",
    "lists_asked",
    "part_classes",
    "value_of_kernel",
    "value_of_part",
]

#: A fact's value, or the name of the variable that it is.
Value: TypeAlias = bool | str


@dataclass(frozen=True, eq=False)
class PartClass:
    """Boxes of signatures that are alike to all look-ups that are asked.

    `hosts` and `guests` count the signatures that a host and that another part shown to a guest may have. `own` is the
    box that a guest has which is shown such a part by default.
    """

    boxes: tuple[Box, ...]
    hosts: int
    guests: int
    own: Box


@dataclass(frozen=True, eq=False)
class Kernels:
    """One choice of a class of releases for each kernel: their places, in how many ways one of each can be chosen.

    `built`: the guests' kernels are built with KVM.
    """

    places: Mapping[str, tuple[int, ...]]
    ways: int
    built: bool = True


# --- parts --------------------------------------------------------------------------------------------------------


@cache
def _answers(what: str, place: int) -> Mapping[Box, bool | None]:
    """Return what is known of every box; of a list that of the release at `place`."""
    if what in LIST_FLAGS:
        which, flag = LIST_FLAGS[what]
        release = releases.releases()[place]
        typed = asks_for_cores(which, flag)
        found: dict[Box, bool | None] = {}
        for box in boxes():
            plain = found.get(_plain(box)) if not typed and not box.plain else None
            found[box] = list_flag(which, flag, box.part, release).value if plain is None else plain
        return found
    if what in PUBLISHED:
        return {box: published(PUBLISHED[what], box.part).affected for box in boxes()}
    if what == "mds_listed_immune":
        return {box: mds_listed_immune(box.part) for box in boxes()}
    if what == "tsa_microcode":
        # The revision names its part, so the one from which on it clears is the part's own.
        return {box: tsa_microcode(box.part, tsa_microcode_needed(box.part), unlisted=None) for box in boxes()}
    return {box: identity_lookups(box.part)[what] for box in boxes()}


@cache
def _plain_boxes() -> Mapping[tuple[object, ...], Box]:
    return {(box.vendor, box.families, box.models, box.steppings): box for box in boxes() if box.plain}


def _plain(box: Box) -> Box:
    """Return the box of the same signatures that a guest is shown by default."""
    return _plain_boxes()[box.vendor, box.families, box.models, box.steppings]


def lists_asked(name: str, kernels: Kernels) -> int:
    """Return the place of the first release with the same lists, of those that decide a fact looked up by a part.

    0 where no list does.
    """
    scope, what = split(name)
    if what not in LIST_FLAGS:
        return 0
    return releases.list_groups(*LIST_FLAGS[what])[kernels.places[CPUS[scope][1]][0]]


def value_of_part(name: str, box: Box, kernels: Kernels) -> Value:
    """Return the value of a fact that is looked up by a part, and by the lists of one of `kernels`."""
    scope, what = split(name)
    if what == "register_file_spared":
        return UNKNOWN + name
    found = _answers(what, lists_asked(name, kernels))[box]
    if what == "tsa_microcode":
        # Of a part that the kernel's table does not list the kernel says no, and of the silicon nobody says anything.
        if found:
            return microcode_of(name)
        found = found if scope == "silicon" else False
    return UNKNOWN + name if found is None else found


def part_classes(facts: Iterable[str], bounds: Bounds) -> tuple[PartClass, ...]:
    """Return the classes of parts that these facts can tell apart, whatever the kernels."""
    asked = [(what, groups) for what, groups in _asked(facts, bounds)]
    found: dict[object, list[Box]] = {}
    for box in boxes():
        plain = _plain(box)
        key = tuple(
            (_answers(what, place)[box], _answers(what, place)[plain]) for what, groups in asked for place in groups
        )
        found.setdefault(key, []).append(box)
    classes = []
    for alike in found.values():
        hosts = sum(bounds.count_hosts(box) for box in alike)
        classes.append(PartClass(tuple(alike), hosts, sum(map(len, alike)), _plain(alike[0])))
    return tuple(classes)


def _asked(facts: Iterable[str], bounds: Bounds) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield what is looked up by part, with the places of releases with different lists."""
    by_what: dict[str, set[int]] = {}
    for scope, what in map(split, facts):
        if scope in CPUS and what in LIST_FLAGS:
            groups = releases.list_groups(*LIST_FLAGS[what])
            by_what.setdefault(what, set()).update(groups[place] for place in bounds.places_of(CPUS[scope][1]))
        elif scope in CPUS and what != "register_file_spared":
            by_what.setdefault(what, set()).add(0)
    yield from ((what, tuple(sorted(groups))) for what, groups in by_what.items())


# --- kernels ------------------------------------------------------------------------------------------------------


def value_of_kernel(name: str, kernels: Kernels, bounds: Bounds) -> Value:
    """Return the value of a behaviour or an option of one of `kernels`."""
    scope, what = split(name)
    built = KERNELS[scope] or kernels.built
    place = kernels.places[scope][0]
    value = releases.fact_at(place, bounds.cmdline_of(scope), what, host=KERNELS[scope], kvm_built=built)
    return UNKNOWN + name if value is None else value


def kernel_classes(facts: Sequence[str], bounds: Bounds, *, hosts: bool) -> tuple[Kernels, ...]:
    """Return every choice of classes for the hosts' or for the guests' kernels, those of the newest releases first.

    A class are the releases that these facts cannot tell apart. Where no fact speaks of a kernel there is none of it.
    """
    scopes = [scope for scope, host in KERNELS.items() if host is hosts and _speaks_of(facts, scope)]
    found = []
    for built in (True,) if hosts else (True, False):
        for places in product(*(_classes(facts, scope, bounds, built) for scope in scopes)):
            chosen = dict(zip(scopes, places, strict=True))
            ways = _ways(chosen, bounds)
            if ways:
                found.append(Kernels(chosen, ways, built))
    return tuple(found)


def _speaks_of(facts: Iterable[str], kernel: str) -> bool:
    return any(
        scope == kernel or (scope in CPUS and what in LIST_FLAGS and CPUS[scope][1] == kernel)
        for scope, what in map(split, facts)
    )


def _classes(facts: Iterable[str], kernel: str, bounds: Bounds, built: bool) -> list[tuple[int, ...]]:
    pairs = [split(name) for name in facts]
    own = [what for scope, what in pairs if scope == kernel]
    lists = {
        LIST_FLAGS[what] for scope, what in pairs if scope in CPUS and what in LIST_FLAGS and CPUS[scope][1] == kernel
    }
    host, cmdline = KERNELS[kernel], bounds.cmdline_of(kernel)
    found: dict[object, list[int]] = {}
    for place in sorted(bounds.places_of(kernel), reverse=True):
        known = [releases.fact_at(place, cmdline, what, host=host, kvm_built=host or built) for what in own]
        key = (*known, *(releases.list_groups(*each)[place] for each in lists))
        found.setdefault(key, []).append(place)
    return [tuple(places) for places in found.values()]


def _ways(places: Mapping[str, tuple[int, ...]], bounds: Bounds) -> int:
    """Return in how many ways one release of each kernel can be chosen, later ones after those before them."""
    ways = 1
    for kernel, chosen in places.items():
        before = places.get(LATER.get(kernel, ""), ())
        if before and kernel not in bounds.kernels:
            ways = ways // len(before) * sum(1 for old in before for new in chosen if old < new)
        else:
            ways *= len(chosen)
    return ways
