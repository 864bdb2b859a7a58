"""docs/questions answers what users asked: each with its page, and archcaps' answer is the one that is known.

`user_questions.csv` has the addresses of 33 threads, what was asked, and the answer that was given there or found out
since. What is expected of each command is written down from that answer, not from the command's output.
"""

from __future__ import annotations

import csv
import gc
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from archcaps.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "questions"
INDEX = PAGES / "README.md"
SECTION = re.compile(r"^## (\d+)\. (.*)\n((?:(?!## ).*\n)*)", re.M)
COMMAND = re.compile(r"^\$ archcaps ((?:.*\\\n)*.*)$", re.M)
ATTEMPTED = "Vulnerable: Clear CPU buffers attempted, no microcode; SMT Host state unknown"
CLEARS = "Mitigation: Clear CPU buffers; SMT Host state unknown"

with (ROOT / "tests" / "user_questions.csv").open(encoding="utf-8", newline="") as file:
    QUESTIONS = {int(row["n"]): row for row in csv.DictReader(file)}

#: The exit code of each command of a section, in their order, and what its output has to say.
EXPECTED: dict[int, list[tuple[int, list[str]]]] = {
    # VERW may well clear, and the guest cannot know; what the host's own side needs stays open.
    1: [(3, [f'mds false-alarm safe VERW works "{ATTEMPTED}"', "Responsible: userspace", "What would decide it:"])],
    2: [(1, ["mds false-alarm safe VERW works", "not as KVM offers: md_clear=0", "responsible: userspace"])],
    # kvm64: family 15, model 6, stepping 1, and nothing of the host.
    3: [(3, ["guest: GenuineIntel 15/0x6/1"]), (1, ["mds false-alarm safe", "the silicon is not affected"])],
    4: [(0, ["bit 31 of CPUID.7.0:EDX", "Speaks of: spec_store_bypass"]), (0, ["spec_store_bypass Vulnerable"])],
    5: [(0, ["which cannot know whether a sibling thread runs somebody else"])],
    # Measured: 6.1.192 says Unknown, 7.2.13 Not affected.
    6: [(3, ["mmio_stale_data Unknown: No mitigations Not affected"])],
    7: [
        (1, [f'mmio_stale_data withheld safe no VERW "{ATTEMPTED}"', "Responsible: userspace"]),
        (0, ["show fb_clear (MSR 0x10a bit 17)", "+qemu-system-x86_64", "Cascadelake-Server-v5,fb-clear=on"]),
    ],
    # KVM makes it up while the host mitigates: true then, a lie with gather_data_sampling=off.
    8: [
        (0, ["KVM also shows it where the host is affected and mitigated"]),
        (0, ["gather_data_sampling truthful safe"]),
        (2, ["gather_data_sampling false-immunity exposed"]),
    ],
    # T2S before it got FB_CLEAR: FLUSH_L1D is shown from host kernel 6.4 on, and mends the text.
    9: [
        (1, [f'mmio_stale_data false-alarm safe VERW works "{ATTEMPTED}"', "Responsible: userspace"]),
        (1, [f'mmio_stale_data truthful safe VERW works "{CLEARS}"']),
    ],
    # The host's BHI_DIS_S does not protect the guest; its own setting does.
    10: [
        (2, ["bhi truthful exposed", "BHI: Vulnerable", "responsible: guest kernel"]),
        (0, ["what the host sets does not protect the guest"]),
        (0, ["bhi truthful safe"]),
    ],
    11: [
        (1, ["ACCEPTED.", "fb_clear 1 0 untrue costs harmless"]),
        (4, ["REFUSED by libvirt (fb_clear).", "here taa_no is missing", "missing features: fb-clear"]),
    ],
    12: [(2, ["QEMU 7.2 has no property 'fb-clear' (8.1 has it)"]), (3, ["MSR 0x10a: 0x2002b", "mds_no fb_clear"])],
    13: [
        (4, ["REFUSED by libvirt (arch_capabilities).", "missing features: arch-capabilities"]),
        (3, ["ACCEPTED.", "Nothing gets worse", "Not known of "]),
    ],
    14: [
        (2, ["DOES NOT START", '"error: failed to set MSR 0x10a to 0x69"']),
        (0, ["STARTS", "MSR 0x10a: not there"]),
    ],
    15: [(1, ["STARTS", "hides it from guests whose vendor is AMD, except on pc machine types up to 10.0"])],
    16: [
        (65, ["after - a name takes dashes (-arch-capabilities)"]),
        (0, ["asked: QEMU 10.0.3: host -arch-capabilities"]),
    ],
    17: [(0, ["shown: arch_capabilities"]), (1, ["arch-capabilities: dropped by QEMU", "MSR 0x10a: not there"])],
    # The source's features are frozen, and the destination's libvirt compares.
    18: [(4, ["REFUSED by libvirt", "operation failed: guest CPU doesn't match specification: missing features:"])],
    19: [
        (3, ["UNDECIDED whether libvirt takes it", "mmio_stale_data: false-alarm, safe -> withheld, safe"]),
        (0, ["hidden from guests (AND)"]),
    ],
    20: [(1, ["-cpu host takes what KVM there offers, without a word", "truthful, safe -> false-immunity, safe"])],
    21: [(2, ["DOES NOT START", "the host does not support md-clear"])],
    22: [
        (1, [f'mds truthful safe VERW works "{CLEARS}"', f'mmio_stale_data false-alarm safe VERW works "{ATTEMPTED}"']),
        (0, ["show flush_l1d (CPUID.7.0:EDX bit 28)"]),
    ],
    # The report's own texts; whether the vendor's word is true cannot be known from inside.
    23: [
        (0, ["spec_store_bypass Vulnerable", "spec_rstack_overflow Mitigation: safe RET, no microcode"]),
        (3, ["tsa unsaid undecided", "What would decide it:"]),
    ],
    # What the fast guest is not told, and that it is affected all the same.
    24: [
        (3, ["not shown, though KVM offers: md_clear flush_l1d"]),
        (1, [f'mds false-alarm safe VERW works "{ATTEMPTED}"', "the silicon is affected"]),
        (3, ["mds: unsaid, exposed or safe", "not as KVM offers: md_clear=0", "the silicon is affected"]),
        (0, ["show md_clear (CPUID.7.0:EDX bit 10)", "+cpu: x86-64-v3,flags=+md-clear", "a reboot from inside is not"]),
    ],
    25: [
        (3, ["not shown, though KVM offers: md_clear"]),
        (3, ["mds: unsaid, exposed or safe", "mmio_stale_data: unsaid, exposed or safe", "the silicon is affected"]),
        (0, [f'mds truthful safe VERW works "{CLEARS}"']),
    ],
    26: [(0, ["In a pool: OR.", "leaving it out hides a need"]), (3, ["mds false-alarm safe"])],
    27: [(0, ["shut the VM down and start it again; a reboot from inside is not enough"])],
    28: [(0, ["ACCEPTED, and nothing changes: it is the same host."])],
    29: [
        (4, ["REFUSED by libvirt (rtm).", "missing features: rtm"]),
        (3, ["UNDECIDED whether libvirt takes it", "Nothing would get worse"]),
    ],
    # Guests decide by bits: the revision changes nothing, the bits do.
    30: [(0, [f"mds {ATTEMPTED}"]), (0, [f"mds {ATTEMPTED}"]), (0, [f"mds {CLEARS}", f"mmio_stale_data {CLEARS}"])],
    31: [(3, ["UNDECIDED", "mds: truthful or false-alarm, exposed or safe", "is the silicon affected? not known"])],
    # Every guest of affected hosts was told "Not affected".
    32: [
        (2, ['tsa false-immunity exposed no VERW "Not affected"', "Responsible: KVM"]),
        (0, ["hide tsa_l1_no", "hide tsa_sq_no"]),
        (0, ["One change by the host's owner", "enough: 7.0.13"]),
    ],
    33: [(4, ["REFUSED by libvirt (arch_capabilities).", "What helps:"])],
}


