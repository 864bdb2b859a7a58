"""Registers and their bits, by name: the MSRs and CPUID words that speak of data-sampling bugs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from archcaps.tables.files import read_csv

__all__ = ["ARCH_CAPABILITIES", "BITS", "CONSUMERS", "REGISTERS", "Bit", "Register", "bits_of"]

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


def _registers() -> dict[str, Register]:
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
        for row in read_csv("registers.csv")
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


REGISTERS: Final[Mapping[str, Register]] = MappingProxyType(_registers())
BITS: Final[Mapping[str, Bit]] = MappingProxyType(_bits())


def bits_of(register: str) -> dict[str, Bit]:
    """Return the bits of one register by name, lowest first.

    Raises:
        KeyError: no table has that register.
    """
    found = {name: bit for name, bit in BITS.items() if bit.register == REGISTERS[register].id}
    return dict(sorted(found.items(), key=lambda item: item[1].bit))


#: All 64 bits of IA32_ARCH_CAPABILITIES (MSR 0x10a).
ARCH_CAPABILITIES: Final[Mapping[str, Bit]] = MappingProxyType(bits_of("ia32_arch_capabilities"))
