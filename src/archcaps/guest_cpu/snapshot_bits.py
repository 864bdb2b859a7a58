"""Whether a machine has a bit, as its snapshot says it by name, by word, or bit by bit."""

from __future__ import annotations

from collections.abc import Mapping

from archcaps.guest_cpu.words import with_bits, word_of
from archcaps.machine.snapshot import Snapshot
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS

__all__ = ["has_bit", "with_known_bits"]


def has_bit(machine: Snapshot, bit: str) -> bool | None:
    """Return whether a machine has a bit, by our name; None where its snapshot does not say.

    Without CPUID.ARCH_CAPABILITIES there is no IA32_ARCH_CAPABILITIES, and so none of its bits.
    """
    if bit in ARCH_CAPABILITIES and has_bit(machine, "arch_capabilities") is False:
        return False
    value, known = word_of(machine, BITS[bit].register)
    return bool(value & BITS[bit].mask) if known & BITS[bit].mask else None


def with_known_bits(machine: Snapshot, bits: Mapping[str, bool], source: str) -> Snapshot:
    """Return the snapshot with these bits so; `source` says who tells."""
    for register in {BITS[bit].register for bit in bits}:
        own = {bit: on for bit, on in bits.items() if BITS[bit].register == register}
        mask = sum(BITS[bit].mask for bit in own)
        value = sum(BITS[bit].mask for bit, on in own.items() if on)
        machine = with_bits(machine, register, mask, value, source)
    return machine
