"""Counts of the space against brute force: the same number of configurations, one by one.

Each property is looked at on slices of its space: some parts and releases, and some bits given at random. On each slice
every assignment of the other bits is counted, for each choice of parts and releases on its own and for all together.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

import pytest

from archcaps.logic.graph import Node
from archcaps.machine.facts import LIST_FLAGS
from archcaps.rules.host_border import exposes_host
from archcaps.rules.shown import model
from archcaps.rules.verdict import Truth, exposed, truth
from archcaps.space.bounds import Bounds, PartPattern, Shown
from archcaps.space.cells import Cell
from archcaps.space.lookups import Kernels, PartClass
from archcaps.space.names import OTHER_PART, UNKNOWN
from archcaps.space.parts import Box
from archcaps.space.releases import choose_releases, releases
from archcaps.space.space import Space
from archcaps.tables.names import VULNERABILITIES
from tests.space.brute import Brute, Counts, Part

INTEL, AMD, HYGON, ZHAOXIN = "GenuineIntel", "AuthenticAMD", "HygonGenuine", "  Shanghai  "
#: ARCHCAPS_SPACE=full (make prove-check) looks at more slices, and larger ones.
FULL = os.environ.get("ARCHCAPS_SPACE") == "full"
#: How many bits of a slice are free; how many configurations a property is compared on at least.
FREE = 17 if FULL else 15
AT_LEAST = 1 << (26 if FULL else 24)
#: In at most so many slices: each lets other bits free than the one before.
MOST = 50

CASCADE_LAKE, SKYLAKE = Part(INTEL, 6, 0x55, 7), Part(INTEL, 6, 0x55, 4)
MILAN, TURIN, DHYANA = Part(AMD, 0x19, 0x01, 1), Part(AMD, 0x1A, 0x02, 1), Part(HYGON, 0x18, 0, 2)
ICE_LAKE, GOLDMONT, HASWELL = Part(INTEL, 6, 0x6A, 6), Part(INTEL, 6, 0x5C, 9), Part(INTEL, 6, 0x3F, 2)
ALDER_LAKE = Part(INTEL, 6, 0x97, 2)
GRACEMONT = Part(INTEL, 6, 0x97, 2, hybrid=True, atom=True)
#: Other parts that a guest may be shown: also ones that nobody builds.
OTHERS = (
    SKYLAKE, MILAN, GRACEMONT, ICE_LAKE, Part(INTEL, 4, 8, 0), Part(ZHAOXIN, 7, 0x3B, 0), Part(AMD, 0x1A, 0x90, 0),
    Part(HYGON, 0x1A, 0x02, 1), Part(AMD, 0x1F, 0, 0), Part(INTEL, 0x19, 0xB0, 3), GOLDMONT, DHYANA,
)  # fmt: skip


@cache
def properties() -> dict[str, Node]:
    guest = model().guest
    found: dict[str, Node] = {}
    for name in VULNERABILITIES:
        found |= {f"{value}-{name}": truth(guest, name).is_in([value]) for value in Truth}
        found |= {f"exposed-{name}": exposed(guest, name), f"exposes-host-{name}": exposes_host(guest, name)}
    return found


@dataclass(frozen=True)
class Slice:
    """Which hosts, releases and bits, and how the guests are shown."""

    hosts: tuple[Part, ...]
    kvm: str = "6.12.117"
    guests: str = "6.1.192"
    shown: Shown = Shown.ANY
    given: Mapping[str, bool] = field(default_factory=dict)
    silicon: bool = True
    others: tuple[Part, ...] = ()

    def bounds(self, given: Mapping[str, bool]) -> Bounds:
        return Bounds(
            host_parts=tuple(PartPattern(part.vendor, part.family, part.model, part.stepping) for part in self.hosts),
            kvm=choose_releases(self.kvm, "kvm"),
            guest_kernels=choose_releases(self.guests, "guests"),
            given=given,
            any_silicon=not self.silicon,
            shown=self.shown,
        )


def kinds(part: Part) -> list[Part]:
    """Return a host's part with every kind of core: of Alder Lake and Raptor Lake the lists ask for it."""
    if (part.vendor, part.family, part.model) not in {(INTEL, 6, 0x97), (INTEL, 6, 0xB7)}:
        return [part]
    pairs = ((False, False), (False, True), (True, False), (True, True))
    return [Part(part.vendor, part.family, part.model, part.stepping, hybrid, atom) for hybrid, atom in pairs]


