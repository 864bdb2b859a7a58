"""Random (host, kernel release, guest) triples for a sweep, and the graph's facts about them as bit planes.

ARCHCAPS_SWEEP says how many triples; `make test` takes 20,000, `make sweep` a million.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from msgspec.structs import replace

from archcaps.logic.bitplanes import BitPlanes, Planes
from archcaps.logic.graph import Kind, Node, walk
from archcaps.machine.facts import facts_of
from archcaps.machine.snapshot import Snapshot
from archcaps.rules.kvm_offer import kvm_get_arch_capabilities
from archcaps.rules.kvm_vmx_entry import cleared_before_entry
from archcaps.rules.shown import model
from archcaps.tables.bits import ARCH_CAPABILITIES
from tests.oracle.kvm import Kvm
from tests.oracle.machines import PROFILES, Host, Profile
from tests.oracle.random_hosts import ANCHORS, guest_word, host_snapshot, random_host

__all__ = ["PARTS", "Guest", "Pair", "Triples"]

TRIPLES: Final = int(os.environ.get("ARCHCAPS_SWEEP") or 20_000)
#: Parts that can run beside each other, and how many hosts are drawn in each.
PARTS, HOSTS = (1, 20) if TRIPLES <= 20_000 else (32, 16)
GUESTS: Final = -(-TRIPLES // (PARTS * HOSTS * len(PROFILES)))

#: The facts that the compared rules read: others may stay unknown.
READ: Final = frozenset(
    node.name
    for node in walk(
        (
            cleared_before_entry(model().guest, "mmio_stale_data"),
            *(kvm_get_arch_capabilities(model().kvm, name) for name in ARCH_CAPABILITIES),
        )
    )
    if node.kind is Kind.FACT
)
_EMPTY: Final = Snapshot(format_version=1, role="guest")
#: Scopes of the facts that a host and its kernel give, the same for all its guests.
_OF_PAIR: Final = ("host.", "host_kernel.", "silicon.")


@dataclass(frozen=True)
class Guest:
    """What userspace does with a vCPU, and what the VM can reach."""

    word: int
    cpuid: bool
    assigned_device: bool
    host_mmio: bool


@dataclass(frozen=True)
class Pair:
    """A host with a kernel: the facts that the graph is given, the oracle, and the guests.

    `told`: all facts are what archcaps finds by itself.
    """

    host: Host
    profile: Profile
    facts: dict[str, bool]
    told: bool
    oracle: Kvm
    guests: tuple[Guest, ...]

    def __str__(self) -> str:
        return f"{self.host} under {self.profile.version}"


def _pair(host: Host, profile: Profile, random: Random) -> Pair:
    """Draw the guests of a pair.

    The graph is given the rows of the list that the oracle reads: archcaps knows the lists of more releases, and where
    they differ.
    """
    snapshot = host_snapshot(host, profile)
    facts = facts_of(snapshot, _EMPTY)
    values = facts.values
    missing = {name for name in facts.unknown if name in READ}
    listed = facts_of(replace(snapshot, kernel=replace(snapshot.kernel, release=profile.lists)), _EMPTY).values
    rows = {name: listed[name] for name in READ if name.startswith("host.listed_")}
    same = all(values.get(name) == value for name, value in rows.items())
    values |= rows
    guests = tuple(
        Guest(guest_word(random), random.random() < 0.8, random.random() < 0.5, random.random() < 0.5)
        for _ in range(GUESTS)
    )
    return Pair(host, profile, values, same and not missing, Kvm(host, profile), guests)


class Triples:
    """Some hosts, each with every kernel of profiles.json and some guests: a row each, pair by pair.

    Iterating yields the oracle's KVM, the guest, and the word that its vCPU holds.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = pairs
        self._rows = [
            (pair.oracle, guest, pair.oracle.stored(guest.word, cpuid=guest.cpuid))
            for pair in pairs
            for guest in pair.guests
        ]
        self._planes = BitPlanes(len(self), self._facts())

    @classmethod
    def of_part(cls, part: int) -> Triples:
        """Draw one part of the sweep: the same hosts each time."""
        random = Random(f"archcaps sweep {part}")
        hosts = [*ANCHORS, *(random_host(random) for _ in range(HOSTS - len(ANCHORS)))]
        return cls([_pair(host, profile, random) for host in hosts for profile in PROFILES])

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[Kvm, Guest, int]]:
        return iter(self._rows)

    def plane(self, bits: Iterable[bool]) -> int:
        """Return the plane of the rows that are true."""
        return int("".join("1" if bit else "0" for bit in bits)[::-1], 2)

    def planes_of_words(self, values: Sequence[int]) -> list[int]:
        """Return for each of the 64 bits the plane of the rows whose word has it."""
        octets = b"".join(value.to_bytes(8, "little") for value in values)
        tables = [bytes(b"01"[number >> bit & 1] for number in range(256)) for bit in range(8)]
        return [int(octets[bit // 8 :: 8].translate(tables[bit % 8])[::-1], 2) for bit in range(64)]

    def _facts(self) -> dict[str, Planes]:
        guests = [guest for _, guest, _ in self]
        every = (1 << len(guests)) - 1
        written = self.planes_of_words([guest.word for guest in guests])
        true = {f"guest.{name}": written[bit.bit] for name, bit in ARCH_CAPABILITIES.items()}
        true["guest.arch_capabilities"] = self.plane(guest.cpuid for guest in guests)
        true["vm.has_assigned_device"] = self.plane(guest.assigned_device for guest in guests)
        true["vm.has_mapped_host_mmio"] = self.plane(guest.host_mmio for guest in guests)
        found = {name: (plane, every & ~plane) for name, plane in true.items()}
        for name in {name for pair in self.pairs for name in pair.facts if name.startswith(_OF_PAIR)}:
            values = [pair.facts.get(name) for pair in reversed(self.pairs)]
            found[name] = (_repeated(value is True for value in values), _repeated(value is False for value in values))
        return found

    def graph(self, node: Node) -> int:
        """Return the plane of the rows in which the graph says yes."""
        return self._planes.planes(node)[0]

    def differences(self, what: str, node: Node, plane: int, among: int = -1) -> str:
        """Compare what the graph says with `plane`, in every row or those `among`; say where it differs, if it does."""
        true, false = self._planes.planes(node)
        differs = ((true ^ plane) | (false ^ self._planes.every ^ plane)) & among
        if not differs:
            return ""
        row = differs.bit_length() - 1
        guest, pair = self._rows[row][1], self.pairs[row // GUESTS]
        count = f"{differs.bit_count()} of {len(self)}"
        return f"{what} differs in {count}: the graph says {self._planes.value(node, row)}, for {guest} on {pair}"


def _repeated(bits: Iterable[bool]) -> int:
    """Return the plane of pairs, last pair first, each as often as it has guests."""
    return int("".join(("1" if bit else "0") * GUESTS for bit in bits), 2)
