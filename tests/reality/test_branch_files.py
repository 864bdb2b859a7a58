"""The files about branch prediction and stores, against every recorded answer of real kernels.

A tenth of them, and all that have options or threads; also with facts taken away, which may never lose the text.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from msgspec.structs import replace

from archcaps.logic.ternary import Ternary
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.reader import Reader
from archcaps.rules.linux_files import TEXTS
from tests.reality.records import Record, records, snapshot_of

FILES = (
    "spectre_v1", "spectre_v2", "spec_store_bypass", "retbleed", "spec_rstack_overflow", "indirect_target_selection",
    "vmscape",
)  # fmt: skip
HOST = Snapshot(format_version=1, role="host")
RECORDS = [record for record in records() if "vuln" in record["output"]]
#: Each tenth of all, and every one with options, threads or VMSCAPE.
SOME = [
    record
    for number, record in enumerate(RECORDS)
    if number % 10 == 0
    or record["input"]["cmdline"]
    or record["input"]["smp"] != 1
    or record["output"]["vuln"].get("vmscape") not in (None, "Not affected")
]


def reader_of(record: Record) -> Reader:
    return Reader(HOST, snapshot_of(record, "guest"))


def test_there_is_something_to_compare() -> None:
    seen = Counter(file for record in SOME for file in FILES if record["output"]["vuln"].get(file) != "Not affected")
    assert all(seen[file] > 10 for file in FILES)


@pytest.mark.parametrize("file", FILES)
def test_texts_of_real_kernels(file: str) -> None:
    wrong = {}
    for record in SOME:
        reader = reader_of(record)
        guest = reader.model.guest
        answer = TEXTS[file](guest.cpu, guest.kernel).answer(reader.ternary)
        if answer.possible != (record["output"]["vuln"].get(file),):
            wrong[str(record["input"])] = answer.possible
    assert wrong == {}


@pytest.mark.conformance
@pytest.mark.parametrize("share", [0.02, 0.2])
def test_facts_taken_away_never_lose_the_text(share: float) -> None:
    chance = random.Random(share)
    for record in chance.sample(SOME, 40):
        reader = reader_of(record)
        guest = reader.model.guest
        kept = {name: value for name, value in reader.facts.values.items() if chance.random() > share}
        ternary = Ternary(kept)
        for file in FILES:
            answer = TEXTS[file](guest.cpu, guest.kernel).answer(ternary)
            assert record["output"]["vuln"].get(file) in answer.possible or not answer.complete, (file, record["input"])


def test_an_unknown_revision_and_unknown_msr_answers_leave_both_texts() -> None:
    for record in SOME:
        if not record["input"]["hypervisor"]:
            whole = snapshot_of(record, "guest")
            cpu = replace(whole.cpu, microcode=None, ls_cfg_readable=None, msr_writes_succeed=None)
            reader = Reader(HOST, replace(whole, cpu=cpu))
            guest = reader.model.guest
            for file in FILES:
                answer = TEXTS[file](guest.cpu, guest.kernel).answer(reader.ternary)
                assert record["output"]["vuln"].get(file) in answer.possible
