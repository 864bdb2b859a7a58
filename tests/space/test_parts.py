"""Boxes of signatures: every signature is in one, and no look-up tells those of a box apart."""

from __future__ import annotations

import os
from collections import Counter
from functools import cache

import pytest

from archcaps.machine.identity import identity_lookups
from archcaps.space.parts import ATOM, FAMILIES, MODELS, STEPPINGS, VENDORS, Box, boxes
from archcaps.tables.linux_lists import Part
from archcaps.tables.silicon import tsa_microcode
from tests.space.brute import revision

#: Models of which a list asks the type of a core. Source: Linux 7.1.5 arch/x86/kernel/cpu/common.c
#: cpu_vuln_blacklist, the rows with an X86_CPU_TYPE: Alder Lake and Raptor Lake
ASKED_FOR_CORES = {("GenuineIntel", 6, 0x97), ("GenuineIntel", 6, 0xB7)}


#: ARCHCAPS_SPACE=full looks at every stepping everywhere.
FULL = os.environ.get("ARCHCAPS_SPACE") == "full"


@cache
def plain() -> tuple[Box, ...]:
    return tuple(box for box in boxes() if box.plain)


def part(box: Box, signature: tuple[str, int, int, int]) -> Part:
    return Part(*signature, hybrid=box.hybrid, core_type=ATOM if box.atom else 0)


def test_every_signature_is_in_just_one_plain_box() -> None:
    found = Counter(signature for box in plain() for signature in box.signatures())
    # Four vendors, 32 families, 256 models and 16 steppings: 2 ** (2 + 5 + 8 + 4).
    assert len(found) == 1 << 19 == len(VENDORS) * FAMILIES * MODELS * STEPPINGS
    assert set(found.values()) == {1}
    for position, every in enumerate((set(VENDORS), set(range(32)), set(range(256)), set(range(16)))):
        assert {signature[position] for signature in found} == every


def test_a_box_knows_how_many_signatures_it_has() -> None:
    assert all(len(list(box.signatures())) == len(box) > 0 for box in boxes())


def test_other_kinds_of_core_are_there_just_where_a_list_asks_for_them() -> None:
    asked = {(box.vendor, *box.families, *box.models) for box in boxes() if not box.plain}
    assert asked == ASKED_FOR_CORES
    for vendor, family, model in ASKED_FOR_CORES:
        kinds = Counter(
            (box.hybrid, box.atom)
            for box in boxes()
            if (box.vendor, box.families, box.models) == (vendor, (family,), (model,))
            for _ in box.signatures()
        )
        assert kinds == {(hybrid, atom): 16 for hybrid in (True, False) for atom in (True, False)}


def test_the_part_that_is_asked_is_one_of_its_box() -> None:
    for box in boxes():
        asked = box.part
        assert (asked.vendor, asked.family, asked.model, asked.stepping) in set(box.signatures())
        assert (asked.hybrid, asked.core_type == ATOM) == (box.hybrid, box.atom)


def test_identity_is_the_same_for_every_signature_of_a_box() -> None:
    different = set()
    for box in plain():
        expected = identity_lookups(box.part)
        for vendor, family, model, stepping in box.signatures():
            # Only in two families the stepping decides something: AMD's erratum 400.
            if FULL or family in (0x0F, 0x10) or stepping in (box.steppings[0], box.steppings[-1]):
                found = identity_lookups.__wrapped__(Part(vendor, family, model, stepping))
                different |= {(vendor, family, name) for name in found if found[name] is not expected[name]}
    assert different == set()


def test_the_microcode_table_is_the_same_for_every_signature_of_a_box() -> None:
    for box in boxes():
        newest = revision(box.part, recent=True)
        answer = tsa_microcode(box.part, newest, unlisted=None)
        found = {tsa_microcode(part(box, signature), newest, unlisted=None) for signature in box.signatures()}
        assert found == {answer}, box


@pytest.mark.parametrize(
    ("signature", "named"),
    [
        (("GenuineIntel", 6, 0x55, 7), True),  # Cascade Lake
        (("AuthenticAMD", 0x19, 0x01, 1), True),  # Milan
        (("HygonGenuine", 0x18, 0x00, 2), True),  # Dhyana: a row of all models of its family
        (("GenuineIntel", 6, 0xFF, 0), False),  # no part has that model, and no row is of all models of family 6
        (("GenuineIntel", 0x1F, 0, 0), False),
    ],
)
def test_hosts_are_parts_that_tables_name(signature: tuple[str, int, int, int], named: bool) -> None:
    (box,) = (box for box in plain() if signature in set(box.signatures()))
    assert box.named is named
