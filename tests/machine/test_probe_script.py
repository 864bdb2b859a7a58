"""The probe as one file: any Python from 3.6 on, any user, nothing written, and no traceback whatever happens."""

from __future__ import annotations

import ast
import glob
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from archcaps.machine import probe_script
from archcaps.machine.read import parse_snapshot
from archcaps.machine.snapshot import Snapshot
from tests.machine.probing import SCRIPT, tree

SOURCE = SCRIPT.read_text(encoding="utf-8")
SYNTAX = ast.parse(SOURCE, feature_version=(3, 6))
OLDEST = (3, 6)

#: Runs the script from standard input as an ordinary user, whose files need not include Python's own.
AS_NOBODY = """
import ctypes, locale, os, shutil, sys, zlib
space = {"__name__": "probe"}
exec(compile(sys.stdin.read(), "probe", "exec"), space)
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(space["main"](sys.argv[1:]))
"""


def run(*arguments: str, python: str = sys.executable, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-W", "error", SCRIPT, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def snapshot(done: subprocess.CompletedProcess[str]) -> Snapshot:
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("}\n")
    return parse_snapshot(done.stdout.encode(), "probe")


def pythons() -> Iterator[str]:
    """Yield every Python of this machine that is new enough, each version once."""
    names = [f"python3.{minor}" for minor in range(6, 20)]
    places = [found for name in names if (found := shutil.which(name))]
    root = os.environ.get("PYENV_ROOT")
    if root is None and shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=False).stdout.strip()
    if root:
        places += sorted(glob.glob(f"{glob.escape(root)}/versions/*/bin/python3"))  # noqa: PTH207  # root may be any
    seen = set()
    for place in [*places, sys.executable]:
        told = subprocess.run(
            [place, "-c", "import sys; print(sys.version_info[0], sys.version_info[1])"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        version = tuple(map(int, told.stdout.split())) if told.returncode == 0 else (0, 0)
        if version >= OLDEST and version not in seen:
            seen.add(version)
            yield place


# --- any Python ----------------------------------------------------------------------------


def test_every_python_at_hand_says_the_same() -> None:
    texts = {}
    for python in pythons():
        done = run(python=python)
        snapshot(done)
        texts[python] = done.stdout
    assert len(set(texts.values())) == 1, texts


def test_the_syntax_is_python_3_6() -> None:
    """What ast's feature_version lets through: newer annotations, newer arguments, f"{x=}"."""
    for node in ast.walk(SYNTAX):
        assert not isinstance(node, ast.NamedExpr | ast.Match)
        if isinstance(node, ast.arguments):
            assert not node.posonlyargs
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            assert node.value.id not in ("dict", "list", "tuple", "set", "type")
    for written in written_types():
        assert not any(isinstance(node, ast.BinOp) for node in ast.walk(written))
    assert not re.search(r"\{[\w.()]+=[}!:]", SOURCE)
    assert "from __future__" not in SOURCE


def written_types() -> Iterator[ast.expr]:
    for node in ast.walk(SYNTAX):
        for field in ("annotation", "returns"):
            found = getattr(node, field, None)
            if isinstance(found, ast.expr):
                yield found


def test_it_needs_the_standard_library_alone() -> None:
    imported = {alias.name for node in ast.walk(SYNTAX) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(SYNTAX) if isinstance(node, ast.ImportFrom)}
    assert imported <= sys.stdlib_module_names
    assert "dataclasses" not in imported


# --- nothing is written --------------------------------------------------------------------


def test_the_source_opens_for_reading_only() -> None:
    calls = [node for node in ast.walk(SYNTAX) if isinstance(node, ast.Call)]
    names = {ast.unparse(call.func) for call in calls}
    assert "open" not in names
    opened = {ast.unparse(call.args[1]) for call in calls if ast.unparse(call.func) == "os.open"}
    assert opened == {"os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK"}
    written = {ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func) == "os.write"}
    assert written == {"1"}
    assert {name for name in names if name.startswith("os.")} == {
        "os.open", "os.read", "os.pread", "os.close", "os.write", "os.listdir", "os.uname", "os.strerror",
        "os.path.basename",
    }  # fmt: skip
    assert {ast.unparse(call.args[1]) for call in calls if ast.unparse(call.func) == "fcntl.ioctl"} == {
        "KVM_GET_API_VERSION", "KVM_GET_SUPPORTED_CPUID", "KVM_GET_MSR_FEATURE_INDEX_LIST", "KVM_GET_MSRS",
        "KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_SET_CPUID2", "KVM_SET_MSRS",
    }  # fmt: skip


def test_nothing_below_the_root_changes(tmp_path: Path) -> None:
    tree(tmp_path)

    def state() -> dict[str, tuple[int, int, int]]:
        paths = [tmp_path, *tmp_path.rglob("*")]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_ctime_ns, path.stat().st_size) for path in paths}

    before = state()
    snapshot(run("--root", str(tmp_path), cwd=tmp_path))
    assert state() == before


# --- alone, and as anybody -----------------------------------------------------------------


def test_it_runs_from_standard_input(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-", "--role", "host"], cwd=tmp_path, input=SOURCE, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert snapshot(done).role == "host"
    assert done.stdout.count("\n") == 1


def test_an_ordinary_user_gets_a_snapshot() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY], input=SOURCE, capture_output=True, text=True, check=False, cwd="/"
    )
    found, whole = snapshot(done), snapshot(run())
    assert found.vulnerabilities == whole.vulnerabilities
    assert found.cpu.family == whole.cpu.family
    cpuid = {name: reading for name, reading in whole.registers.items() if name.startswith("cpuid")}
    if os.uname().machine == "x86_64":  # the instruction needs no rights
        assert {name: reading for name, reading in found.registers.items() if name.startswith("cpuid")} == cpuid
    device = Path("/dev/kvm")
    if not device.exists() or (os.getuid() == 0 and not device.stat().st_mode & 0o004):
        assert found.unreadable["kvm"].startswith("/dev/kvm: ")
    for what, why in found.unreadable.items():
        assert "; " in why, what


def test_names_and_roles_are_asked_for() -> None:
    found = json.loads(run("--no-name", "--no-kvm", "--role", "host").stdout)
    assert "name" not in found
    assert found["role"] == "host"
    assert set(found["kvm"]) == {"parameters"}
    assert "--no-kvm" in found["unreadable"]["kvm"]
    pretty = run("--no-kvm", "--pretty").stdout
    assert pretty.count("\n") > 10
    assert json.loads(pretty)["format_version"] == 1


# --- ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("--rôle",), ("--role", "x"), ("x",), ("--root",), ("--no-kv",), ("--role=",)])
def test_wrong_usage_is_one_line_and_64(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith("probe: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("system", "release"), [("Darwin", "23.1.0"), ("Linux", "")])
def test_not_even_a_release_is_1(
    system: str, release: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    named = os.uname_result((system, "tester", release, "#1", "x86_64"))
    monkeypatch.setattr(os, "uname", lambda: named)
    assert probe_script.main([]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err == f"probe: not even a Linux release can be had here ({system})\n"


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    line = f"'{sys.executable}' '{SCRIPT}' --no-kvm | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 141)
    assert done.stderr == ""


def test_a_full_disk_is_no_traceback() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, SCRIPT, "--no-kvm"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (74, "probe: standard output: no space left on device\n")
