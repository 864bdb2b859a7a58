"""Which columns of an inventory would say a fact that is not known: those that it depends on and that are null."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archcaps.fleet.inventory import Role
from archcaps.machine.cmdline import parse
from archcaps.machine.facts import LIST_FLAGS
from archcaps.machine.given_options import Options
from archcaps.machine.l1tf import kvm_lookups
from archcaps.machine.options import option_values
from archcaps.questions.many.columns import FALSE, UNKNOWN, Machines
from archcaps.tables.bits import BITS
from archcaps.tables.files import read_csv
from archcaps.tables.kernels import BEHAVIOURS
from archcaps.tables.linux_lists import asks_for_cores
from archcaps.tables.names import CPU_LOOKUPS, KERNEL_LOOKUPS, SILICON_LOOKUPS

__all__ = ["IDENTITY", "Lack", "Lacking"]

Mask = npt.NDArray[np.bool_]

#: The four that name a part are collected together, and stand as one column.
IDENTITY: Final = "vendor, family, model, stepping"
#: A column by another name than the look-up that is read from it.
_COLUMNS: Final = {"sbpb_write_succeeds": "msr_writes_succeed"}
_OWN_COLUMN: Final = (
    "smt_active", "smt_supported", "ls_cfg_readable", "sbpb_write_succeeds", "snp_host", "vmx_enabled",
    "ram_above_half",
)  # fmt: skip
_OF_MICROCODE: Final = {
    "tsa_microcode": ("microcode",),
    "bad_spectre_microcode": ("microcode",),
    "old_microcode": ("microcode", "platform_id", "kernel"),
}
#: What is read from KVM's parameters, and whether the kernel's options count for it too.
_OF_KVM: Final = {
    "l1d_flush_never": True, "l1d_flush_always": True, "kvm_splits_huge_pages": True, "ept_off": False,
    "ignore_msrs": False, "kvm_intel_loaded": False,
}  # fmt: skip


@dataclass(frozen=True)
class Lack:
    """A column of a role, and which of the role's classes lack it."""

    role: Role
    column: str
    classes: Mask


