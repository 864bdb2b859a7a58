"""Every configuration of a bounded space as rows of an inventory: hosts and guests, one guest for each configuration.

What a space leaves free is written out here: bits as the columns' words, parts, kernels and microcode as rows. Each
axiom is asked by itself which hardware can be, and each list which parts it names. No diagram is read.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import duckdb

from archcaps.logic.graph import Kind, walk
from archcaps.machine.facts import LIST_FLAGS
from archcaps.rules.properties import VIOLATIONS
from archcaps.space.bounds import Bounds, PartPattern
from archcaps.space.releases import choose_releases
from archcaps.tables import linux_lists
from archcaps.tables.axioms import axioms
from archcaps.tables.bits import BITS, REGISTERS
from archcaps.tables.files import read_toml
from archcaps.tables.kernels import Release
from archcaps.tables.names import SILICON_LOOKUPS, VULNERABILITIES
from archcaps.tables.properties import properties
from archcaps.tables.silicon import tsa_microcode
from tests.space.brute import Part, revision, table_values

__all__ = ["COMPARED", "Configurations"]

#: Properties that speak of one guest on one host, with the question of an audit and the answer that they forbid.
COMPARED = {
    "no-false-immunity": ("truth", "false-immunity"),
    "no-broken-promise": ("truth", "broken-promise"),
    "no-exposure": ("safety", "exposed"),
    "no-host-exposure": ("host_safety", "exposed"),
}

_MODELS, _STEPPINGS = range(256), range(16)
#: Rows of a table that go into one statement.
_AT_ONCE = 1000


@dataclass(frozen=True)
class Configurations:
    """A bounded space: these hosts with each of these kernels, and guests that are shown parts of the same family.

    `shown`: only parts of which look-ups of the guest have these values. `host_bits` and `guest_bits` are free, those
    that the host and the guest `has` are 1, and all others 0. Microcode is the oldest or the newest. Of the situation
    it is free whether host MMIO is mapped. `silicon`: only hardware that the axioms allow.
    """

    hosts: tuple[Part, ...]
    host_kernels: tuple[str, ...]
    guest_kernels: tuple[str, ...]
    shown: Mapping[str, bool]
    host_bits: tuple[str, ...]
    guest_bits: tuple[str, ...]
    host_has: tuple[str, ...]
    guest_has: tuple[str, ...]
    silicon: bool

    def __post_init__(self) -> None:
        """Refuse bits that are free and 1: words are sums of bits."""
        assert not set(self.host_bits) & set(self.host_has)
        assert not set(self.guest_bits) & set(self.guest_has)

    @property
    def bounds(self) -> Bounds:
        """The same space for the prover: what is not free is given."""
        given = {"vm.has_assigned_device": False, "assume.user_mmio": False}
        given |= {f"guest.{name}": value for name, value in self.shown.items()}
        read = _bits_read()
        given |= {f"guest.{bit}": bit in self.guest_has for bit in read["guest"] if bit not in self.guest_bits}
        # A guest's VMX deviates from what KVM offers, which is the host's.
        of_host = read["host"] | read["guest"] & {"vmx"}
        given |= {f"host.{bit}": bit in self.host_has for bit in of_host - {*self.host_bits, "hypervisor"}}
        return Bounds(
            host_parts=tuple(PartPattern(each.vendor, each.family, each.model, each.stepping) for each in self.hosts),
            kvm=choose_releases(",".join(self.host_kernels), "kvm"),
            guest_kernels=choose_releases(",".join(self.guest_kernels), "guests"),
            given=given,
            any_silicon=not self.silicon,
        )

    def write(self, folder: Path) -> int:
        """Write ``hosts.parquet`` and ``guests.parquet``; return the number of guests."""
        with duckdb.connect() as database:
            _create(database, "hosts", list(self._hosts()))
            _create(database, "shown", list(self._shown()))
            words = (
                f"{_word(register, self.guest_has)} {''.join(_variable(self.guest_bits, register))} AS {register}"
                for register in REGISTERS
            )
            database.execute(
                f"""
                CREATE TABLE guests AS SELECT concat_ws('/', host_id, number, bits, has_mapped_host_mmio) AS guest_id,
                    host_id, shown.* EXCLUDE (number), has_mapped_host_mmio, {", ".join(words)}
                FROM (SELECT host_id FROM hosts), shown, range(1 << {len(self.guest_bits)}) each_word(bits),
                    (VALUES (false), (true)) each_situation(has_mapped_host_mmio)
                """
            )
            for table in ("hosts", "guests"):
                database.execute(f"COPY {table} TO '{folder}/{table}.parquet' (FORMAT parquet)")
            (number,) = database.execute("SELECT count(*) FROM guests").fetchall()[0]
        return int(number)

    def _hosts(self) -> Iterator[dict[str, Any]]:
        every = product(self.hosts, self.host_kernels, (False, True))
        for (part, kernel, recent), bits in product(every, product((False, True), repeat=len(self.host_bits))):
            free = {name for name, value in zip(self.host_bits, bits, strict=True) if value}
            if not self.silicon or _can_be(part, kernel, recent, {*self.host_has, *free}):
                words = {register: _word(register, {*self.host_has, *free}) for register in REGISTERS}
                identity = "/".join((f"{part.model:x}", kernel, str(recent), *sorted(free)))
                yield {"host_id": identity, **_machine(part, kernel, recent, built=True), **words}

    def _shown(self) -> Iterator[dict[str, Any]]:
        vendor, family = self.hosts[0].vendor, self.hosts[0].family
        for kernel, model, stepping in product(self.guest_kernels, _MODELS, _STEPPINGS):
            part = Part(vendor, family, model, stepping)
            for recent in (False, True):
                if all(_look_up(name, part, kernel, recent) is value for name, value in self.shown.items()):
                    for built in (False, True):
                        machine = _machine(part, kernel, recent, built=built)
                        number = f"{model:x}/{stepping:x}/{kernel}/{recent}/{built}"
                        yield {"number": number, **machine, "has_assigned_device": False, "has_host_device": False}


@cache
def _bits_read() -> Mapping[str, set[str]]:
    """Return the bits of hosts (on bare metal those of the hardware) and guests that some property reads."""
    roots = [VIOLATIONS[properties()[name].forbids](each) for name in COMPARED for each in VULNERABILITIES]
    names = [node.name.partition(".") for node in walk(roots) if node.kind is Kind.FACT]
    found: dict[str, set[str]] = {"host": set(), "guest": set()}
    for scope, _, what in names:
        if what in BITS:
            found.setdefault("host" if scope == "silicon" else scope, set()).add(what)
    return found


def _machine(part: Part, kernel: str, recent: bool, *, built: bool) -> dict[str, Any]:
    """Return the columns of a machine but for its words; its kernel is `built` with KVM."""
    upstream = read_toml("kernel_configs.toml")["upstream-defaults"]
    items = {name: value for name, value in upstream.items() if name.isupper()}
    return {
        "vendor": part.vendor, "family": part.family, "model": part.model, "stepping": part.stepping, "core_type": 0,
        "microcode": revision(part, recent=recent), "smt_active": False, "kernel": kernel, "cmdline": "",
        "config": json.dumps({**items, "KVM": "y" if built else "n"}),
        "kvm_parameters": json.dumps({"vmentry_l1d_flush": "auto", "ept": "Y", "ignore_msrs": "N"}),
    }  # fmt: skip


def _word(register: str, has: Collection[str]) -> int:
    """Return a register in which these bits are 1, and those of other registers do not matter."""
    return sum(BITS[name].mask for name in has if BITS[name].register == register)


def _variable(bits: Sequence[str], register: str) -> Iterator[str]:
    """Yield SQL that adds to a register's word those of the free bits that are 1 in the number ``bits``."""
    for place, name in enumerate(bits):
        if BITS[name].register == register:
            yield f" + (bits >> {place} & 1) * {BITS[name].mask}"