def sliced(root: Node, cut: Slice, seed: str) -> tuple[Space, dict[str, bool]]:
    """Return a slice of the space: bits of the host and of the guest are given until few enough are free.

    Their values are those of some configuration in which the node holds, where there is one.
    """
    given = dict(cut.given)
    space = Space(root, cut.bounds(given), seconds=3600)
    choose = random.Random(seed)
    names = sorted(name for name in Brute(root, free_of(space), given).free if "recent_microcode" not in name)
    if cut.shown is Shown.OFFERED:
        names = [name for name in names if not name.startswith("deviates:")]
    choose.shuffle(names)
    values = some_configuration(space, choose)
    for name in names[: max(0, len(names) - FREE)]:
        fact = f"guest.{name.removeprefix('deviates:')}" if name.startswith("deviates:") else name
        given[fact] = values[fact]
    return Space(root, cut.bounds(given), seconds=3600), given


def some_configuration(space: Space, choose: random.Random) -> dict[str, bool]:
    """Return the bits of a configuration that can be, if there is one where the node holds one of these."""
    diagrams = space.diagrams
    cells = [cell for cell in space.cells() if not cell.other_part]
    holding = [cell for cell in cells if cell.found != diagrams.false]
    cell = choose.choice(holding or cells)
    prices = {name: choose.randrange(100) for name in diagrams.names}
    values = diagrams.least(cell.found if holding else cell.possible, lambda name, value: prices[name] if value else 50)
    assert values is not None
    for name in [name for name in values if name.startswith("deviates:") and name != OTHER_PART]:
        fact = f"guest.{name.removeprefix('deviates:')}"
        default = diagrams.evaluate(cell.host.defaults[fact], values) if fact in cell.host.defaults else True
        values[fact] = default is not values[name]
    return values


def free_of(space: Space) -> list[str]:
    return [name for name in space.diagrams.names if name != OTHER_PART and not name.startswith(UNKNOWN)]


# --- what the space counts ----------------------------------------------------------------------------------------


def counted(space: Space, cell: Cell) -> Counts:
    """Return for one choice of a cell what the diagrams count."""
    diagrams = space.diagrams
    some = diagrams.exists(cell.found, space.unknowns)
    fails = diagrams.exists(diagrams.all_of((cell.possible, ~cell.found)), space.unknowns)
    possible = diagrams.exists(cell.possible, space.unknowns)
    return Counts(
        space.count(possible),
        space.count(diagrams.all_of((some, ~fails))),
        space.count(diagrams.all_of((some, fails))),
    )


def has_part(found: PartClass, part: Part) -> bool:
    def in_box(box: Box) -> bool:
        same = (box.vendor, box.hybrid, box.atom) == (part.vendor, part.hybrid, part.atom)
        return same and part.family in box.families and part.model in box.models and part.stepping in box.steppings

    return any(map(in_box, found.boxes))


def has_kernel(kernels: Kernels, kernel: str, place: int) -> bool:
    return place in kernels.places.get(kernel, (place,))


def at(release: str) -> int:
    (place,) = choose_releases(release, release)
    return place


class Counted:
    """The cells of a space, and each one's counts."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.cells = [(cell, counted(space, cell)) for cell in space.cells()]

    def of(self, host: Part, kvm: int, guest: Part | None, kernel: int, built: bool) -> Counts:
        """Return the counts of one choice; `guest` None: the host's own part."""
        found = [
            counts
            for cell, counts in self.cells
            if cell.other_part is (guest is not None)
            and any(has_part(part, host) and has_kernel(each, "host_kernel", kvm) for part, each in cell.host.members)
            and any(
                has_part(part, guest or host) and has_kernel(each, "guest_kernel", kernel) and each.built is built
                for part, each in (cell.guest.members if guest else cell.guest.own_members)
            )
        ]
        assert len(found) <= 1
        return found[0] if found else Counts(0, 0, 0)

    @property
    def total(self) -> Counts:
        """Return the counts of all choices in which a guest is shown the host's part."""
        total = Counts(0, 0, 0)
        for cell, counts in self.cells:
            if not cell.other_part:
                weight = cell.weight
                total += Counts(weight * counts.possible, weight * counts.sure, weight * counts.open)
        return total


def compare(root: Node, cut: Slice, seed: str) -> tuple[int, Counts]:
    """Compare a slice; return how many configurations were looked at, and the counts."""
    space, given = sliced(root, cut, seed)
    brute = Brute(root, free_of(space), given, shown=cut.shown, silicon=cut.silicon)
    diagrams = Counted(space)
    # A kernel of which no fact speaks is no choice.
    scopes = {name.partition(".")[0] for name in space.facts}
    guest_kernels, kvms = choose_releases(cut.guests, ""), choose_releases(cut.kvm, "")
    total, others = Counts(0, 0, 0), Counts(0, 0, 0)
    for host in (kind for part in cut.hosts for kind in kinds(part)):
        for kvm in kvms if _speak_of_the_host_s_kernel(space.facts) else [min(kvms)]:
            for kernel in guest_kernels if scopes & {"guest_kernel", "guest"} else [min(guest_kernels)]:
                for built in (True, False):
                    releases_of = (releases()[kvm].text, releases()[kernel].text)
                    expected = brute.counts(host, releases_of[0], host.plain, releases_of[1], built)
                    assert diagrams.of(host, kvm, None, kernel, built) == expected, (host, kvm, kernel, built)
                    total += expected
                    for other in cut.others if cut.shown is Shown.ANY else ():
                        if other != host.plain:
                            expected = brute.counts(host, releases_of[0], other, releases_of[1], built)
                            assert diagrams.of(host, kvm, other, kernel, built) == expected, (host, other, kernel)
                            others += expected
    if scopes & {"guest_kernel"} or not scopes & {"guest"}:
        assert diagrams.total == total
    return brute.compared, total + others