class Lacking:
    """The classes of an inventory, asked which columns they lack."""

    def __init__(self, hosts: Machines, guests: Machines) -> None:
        self._machines: dict[Role, Machines] = {"host": hosts, "guest": guests}
        self._nulls: dict[tuple[Role, str], Mask] = {}
        self._found: dict[str, tuple[list[Lack], list[Lack]]] = {}

    def of(self, fact: str) -> tuple[list[Lack], list[Lack]]:
        """Return the columns that `fact` depends on, and those that say it where it is unknown though these are there.

        Filled in, all of them together say the fact, as far as the tables know what they are filled in with. Both are
        empty where no column of an inventory says it.
        """
        if fact not in self._found:
            self._found[fact] = self._look(fact)
        return self._found[fact]

    def _look(self, fact: str) -> tuple[list[Lack], list[Lack]]:
        scope, _, name = fact.partition(".")
        match scope:
            case "host_kernel" | "guest_kernel":
                return self._of_kernel("host" if scope == "host_kernel" else "guest", name)
            case "host" | "guest":
                return self._of_cpu(scope, name, kernel_of=scope)
            case "silicon":
                return self._of_silicon(name)
            case "offered" | "true":  # the host's part, as the guest's kernel looks at it
                return self._of_cpu("host", name, kernel_of="guest")
            case "vm":
                return [self._null("guest", name)], []
        return [], []

    def _of_kernel(self, role: Role, name: str) -> tuple[list[Lack], list[Lack]]:
        linux = self._linux(role)
        if name in BEHAVIOURS:
            return [self._null(role, "kernel", linux)], [Lack(role, "behaviours", linux)]
        if name == "xen_pv":
            return [self._null(role, "xen_pv", linux)], []
        if name in _OF_KVM and role == "host":
            parameters, fuller = self._null(role, "kvm_parameters", linux), Lack(role, "kvm_parameters", linux)
            options = self._of_options(role, linux) if _OF_KVM[name] else ([], [])
            return [parameters, *options[0]], [fuller, *options[1]]
        return self._of_options(role, linux) if name in KERNEL_LOOKUPS else ([], [])

    def _of_options(self, role: Role, linux: Mask) -> tuple[list[Lack], list[Lack]]:
        """A kernel's options are read off its command line and configuration, as its release reads them.

        What is there may say too little: a configuration without an item, a release that nobody read.
        """
        columns = [self._null(role, column, linux) for column in ("kernel", "cmdline", "config")]
        states = [self._fact(role, f"{role}_kernel.{name}") for name in _read_by_options()]
        unread = np.logical_or.reduce([state == UNKNOWN for state in states])
        return columns, [Lack(role, "config", linux), Lack(role, "behaviours", linux & unread)]

    def _of_cpu(self, role: Role, name: str, *, kernel_of: Role) -> tuple[list[Lack], list[Lack]]:
        every = np.ones(self._machines[role].count, dtype=bool)
        if name in BITS:
            return [Lack(role, BITS[name].register, every)], []
        if name in LIST_FLAGS:
            linux = self._linux(kernel_of)
            return [self._identity(role), self._null(kernel_of, "kernel", linux)], self._cores(role, name)
        if name in _OF_MICROCODE:
            return [self._identity(role), *(self._null(role, column) for column in _OF_MICROCODE[name])], []
        if name in _OWN_COLUMN:
            return [self._null(role, _COLUMNS.get(name, name))], []
        if name in CPU_LOOKUPS:
            return [self._identity(role)], []
        if name == "host_identity":
            return [self._identity("host"), self._identity("guest")], []
        return [], []

    def _cores(self, role: Role, name: str) -> list[Lack]:
        """Lists that give a flag by the type of a core ask whether a part is hybrid, and which core it is."""
        if not asks_for_cores(*LIST_FLAGS[name]):
            return []
        hybrid = self._fact(role, f"{role}.hybrid")
        core = self._null(role, "core_type", hybrid != FALSE)
        return [Lack(role, BITS["hybrid"].register, hybrid == UNKNOWN), core]

    def _of_silicon(self, name: str) -> tuple[list[Lack], list[Lack]]:
        """The hardware's own registers are the host's if it is bare metal."""
        bare = Lack("host", BITS["hypervisor"].register, self._fact("host", "host.hypervisor") == UNKNOWN)
        if name in BITS:
            return [Lack("host", BITS[name].register, self._fact("host", f"host.{name}") == UNKNOWN), bare], []
        if any(row["name"] == name for row in read_csv("silicon/unverified.csv")):
            return [], []  # nobody has published it
        if name in SILICON_LOOKUPS or name in _OF_MICROCODE:
            of_microcode = [self._null("host", column) for column in _OF_MICROCODE.get(name, ())]
            return [self._identity("host"), *of_microcode, bare], []
        return [], []

    def _identity(self, role: Role) -> Lack:
        lacks = [self._null(role, column).classes for column in IDENTITY.split(", ")]
        return Lack(role, IDENTITY, np.logical_or.reduce(lacks))

    def _null(self, role: Role, column: str, within: Mask | None = None) -> Lack:
        if (role, column) not in self._nulls:
            machines = self._machines[role]
            values = machines.columns.get(column) or [None] * machines.count
            self._nulls[role, column] = np.array([value is None for value in values], dtype=bool)
        lacks = self._nulls[role, column]
        return Lack(role, column, lacks if within is None else lacks & within)

    def _linux(self, role: Role) -> Mask:
        """What Linux does says nothing of another system: no column makes it known there."""
        machines = self._machines[role]
        systems = machines.columns.get("system") or [None] * machines.count
        return np.array([system in (None, "linux") for system in systems], dtype=bool)

    def _fact(self, role: Role, name: str) -> npt.NDArray[np.uint8]:
        machines = self._machines[role]
        return machines.vectors.get(name, np.full(machines.count, UNKNOWN, dtype=np.uint8))


@cache
def _read_by_options() -> tuple[str, ...]:
    """Return the behaviours of a kernel that say how it reads its options: those that the look-up asks for."""
    asked = _Asked()
    option_values("", {}, asked)
    kvm_lookups({}, Options(parse(""), {}, asked))
    return tuple(sorted(asked.names))


class _Asked(dict[str, bool | None]):
    """Knows nothing, and notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401  # as dict has it
        self.names.add(name)
        return default
