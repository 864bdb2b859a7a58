"""Classes: the different hosts, the different guests, and which guests run on which hosts; each pair judged once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from archcaps.errors import InputError
from archcaps.machine.given_options import config_items
from archcaps.machine.read import check_snapshot
from archcaps.machine.row import OFFERED, WORDS, snapshot_of
from archcaps.questions.check import refuse_other_cpus
from archcaps.questions.many.columns import Machines
from archcaps.questions.many.judge import judge_pairs
from archcaps.questions.results import FINE
from archcaps.tables.bits import REGISTERS
from archcaps.tables.names import VULNERABILITIES

__all__ = [
    "NO_MATTER",
    "UNDECIDED",
    "VERDICTS",
    "Classes",
    "Judged",
    "Progress",
    "Refused",
    "content_id",
    "judge",
    "pair_id",
    "silent",
    "supposed",
]

#: The verdict on a guest in one word, the worst first; the exit code of `check` without its notices.
VERDICTS: Final = ("exposed", "undecided", "untruthful", "truthful")
UNDECIDED: Final = "undecided"
#: In place of a truth: which of the two is not known, and does not matter.
NO_MATTER: Final = "truthful or unsaid"
Progress = Callable[[str, float], None]
#: Why a class of hosts or of guests, by its number, cannot be judged.
Refused = Mapping[tuple[Literal["host", "guest"], int], str]


def silent(_phase: str, _done: float) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Classes:
    """The classes of one inventory: `hosts` and `guests` as columns, and the pairs of them that occur.

    `pair_host` and `pair_guest` number the classes of each pair, `guests_of_pair` says how many guests it has.
    """

    hosts: Machines
    guests: Machines
    pair_host: npt.NDArray[np.intp]
    pair_guest: npt.NDArray[np.intp]
    guests_of_pair: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """The verdicts on every pair of classes.

    `verdict` numbers `VERDICTS`; `columns` has, for each question, a number of `labels` for each pair, -1 where it is
    undecided, and `possible` the labels still possible as bits. `refused` says for a class of hosts or of guests why
    it could not be judged; the verdict on its pairs is -1. `hosts` and `guests` are the classes with nothing known of
    those that were refused.
    """

    hosts: Machines
    guests: Machines

    verdict: npt.NDArray[np.int8]
    labels: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, npt.NDArray[np.int16]]
    possible: Mapping[str, npt.NDArray[np.uint64]]
    refused: Refused = field(default_factory=dict)

    def is_open(self, column: str) -> npt.NDArray[np.bool_]:
        """Return the pairs that depend on facts that are missing: more than one answer, and they are not alike."""
        return open_in(self.labels, self.columns, self.possible, column)


def open_in(
    labels: Mapping[str, Sequence[str]],
    columns: Mapping[str, npt.NDArray[np.int16]],
    possible: Mapping[str, npt.NDArray[np.uint64]],
    column: str,
) -> npt.NDArray[np.bool_]:
    """Return in which pairs a question is open; for truth not where nothing but truths without a fault is left."""
    found = columns[column] < 0
    if column.endswith("_truth"):
        fine = sum(1 << number for number, label in enumerate(labels[column]) if label in FINE)
        found = found & ((possible[column] & ~np.uint64(fine)) != 0)
    return found


def content_id(values: Mapping[str, Any]) -> str:
    """Return a name for what a row says: 12 characters, the same for the same values whatever engine read them."""
    text = msgspec.json.encode({name: values[name] for name in sorted(values) if values[name] is not None})
    return _short(text)


def pair_id(host: str, guest: str) -> str:
    """Return the name of a pair of classes by theirs."""
    return _short(f"{host} {guest}".encode())


def _short(text: bytes) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    number = int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
    return "".join(alphabet[number >> shift & 31] for shift in range(0, 60, 5))


def refusals(machines: Machines) -> dict[int, str]:
    """Return the machines that cannot be judged: a release that is none, an unknown configuration or vendor."""
    ones = _all_ones(machines)
    names = [name for name in machines.columns if name in _CHECKED]
    index, rows = machines.grouped(names)
    why: dict[int, str] = {}
    for number, row in enumerate(rows):
        try:
            snapshot = snapshot_of(row, machines.role)
            check_snapshot(snapshot, machines.role, None)
            refuse_other_cpus(snapshot)
            config_items(snapshot.kernel, "kernel.config")
        except InputError as error:
            why[number] = str(error)
    if not why:
        return ones
    return ones | {machine: why[group] for machine, group in enumerate(index.tolist()) if group in why}


def _all_ones(machines: Machines) -> dict[int, str]:
    """Return the machines that have a register of nothing but ones, which no CPU has."""
    found: dict[int, str] = {}
    for name in (*WORDS, *OFFERED):
        every = (1 << REGISTERS[name.removeprefix("kvm_offered_")].width) - 1
        known = machines.columns.get(f"{name}_known") or [None] * machines.count
        for number, (value, mask) in enumerate(zip(machines.columns.get(name, ()), known, strict=False)):
            if value is not None and mask is None and value & every == every:
                found[number] = f"{name}: all ones is what a failed read leaves (leave the register out)"
    return found


#: Columns whose values can be such that no verdict is possible.
_CHECKED: Final = frozenset(
    ("vendor", "family", "model", "stepping", "kernel", "config", "behaviours", "system", "vulnerabilities",
     "kvm_parameters", "microcode", "platform_id", "core_type")
)  # fmt: skip


def judge(classes: Classes, progress: Progress = silent) -> Judged:
    """Return the verdicts on every pair of classes.

    Raises:
        InputError: no pair can be judged.
    """
    refused: dict[tuple[Literal["host", "guest"], int], str] = {}
    bad = {"host": refusals(classes.hosts), "guest": refusals(classes.guests)}
    refused |= {("host", number): why for number, why in bad["host"].items()}
    refused |= {("guest", number): why for number, why in bad["guest"].items()}
    good = np.ones(len(classes.pair_host), dtype=bool)
    if refused:
        good &= ~np.isin(classes.pair_host, list(bad["host"])) & ~np.isin(classes.pair_guest, list(bad["guest"]))
    hosts, guests = _without(classes.hosts, bad["host"]), _without(classes.guests, bad["guest"])
    total = int(good.sum())
    if not total:
        raise InputError(f"no guest that can be judged (as {list(refused.values())[-1]})", "fleet")
    parts = []
    done = 0
    for verdicts in judge_pairs(hosts, guests, classes.pair_host[good], classes.pair_guest[good]):
        parts.append(verdicts)
        done += verdicts.count
        progress("judging", done / total)
    labels = parts[0].labels
    columns, possible = {}, {}
    for name in labels:
        masks = np.zeros(len(good), dtype=np.uint64)
        masks[good] = np.concatenate([part.possible[name] for part in parts])
        numbers = np.full(len(good), -1, dtype=np.int16)
        numbers[good] = np.concatenate([part.decided(name) for part in parts])
        columns[name], possible[name] = numbers, masks
    verdict = _overall(labels, columns, possible, len(good))
    verdict[~good] = -1
    return Judged(hosts, guests, verdict, labels, columns, possible, refused)


def supposed(classes: Classes, judged: npt.NDArray[np.bool_]) -> dict[str, int]:
    """Return of how many guests of the pairs that are `judged` something is supposed, by the assumption's name."""
    weights = np.where(judged, classes.guests_of_pair, 0)
    counts = {name: int(weights[of[classes.pair_guest]].sum()) for name, of in classes.guests.supposed.items()}
    return {name: count for name, count in counts.items() if count}