def _can_be(part: Part, kernel: str, recent: bool, has: Collection[str]) -> bool:
    """Return whether each axiom allows hardware of a part that has these bits; what nobody knows forbids nothing."""
    facts = table_values(part, kernel, part, kernel, True, recent)
    values: dict[str, bool | None] = {name.partition(".")[2]: facts[name] for name in facts if name.startswith("host.")}
    values |= {name: facts.get(f"silicon.{name}") for name in SILICON_LOOKUPS}
    values |= {name: name in has for name in BITS}
    return all(axiom.holds(values) is not False for axiom in axioms())


def _look_up(name: str, part: Part, kernel: str, recent: bool) -> bool | None:
    """Return what the list of a kernel, or its table of microcode, says of a part."""
    found = linux_lists.Part(part.vendor, part.family, part.model, part.stepping, hybrid=False, core_type=0)
    if name == "tsa_microcode":
        return tsa_microcode(found, revision(part, recent=recent), unlisted=False)
    return linux_lists.list_flag(*LIST_FLAGS[name], found, Release.parse(kernel)).value


def _create(database: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Create a table that has these rows: numbers as BIGINT."""
    kinds = {str: "VARCHAR", int: "BIGINT", bool: "BOOLEAN"}
    columns = ", ".join(f"{name} {kinds[type(value)]}" for name, value in rows[0].items())
    database.execute(f"CREATE TABLE {table} ({columns})")
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        marks = ", ".join(f"({', '.join('?' * len(row))})" for row in part)
        database.execute(f"INSERT INTO {table} VALUES {marks}", [value for row in part for value in row.values()])
