"""The exhaustive search: every choice of the bits that verdicts depend on, on every host and kernel, by bit planes.

Nothing is sampled: a bit is left out of the choices only where it is forced (some host cannot show it) or where no
verdict depends on it. The number of choices read is the proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archcaps.fleet.pool.guest import guest_of
from archcaps.fleet.pool.identities import Identity
from archcaps.logic.bitplanes import BitPlanes
from archcaps.logic.choice import Choice
from archcaps.logic.graph import Kind, Node
from archcaps.machine.row import COLUMNS, row_of
from archcaps.questions.many.columns import Machines
from archcaps.questions.many.judge import Pairs, questions
from archcaps.rules import notices
from archcaps.rules.shown import model
from archcaps.rules.verdict import Safety, Truth
from archcaps.tables.bits import ARCH_CAPABILITIES
from archcaps.tables.names import VULNERABILITIES

__all__ = ["FAULTS", "Best", "Problem", "Tried", "machines_of"]

#: What can be wrong with a choice on a host, the worst first: so many verdicts of each kind decide which is better.
FAULTS: Final = ("exposed", "undecided", "lies", "untruths", "contradictions")
_LIES: Final = (Truth.FALSE_IMMUNITY, Truth.BROKEN_PROMISE)
_FINE: Final = (Truth.TRUTHFUL, Truth.UNSAID)
#: Rows that are read together: their planes fit in a processor's cache.
_ROWS: Final = 1 << 17
_Counts = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Problem:
    """What is searched for: the CPU for these hosts (rows) and kernels, with one of these identities.

    `shown` are the bits that are forced (the same in every choice), `free` those that a choice shows or hides, and
    `refused` says for each of these which hosts cannot show it.
    """

    hosts: Sequence[Mapping[str, Any]]
    kernels: Sequence[str]
    identities: Sequence[Identity]
    shown: Mapping[str, bool]
    free: Sequence[str]
    refused: Mapping[str, npt.NDArray[np.bool_]]
    assumptions: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Best:
    """The best choice: its identity, the free bits with their values, and how many faults of each kind it has."""

    identity: Identity
    bits: dict[str, bool]
    faults: dict[str, int]


@dataclass(frozen=True)
class Tried:
    """The outcome: the best choice; how many choices were read and how many of them have no fault.

    `bits`: those that verdicts depend on. `identities`: how many of them the kernels tell apart. `leave_out`: the
    fewest hosts (their numbers) without which some choice has no fault; None: no host has such a choice even alone.
    """

    best: Best
    bits: tuple[str, ...]
    identities: int
    choices: int
    without_fault: int
    leave_out: tuple[int, ...] | None

    @classmethod
    def of(cls, problem: Problem, weights: Sequence[int]) -> Tried:
        """Search; `weights` says how many hosts stand behind each row."""
        return _search(problem, np.array(weights, dtype=np.int64))


def machines_of(rows: Sequence[Mapping[str, Any]], role: str, assumptions: frozenset[str]) -> Machines:
    """Return rows as columns."""
    names = [name for name in COLUMNS[role] if any(row.get(name) is not None for row in rows)]  # type: ignore[index]  # a role
    return Machines(
        role,  # type: ignore[arg-type]  # "host" or "guest"
        len(rows),
        {name: [row.get(name) for row in rows] for name in names},
        assumptions,
    )


class _Read:
    """The hosts with the guests that the identities and kernels make, looked up once."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        guests = [
            row_of(guest_of(identity, problem.shown, kernel))
            for identity in problem.identities for kernel in problem.kernels
        ]  # fmt: skip
        assumed = problem.assumptions
        self.pairs = Pairs(machines_of(problem.hosts, "host", assumed), machines_of(guests, "guest", assumed))
        self.identities = self._different()
        self.bits = self._decisive()

    def guests(self, identity: int) -> range:
        """Return the numbers of an identity's guests: one for each kernel."""
        kernels = len(self.problem.kernels)
        return range(identity * kernels, (identity + 1) * kernels)

    def _different(self) -> list[int]:
        """Return the first of each group of identities that no kernel tells apart."""
        vectors = list(self.pairs.guest_facts.values())
        groups: dict[bytes, int] = {}
        for number in range(len(self.problem.identities)):
            key = b"".join(vector[list(self.guests(number))].tobytes() for vector in vectors)
            groups.setdefault(key, number)
        return list(groups.values())

    def _decisive(self) -> tuple[str, ...]:
        """Return the free bits that some verdict depends on, by the graph: what is settled without them is cut."""
        wanted = {f"guest.{name}" for name in self.problem.free}
        found: set[str] = set()
        every = [guest for identity in self.identities for guest in self.guests(identity)]
        hosts = len(self.problem.hosts)
        for host in range(hosts):
            planes = self.pairs.planes(np.full(len(every), host), np.array(every))
            found |= _open_facts(planes, _roots()) & wanted
            if found == wanted:
                break
        # A register's bits say nothing without the bit that shows it.
        if any(name.removeprefix("guest.") in ARCH_CAPABILITIES for name in found):
            found |= wanted & {"guest.arch_capabilities"}
        return tuple(name for name in self.problem.free if f"guest.{name}" in found)

    def faults(self, identity: int) -> Iterator[tuple[int, int, list[_Counts]]]:
        """Yield for hosts from one number up to another the faults of each kind, by host and choice, of all kernels."""
        times = 1 << len(self.bits)
        together = max(1, _ROWS // times)
        for start in range(0, len(self.problem.hosts), together):
            on = np.arange(start, min(start + together, len(self.problem.hosts)))
            counts = [np.zeros((len(on), times), dtype=np.int32) for _ in FAULTS]
            for guest in self.guests(identity):
                planes = self.pairs.planes(on, np.full(len(on), guest), self.bits)
                for kind, plane in _fault_planes(planes):
                    if plane:
                        counts[kind] += _unpacked(plane, planes.rows).reshape(len(on), times)
            yield start, start + len(on), counts


def _roots() -> list[Node]:
    """Return every node that a verdict or a notice is read from."""
    choices = [
        questions()[f"{name}_{asked}"] for name in VULNERABILITIES for asked in ("truth", "safety", "host_safety")
    ]
    found = [node for choice in choices for label in choice.labels for node in _nodes(choice, label)]
    return [*found, *_contradictions()]


def _nodes(choice: Choice[Any], label: object) -> tuple[Node, Node]:
    return choice.is_in([label]), choice.permits(label)


def _contradictions() -> list[Node]:
    guest, kvm = model().guest.cpu, model().kvm
    pairs = [notices.contradicts_tsa(guest), notices.contradicts_rfds(guest)]
    return [*pairs, *(notices.unreachable_msr(guest, kvm, bit) for bit in notices.promised_msrs())]


def _open_facts(planes: BitPlanes, roots: Sequence[Node]) -> set[str]:
    """Return the facts below nodes that are not settled in every row; what is settled is not gone into."""
    found: set[str] = set()
    seen: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        true, false = planes.planes(node)
        if true | false == planes.every:
            continue
        if node.kind is Kind.FACT:
            found.add(node.name)
        stack += node.args
    return found


def _fault_planes(planes: BitPlanes) -> Iterator[tuple[int, int]]:
    """Yield planes of faults with the number of their kind; a row can have one of a kind for each vulnerability."""
    exposed, undecided, lies, untruths, contradictions = range(len(FAULTS))
    for name in VULNERABILITIES:
        for asked in ("safety", "host_safety"):
            rows = questions()[f"{name}_{asked}"].possible_rows(planes)
            open_rows = _several(rows.values())
            yield exposed, rows[Safety.EXPOSED] & ~open_rows
            yield undecided, open_rows
        rows = questions()[f"{name}_truth"].possible_rows(planes)
        open_rows = _several(rows.values())
        yield undecided, open_rows
        for label, where in rows.items():
            if label not in _FINE:
                yield (lies if label in _LIES else untruths), where & ~open_rows
    for node in _contradictions():
        yield contradictions, planes.planes(node)[0]


def _several(planes: Any) -> int:  # noqa: ANN401  # the values of a mapping
    """Return the rows that are in more than one plane."""
    one = more = 0
    for plane in planes:
        more |= one & plane
        one |= plane
    return more


def _unpacked(plane: int, rows: int) -> npt.NDArray[np.uint8]:
    raw = np.frombuffer(plane.to_bytes((rows + 7) // 8, "little"), dtype=np.uint8)
    return np.unpackbits(raw, count=rows, bitorder="little")


def _search(problem: Problem, weights: npt.NDArray[np.int64]) -> Tried:
    read = _Read(problem)
    times = 1 << len(read.bits)
    choices = np.arange(times)
    shown = [(choices >> place & 1).astype(bool) for place in range(len(read.bits))]
    hidden_register = _says_nothing(read.bits, shown, problem.shown)
    refused = np.zeros((len(problem.hosts), times), dtype=bool)
    for name, which in zip(read.bits, shown, strict=True):
        refused |= problem.refused[name][:, None] & which[None, :]
    features = np.zeros(times, dtype=np.int32)
    for name, which in zip(read.bits, shown, strict=True):
        features += which.astype(np.int32) * _worth(name, read.bits, problem.free)
    possible = ~refused.any(axis=0) & ~hidden_register
    best: tuple[tuple[int, ...], int, int] | None = None
    fewest: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    tried = without = 0
    for identity in read.identities:
        totals = [np.zeros(times, dtype=np.int32) for _ in FAULTS]
        bad = refused.copy()
        for start, end, counts in read.faults(identity):
            totals = [total + count.sum(axis=0, dtype=np.int32) for total, count in zip(totals, counts, strict=True)]
            bad[start:end] |= np.add.reduce(counts).astype(bool)
        tried += int(possible.sum())
        without += int((possible & ~bad.any(axis=0)).sum())
        at = _first(possible, [*totals, -features])
        rank = (*(int(total[at]) for total in totals), -int(features[at]), identity)
        best = min(best, (rank, identity, at)) if best is not None else (rank, identity, at)
        lost = (weights[:, None] * bad).sum(axis=0)
        at = _first(~hidden_register, [lost, bad.sum(axis=0), -features])
        left = (int(lost[at]), int(bad[:, at].sum()), -int(features[at]), identity)
        out = tuple(int(host) for host in np.flatnonzero(bad[:, at]))
        fewest = min(fewest, (left, out)) if fewest is not None else (left, out)
    assert best is not None and fewest is not None, "there is at least one identity"
    rank, identity, at = best
    values = {name: bool(at >> place & 1) for place, name in enumerate(read.bits)}
    chosen = Best(problem.identities[identity], values, dict(zip(FAULTS, rank, strict=False)))
    leave_out = None if len(fewest[1]) == len(problem.hosts) else fewest[1]
    return Tried(chosen, read.bits, len(read.identities), tried, without, leave_out)


def _worth(name: str, bits: Sequence[str], free: Sequence[str]) -> int:
    """Return how many bits a guest sees by one: with that of MSR 0x10a all those in it that no verdict depends on."""
    if name != "arch_capabilities":
        return 1
    return 1 + sum(other in ARCH_CAPABILITIES and other not in bits for other in free)


def _says_nothing(
    bits: Sequence[str], shown: Sequence[npt.NDArray[np.bool_]], forced: Mapping[str, bool]
) -> npt.NDArray[np.bool_]:
    """Return the choices that show a bit of MSR 0x10a while CPUID hides the register: a VMM clears it then."""
    none = np.zeros(1 << len(bits), dtype=bool)
    own = [which for name, which in zip(bits, shown, strict=True) if name in ARCH_CAPABILITIES]
    visible = next((which for name, which in zip(bits, shown, strict=True) if name == "arch_capabilities"), None)
    if not own:
        return none
    if visible is None:
        return none if forced.get("arch_capabilities") else np.logical_or.reduce(own)
    nothing: npt.NDArray[np.bool_] = np.logical_or.reduce(own) & ~visible
    return nothing


def _first(possible: npt.NDArray[np.bool_], keys: Sequence[npt.NDArray[Any]]) -> int:
    """Return the possible choice that is least by the keys in order, of equal ones the one with the least number."""
    left = np.flatnonzero(possible)
    for key in keys:
        values = key[left]
        left = left[values == values.min()]
    return int(left[0])
