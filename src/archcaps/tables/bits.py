"""Registers and their bits, by name: the MSRs and CPUID words that speak of data-sampling bugs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from archcaps.tables.files import read_csv

__all__ = [
    "ARCH_CAPABILITIES", "BITS", "CONSUMERS", "FIELDS", "REGISTERS", "Bit", "Field", "Register", "bits_of", "fields_of",
]  # fmt: skip

#: Who names bits: the columns of the table that hold a consumer's own name.
CONSUMERS: Final = ("intel", "linux", "qemu", "libvirt", "xen")


@dataclass(frozen=True, slots=True)
class Register:
    """One MSR (64 bits) or one CPUID output word (32 bits)."""

    id: str
    kind: str
    address: int
    subleaf: int
    output: str
    title: str
    source: str

    @property
    def width(self) -> int:
        """Width in bits."""
        return 64 if self.kind == "msr" else 32


@dataclass(frozen=True, slots=True)
class Bit:
    """One bit of a register, with the names its users have for it."""

    register: str
    bit: int
    name: str
    kind: str
    vulnerabilities: tuple[str, ...]
    pool: str
    names: Mapping[str, str]
    meaning: str
    status: str
    source: str

    @property
    def mask(self) -> int:
        """The bit as a number."""
        return 1 << self.bit


@dataclass(frozen=True, slots=True)
class Field:
    """A number that takes several bits of a register, from bit `low` to bit `high`."""

    register: str
    low: int
    high: int
    name: str
    meaning: str
    values: Mapping[int, str]
    source: str

    @property
    def mask(self) -> int:
        """All bits of the field."""
        return (1 << self.high + 1) - (1 << self.low)

    def value(self, register: int) -> int:
        """Return the field's number in a register's value."""
        return (register & self.mask) >> self.low


def _registers(table: str) -> dict[str, Register]:
    return {
        row["id"]: Register(
            row["id"],
            row["kind"],
            int(row["address"], 0),
            int(row["subleaf"] or "0", 0),
            row["output"],
            row["title"],
            row["source"],
        )
        for row in read_csv(table)
    }


def _bits() -> dict[str, Bit]:
    return {
        row["name"]: Bit(
            row["register"],
            int(row["bit"]),
            row["name"],
            row["kind"],
            tuple(filter(None, row["vulnerability"].split("|"))),
            row["pool"],
            {consumer: row[consumer] for consumer in CONSUMERS if row[consumer]},
            row["meaning"],
            row["status"],
            row["source"],
        )
        for row in read_csv("bits.csv")
    }


def _fields() -> dict[str, Field]:
    return {
        row["name"]: Field(
            row["register"],
            int(row["low"]),
            int(row["high"]),
            row["name"],
            row["meaning"],
            {int(number, 0): says for number, says in _pairs(row["values"])},
            row["source"],
        )
        for row in read_csv("fields.csv")
    }


def _pairs(values: str) -> list[tuple[str, str]]:
    """Return the pairs of a cell like ``0x20=Atom|0x40=Core``."""
    parts = [pair.partition("=") for pair in values.split("|") if pair]
    return [(number, says) for number, _, says in parts]


REGISTERS: Final[Mapping[str, Register]] = MappingProxyType(_registers("registers.csv"))
BITS: Final[Mapping[str, Bit]] = MappingProxyType(_bits())
FIELDS: Final[Mapping[str, Field]] = MappingProxyType(_fields())


@cache
def feature_words() -> Mapping[str, Register]:
    """Return the CPUID words that only VMMs compare: snapshots may have them, and no rule reads them."""
    return MappingProxyType(_registers("feature_words.csv"))


@cache
def bits_of(register: str) -> Mapping[str, Bit]:
    """Return the bits of one register by name, lowest first.

    Raises:
        KeyError: no table has that register.
    """
    found = {name: bit for name, bit in BITS.items() if bit.register == REGISTERS[register].id}
    return MappingProxyType(dict(sorted(found.items(), key=lambda item: item[1].bit)))


def fields_of(register: str) -> dict[str, Field]:
    """Return the fields of one register by name, lowest first.

    Raises:
        KeyError: no table has that register.
    """
    found = [field for field in FIELDS.values() if field.register == REGISTERS[register].id]
    return {field.name: field for field in sorted(found, key=lambda field: field.low)}


#: All 64 bits of IA32_ARCH_CAPABILITIES (MSR 0x10a).
ARCH_CAPABILITIES: Final[Mapping[str, Bit]] = bits_of("ia32_arch_capabilities")
