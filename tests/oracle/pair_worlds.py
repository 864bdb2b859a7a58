"""Random worlds of a host and its guest, and the guests that a verdict compares with, for the oracle and the graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Final

from archcaps.tables.bits import BITS
from archcaps.tables.kernels import BEHAVIOURS
from archcaps.tables.names import ACCESS_LOOKUPS, CPU_LOOKUPS, KERNEL_LOOKUPS, SILICON_LOOKUPS, VM_LOOKUPS
from tests.oracle.guest_worlds import World, random_cpu, random_kernel

__all__ = ["PairWorld", "facts", "pairs"]

_COUNT: Final = 3000


@dataclass(frozen=True)
class PairWorld:
    """The names that are true in each scope of the graph's facts."""

    host: frozenset[str]
    host_kernel: frozenset[str]
    guest: frozenset[str]
    guest_kernel: frozenset[str]
    offered: frozenset[str]
    true: frozenset[str]
    silicon: frozenset[str]
    vm: frozenset[str]
    access: frozenset[str]
    assume: frozenset[str]

    @property
    def of_host(self) -> World:
        return World(self.host, self.host_kernel)

    @property
    def of_guest(self) -> World:
        return World(self.guest, self.guest_kernel)


@cache
def pairs() -> tuple[PairWorld, ...]:
    """Return the worlds, the same each time."""
    random = Random("archcaps pairs")
    return tuple(_pair(random) for _ in range(_COUNT))


def _pair(random: Random) -> PairWorld:
    host = random_cpu(random)
    if random.random() < 0.3:  # where FB_CLEAR_DIS can be in use
        host = (host | {"arch_capabilities", "fb_clear_ctrl", "mds_no", "taa_no", "vendor_intel"}) - {
            "vendor_amd", "vendor_hygon",
        }  # fmt: skip
    silicon = (host if random.random() < 0.5 else random_cpu(random)) | _some(random, SILICON_LOOKUPS)
    guest = random_cpu(random)
    if random.random() < 0.3:  # shown what the hardware has
        guest |= {name for name in silicon if name in BITS}
    return PairWorld(
        host=host,
        host_kernel=random_kernel(random),
        guest=guest,
        guest_kernel=random_kernel(random),
        offered=random_cpu(random),
        true=random_cpu(random),
        silicon=silicon,
        vm=_some(random, VM_LOOKUPS),
        access=_some(random, ACCESS_LOOKUPS),
        assume=_some(random, {"user_mmio": ""}),
    )


def _some(random: Random, names: dict[str, str]) -> frozenset[str]:
    return frozenset(name for name in names if random.random() < 0.5)


@cache
def facts() -> dict[str, tuple[int, int]]:
    """Return each fact of every scope as planes: the worlds in which it is true, and in which it is false."""
    every = (1 << len(pairs())) - 1
    cpu, kernel = {*BITS, *CPU_LOOKUPS}, {*BEHAVIOURS, *KERNEL_LOOKUPS}
    scopes = {
        "host": cpu, "guest": cpu, "offered": cpu, "true": cpu, "silicon": cpu | set(SILICON_LOOKUPS),
        "host_kernel": kernel, "guest_kernel": kernel, "vm": set(VM_LOOKUPS), "access": set(ACCESS_LOOKUPS),
        "assume": {"user_mmio"},
    }  # fmt: skip
    found = {}
    for scope, names in scopes.items():
        for name in names:
            true = int("".join("1" if name in getattr(pair, scope) else "0" for pair in reversed(pairs())), 2)
            found[f"{scope}.{name}"] = (true, every & ~true)
    return found
