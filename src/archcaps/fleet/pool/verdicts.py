"""The verdicts of `check` on guests with a pool's CPU, on every class of hosts and for every kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from archcaps.fleet.pool.guest import guest_of
from archcaps.fleet.pool.hosts import HostClass
from archcaps.fleet.pool.identities import Identity
from archcaps.fleet.pool.results import Fault
from archcaps.fleet.pool.search import machines_of
from archcaps.machine.row import row_of
from archcaps.questions.many.judge import Verdicts, judge_pairs
from archcaps.tables.names import VULNERABILITIES

__all__ = ["faults_of"]

_FINE = {"truth": ("truthful", "unsaid"), "safety": ("safe",), "host_safety": ("safe",)}


def faults_of(
    hosts: Sequence[HostClass],
    kernels: Sequence[str],
    identity: Identity,
    choices: Sequence[Mapping[str, bool]],
    assumptions: frozenset[str],
) -> list[list[Fault]]:
    """Return for each choice of shown bits what is not as it should be, kernels with the same verdict together."""
    guests = [row_of(guest_of(identity, shown, kernel)) for shown in choices for kernel in kernels]
    on = np.tile(np.arange(len(hosts)), len(guests))
    of = np.repeat(np.arange(len(guests)), len(hosts))
    found: list[dict[tuple[int, str, str, str, str], list[str]]] = [{} for _ in choices]
    first = 0
    rows = [host.row for host in hosts]
    for part in judge_pairs(machines_of(rows, "host", assumptions), machines_of(guests, "guest", assumptions), on, of):
        for place in range(part.count):
            guest, host = divmod(first + place, len(hosts))
            choice, kernel = divmod(guest, len(kernels))
            for name in VULNERABILITIES:
                said = {asked: _said(part, f"{name}_{asked}", place) for asked in _FINE}
                if any(word not in _FINE[asked] for asked, word in said.items()):
                    key = (host, name, said["truth"], said["safety"], said["host_safety"])
                    found[choice].setdefault(key, []).append(kernels[kernel])
        first += part.count
    return [
        [
            Fault(hosts[host].name, hosts[host].example, name, truth, safety, host_safety, same)
            for (host, name, truth, safety, host_safety), same in sorted(each.items())
        ]
        for each in found
    ]


def _said(verdicts: Verdicts, question: str, place: int) -> str:
    mask = int(verdicts.possible[question][place])
    return " or ".join(label for number, label in enumerate(verdicts.labels[question]) if mask >> number & 1)
