"""`archcaps predict` against what 256 real machines said: bare metal and guests, 2020 to 2026, of many distributions.

Collected from what people published of lscpu and /sys (each record names its source). What a machine does not show is
not supposed: the command line, the microcode, MSR 0x10a and many CPUID bits are unknown, and most kernels are a
distribution's. So the text that was read must be among those that are answered, no file may be said to be there that
is not, and none to be missing that is there; and what is answered with one text alone must not become less.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from tests.cli.running import archcaps

MACHINES = Path(__file__).parent / "recorded" / "real-machines.jsonl.gz"
#: Kernels older than every one whose source was read: EL7 and Ubuntu 18.04.
TOO_OLD = ("3.10.", "4.15.")


@cache
def machines() -> tuple[dict[str, Any], ...]:
    with gzip.open(MACHINES, "rt", encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)


@cache
def answers() -> tuple[dict[str, Any], ...]:
    cases = "\n".join(json.dumps(machine["input"]) for machine in machines())
    result = archcaps("predict", stdin=cases.encode())
    assert result.returncode == 65, result.stderr  # some are too old
    return tuple(json.loads(line) for line in result.stdout.splitlines())


def is_too_old(machine: dict[str, Any]) -> bool:
    return str(machine["input"]["kernel"]).startswith(TOO_OLD)


def as_lscpu_writes(text: str | None) -> str | None:
    """lscpu turns the colon behind a leading "Mitigation" into a semicolon and leaves every other colon out."""
    if text is None:
        return None
    first, colon, rest = text.partition(":")
    return first + ";" + rest.replace(":", "") if colon and first == "Mitigation" else text.replace(":", "")


def possible(answer: dict[str, Any], file: str) -> list[str | None]:
    found = answer["vuln"].get(file)
    return found if isinstance(found, list) else [found]


def test_kernels_older_than_all_that_was_read_are_refused() -> None:
    refused = [machine["id"] for machine, answer in zip(machines(), answers(), strict=True) if "error" in answer]
    assert refused == [machine["id"] for machine in machines() if is_too_old(machine)]
    assert len(refused) == 8
    said = next(answer["error"] for answer in answers() if "error" in answer)
    assert "is older than Linux 5.4" in said


def test_every_text_that_was_read_is_among_those_answered() -> None:
    outside, single, several = [], 0, 0
    for machine, answer in zip(machines(), answers(), strict=True):
        if is_too_old(machine):
            continue
        assert "vuln_cut" not in answer, machine["id"]
        for file, text in machine["texts"].items():
            found = {as_lscpu_writes(each) for each in possible(answer, file)}
            single, several = single + (len(found) == 1), several + (len(found) > 1)
            if as_lscpu_writes(text) not in found:
                outside.append((machine["id"], machine["input"]["kernel"], file, text))
    assert outside == []
    assert single + several == 3436
    assert single >= 900  # 985 when this was written (97 before); a new reading that differs takes some away


def test_no_file_is_said_to_be_there_that_is_not_nor_to_be_missing_that_is() -> None:
    wrong = []
    for machine, answer in zip(machines(), answers(), strict=True):
        if is_too_old(machine):
            continue
        wrong += [(machine["id"], file, "is there") for file in machine["texts"] if possible(answer, file) == [None]]
        if machine["files_complete"]:
            missing = set(answer["vuln"]) - set(machine["texts"])
            wrong += [(machine["id"], file, "is not") for file in missing if None not in possible(answer, file)]
    assert wrong == []


def test_what_is_assumed_of_a_release_lies_within_what_is_possible_and_held() -> None:
    compared = 0
    for machine, answer in zip(machines(), answers(), strict=True):
        for file, text in machine["texts"].items() if "assumed" in answer else ():
            under = possible(answer["assumed"], file)
            assert set(under) <= set(possible(answer, file)), (machine["id"], file)
            assert as_lscpu_writes(text) in map(as_lscpu_writes, under), (machine["id"], file)
            compared += 1
    assert compared > 100
