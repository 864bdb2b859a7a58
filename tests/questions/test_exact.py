"""check --exact against every completion: the facts that are unknown filled in all ways, each read by itself."""

from __future__ import annotations

import os
from itertools import product
from typing import Any

import pytest
from msgspec.structs import replace

import archcaps
from archcaps.logic.choice import Choice
from archcaps.logic.ternary import Ternary
from archcaps.machine.snapshot import BitReading, Reading, Snapshot
from archcaps.questions.reader import Reader
from archcaps.rules import host_border, verdict
from archcaps.tables.names import VULNERABILITIES

#: Bits of the host's register that nobody read; each two more are sixteen times as many completions.
UNREAD: tuple[str, ...] = ("mds_no", "fb_clear", "fb_clear_ctrl", "sbdr_ssdp_no", "taa_no", "rfds_clear")
READ: tuple[str, ...] = ("rdcl_no", "ibrs_all", "skip_l1dfl_vmentry", "rfds_no", "tsx_ctrl", "fbsdp_no", "psdp_no")
if os.environ.get("ARCHCAPS_FULL") != "1":
    READ, UNREAD = (*READ, *UNREAD[4:]), UNREAD[:4]
GUESTS = {"none": "none", "nothing": "0x0", "fb_clear": "0x20000", "immune": "0x1e120"}


def pair(arch_capabilities: str) -> tuple[Snapshot, Snapshot]:
    host = archcaps.host("6/0x6a/6", "md_clear,flush_l1d,arch_capabilities", kernel="6.12.117", cmdline="")
    bits = {name: BitReading(value=name in ("rdcl_no", "ibrs_all", "fbsdp_no", "psdp_no")) for name in READ}
    parameters = replace(host.kvm, parameters={"vmentry_l1d_flush": "auto", "ept": "Y"})
    host = replace(host, registers={"ia32_arch_capabilities": Reading(bits=bits)}, kvm=parameters)
    guest = archcaps.guest("6/0x5e/3", "md_clear,flush_l1d", arch_capabilities, kernel="6.12.117", cmdline="")
    return host, guest


@pytest.mark.parametrize("shown", GUESTS)
@pytest.mark.parametrize("name", VULNERABILITIES)
def test_what_is_possible_is_just_what_some_completion_gives(shown: str, name: str) -> None:
    host, guest = pair(GUESTS[shown])
    found = archcaps.check(host, guest, exact=True)[name]
    reader = Reader(host, guest)
    case = reader.model.guest
    unknown = [f"host.{bit}" for bit in UNREAD]
    questions: dict[str, Choice[Any]] = {
        "truth": verdict.truth(case, name), "safety": verdict.safety(case, name),
        "host_safety": host_border.host_safety(case, name),
    }  # fmt: skip
    # Bits of the guest's register are not given where its CPUID hides it, and one fact of the silicon nobody knows.
    unknown += [f"guest.{bit}" for bit in UNREAD if reader.facts.values.get(f"guest.{bit}") is None]
    spared = "silicon.register_file_spared"
    answers: dict[str, set[str]] = {key: set() for key in questions}
    rows = []
    for values in product((False, True), repeat=len(unknown) + 1):
        known: dict[str, bool | None] = {**reader.facts.values, **dict(zip([*unknown, spared], values, strict=True))}
        known |= {f"silicon.{bit}": known[f"host.{bit}"] for bit in UNREAD}
        ternary = Ternary(known, reader.ternary.observed)
        row = {key: choice.answer(ternary).possible for key, choice in questions.items()}
        rows.append((known, row))
        for key, possible in row.items():
            answers[key] |= {label.value for label in possible}
    for key in questions:
        assert set(getattr(found, key).possible) <= answers[key], key
        if all(len(row[key]) == 1 for _, row in rows):
            assert set(getattr(found, key).possible) == answers[key], key
    for quick in found.exact.quickest if found.exact is not None else ():
        fitting = [
            row[quick.question]
            for known, row in rows
            if all(known.get(fact) is value for fact, value in quick.facts.items())
        ]
        assert fitting, "what decides can be so"
        assert {label.value for possible in fitting for label in possible} == {quick.answer}


def test_what_is_decided_stays_and_is_not_asked_again() -> None:
    host, guest = pair("0x20000")
    plain, exact = archcaps.check(host, guest)["tsa"], archcaps.check(host, guest, exact=True)["tsa"]
    assert not plain.undecided
    assert exact == plain


def test_it_asks_for_no_more_than_the_three_valued_reading() -> None:
    host, guest = pair("none")
    for name in VULNERABILITIES:
        plain, exact = archcaps.check(host, guest)[name], archcaps.check(host, guest, exact=True)[name]
        as_host = {fact.replace("silicon.", "host.") if "spared" not in fact else fact for fact in plain.missing}
        assert set(exact.missing) <= as_host | set(plain.missing)
        assert set(exact.truth.possible) <= set(plain.truth.possible)
