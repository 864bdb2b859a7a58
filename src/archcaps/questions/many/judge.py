"""The verdicts on many guests on many hosts: the same rules as `check`, read as bit planes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from archcaps.logic.bitplanes import BitPlanes, Planes
from archcaps.logic.choice import Choice
from archcaps.logic.graph import Kind, Node, walk
from archcaps.machine.datum import Facts
from archcaps.machine.facts import add_lists
from archcaps.questions.many.columns import FALSE, TRUE, Machines, Vector, plane_of, spread, unpacked
from archcaps.rules import host_border, verdict
from archcaps.rules import linux_mitigations as linux
from archcaps.rules.shown import model
from archcaps.tables.names import STRICT, VULNERABILITIES

__all__ = ["PAIRS_AT_ONCE", "QUESTIONS", "Pairs", "Verdicts", "judge_pairs", "questions"]

#: The questions asked of every guest for every vulnerability, and the columns' endings.
QUESTIONS: Final = ("concludes", "claim", "truth", "safety", "responsible", "host_safety", "host_responsible")
#: Rows read together: their planes fit in a processor's second-level cache.
PAIRS_AT_ONCE: Final = 1 << 16

_Index: TypeAlias = npt.NDArray[np.intp]
#: For each pair the labels still possible, bit i for label i; one bit: decided.
Possible: TypeAlias = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Verdicts:
    """The answers for `count` pairs: for each question the labels, and which of them are possible in each pair."""

    count: int
    labels: Mapping[str, tuple[str, ...]]
    possible: Mapping[str, Possible]

    def decided(self, question: str) -> npt.NDArray[np.int16]:
        """Return the number of the one label that is left, -1 where more than one is possible."""
        masks = self.possible[question]
        single = np.bitwise_count(masks) == 1
        number = np.bitwise_count(masks - np.uint64(1)).astype(np.int16)
        return np.where(single, number, np.int16(-1))


@cache
def questions() -> dict[str, Choice[Any]]:
    """Return every question by its column: ``mds_truth`` and the like."""
    all_of = model()
    case = all_of.guest
    found: dict[str, Choice[Any]] = {}
    for name in VULNERABILITIES:
        asked: tuple[Choice[Any], ...] = (
            linux.TEXTS[name](case.cpu, case.kernel),
            verdict.claims(case, name),
            verdict.truth(case, name),
            verdict.safety(case, name),
            verdict.responsible(case, all_of.offered, all_of.true, name),
            host_border.host_safety(case, name),
            host_border.host_responsible(case, name),
        )
        found |= {f"{name}_{question}": choice for question, choice in zip(QUESTIONS, asked, strict=True)}
    return found


@cache
def _used(names: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the facts and the rules that questions rest on."""
    asked = [questions()[name] for name in names]
    roots = [node for choice in asked for label in choice.labels for node in _nodes_of(choice, label)]
    facts, rules = set(), set()
    for node in walk(roots):
        if node.kind is Kind.FACT:
            facts.add(node.name)
        elif node.kind is Kind.RULE:
            rules.add(node.name)
    return frozenset(facts), frozenset(rules)


def _nodes_of(choice: Choice[Any], label: object) -> tuple[Node, Node]:
    return choice.is_in([label]), choice.permits(label)


def judge_pairs(
    hosts: Machines, guests: Machines, host_of: _Index, guest_of: _Index, asked: Collection[str] | None = None
) -> Iterator[Verdicts]:
    """Yield the verdicts on guest `guest_of[i]` on host `host_of[i]` in order, at most `PAIRS_AT_ONCE` at a time.

    `asked`: the questions (columns of `questions`) to answer; all by default.

    Raises:
        InputError: a machine's kernel configuration is unknown, or a column holds what it should not.
    """
    wanted = {name: choice for name, choice in questions().items() if asked is None or name in asked}
    pairs = Pairs(hosts, guests, wanted)
    for start in range(0, len(host_of), PAIRS_AT_ONCE):
        on, of = host_of[start : start + PAIRS_AT_ONCE], guest_of[start : start + PAIRS_AT_ONCE]
        yield _read(pairs.planes(on, of), wanted)


