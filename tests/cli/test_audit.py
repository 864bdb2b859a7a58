"""The commands audit and roll-out as a user runs them: what goes to which stream, and what a terminal sees."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from archcaps.fleet.sample import sample_fleet
from tests.cli.running import COMMAND, archcaps, on_terminal


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    sample_fleet(folder, 2_000, hosts=40)
    return folder


def test_html_is_printed_as_it_is_written(fleet: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    written = archcaps("audit", str(fleet), "--html", str(page), "--json")
    # What the terminal's encoding lacks is a character reference, which a browser shows alike.
    printed = archcaps("audit", str(fleet), "--format", "html", PYTHONIOENCODING="ascii")
    assert printed.stdout.replace("&#160;", "\u00a0") == page.read_text(encoding="utf-8")
    assert printed.stdout.startswith("<!DOCTYPE html>")
    assert (printed.stderr, printed.returncode) == ("", written.returncode)
    assert json.loads(written.stdout)["guests"] == 2_000


def test_html_is_not_printed_on_a_terminal(fleet: Path, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    command = [str(COMMAND), "audit", str(fleet), "--format", "html", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, stdout=slave, stderr=subprocess.PIPE, text=True, check=False)
    os.close(slave)
    os.close(master)
    assert done.returncode == 64
    assert "give --html FILE, or redirect" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()  # it is said before there is work to lose


def test_progress_is_for_a_terminal_only(fleet: Path, tmp_path: Path) -> None:
    quiet = archcaps("roll-out", str(fleet), "--change", "guest-hide=nobody", "--out", str(tmp_path / "out"))
    assert quiet.returncode == 65
    plain = archcaps("audit", str(fleet), "--json")
    assert plain.stderr == ""


def test_a_terminal_sees_phases_with_their_rows_and_then_the_answer_alone(fleet: Path, tmp_path: Path) -> None:
    only = ("--only", "guest.kernel=nobody")
    command = ("roll-out", str(fleet), "--change", "guest-cmdline=quiet", *only, "--out", str(tmp_path / "out"))
    sent = on_terminal(*command, "--no-color", columns=60)
    shown = sent.split("\r\x1b[K")
    phases = shown[1:-1]
    for phase in ("reading 40 hosts", "grouping 2,000 guests", "judging", "writing verdicts of 2,000 guests"):
        assert any(line.startswith(phase) for line in phases), phase
    assert all(len(line) < 60 and "\n" not in line for line in phases)
    assert shown[-1].startswith("NOBODY IS WORSE OFF.\n")
    bars = [re.fullmatch(r"judging \[(=*) *\] (\d+)%.*", line) for line in phases if "judging [" in line]
    assert bars
    assert all(bar is not None and len(bar[1]) == int(bar[2]) // 5 for bar in bars)
    assert "\x1b" not in on_terminal(*command, "--no-color", "--quiet")
