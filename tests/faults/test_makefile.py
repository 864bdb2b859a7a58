"""What make does with a .venv that cannot be used, and what it says where none can be made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make (on Debian: apt-get install make)")


def make(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTHON", "MFLAGS"))}
    return subprocess.run(
        ["make", *words], cwd=folder, env=inherited | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the Makefile, and a .venv as far as make looks at it."""
    folder = tmp_path / "project"
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / "requirements").mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements/dev.lock"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (folder / ".venv" / "bin" / "pip").write_text(f"#!{folder}/.venv/bin/python\n", encoding="utf-8")
    for name in (".made", ".deps", ".stamp"):
        (folder / ".venv" / name).touch()
    return folder


def is_kept(project: Path, **environment: str) -> bool:
    done = make(project, "-n", "setup", **environment)
    assert done.returncode == 0
    assert (project / ".venv" / ".made").exists() is ("-m venv" not in done.stdout)
    return (project / ".venv" / ".made").exists()


def test_a_venv_that_works_is_kept(project: Path) -> None:
    assert is_kept(project)
    assert is_kept(project, PYTHON=sys.executable)


def test_a_folder_that_was_moved_gets_another(project: Path) -> None:
    assert not is_kept(project.rename(project.with_name("moved")))


def test_a_python_that_is_gone_gets_another(project: Path) -> None:
    python = project / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python")
    assert not is_kept(project)


def test_another_python_that_is_asked_for_gets_another(project: Path) -> None:
    other = project / "other"
    other.write_text("#!/bin/sh\necho 3.99.0\n", encoding="utf-8")
    other.chmod(0o755)
    assert not is_kept(project, PYTHON=str(other))


@pytest.mark.parametrize("what", ["too old", "missing"])
def test_a_python_that_will_not_do_is_one_line(project: Path, what: str) -> None:
    (project / ".venv" / ".made").unlink()
    old = project / "old"
    if what == "too old":
        old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
        old.chmod(0o755)
    done = make(project, "setup", PYTHON=str(old))
    assert done.returncode == 2
    assert done.stderr.startswith(f"archcaps needs Python 3.11 or newer, and '{old}' is none: PYTHON=")