class Pairs:
    """Hosts and guests whose facts were looked up, to be read in pairs as bit planes.

    `asked` names the questions whose facts are wanted; those of all by default.

    Raises:
        InputError: a machine's kernel configuration is unknown, or a column holds what it should not.
    """

    def __init__(self, hosts: Machines, guests: Machines, asked: Iterable[str] | None = None) -> None:
        facts, rules = _used(tuple(questions() if asked is None else asked))
        self._host_facts = _only(hosts.vectors, facts)
        #: What the questions ask about each guest: a vector for each fact, and for each rule that was observed.
        self.guest_facts = _only(guests.vectors, facts)
        self._observed = _only(hosts.observed, rules), _only(guests.observed, rules)
        self._opaque = _only(hosts.opaque, rules), _only(guests.opaque, rules)
        self._between = _Between(hosts, guests, facts)

    def planes(self, on: _Index, of: _Index, varied: Sequence[str] = ()) -> BitPlanes:
        """Return the planes of guest `of[i]` on host `on[i]`, a row each.

        With `varied`, the names of n bits that the guests are shown, each pair has 2**n rows one after another: in
        the k-th of them the guest is shown the j-th of these bits where bit j of k is 1, whatever its own row says.
        """
        times = 1 << len(varied)
        given = _planes(self._host_facts, on, times) | _planes(self.guest_facts, of, times)
        given |= self._between.planes(on, of, times)
        seen = _planes(self._observed[0], on, times) | _planes(self._observed[1], of, times)
        opaque = _planes(self._opaque[0], on, times) | _planes(self._opaque[1], of, times)
        out = {name: true for name, (true, _) in opaque.items()}
        choices = np.arange(times)
        for place, name in enumerate(varied):
            shown = np.tile((choices >> place & 1).astype(bool), len(on))
            given[f"guest.{name}"] = plane_of(shown), plane_of(~shown)
        return BitPlanes(len(on) * times, given, seen, out)


def _only(vectors: Mapping[str, Vector], names: frozenset[str]) -> dict[str, Vector]:
    return {name: vector for name, vector in vectors.items() if name in names}


class _Between:
    """The facts that depend on host and guest: the host's part in the guest kernel's lists, and whether it is shown."""

    def __init__(self, hosts: Machines, guests: Machines, facts: frozenset[str]) -> None:
        self._facts, self._strict = facts, STRICT in guests.assumptions
        self._host_index, self._parts = _numbered([part for part, _ in hosts.parts_and_releases])
        self._guest_index, self._guests = _numbered(guests.parts_and_releases)
        self._known: dict[tuple[int, int], dict[str, bool]] = {}

    def planes(self, on: _Index, of: _Index, times: int) -> dict[str, Planes]:
        pairs = self._host_index[on] * len(self._guests) + self._guest_index[of]
        different, index = np.unique(pairs, return_inverse=True)
        groups = [self._facts_of(*divmod(int(pair), len(self._guests))) for pair in different]
        vectors = spread(index.astype(np.intp), groups)
        return {name: _plane_pair(vector, times) for name, vector in vectors.items()}

    def _facts_of(self, host: int, guest: int) -> dict[str, bool]:
        if (host, guest) not in self._known:
            facts = Facts()
            part, (shown, release) = self._parts[host], self._guests[guest]
            for scope in ("offered", "true"):
                add_lists(facts, scope, part, release, strict=self._strict)
            identities = [(one.vendor, one.family, one.model, one.stepping) for one in (part, shown)]
            if None not in (*identities[0], *identities[1]):
                facts.add("guest.host_identity", identities[0] == identities[1], "imported", "")
            values = facts.values
            self._known[host, guest] = {name: values[name] for name in self._facts if name in values}
        return self._known[host, guest]


def _numbered(values: Sequence[Any]) -> tuple[_Index, list[Any]]:
    numbers: dict[Any, int] = {}
    index = np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.intp)
    return index, list(numbers)


def _planes(vectors: Mapping[str, Vector], index: _Index, times: int) -> dict[str, Planes]:
    return {name: _plane_pair(vector[index], times) for name, vector in vectors.items()}


def _plane_pair(vector: Vector, times: int) -> Planes:
    """Return where a vector is true and where it is false, each of its rows `times` times."""
    if len(vector) and (vector == vector[0]).all():  # most facts are the same in all pairs
        every = (1 << len(vector) * times) - 1
        return (every if vector[0] == TRUE else 0), (every if vector[0] == FALSE else 0)
    return plane_of(np.repeat(vector == TRUE, times)), plane_of(np.repeat(vector == FALSE, times))


def _read(planes: BitPlanes, asked: Mapping[str, Choice[Any]]) -> Verdicts:
    labels: dict[str, tuple[str, ...]] = {}
    possible: dict[str, Possible] = {}
    for name, choice in asked.items():
        rows = choice.possible_rows(planes)
        labels[name] = tuple("" if label is None else str(label) for label in rows)
        masks = np.zeros(planes.rows, dtype=np.uint64)
        for number, plane in enumerate(rows.values()):
            if plane:
                masks |= unpacked(plane, planes.rows).astype(np.uint64) << np.uint64(number)
        possible[name] = masks
    return Verdicts(planes.rows, labels, possible)
