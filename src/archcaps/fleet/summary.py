"""Numbers from judged classes: by vulnerability, by host, by kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archcaps.fleet.classes import NO_MATTER, UNDECIDED, VERDICTS, Classes, Judged
from archcaps.fleet.results import ByGroup, ByVulnerability, Cell, KernelVulnerability
from archcaps.questions.many.columns import Machines
from archcaps.tables.linux_lists import VENDORS
from archcaps.tables.names import VULNERABILITIES

__all__ = [
    "by_group", "by_kernel_and_vulnerability", "by_vulnerability", "cpu_name", "heat_map", "kernel_name",
    "machine_name", "rows_of", "totals",
]  # fmt: skip

_SHORT: Final[Mapping[str, str]] = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD", "HygonGenuine": "Hygon"}


def totals(classes: Classes, judged: Judged) -> dict[str, int]:
    """Return the guests by verdict, every verdict named."""
    return _tally(judged.verdict, classes.guests_of_pair)


def _tally(verdict: npt.NDArray[np.int8], weights: npt.NDArray[np.int64]) -> dict[str, int]:
    return {word: int(weights[verdict == number].sum()) for number, word in enumerate(VERDICTS)}


def by_vulnerability(classes: Classes, judged: Judged) -> list[ByVulnerability]:
    """Return the guests by truth, safety and the host's safety, for each vulnerability."""
    judged_pairs = judged.verdict >= 0
    weights = classes.guests_of_pair[judged_pairs]
    found = []
    for name in VULNERABILITIES:
        counts = {}
        for question in ("truth", "safety", "host_safety"):
            column = f"{name}_{question}"
            numbers = judged.columns[column][judged_pairs]
            words = (*judged.labels[column], UNDECIDED)
            sums = {word: int(weights[numbers == number].sum()) for number, word in enumerate(words[:-1])}
            still_open = judged.is_open(column)[judged_pairs]
            sums[NO_MATTER] = int(weights[(numbers < 0) & ~still_open].sum())
            sums[UNDECIDED] = int(weights[still_open].sum())
            counts[question] = {word: count for word, count in sums.items() if count}
        found.append(ByVulnerability(name, counts["truth"], counts["safety"], counts["host_safety"]))
    return found


def by_group(
    names: Sequence[str], index: npt.NDArray[np.intp], judged: Judged, weights: npt.NDArray[np.int64]
) -> list[ByGroup]:
    """Return the guests by verdict for each name; `names[index[i]]` is that of pair i. The most guests first."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    of_machine = np.array([numbers[name] for name in names], dtype=np.intp)
    of_pair = of_machine[index]
    found = []
    for name, number in numbers.items():
        chosen = (of_pair == number) & (judged.verdict >= 0)
        guests = int(weights[chosen].sum())
        if guests:
            counts = _tally(judged.verdict[chosen], weights[chosen])
            found.append(ByGroup(name, guests, {word: count for word, count in counts.items() if count}))
    return sorted(found, key=lambda group: (-group.guests, group.name))


def heat_map(
    hosts: Sequence[str], guests: Sequence[str], classes: Classes, judged: Judged, named: int = 11
) -> list[Cell]:
    """Return the guests by verdict for each kind of host with each kind of guest; of each the `named` largest apart.

    `hosts` and `guests` name the kind of each class.
    """
    weights = classes.guests_of_pair
    of_host = _largest(hosts, classes.pair_host, judged, weights, named)
    of_guest = _largest(guests, classes.pair_guest, judged, weights, named)
    found = []
    for host in dict.fromkeys(sorted(of_host.tolist(), key=_others_last)):
        for guest in dict.fromkeys(sorted(of_guest.tolist(), key=_others_last)):
            chosen = (of_host == host) & (of_guest == guest) & (judged.verdict >= 0)
            count = int(weights[chosen].sum())
            if count:
                counts = _tally(judged.verdict[chosen], weights[chosen])
                found.append(Cell(host, guest, count, {word: number for word, number in counts.items() if number}))
    return found


_OTHERS: Final = "others"


def _others_last(name: str) -> tuple[bool, str]:
    return name == _OTHERS, name


def _largest(
    names: Sequence[str], index: npt.NDArray[np.intp], judged: Judged, weights: npt.NDArray[np.int64], named: int
) -> npt.NDArray[np.object_]:
    """Return each pair's kind, where it is one of the `named` with the most guests, else ``others``."""
    kept = {group.name for group in by_group(names, index, judged, weights)[:named]}
    return np.array([name if name in kept else _OTHERS for name in names], dtype=object)[index]


def by_kernel_and_vulnerability(
    kernels: Sequence[str], classes: Classes, judged: Judged, named: int = 12
) -> list[KernelVulnerability]:
    """Return for each guest kernel (the `named` largest, and the others) how each vulnerability stands there."""
    weights = classes.guests_of_pair
    of_pair = _largest(kernels, classes.pair_guest, judged, weights, named)
    found = []
    for kernel in dict.fromkeys(sorted(of_pair.tolist(), key=_others_last)):
        here = (of_pair == kernel) & (judged.verdict >= 0)
        for name in VULNERABILITIES:
            truth, safety = judged.columns[f"{name}_truth"], judged.columns[f"{name}_safety"]
            fine = [judged.labels[f"{name}_truth"].index(label) for label in ("truthful", "unsaid")]
            exposed = safety == judged.labels[f"{name}_safety"].index("exposed")
            wrong = (truth >= 0) & ~np.isin(truth, fine)
            undecided = (truth < 0) | (safety < 0)
            counts = [int(weights[here & mask].sum()) for mask in (here, wrong, exposed, undecided)]
            found.append(KernelVulnerability(kernel, name, *counts))
    return found


def cpu_name(row: Mapping[str, Any]) -> str:
    """Return a CPU's name: its vendor, family, model and stepping."""
    vendor = row.get("vendor")
    short = _SHORT.get(vendor, VENDORS.get(vendor, vendor)) if vendor else "unknown vendor"
    numbers = [row.get(name) for name in ("family", "model", "stepping")]
    return f"{short} " + "/".join("?" if number is None else f"{number:#x}" for number in numbers)


def machine_name(row: Mapping[str, Any]) -> str:
    """Return one line that names a machine: its CPU and its kernel."""
    return f"{cpu_name(row)}, {kernel_name(row)}"


def kernel_name(row: Mapping[str, Any]) -> str:
    """Return a machine's system and kernel release."""
    system = row.get("system") or "linux"
    return f"{system.capitalize()} {row.get('kernel') or 'of unknown release'}" if system == "linux" else system


def rows_of(machines: Machines) -> list[dict[str, Any]]:
    """Return the machines one by one."""
    names = list(machines.columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*machines.columns.values(), strict=True)]