def _without(machines: Machines, bad: Mapping[int, str]) -> Machines:
    """Return the machines with nothing known of those that are bad: no table is asked about them."""
    if not bad:
        return machines
    columns = {
        name: [None if number in bad else value for number, value in enumerate(values)]
        for name, values in machines.columns.items()
    }
    return Machines(machines.role, machines.count, columns, machines.assumptions)


def _overall(
    labels: Mapping[str, Sequence[str]],
    columns: Mapping[str, npt.NDArray[np.int16]],
    possible: Mapping[str, npt.NDArray[np.uint64]],
    count: int,
) -> npt.NDArray[np.int8]:
    exposed, undecided, untruthful = (np.zeros(count, dtype=bool) for _ in range(3))
    for name in VULNERABILITIES:
        for question in ("safety", "host_safety"):
            column = f"{name}_{question}"
            if column in labels:
                exposed |= columns[column] == labels[column].index("exposed")
                undecided |= open_in(labels, columns, possible, column)
        column = f"{name}_truth"
        if column in labels:
            undecided |= open_in(labels, columns, possible, column)
            fine = [labels[column].index(label) for label in FINE]
            untruthful |= (columns[column] >= 0) & ~np.isin(columns[column], fine)
    ranks = {word: number for number, word in enumerate(VERDICTS)}
    found = np.full(count, ranks["truthful"], dtype=np.int8)
    found[untruthful] = ranks["untruthful"]
    found[undecided] = ranks["undecided"]
    found[exposed] = ranks["exposed"]
    return found
