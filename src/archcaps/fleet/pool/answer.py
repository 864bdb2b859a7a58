"""pool: which CPU can these hosts share, with the most features, so that guests are told the truth and are safe?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from msgspec.structs import replace

from archcaps.errors import InputError
from archcaps.fleet.pool.bits import Forced, forced_bits, plain_intersection
from archcaps.fleet.pool.documents import documents
from archcaps.fleet.pool.hosts import HostClass, classes_of
from archcaps.fleet.pool.identities import Identity, identities, models_that_fit, nearest_model
from archcaps.fleet.pool.results import (
    FORMAT_VERSION,
    Fault,
    PlainBit,
    PoolBit,
    PoolHost,
    PoolIdentity,
    PoolResult,
    Proof,
    WithoutFault,
)
from archcaps.fleet.pool.search import Problem, Tried
from archcaps.fleet.pool.showable import Vmm, offered_bits, showable
from archcaps.fleet.pool.verdicts import faults_of
from archcaps.guest_cpu.qemu.models import Definition, setting
from archcaps.machine.snapshot import Snapshot
from archcaps.space.releases import releases
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS
from archcaps.tables.kernels import LONG_TERM, Release
from archcaps.tables.names import ASSUMPTIONS

__all__ = ["Wish", "default_kernels", "pool"]

#: So many of the newest long-term lines are the guests' kernels by default.
_LINES: Final = 4
_LIES: Final = ("false-immunity", "broken-promise")


@dataclass(frozen=True)
class Wish:
    """What a pool is asked for: the guests' kernels, the VMM, its release and machine type (QEMU's), assumptions.

    `named_only`: only identities that a CPU model has that libvirt can name.
    """

    kernels: tuple[str, ...] = ()
    vmm: Vmm = "qemu"
    release: str | None = None
    machine: str | None = None
    named_only: bool = False
    assumptions: frozenset[str] = frozenset()


def default_kernels() -> tuple[str, ...]:
    """Return the newest releases of the newest long-term lines that the tables have, oldest first."""
    newest = {release.line: release.text for release in releases() if release.line in LONG_TERM}
    return tuple(newest.values())[-_LINES:]


def pool(hosts: Iterable[HostClass | Snapshot], wish: Wish | None = None) -> PoolResult:
    """Return the best CPU for `hosts`: with the fewest faults, then the most bits shown, then the first in order.

    Raises:
        InputError: there are no hosts, they are of two vendors, or a kernel's release is none.
    """
    classes, wish = classes_of(hosts), wish or Wish()
    for kernel in wish.kernels:
        _check_release(kernel)
    return _Pool(classes, wish).result()


def _check_release(text: str) -> None:
    try:
        Release.parse(text)
    except ValueError as error:
        raise InputError(str(error), "--guest-kernel") from error


class _Pool:
    """The work on one pool."""

    def __init__(self, hosts: list[HostClass], wish: Wish) -> None:
        self.hosts, self.wish = hosts, wish
        self.kernels = wish.kernels or default_kernels()
        self.where = setting(wish.release, wish.machine, "--vmm-version")
        self.can = showable(hosts, wish.vmm, self.where)
        self.models = models_that_fit(hosts, self.can, self.where)
        self.identities = identities(hosts, self.models, named_only=wish.named_only)
        self.forced = forced_bits(hosts, self.can)
        self.tried = self._search(self.forced)
        #: Every bit of the CPU: forced, searched for, or shown because all can show it and no verdict depends on it.
        self.shown = {**self.forced.shown, **dict.fromkeys(self.forced.free, True), **self.tried.best.bits}
        if not self.shown.get("arch_capabilities"):
            self.shown |= dict.fromkeys(ARCH_CAPABILITIES, False)

    def _search(self, forced: Forced) -> Tried:
        refused = {
            name: np.array([answer.value is not True for answer in self.can[name]], dtype=bool) for name in forced.free
        }
        problem = Problem(
            [host.row for host in self.hosts], self.kernels, self.identities, forced.shown, forced.free, refused,
            self.wish.assumptions,
        )  # fmt: skip
        return Tried.of(problem, [host.count for host in self.hosts])

    def result(self) -> PoolResult:
        """Return the answer."""
        best, tried = self.tried.best, self.tried
        plain = plain_intersection(self.hosts)
        dropped = [name for name in self.forced.free if not self.shown[name]]
        variants = [{**self.shown, name: True} for name in dropped]
        as_plain = {**self.shown, **{name: value for name, value in plain.items() if name in self.shown}}
        wrong, plain_wrong, *flipped = faults_of(
            self.hosts, self.kernels, best.identity, [self.shown, as_plain, *variants], self.wish.assumptions
        )
        why = {name: _follows(wrong, after) for name, after in zip(dropped, flipped, strict=True)}
        bits = [self._bit(name, why) for name in BITS if name in self.forced.free or name in self.forced.why]
        notices = list(self.forced.unequal)
        if best.faults["contradictions"]:
            notices.append(
                "bits that are shown contradict each other, or one tells of an MSR that the guest cannot reach"
            )
        result = PoolResult(
            FORMAT_VERSION,
            _exit_code(best.faults, notices),
            "",
            self.wish.vmm,
            [PoolHost(host.name, host.count, host.example) for host in self.hosts],
            list(self.kernels),
            _identity(best.identity),
            f"{sum(ARCH_CAPABILITIES[name].mask for name in ARCH_CAPABILITIES if self.shown.get(name)):#x}",
            _words(self.shown),
            bits,
            best.faults,
            wrong,
            self._without_fault() if wrong else None,
            self.forced.not_told,
            Proof(
                list(tried.bits), tried.identities, tried.choices,
                tried.choices * len(self.hosts) * len(self.kernels), tried.without_fault, len(self.forced.shown),
            ),
            self._plain_bits(plain, why),
            plain_wrong if plain_wrong != wrong else [],
            documents(best.identity, self.shown, self.models, self._nearest(), self._seen()),
            [text[0 if name.replace("_", "-") in self.wish.assumptions else 1] for name, text in ASSUMPTIONS.items()]
            + (list(self.where.assumptions) if self.wish.vmm == "qemu" else []),
            notices,
        )  # fmt: skip
        return _with_headline(result)

    def _bit(self, name: str, why: Mapping[str, str]) -> PoolBit:
        forced = self.forced.why.get(name)
        if forced is not None:
            said = forced
        elif not self.shown[name]:
            said = why[name]
        else:
            said = next((answer.why for answer in self.can[name] if answer.why), "every host can show it")
        classes = sum(answer.value is True for answer in self.can[name]) if name in self.can else 0
        return PoolBit(name, BITS[name].register, self.shown[name], classes, said)

    def _plain_bits(self, plain: Mapping[str, bool], why: Mapping[str, str]) -> list[PlainBit]:
        """Return what the plain intersection drops or keeps otherwise."""
        return [
            PlainBit(name, value, self.shown[name], self._bit(name, why).why)
            for name, value in plain.items()
            if name in self.shown and value is not self.shown[name]
        ]

    def _nearest(self) -> Definition | None:
        return nearest_model(self.tried.best.identity.numbers, self.hosts, self.can, self.where)

    def _seen(self) -> set[str]:
        """Return the bits that KVM offers on some host."""
        return {name for host in self.hosts for name, value in offered_bits(host).items() if value}

    def _without_fault(self) -> WithoutFault:
        """Return the fewest hosts whose leaving makes a CPU without fault possible, of all bits that some can show."""
        tried = self._search(forced_bits(self.hosts, self.can, anywhere=True))
        if tried.leave_out is None:
            return WithoutFault(None, sum(host.count for host in self.hosts))
        out = [self.hosts[number] for number in tried.leave_out]
        return WithoutFault([_full_name(host) for host in out], sum(host.count for host in out))


def _full_name(host: HostClass) -> str:
    return f"{host.example} ({host.name})"


def _follows(before: Sequence[Fault], after: Sequence[Fault]) -> str:
    """Return what would be wrong if a bit were shown that the best choice hides."""
    new = [fault for fault in after if fault not in before]
    if not new:
        return "shown, it would change no verdict, but contradict another bit"
    worst = max(new, key=lambda fault: (fault.safety == "exposed", fault.truth in _LIES, len(fault.kernels)))
    return f"shown, guests on {worst.example} would get {worst.vulnerability} {worst.truth}, {worst.safety}"


def _identity(one: Identity) -> PoolIdentity:
    return PoolIdentity(one.vendor, *one.numbers, one.of, one.named)


def _words(shown: Mapping[str, bool]) -> dict[str, str]:
    words: dict[str, int] = {}
    for name, on in shown.items():
        if on and name not in ARCH_CAPABILITIES:
            words[BITS[name].register] = words.get(BITS[name].register, 0) | BITS[name].mask
    return {register: f"{value:#x}" for register, value in words.items()}


def _exit_code(faults: Mapping[str, int], notices: Sequence[str]) -> int:
    if faults["exposed"]:
        return 2
    if faults["undecided"]:
        return 3
    return 1 if notices or any(faults.values()) else 0


def _with_headline(result: PoolResult) -> PoolResult:
    hosts = sum(host.hosts for host in result.hosts)
    numbers = "/".join(f"{number:#x}" for number in
                       (result.identity.family, result.identity.model, result.identity.stepping))  # fmt: skip
    classes = len(result.hosts)
    pool = f"{hosts} {'host' if hosts == 1 else 'hosts'} of {classes} {'class' if classes == 1 else 'classes'}"
    said = {
        0: "TRUTHFUL AND SAFE on every host",
        1: "the best there is, but NOT THE TRUTH on every host"
        if any(result.faults.values())
        else "truthful and safe on every host, with a notice",
        2: "the best there is, and EXPOSED on some host",
        3: "UNDECIDED: facts of some host are missing",
    }[result.exit_code]
    return replace(result, headline=f"One CPU for {pool}, {numbers}: {said}.")
