"""The guest that moves: which bits it is shown, and the same guest with some of them shown, hidden or unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from archcaps.machine.snapshot import BitReading, Cpuid, Reading, Snapshot, number
from archcaps.questions.migrate_support import COMPARED
from archcaps.questions.reader import Reader
from archcaps.questions.word import ALL, Word
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS, REGISTERS

__all__ = ["booted_anew", "hidden_register", "hide", "names_shown", "shown_bits", "stored_word", "with_bits"]

_SOURCE = "changed for the question"
_MSR = "ia32_arch_capabilities"


def shown_bits(reader: Reader) -> dict[str, bool | None]:
    """Return the bits that are compared, each as the guest can read it; None: unknown."""
    cpu, value = reader.model.guest.cpu, reader.ternary.value
    return {name: value(cpu.bit(name)) for name in COMPARED}


def names_shown(reader: Reader) -> set[str]:
    """Return the CPUID bits that the guest is surely shown."""
    cpu, value = reader.model.guest.cpu, reader.ternary.value
    cpuid = [name for name, bit in BITS.items() if REGISTERS[bit.register].kind == "cpuid"]
    return {name for name in cpuid if value(cpu.bit(name))}


def stored_word(reader: Reader) -> Word:
    """Return the MSR 0x10a that the VMM set for the guest's vCPU, whether its CPUID shows it or not."""
    cpu, word, known = reader.model.guest.cpu, 0, 0
    for name, bit in ARCH_CAPABILITIES.items():
        value = reader.ternary.value(cpu.stored(name))
        word |= bit.mask if value else 0
        known |= 0 if value is None else bit.mask
    return Word(word, known)


def with_bits(guest: Snapshot, changes: Mapping[str, bool | None]) -> Snapshot:
    """Return the guest shown these bits (True), not shown them (False), or with them unknown (None)."""
    cpuid, registers = guest.cpuid, dict(guest.registers)
    for name, value in changes.items():
        bit = BITS[name]
        reading = registers.get(bit.register, Reading())
        singles = {each: single for each, single in reading.bits.items() if each != name}
        if value is not None:
            singles[name] = BitReading(value=value, provenance="assumed", source=_SOURCE)
        else:
            width = (1 << REGISTERS[bit.register].width) - 1
            known = width if reading.known is None else number(reading.known, 64, bit.register)
            reading = replace(reading, known=known & ~bit.mask)
            cpuid = _forget(cpuid, name)
        registers[bit.register] = replace(reading, bits=singles)
    return replace(guest, cpuid=cpuid, registers=registers)


def _forget(cpuid: Cpuid | None, name: str) -> Cpuid | None:
    """Return the CPUID without a bit; one that was complete names what it hides instead."""
    if cpuid is None or REGISTERS[BITS[name].register].kind != "cpuid":
        return cpuid
    every = [each for each, bit in BITS.items() if REGISTERS[bit.register].kind == "cpuid"]
    hidden = [each for each in every if each not in cpuid.shown] if cpuid.complete else cpuid.hidden
    lists = ([each for each in named if each != name] for named in (cpuid.shown, hidden))
    shown, hidden = lists
    return replace(cpuid, shown=shown, hidden=hidden, complete=False)


def hide(guest: Snapshot, bits: Iterable[str]) -> Snapshot:
    """Return the guest as its VMM would start it without these bits; MSR 0x10a is 0 where its CPUID bit goes."""
    names = list(bits)
    found = with_bits(guest, dict.fromkeys(names, False))
    return hidden_register(found) if "arch_capabilities" in names else found


def hidden_register(guest: Snapshot) -> Snapshot:
    """Return the guest whose CPUID hides MSR 0x10a and whose vCPU was set to 0 there."""
    found = with_bits(guest, {"arch_capabilities": False})
    word = Reading(value=0, known=ALL, provenance="assumed", source=_SOURCE)
    return replace(found, registers={**found.registers, _MSR: word})


def booted_anew(guest: Snapshot) -> Snapshot:
    """Return the guest without what was observed of it as it runs now: its texts, and what its kernel wrote to MSRs."""
    return replace(guest, vulnerabilities={})
