"""The demo: cases, questions and a fleet, each on a screen, this machine, and a word when an answer is another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo import run

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def demo() -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "demo/run.py"], cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )


def cases(output: str) -> list[str]:
    return re.split(r"\n\n(?=[2-8]\. )", output)


def test_the_last_case_is_this_machine(demo: subprocess.CompletedProcess[str]) -> None:
    lines = cases(demo.stdout)[7].splitlines()
    assert lines[0].startswith("8. This machine")
    assert lines[1] == "$ archcaps check"
    assert lines[2].startswith(("TOLD THE TRUTH", "NOT TOLD THE TRUTH", "EXPOSED", "UNDECIDED"))


def test_the_answers_come_as_expected(demo: subprocess.CompletedProcess[str]) -> None:
    assert (demo.returncode, demo.stderr) == (0, "")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1, ["broken-promise", "KVM sets FB_CLEAR_DIS", "Responsible: userspace"]),
        (2, ["false-immunity", "EXPOSED", "Responsible: KVM"]),
        # docs/scenarios/s11: the NO bits are the lie; without one of them the guest goes by VERW_CLEAR.
        (3, ["VM's owner", "hide tsa_l1_no", "hide tsa_sq_no", "Proof: "]),
        # docs/scenarios/s21: from 6.19 on VERW comes after FB_CLEAR_DIS, set for a guest whose value has no FB_CLEAR.
        (4, ["DOES NOT HOLD", "fb_clear=0 vm.has_mapped_host_mmio", "Linux 7.3.4", "host MMIO is mapped into it"]),
        (5, ["THE SECOND IS WORSE", "least deviation: fb_clear=0,\n  vm.has_mapped_host_mmio"]),
        (6, ["guests.parquet: 10,000 rows", "planted.parquet: "]),
        (7, ["GUESTS EXPOSED", "10,000 guests on 100 hosts", "Worst first"]),
    ],
)
def test_each_case_says_what_it_is_about(demo: subprocess.CompletedProcess[str], number: int, words: list[str]) -> None:
    text = cases(demo.stdout)[number - 1]
    assert [word for word in words if word not in text] == []
    commands = {
        3: "fix --host ", 4: "prove host-entry-protected ", 5: "diff 6.18.35 6.19.9 ", 6: "sample-fleet 10000 ",
        7: "audit build/demo-fleet",
    }  # fmt: skip
    command = commands.get(number, "check --host examples/")
    assert f"$ archcaps {command}" in text


def test_each_case_fits_on_a_screen(demo: subprocess.CompletedProcess[str]) -> None:
    for text in cases(demo.stdout)[:7]:
        lines = text.splitlines()
        assert len(lines) <= (84 if "$ archcaps audit" in text else 52)
        assert max(map(len, lines)) <= 100


def test_another_answer_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(run, "CASES", [run.example("a title", "thread", 0)])
    assert run.main() == 1
    assert capfd.readouterr().err == (
        "demo: archcaps check --host examples/thread/host.toml --guest examples/thread/guest.toml: "
        "exit code 1, expected 0\n"
    )


def test_a_missing_command_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "ARCHCAPS", tmp_path / "archcaps")
    assert run.main() == 1
    assert capsys.readouterr().err == "demo: archcaps is not installed beside this Python: run make demo\n"
