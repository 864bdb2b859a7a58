"""Look-ups by part: the signatures of a box are alike to every list, and a box answers as each of its signatures.

The lists are read here once more, into one array of all signatures for each table.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import pytest

from archcaps.machine.facts import LIST_FLAGS, PUBLISHED
from archcaps.machine.identity import identity_lookups
from archcaps.space.lookups import Kernels, value_of_part
from archcaps.space.parts import ATOM, FAMILIES, MODELS, STEPPINGS, VENDORS, Box, boxes
from archcaps.space.releases import list_groups, releases
from archcaps.tables.files import read_csv
from archcaps.tables.linux_lists import Part, list_files, list_flag
from archcaps.tables.silicon import published, tsa_microcode
from tests.space.brute import revision

#: ARCHCAPS_SPACE=full asks at every release that has other lists, and of every box.
FULL = os.environ.get("ARCHCAPS_SPACE") == "full"

SHAPE = (len(VENDORS), FAMILIES, MODELS, STEPPINGS)
#: The names of vendors in the kernel's lists. Source: Linux arch/x86/include/asm/processor.h X86_VENDOR_*
LISTED = {"INTEL": 0, "AMD": 1, "HYGON": 2, "ZHAOXIN": 3}
Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


def slice_of(row: dict[str, str]) -> tuple[slice, slice, slice, slice] | None:
    """Return the signatures that a row of a list speaks of; None where it is of a vendor that is not looked at."""
    if row["vendor"] != "ANY" and row["vendor"] not in LISTED:
        return None

    def one(text: str) -> slice:
        return slice(None) if text == "ANY" else slice(int(text, 16), int(text, 16) + 1)

    vendor = slice(None) if row["vendor"] == "ANY" else slice(LISTED[row["vendor"]], LISTED[row["vendor"]] + 1)
    steppings = (
        slice(None) if row["step_min"] == "ANY" else slice(int(row["step_min"], 16), int(row["step_max"], 16) + 1)
    )
    return vendor, one(row["family"]), one(row["model_hex"]), steppings


@cache
def first_rows(path: str, atom: bool, hybrid: bool) -> Numbers:
    """Return for every signature the number of the first row that fits; -1: none."""
    found = np.full(SHAPE, -1)
    for number, row in reversed(list(enumerate(read_csv(path)))):
        where = slice_of(row)
        assert row["cpu_type"] in ("ANY", "ATOM")
        if where is not None and (row["cpu_type"] == "ANY" or atom or hybrid):
            found[where] = number
    return found


def in_box(numbers: Numbers, box: Box) -> set[int]:
    steppings = slice(box.steppings.start, box.steppings.stop)
    part = numbers[VENDORS.index(box.vendor)][np.ix_(box.families, box.models)]
    return {int(number) for number in np.unique(part[:, :, steppings])}


@pytest.mark.parametrize("path", list_files())
def test_the_signatures_of_a_box_have_the_same_flags_in_every_list(path: str) -> None:
    rows = read_csv(path)
    for box in boxes():
        found = in_box(first_rows(path, box.atom, box.hybrid), box)
        assert (
            len({frozenset() if number < 0 else frozenset(rows[number]["flags"].split("|")) for number in found}) == 1
        )


def test_the_signatures_of_a_box_are_on_the_same_rows_of_what_is_published() -> None:
    # What `published` reads: Intel's list by signature, statements about models or families, and Linux's newest lists
    # whatever the type of a core.
    keys: list[Numbers] = []
    intel: dict[tuple[int, int, int], list[int]] = {}
    for number, row in enumerate(read_csv("silicon/intel_affected.csv")):
        for text in row["signature"].split():
            eax = int(text, 16)
            family, model = eax >> 8 & 15, (eax >> 4 & 15) + (eax >> 16 & 15) * 16
            assert eax >> 20 == 0  # no extended family
            intel.setdefault((family, model, eax & 15), []).append(number)
    by_signature = np.full(SHAPE, -1)
    numbers: dict[tuple[int, ...], int] = {}
    for (family, model, stepping), of in intel.items():
        by_signature[0, family, model, stepping] = numbers.setdefault(tuple(of), len(numbers))
    keys.append(by_signature)
    for row in read_csv("silicon/parts.csv"):
        stated = np.zeros(SHAPE, dtype=np.int64)
        model_slice = slice(None) if row["model"] == "ANY" else int(row["model"], 16)
        stated[VENDORS.index(row["vendor"]), int(row["family"], 16), model_slice] = 1
        keys.append(stated)
    for name in ("blacklist", "whitelist"):
        for row in read_csv(f"linux_lists/{name}-7.1.5.csv"):
            where = slice_of(row)
            if where is not None:
                fits = np.zeros(SHAPE, dtype=np.int64)
                fits[where] = 1
                keys.append(fits)
    # One number for each combination.
    together = np.zeros(SHAPE, dtype=np.int64)
    for key in keys:
        together = np.unique(together * (int(key.max()) + 2) + key + 1, return_inverse=True)[1].reshape(SHAPE)
    assert [box for box in boxes() if len(in_box(together, box)) > 1] == []


# --- the answers themselves ---------------------------------------------------------------------------------------


def random_parts(number: int) -> Iterator[tuple[Box, Part]]:
    """Yield each box with one of its signatures, as a part."""
    choose = random.Random(number)
    for box in boxes():
        family, model = choose.choice(box.families), choose.choice(box.models)
        core = ATOM if box.atom else 0
        yield box, Part(box.vendor, family, model, choose.choice(box.steppings), hybrid=box.hybrid, core_type=core)


@pytest.mark.parametrize("name", LIST_FLAGS)
def test_a_box_answers_as_its_signatures_in_every_list(name: str) -> None:
    which, flag = LIST_FLAGS[name]
    groups = list_groups(which, flag)
    places = sorted(set(groups)) if FULL else sorted({groups[place] for place in (8, 46, 84, 116)})
    # A release that shares the lists of an earlier one too.
    last = max(place for place, group in enumerate(groups) if group < place)
    for place in (*places, last):
        release = releases()[place]
        for box, part in random_parts(place):
            value = list_flag(which, flag, part, release).value
            expected = f"unknown:host.{name}" if value is None else value
            found = value_of_part(f"host.{name}", box, Kernels({"host_kernel": (place,)}, 1))
            assert found == expected, (part, release)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_box_answers_as_its_signatures_in_what_is_published(name: str) -> None:
    step = 1 if FULL else 4
    for box, part in list(random_parts(len(name)))[::step]:
        affected = published(PUBLISHED[name], part).affected
        expected = f"unknown:silicon.{name}" if affected is None else affected
        assert value_of_part(f"silicon.{name}", box, Kernels({}, 1)) == expected, part


def test_a_box_answers_as_its_signatures_what_follows_from_identity() -> None:
    for number in range(4):
        for box, part in random_parts(number):
            for name, value in identity_lookups(part).items():
                expected = f"unknown:guest.{name}" if value is None else value
                assert value_of_part(f"guest.{name}", box, Kernels({}, 1)) == expected, part


def test_recent_microcode_is_a_choice_where_the_table_has_the_part() -> None:
    for number in range(4):
        for box, part in random_parts(number):
            newest = tsa_microcode(part, revision(part, recent=True), unlisted=None)
            for scope, expected in (
                ("host", "host.recent_microcode" if newest else False),
                ("guest", "guest.recent_microcode" if newest else False),
                ("offered", "host.recent_microcode" if newest else False),
                # Of silicon that the table does not list nobody says anything.
                (
                    "silicon",
                    {True: "host.recent_microcode", None: "unknown:silicon.tsa_microcode", False: False}[newest],
                ),
            ):
                assert value_of_part(f"{scope}.tsa_microcode", box, Kernels({}, 1)) == expected, (scope, part)


def test_nobody_says_whether_the_register_file_is_spared() -> None:
    box = boxes()[0]
    assert value_of_part("silicon.register_file_spared", box, Kernels({}, 1)) == "unknown:silicon.register_file_spared"
