"""The bits of a guest that can be shown or hidden, and a snapshot with bits changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from archcaps.machine.snapshot import BitReading, Cpuid, Reading, Snapshot, number
from archcaps.questions.fix.changes import Rules
from archcaps.questions.fix.results import Step, Word
from archcaps.questions.reader import Reader
from archcaps.rules.kvm_offer import OFFERED_CPUID, kvm_get_arch_capabilities, kvm_get_supported_cpuid
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS, REGISTERS
from archcaps.tables.changes import bits

__all__ = ["Toggle", "offered", "shown", "toggles", "with_bits", "words"]


@dataclass(frozen=True, slots=True)
class Toggle:
    """A bit that can be set to another value than the guest has, as a change."""

    bit: str
    on: bool
    step: Step


def offered(reader: Reader) -> dict[str, bool | None]:
    """Return which of the bits that can be changed KVM offers; None: unknown."""
    return {entry.name: _offers(reader, entry.name) for entry in bits()}


def _offers(reader: Reader, bit: str) -> bool | None:
    kvm = reader.model.kvm
    if bit in ARCH_CAPABILITIES:
        return reader.ternary.value(kvm_get_arch_capabilities(kvm, bit))
    return reader.ternary.value(kvm_get_supported_cpuid(kvm, bit)) if bit in OFFERED_CPUID else None


def shown(reader: Reader) -> dict[str, bool | None]:
    """Return the bits that can be changed as the guest has them now; None: unknown."""
    values = reader.facts.values
    return {entry.name: values.get(f"guest.{entry.name}") for entry in bits()}


def toggles(
    has: Mapping[str, bool | None], offers: Mapping[str, bool | None], vendor: str | None, rules: Rules
) -> list[Toggle]:
    """Return the bits that may be changed by the rules, of a guest on a host whose CPU is of `vendor`.

    A bit that the guest `has` may be hidden, one that KVM `offers` shown, and one that only tells something forced. A
    bit of which it is not known how the guest has it can be made as KVM offers it.
    """
    found = []
    for entry in bits():
        now, offer = has[entry.name], offers[entry.name]
        on = not now if now is not None else offer
        if on is None:
            continue
        forced = on and offer is not True
        if forced and not (entry.forced and vendor in entry.only):
            continue
        kind = "forced-flags" if forced else "guest-flags"
        if rules.allows(kind):
            found.append(Toggle(entry.name, on, rules.of_bit(kind, entry.name, on=on)))
    return found


def with_bits(guest: Snapshot, values: Mapping[str, bool | None]) -> Snapshot:
    """Return the guest with these bits; None: it is not known any more how it has them."""
    cpuid, registers = guest.cpuid or Cpuid(complete=False), dict(guest.registers)
    for bit, value in values.items():
        register = BITS[bit].register
        if register in registers or REGISTERS[register].kind == "msr":
            registers[register] = _with_bit(registers.get(register, Reading()), bit, value)
        else:
            cpuid = _with_cpuid_bit(cpuid, bit, value)
    changed = bool(values) and cpuid != Cpuid(complete=False)
    return replace(guest, cpuid=cpuid if changed else guest.cpuid, registers=registers)


def _with_bit(reading: Reading, bit: str, value: bool | None) -> Reading:
    """Return a register with a bit changed: in its value where it has one, else by name."""
    others = {name: single for name, single in reading.bits.items() if name != bit}
    if reading.value is None:
        return replace(reading, bits=others if value is None else {**others, bit: BitReading(value=value)})
    width, mask = REGISTERS[BITS[bit].register].width, BITS[bit].mask
    every = (1 << width) - 1
    known = every if reading.known is None else number(reading.known, width, bit)
    known = known & ~mask if value is None else known | mask
    word = number(reading.value, width, bit) & ~mask | (mask if value else 0)
    return replace(reading, value=f"{word:#x}", known=None if known == every else f"{known:#x}", bits=others)


def _with_cpuid_bit(cpuid: Cpuid, bit: str, value: bool | None) -> Cpuid:
    shown_bits, hidden = ([name for name in names if name != bit] for names in (cpuid.shown, cpuid.hidden))
    complete = cpuid.complete
    if value is None and complete:  # the others that are not named stay hidden
        named = {*shown_bits, bit}
        hidden = [name for name, each in BITS.items() if REGISTERS[each.register].kind == "cpuid" and name not in named]
        complete = False
    if value is not None:
        (shown_bits if value else hidden).append(bit)
    return replace(cpuid, shown=shown_bits, hidden=hidden, complete=complete)


def words(before: Snapshot, after: Snapshot) -> list[Word]:
    """Return the registers of two snapshots whose values are others."""
    found = []
    for register in dict.fromkeys((*before.registers, *after.registers)):
        texts = [_text(snapshot.registers.get(register), register) for snapshot in (before, after)]
        if texts[0] != texts[1]:
            found.append(Word(register, *texts))
    return found


def _text(reading: Reading | None, register: str) -> str | None:
    """Return a register's value with the bits that are given by name; None where not all of it is known."""
    if reading is None or reading.value is None or reading.known is not None:
        return None
    value = number(reading.value, REGISTERS[register].width, register)
    for bit, single in reading.bits.items():
        value = value & ~BITS[bit].mask | (BITS[bit].mask if single.value else 0)
    return f"{value:#x}"
