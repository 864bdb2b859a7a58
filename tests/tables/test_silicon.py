"""Published lists of parts: yes, no, and nobody said."""

from __future__ import annotations

import pytest

from archcaps.tables.linux_lists import Part
from archcaps.tables.silicon import published, tsa_microcode

INTEL, AMD = "GenuineIntel", "AuthenticAMD"


@pytest.mark.parametrize(
    ("vulnerability", "part", "affected"),
    [
        # Intel's list of affected processors
        ("mds", Part(INTEL, 6, 0x55, 4), True),  # Skylake server
        ("mds", Part(INTEL, 6, 0x6A, 6), False),  # Ice Lake server
        ("mmio_stale_data", Part(INTEL, 6, 0x6A, 6), True),
        ("mmio_stale_data", Part(INTEL, 6, 0x8F, 8), False),  # Sapphire Rapids
        ("reg_file_data_sampling", Part(INTEL, 6, 0xBE, 0), True),  # Alder Lake N
        ("mds", Part(INTEL, 6, 0x7E, 5), None),  # "Hardware+MCU" says neither
        # rows of one signature that disagree
        ("mmio_stale_data", Part(INTEL, 6, 0x8D, 1), None),  # Tiger Lake H: mobile no, embedded yes
        ("reg_file_data_sampling", Part(INTEL, 6, 0x97, 5), None),  # Alder Lake S and Catlow
        # not on Intel's list: Linux's rows are statements, their absence is none
        ("mmio_stale_data", Part(INTEL, 6, 0x55, 7), True),  # Cascade Lake
        ("mds", Part(INTEL, 6, 0x5C, 9), False),  # Goldmont: NO_MDS
        ("mds", Part(INTEL, 6, 0x2A, 7), None),  # Sandy Bridge: no list names it
        ("mds", Part(INTEL, 6, 0xFE, 1), None),
        # NO_SPECULATION ends cpu_set_bug_bits before every bug but ITLB multihit
        ("mds", Part(INTEL, 5, 0x09, 0), False),  # Quark
        ("reg_file_data_sampling", Part(INTEL, 6, 0x36, 1), False),  # Saltwell
        ("meltdown", Part(INTEL, 6, 0x1C, 10), False),  # Bonnell
        ("itlb_multihit", Part(INTEL, 6, 0x1C, 10), False),  # Bonnell: NO_ITLB_MULTIHIT as well
        ("itlb_multihit", Part(INTEL, 5, 0x09, 0), None),
        # vendors and families
        ("mds", Part(AMD, 0x19, 1, 1), False),
        ("tsa", Part(AMD, 0x19, 1, 1), True),
        ("tsa", Part(AMD, 0x17, 0x31, 0), False),
        ("tsa", Part(AMD, 0x1B, 0, 0), None),
        ("tsa", Part(INTEL, 6, 0x6A, 6), False),
        ("tsa", Part("HygonGenuine", 0x18, 0, 2), None),
        ("mds", Part(None, None, None, None), None),
        ("mds", Part(INTEL, 6, 0x6A, None), None),
    ],
)
def test_what_lists_say(vulnerability: str, part: Part, affected: bool | None) -> None:
    assert published(vulnerability, part).affected is affected


def test_zen_5_and_tsa_is_marked_as_unverified() -> None:
    answer = published("tsa", Part(AMD, 0x1A, 0x44, 0))
    assert answer.affected is True
    assert not answer.verified


MILAN = Part(AMD, 0x19, 0x01, 0x1)


@pytest.mark.parametrize(
    ("part", "revision", "unlisted", "value"),
    [
        (MILAN, 0x0A0011D7, None, True),  # the row's own minimum
        (MILAN, 0x0A0011D6, None, False),
        (MILAN, None, False, None),
        (Part(AMD, 0x19, 0x01, 0x0), 0xFFFFFFFF, False, False),  # the kernel has no row for it
        (Part(AMD, 0x19, 0x01, 0x0), 0xFFFFFFFF, None, None),  # of the silicon nobody said
        (Part(AMD, 0x19, 0x01, None), 0xFFFFFFFF, False, None),
        (Part(INTEL, 6, 0x6A, 6), 0xFFFFFFFF, None, False),
        (Part(None, None, None, None), 1, False, None),
    ],
)
def test_microcode_against_tsa(part: Part, revision: int | None, unlisted: bool | None, value: bool | None) -> None:
    assert tsa_microcode(part, revision, unlisted=unlisted) is value
