"""The facts of many machines of one role, fact by fact: a vector of 0 (unknown), 1 (true) and 2 (false) for each.

Machines share most of what has to be looked up, so each different CPU, kernel and list row is looked up once. Bits of
words are read with one operation for all machines.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from archcaps.logic.bitplanes import BitPlanes
from archcaps.machine.datum import Datum, Facts
from archcaps.machine.facts import add_identity, add_kernel, add_lists, add_user_mmio, add_vm, part_of
from archcaps.machine.observations import guest_observations, host_observations
from archcaps.machine.row import CPU_COLUMNS, KERNEL_COLUMNS, OFFERED, VM_COLUMNS, snapshot_of
from archcaps.machine.silicon_facts import add_microcode, add_silicon, bits_of_part
from archcaps.machine.snapshot import Cpuid, Snapshot
from archcaps.questions.doubted import shown_by_texts
from archcaps.tables.bits import BITS, REGISTERS
from archcaps.tables.linux_lists import Part
from archcaps.tables.names import STRICT, VM_LOOKUPS, VULNERABILITIES

__all__ = ["FALSE", "TRUE", "UNKNOWN", "Machines", "Vector", "plane_of", "spread", "unpacked"]

Vector: TypeAlias = npt.NDArray[np.uint8]
UNKNOWN, TRUE, FALSE = 0, 1, 2
_FALSE = Datum(False, "assumed", "")
#: Bits that look-ups need: is this a virtual machine, and has the CPU two types of cores.
_LOOKED_AT = ("hypervisor", "hybrid")


@dataclass(frozen=True)
class Machines:
    """Many machines of one role as columns of `archcaps.machine.row`; a column that is missing is null throughout.

    `columns` maps names to one value a machine, None for null. `assumptions` are those of `check`.
    """

    role: Literal["host", "guest"]
    count: int
    columns: Mapping[str, Sequence[Any]]
    assumptions: frozenset[str] = frozenset()

    @cached_property
    def vectors(self) -> dict[str, Vector]:
        """Every fact's vector by its name; a fact that is not there is unknown for all machines."""
        found: dict[str, Vector] = {}
        for scope in self._scopes:
            found |= self._bits(scope)
        for keys, look_up in (
            ((*CPU_COLUMNS, *_LOOKED_AT), self._cpu_facts),
            ((*KERNEL_COLUMNS, "kvm_parameters", *_LOOKED_AT), self._kernel_facts),
            (VM_COLUMNS, self._vm_facts),
        ):
            index, different = self.grouped(keys)
            found |= spread(index, [look_up(row) for row in different])
        if self.role == "host":
            found |= self._documented(found)
        index, different_parts = _grouped(self.parts_and_releases)
        found |= spread(index, [self._list_facts(part, release) for part, release in different_parts])
        return found

    def _documented(self, known: Mapping[str, Vector]) -> dict[str, Vector]:
        """Return the bits of bare hardware that documents settle where nobody read them; as such: ``documented.*``."""
        index, parts = _grouped([part for part, _ in self.parts_and_releases])
        said = [
            {literal.name: literal.value for axiom in bits_of_part(part).values() for literal in axiom.then}
            for part in parts
        ]
        bare = known.get("host.hypervisor", np.zeros(self.count, np.uint8)) == FALSE
        found: dict[str, Vector] = {}
        for name, vector in spread(index, said).items():
            found[f"documented.{name}"] = documented = np.where(bare, vector, UNKNOWN).astype(np.uint8)
            for fact in (f"host.{name}", f"silicon.{name}"):
                own = known.get(fact, np.zeros(self.count, np.uint8))
                found[fact] = np.where(own == UNKNOWN, documented, own).astype(np.uint8)
        return found

    @cached_property
    def observed(self) -> dict[str, Vector]:
        """Each rule that was observed on some of the machines, as `vectors` gives facts."""
        found = dict(self._all_observed)
        for name, rows in self.doubted.items():
            found[name] = np.where(rows == TRUE, UNKNOWN, found[name]).astype(np.uint8)
        return found

    @cached_property
    def _all_observed(self) -> dict[str, Vector]:
        index, different = self.grouped(("vulnerabilities", *OFFERED, *(f"{name}_known" for name in OFFERED)))
        return spread(index, [self._observations(row) for row in different])

    @cached_property
    def supposed(self) -> dict[str, npt.NDArray[np.bool_]]:
        """What is supposed of guests that nobody said, by the assumption's name: of which of the machines."""
        if self.role == "host" or "strict" in self.assumptions:
            return {}
        rows = list(zip(*(self._column(name) for name in VM_COLUMNS), strict=True))
        mapped = "host-mmio" in self.assumptions
        host = [None in row[: len(VM_LOOKUPS)] and (mapped or not any(row)) for row in rows]
        names = (
            "host-mmio" if mapped else "no-host-mmio",
            "user-mmio" if "user-mmio" in self.assumptions else "no-user-mmio",
        )
        return {names[0]: np.array(host, dtype=bool), names[1]: np.ones(self.count, dtype=bool)}

    @cached_property
    def doubted(self) -> dict[str, Vector]:
        """The rules that texts show otherwise than CPU and kernel give them, TRUE in the vector of each: not known."""
        shown = {name: vector for name, vector in self._all_observed.items() if name in shown_by_texts()}
        if not shown:
            return {}
        facts = {name: (plane_of(vector == TRUE), plane_of(vector == FALSE)) for name, vector in self.vectors.items()}
        given = BitPlanes(self.count, facts)
        found = {}
        for name, vector in shown.items():
            true, false = given.planes(shown_by_texts()[name])
            differ = plane_of(vector == TRUE) & false | plane_of(vector == FALSE) & true
            if differ:
                found[name] = unpacked(differ, self.count)
        return found

    @cached_property
    def opaque(self) -> dict[str, Vector]:
        """The rules that do not hold, TRUE in the vector of each: those of Linux under another system, and in doubt."""
        doubted = self.doubted
        if self.role == "host" or "system" not in self.columns:
            return doubted
        other = np.array([system not in (None, "linux") for system in self.columns["system"]], dtype=np.uint8)
        rules = ("guest.clear_cpu_buf", *(f"guest.verw_works[{name}]" for name in VULNERABILITIES))
        if not other.any():
            return doubted
        return doubted | {name: np.maximum(other, doubted.get(name, other)) for name in rules}

    @cached_property
    def parts_and_releases(self) -> list[tuple[Part, str | None]]:
        """Each machine's part, and the release of Linux that runs on it."""
        index, different = self.grouped((*CPU_COLUMNS, *_LOOKED_AT))
        parts = [part_of(self._snapshot(row)) for row in different]
        systems, kernels = self._column("system"), self._column("kernel")
        return [
            (parts[group], kernel if system in (None, "linux") else None)
            for group, system, kernel in zip(index, systems, kernels, strict=True)
        ]

    def grouped(self, names: Sequence[str]) -> tuple[npt.NDArray[np.intp], list[dict[str, Any]]]:
        """Return for each machine the number of its group, and the groups: the different rows of the columns named."""
        columns = {**self.columns, **self._looked_at}
        present = [name for name in names if name in columns]
        rows: Iterable[Hashable] = zip(*(columns[name] for name in present), strict=True)
        index, different = _grouped(rows if present else [()] * self.count)
        return index, [dict(zip(present, row, strict=True)) for row in different]

    @property
    def _strict(self) -> bool:
        return STRICT in self.assumptions

    @property
    def _scopes(self) -> tuple[str, ...]:
        return ("host", "silicon") if self.role == "host" else ("guest",)

    def _column(self, name: str) -> Sequence[Any]:
        return self.columns.get(name) or [None] * self.count

    @cached_property
    def _looked_at(self) -> dict[str, list[bool | None]]:
        """The bits that look-ups need, as columns."""
        found: dict[str, list[bool | None]] = {}
        for name in _LOOKED_AT:
            bit = BITS[name]
            words, masks = self._column(bit.register), self._column(f"{bit.register}_known")
            found[name] = [
                None if word is None or not (mask is None or mask & bit.mask) else bool(word & bit.mask)
                for word, mask in zip(words, masks, strict=True)
            ]
        return found

    def _bits(self, scope: str) -> dict[str, Vector]:
        """Return the vectors of the bits of all words; the hardware's own are the host's where it is bare metal."""
        found = {}
        for register in REGISTERS:
            if register not in self.columns:
                continue
            value, known = self._word(register)
            for name, bit in BITS.items():
                if bit.register == register:
                    mask = np.uint64(bit.mask)
                    has, is_known = (value & mask) != 0, (known & mask) != 0
                    found[name] = np.where(is_known, np.where(has, TRUE, FALSE), UNKNOWN).astype(np.uint8)
        if scope == "silicon":
            bare = found.get("hypervisor", np.zeros(self.count, np.uint8)) == FALSE
            found = {name: np.where(bare, vector, UNKNOWN).astype(np.uint8) for name, vector in found.items()}
        return {f"{scope}.{name}": vector for name, vector in found.items()}

    def _word(self, register: str) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """Return a register's values and known bits for all machines; a null value has none."""
        every = (1 << REGISTERS[register].width) - 1
        values = self.columns[register]
        masks = self._column(f"{register}_known")
        known = [
            0 if value is None else every if mask is None else mask & every
            for value, mask in zip(values, masks, strict=True)
        ]
        return (
            np.array([0 if value is None else value & every for value in values], dtype=np.uint64),
            np.array(known, dtype=np.uint64),
        )

    def _snapshot(self, row: Mapping[str, Any]) -> Snapshot:
        shown = [name for name in _LOOKED_AT if row.get(name)]
        hidden = [name for name in _LOOKED_AT if row.get(name) is False]
        return replace(snapshot_of(row, self.role), cpuid=Cpuid(shown=shown, hidden=hidden, complete=False))

    def _cpu_facts(self, row: Mapping[str, Any]) -> dict[str, bool]:
        facts, snapshot = Facts(), self._snapshot(row)
        part = part_of(snapshot)
        add_identity(facts, self.role, snapshot, part, strict=self._strict)
        if self.role == "host":
            for scope in ("offered", "true"):
                add_microcode(facts, scope, snapshot, part, unlisted=False)
            if row.get("hypervisor") is False:
                facts.add("host.hypervisor", False, "imported", "")
            add_silicon(facts, snapshot, part)
        elif not self._strict:
            facts.known.setdefault("guest.ram_above_half", _FALSE)
        return {name: value for name, value in facts.values.items() if name.partition(".")[2] not in _LOOKED_AT}

    def _kernel_facts(self, row: Mapping[str, Any]) -> dict[str, bool]:
        facts = Facts()
        if row.get("hypervisor") is not None:
            facts.add(f"{self.role}.hypervisor", row["hypervisor"], "imported", "")
        defaults = "default-options" in self.assumptions and not self._strict
        add_kernel(facts, f"{self.role}_kernel", self._snapshot(row), defaults=defaults, strict=self._strict)
        facts.known.pop(f"{self.role}.hypervisor", None)
        if self.role == "guest":
            facts.known.setdefault("guest_kernel.xen_pv", _FALSE)
        return facts.values

    def _vm_facts(self, row: Mapping[str, Any]) -> dict[str, bool]:
        facts = Facts()
        if self.role == "guest":
            add_vm(facts, self._snapshot(row), self.assumptions)
            add_user_mmio(facts, self.assumptions)
        return facts.values

    def _list_facts(self, part: Part, release: str | None) -> dict[str, bool]:
        facts = Facts()
        add_lists(facts, self.role, part, release, strict=self._strict)
        return facts.values

    def _observations(self, row: Mapping[str, Any]) -> dict[str, bool]:
        snapshot = self._snapshot(row)
        seen = host_observations(snapshot) if self.role == "host" else guest_observations(snapshot)
        return {name: datum.value for name, datum in seen.items()}


def _grouped(rows: Iterable[Any]) -> tuple[npt.NDArray[np.intp], list[Any]]:
    numbers: dict[Any, int] = {}
    index = [numbers.setdefault(row, len(numbers)) for row in rows]
    return np.array(index, dtype=np.intp), list(numbers)


def plane_of(bits: npt.NDArray[np.bool_]) -> int:
    """Return a plane of as many rows: bit i is row i."""
    return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")


def unpacked(plane: int, rows: int) -> Vector:
    """Return the first `rows` rows of a plane, 0 or 1 each."""
    raw = np.frombuffer(plane.to_bytes((rows + 7) // 8, "little"), dtype=np.uint8)
    return np.unpackbits(raw, count=rows, bitorder="little")


def spread(index: npt.NDArray[np.intp], groups: Sequence[Mapping[str, bool]]) -> dict[str, Vector]:
    """Return each name's vector over all machines, from its value in each group."""
    names = dict.fromkeys(name for group in groups for name in group)
    found = {}
    for name in names:
        states = [group.get(name) for group in groups]
        of_group = np.array([UNKNOWN if state is None else TRUE if state else FALSE for state in states], np.uint8)
        found[name] = of_group[index]
    return found