def _speak_of_the_host_s_kernel(facts: Iterable[str]) -> bool:
    """Return whether a fact is of the host's kernel, or of a list in it."""
    pairs = [name.partition(".")[::2] for name in facts]
    return any(scope == "host_kernel" or (scope == "host" and what in LIST_FLAGS) for scope, what in pairs)


SLICES = (
    Slice((CASCADE_LAKE, SKYLAKE), "6.6.150,7.1.5", "5.15.215,6.12.117", others=OTHERS[:6]),
    Slice((ICE_LAKE,), "6.1.192,6.19.9", "6.1.192,7.1.5", others=OTHERS[6:]),
    Slice((CASCADE_LAKE, GOLDMONT), "5.10.265,6.12.116", "5.4.301,6.16.1", Shown.SUBSET),
    Slice((HASWELL,), "5.15.47,6.8", "6.6.150", silicon=False, others=OTHERS[:3]),
    Slice((ALDER_LAKE,), "6.12.117", "6.18.35", others=OTHERS[:2]),
    Slice((MILAN, TURIN), "6.12.117,6.16.1", "6.1.192,6.17", others=OTHERS[:6]),
    Slice((MILAN, DHYANA), "6.12.28,7.1.5", "6.1.143,7.1.5", Shown.SUBSET),
    Slice((TURIN,), "7.3.4", "6.12.37", silicon=False, others=OTHERS[6:]),
    Slice((CASCADE_LAKE,), "7.1.5", "7.1.5", Shown.OFFERED),
    Slice((SKYLAKE,), "6.12.117", "6.12.117", given={"guest_kernel.mds_off": True, "guest_kernel.taa_off": True}),
    Slice((CASCADE_LAKE,), "6.12.117", "6.12.117", given={"guest.x86_bug_mds": True, "host.x86_bug_mds": False}),
)

#: What is looked at by `make test`, and the slice that each begins with.
SAMPLE = {
    "broken-promise-mds": 7, "exposed-mds": 1, "exposes-host-mds": 0, "false-immunity-tsx_async_abort": 0,
    "exposed-mmio_stale_data": 0, "exposes-host-mmio_stale_data": 0, "broken-promise-reg_file_data_sampling": 1,
    "exposed-tsa": 5, "false-alarm-tsa": 5,
}  # fmt: skip


@pytest.mark.parametrize("name", list(properties()) if FULL else list(SAMPLE))
def test_every_count_is_that_of_brute_force(name: str) -> None:
    looked_at = 0
    total = Counts(0, 0, 0)
    first = SAMPLE.get(name, 0)
    number = 0
    # A property of which few facts are free has few configurations in a slice: it is looked at in so many, and no more.
    while number < MOST and (looked_at < AT_LEAST or (FULL and number < len(SLICES))):
        cut = SLICES[(first + number) % len(SLICES)]
        compared, counts = compare(properties()[name], cut, f"{name} {number}")
        looked_at += compared
        total += counts
        number += 1
    # The comparison is of something: configurations that can be, and of them some where it does not hold.
    assert total.sure < total.possible
    assert total.sure + total.open > 0 or name not in SAMPLE


def test_every_choice_of_parts_and_releases_is_in_one_cell() -> None:
    cut = Slice((ALDER_LAKE, SKYLAKE), "6.6.150,7.1.5", "5.15.215,6.12.117,6.16.1", silicon=False)
    space = Space(properties()["broken-promise-mds"], cut.bounds({}))
    weights = {other: sum(cell.weight for cell in space.cells() if cell.other_part is other) for other in (True, False)}
    # Five hosts (Alder Lake with four kinds of cores), two KVMs, three kernels with KVM and without it.
    assert weights[False] == 5 * 2 * 3 * 2
    # 2 ** 19 signatures; three more kinds of cores for each of 16 steppings of two models; less the host's own.
    assert weights[True] == 5 * 2 * 3 * 2 * ((1 << 19) + 3 * 16 * 2 - 1)


def test_a_host_is_bare_metal_and_that_is_no_choice() -> None:
    space = Space(properties()["exposed-mds"], SLICES[0].bounds({}))
    assert "host.hypervisor" in space.facts
    assert "host.hypervisor" not in space.diagrams.names
