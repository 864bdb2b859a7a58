"""archcaps probe as a user runs it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from archcaps.machine.read import parse_snapshot, read_snapshot
from tests.cli.running import COMMAND, ROOT

SCRIPT = ROOT / "src/archcaps/machine/probe_script.py"


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, "probe", *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def test_a_snapshot_on_one_line_and_what_was_unreadable() -> None:
    done = run()
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    found = parse_snapshot(done.stdout.encode(), "probe")
    schema = json.loads((ROOT / "schemas" / "snapshot-1.json").read_text(encoding="utf-8"))
    jsonschema.validate(json.loads(done.stdout), schema)
    assert done.stderr.splitlines() == [f"archcaps probe: {what}: {why}" for what, why in found.unreadable.items()]
    assert found.source == "archcaps probe"


def test_quiet_is_quiet() -> None:
    assert run("--quiet", "--no-kvm").stderr == ""


def test_the_options_are_those_of_the_script() -> None:
    options = ("--role", "host", "--no-kvm", "--no-name")
    done = run(*options, "--quiet")
    alone = subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True, check=True)
    assert done.stdout == alone.stdout
    pretty = run(*options, "--quiet", "--pretty").stdout
    assert json.loads(pretty) == json.loads(done.stdout)
    assert pretty.count("\n") > 10


def test_the_printed_script_is_the_file_and_runs_alone(tmp_path: Path) -> None:
    done = run("--print-script")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == SCRIPT.read_text(encoding="utf-8")
    copy = tmp_path / "probe.py"
    copy.write_text(done.stdout, encoding="utf-8")
    alone = subprocess.run(
        [sys.executable, "-I", "-S", copy, "--no-kvm"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert parse_snapshot(alone.stdout.encode(), "probe").kernel.release == os.uname().release


def test_many_hosts_are_an_inventory() -> None:
    lines = [run("--quiet", "--no-kvm", "--role", role).stdout for role in ("host", "guest")]
    roles = [parse_snapshot(line.encode(), "line").role for line in "".join(lines).splitlines()]
    assert roles == ["host", "guest"]


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    target = tmp_path / "this.json"
    target.write_text("old", encoding="utf-8")
    done = run("--no-kvm", "--quiet", "--output", "this.json", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert read_snapshot(target).kernel.release == os.uname().release
    assert [path.name for path in tmp_path.iterdir()] == ["this.json"]


def test_what_is_no_file_stays_what_it_is(tmp_path: Path) -> None:
    done = run("--no-kvm", "--quiet", "--output", "/dev/stdout")
    assert parse_snapshot(done.stdout.encode(), "probe").format_version == 1
    assert run("--no-kvm", "--quiet", "--output", "-").stdout == done.stdout
    run("--no-kvm", "--quiet", "--output", "/dev/null")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    link, target = tmp_path / "link.json", tmp_path / "target.json"
    link.symlink_to(target)
    done = run("--no-kvm", "--quiet", "--output", str(link))
    assert (done.returncode, done.stdout) == (65, "")
    assert f"{link}: cannot be written: Is a symbolic link" in done.stderr
    assert link.is_symlink()
    assert not target.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("--role", "x"), 64, "'x' is not one of 'host', 'guest'"),
        (("--rol",), 64, "No such option '--rol'"),
        (("x",), 64, "unexpected extra argument"),
        (("--quiet", "--no-kvm", "--output", "none/x.json"), 65, "none/x.json: cannot be written: No such file"),
        (("--quiet", "--no-kvm", "--output", "/dev/full"), 65, "/dev/full: cannot be written: No space left"),
        (("--quiet", "--no-kvm", "--output", "."), 65, ".: cannot be written: Is a directory"),
    ],
)
def test_what_goes_wrong_is_one_line(arguments: tuple[str, ...], code: int, line: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.count("\n") == 1
    assert line in done.stderr
