"""A snapshot's register as a word, and a snapshot with some bits of a register changed or become unknown."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from archcaps.machine.snapshot import FORMAT_VERSION, BitReading, Cpuid, Reading, Snapshot, number
from archcaps.tables.bits import BITS, REGISTERS, bits_of

__all__ = ["unknown_guest", "with_bits", "without_bits", "word_of"]


def unknown_guest() -> Snapshot:
    """Return a guest of whose CPU nothing is known."""
    return Snapshot(
        format_version=FORMAT_VERSION,
        role="guest",
        cpuid=Cpuid(complete=False),
        registers={"ia32_arch_capabilities": Reading(value=0, known=0)},
    )


def word_of(snapshot: Snapshot, register: str) -> tuple[int, int]:
    """Return a register's value and the mask of its known bits: CPUID by name, then the word, then single bits."""
    bits = bits_of(register)
    value = known = 0
    if snapshot.cpuid is not None and REGISTERS[register].kind == "cpuid":
        cpuid = snapshot.cpuid
        value = sum(bit.mask for name, bit in bits.items() if name in cpuid.shown)
        known = sum(bit.mask for name, bit in bits.items() if cpuid.complete or name in (*cpuid.shown, *cpuid.hidden))
    reading = snapshot.registers.get(register)
    if reading is not None:
        width = REGISTERS[register].width
        if reading.value is not None:
            seen = (1 << width) - 1 if reading.known is None else number(reading.known, width, register)
            value = value & ~seen | number(reading.value, width, register) & seen
            known |= seen
        for name, single in reading.bits.items():
            mask = bits[name].mask
            value = value | mask if single.value else value & ~mask
            known |= mask
    return value & known, known


def with_bits(snapshot: Snapshot, register: str, mask: int, value: int, source: str) -> Snapshot:
    """Return the snapshot with the bits of `mask` in a register set to those of `value`; `source` says who does."""
    named = {name: bit for name, bit in bits_of(register).items() if bit.mask & mask}
    reading = snapshot.registers.get(register, Reading())
    single = {
        name: BitReading(value=bool(value & bit.mask), provenance="imported", source=source)
        for name, bit in named.items()
    }
    width = REGISTERS[register].width
    old, seen = 0, 0
    if reading.value is not None:
        old = number(reading.value, width, register)
        seen = (1 << width) - 1 if reading.known is None else number(reading.known, width, register)
    reading = replace(reading, value=old & ~mask | value & mask, known=seen | mask)
    reading = replace(reading, bits={**reading.bits, **single})
    return replace(
        snapshot,
        cpuid=_unlisted(snapshot.cpuid, named),
        registers={**snapshot.registers, register: reading},
    )


def without_bits(snapshot: Snapshot, register: str, mask: int) -> Snapshot:
    """Return the snapshot with the bits of `mask` in a register unknown."""
    named = {name: bit for name, bit in bits_of(register).items() if bit.mask & mask}
    registers = dict(snapshot.registers)
    if register in registers:
        reading = registers[register]
        width = REGISTERS[register].width
        seen = (1 << width) - 1 if reading.known is None else number(reading.known, width, register)
        left = {name: single for name, single in reading.bits.items() if name not in named}
        registers[register] = replace(reading, known=None if reading.value is None else seen & ~mask, bits=left)
    return replace(snapshot, cpuid=_unlisted(snapshot.cpuid, named), registers=registers)


def _unlisted(cpuid: Cpuid | None, names: Mapping[str, object]) -> Cpuid | None:
    """Return CPUID by name without some names: what is left says nothing of them."""
    if cpuid is None:
        return None
    hidden = list(cpuid.hidden)
    if cpuid.complete:
        every = [name for name, bit in BITS.items() if REGISTERS[bit.register].kind == "cpuid"]
        hidden = [name for name in every if name not in cpuid.shown]
    return replace(
        cpuid,
        shown=[name for name in cpuid.shown if name not in names],
        hidden=[name for name in hidden if name not in names],
        complete=False,
    )
