"""A snapshot's register as a word: CPUID by name, then the word, then single bits; and bits set or made unknown."""

from __future__ import annotations

import pytest

from archcaps.guest_cpu.words import unknown_guest, with_bits, without_bits, word_of
from archcaps.machine.snapshot import BitReading, Cpuid, Reading, Snapshot

WORD = "cpuid_7_0_edx"
MD_CLEAR, FLUSH_L1D, ARCH_CAP = 1 << 10, 1 << 28, 1 << 29


def guest(cpuid: Cpuid | None, **registers: Reading) -> Snapshot:
    return Snapshot(format_version=1, role="guest", cpuid=cpuid, registers=registers)


def test_a_complete_list_says_that_the_others_are_0() -> None:
    listed = guest(Cpuid(shown=["md_clear"]))
    value, known = word_of(listed, WORD)
    assert value == MD_CLEAR
    assert known & (MD_CLEAR | FLUSH_L1D | ARCH_CAP) == MD_CLEAR | FLUSH_L1D | ARCH_CAP
    partly = guest(Cpuid(shown=["md_clear"], hidden=["flush_l1d"], complete=False))
    assert word_of(partly, WORD) == (MD_CLEAR, MD_CLEAR | FLUSH_L1D)


def test_the_word_goes_before_the_list_and_single_bits_before_the_word() -> None:
    reading = Reading(value="0x400", known="0x10000400", bits={"arch_capabilities": BitReading(value=True)})
    found = guest(Cpuid(shown=["flush_l1d"], complete=False), cpuid_7_0_edx=reading)
    assert word_of(found, WORD) == (MD_CLEAR | ARCH_CAP, MD_CLEAR | FLUSH_L1D | ARCH_CAP)


@pytest.mark.parametrize(
    "before",
    [
        guest(Cpuid(shown=["md_clear", "flush_l1d"])),
        guest(None, cpuid_7_0_edx=Reading(value=MD_CLEAR | FLUSH_L1D)),
        guest(Cpuid(complete=False), cpuid_7_0_edx=Reading(bits={"md_clear": BitReading(value=True)})),
        unknown_guest(),
    ],
)
def test_bits_are_set_and_forgotten_and_no_others(before: Snapshot) -> None:
    value, known = word_of(before, WORD)
    made = with_bits(before, WORD, MD_CLEAR | ARCH_CAP, ARCH_CAP, "a test")
    assert word_of(made, WORD) == (value & ~MD_CLEAR | ARCH_CAP, known | MD_CLEAR | ARCH_CAP)
    assert made.registers[WORD].bits["arch_capabilities"].source == "a test"
    forgotten = without_bits(made, WORD, MD_CLEAR | FLUSH_L1D)
    value, known = word_of(made, WORD)
    assert word_of(forgotten, WORD) == (value & ~(MD_CLEAR | FLUSH_L1D), known & ~(MD_CLEAR | FLUSH_L1D))


def test_nothing_is_known_of_an_unknown_guest() -> None:
    assert word_of(unknown_guest(), "ia32_arch_capabilities") == (0, 0)
    assert word_of(unknown_guest(), WORD) == (0, 0)