def sections() -> Iterator[tuple[int, Path, str, str]]:
    """Yield each section that answers a question: its number, page, title and text."""
    for page in sorted(PAGES.glob("*.md")):
        if page != INDEX:
            for number, title, text in SECTION.findall(page.read_text(encoding="utf-8")):
                yield int(number), page, title, text


SECTIONS = {number: (page, title, text) for number, page, title, text in sections()}


def commands(text: str) -> list[list[str]]:
    """Return the arguments of each command that a section shows."""
    return [shlex.split(found.partition(" | head")[0].replace("\\\n", " ")) for found in COMMAND.findall(text)]


def test_each_question_has_one_section() -> None:
    assert Counter(number for number, *_ in sections()) == Counter(range(1, 34))
    assert sorted(QUESTIONS) == sorted(EXPECTED) == list(range(1, 34))


@pytest.mark.parametrize("number", QUESTIONS)
def test_a_section_has_the_text_the_answer_the_cure_and_the_source(number: int) -> None:
    _, _, text = SECTIONS[number]
    assert re.match(r"\n```text\n(?:.+\n)+```\n\n\S", text), "what the user sees comes first, and then an answer"
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    answer, cure, _ = prose.partition("**Cure.**")
    assert len(re.findall(r"[.:?)]\s", answer)) >= 2
    assert cure
    assert commands(text)
    (source,) = re.findall(r"^Source: (.*)$", prose, re.M)
    assert re.sub(r'"', "", source) == QUESTIONS[number]["address"]


@pytest.mark.parametrize("number", QUESTIONS)
def test_the_index_leads_to_the_section(number: int) -> None:
    page, title, _ = SECTIONS[number]
    heading = f"{number}. {title}"
    anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")  # as GitHub makes it
    (row,) = re.findall(rf"^\| {number} \| (.*) \| \[[^]]*\]\((.*)\) \|$", INDEX.read_text(encoding="utf-8"), re.M)
    assert row == (title, f"{page.name}#{anchor}")


@pytest.mark.parametrize("number", QUESTIONS)
def test_archcaps_answers_as_is_known(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("NO_COLOR", "1")
    asked = commands(SECTIONS[number][2])
    assert len(asked) == len(EXPECTED[number])
    for arguments, (code, statements) in zip(asked, EXPECTED[number], strict=True):
        monkeypatch.setattr(sys, "argv", ["archcaps", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        gc.enable()  # the command switches it off
        said = " ".join("".join(capsys.readouterr()).split())
        for statement in statements:
            assert statement in said, arguments
        assert stopped.value.code == code, arguments
