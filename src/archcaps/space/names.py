"""What the variables of a space are called, and which facts are looked up by whose part and by which kernel's lists."""

from __future__ import annotations

from typing import Final

from archcaps.machine.facts import LIST_FLAGS, PUBLISHED
from archcaps.machine.identity import identity_lookups
from archcaps.tables.bits import BITS
from archcaps.tables.linux_lists import Part

__all__ = [
    "CPUS", "DEVIATES", "KERNELS", "LATER", "OTHER_PART", "PART_LOOKUPS", "UNKNOWN", "is_deviation", "is_looked_up",
    "microcode_of", "split", "variable_of",
]  # fmt: skip

#: Each scope of a CPU: whose part it is, and which kernel's lists speak of it. ``own`` is a guest's that is shown the
#: host's part.
CPUS: Final = {
    "host": ("host", "host_kernel"),
    "silicon": ("host", "host_kernel"),
    "later_host": ("host", "later_host_kernel"),
    "offered": ("own", "guest_kernel"),
    "true": ("own", "guest_kernel"),
    "guest": ("guest", "guest_kernel"),
    "later": ("guest", "later_kernel"),
}
#: Kernels, and whether they are a host's.
KERNELS: Final = {"host_kernel": True, "later_host_kernel": True, "guest_kernel": False, "later_kernel": False}
#: Which kernel comes later than which.
LATER: Final = {"later_host_kernel": "host_kernel", "later_kernel": "guest_kernel"}
#: How variables begin that are a deviation from the default, and that stand for what nobody knows of a fact.
DEVIATES, UNKNOWN = "deviates:", "unknown:"
#: The guest is shown another part than the host's.
OTHER_PART: Final = DEVIATES + "part"
#: What is looked up by a part.
PART_LOOKUPS: Final = frozenset(
    (
        *LIST_FLAGS, *PUBLISHED, *identity_lookups(Part(None, None, None, None)), "tsa_microcode", "mds_listed_immune",
        "register_file_spared",
    )
)  # fmt: skip


def split(name: str) -> tuple[str, str]:
    """Return the scope of a fact and what it is there: ``host.mds_no`` is ``mds_no`` of ``host``."""
    scope, _, what = name.partition(".")
    return scope, what


def variable_of(name: str) -> str:
    """Return the variable that a fact is made of where it is not looked up.

    The host is bare metal: its hardware's bits are what it shows.
    """
    scope, what = split(name)
    if what in BITS and scope in ("silicon", "guest"):
        return f"host.{what}" if scope == "silicon" else DEVIATES + what
    return name


def is_looked_up(name: str) -> bool:
    """Return whether a part or a kernel's release decides a fact."""
    scope, what = split(name)
    return scope in KERNELS or (scope in CPUS and what in PART_LOOKUPS)


def microcode_of(name: str) -> str:
    """Return the variable that is whether the CPU, that a fact is about, has the newest microcode."""
    return f"{'guest' if CPUS[split(name)[0]][0] == 'guest' else 'host'}.recent_microcode"


def is_deviation(variable: str) -> bool:
    """Return whether a variable says how a guest, or the situation it is in, deviates from the default."""
    return variable.startswith((DEVIATES, "vm.", "assume.", "changed."))
