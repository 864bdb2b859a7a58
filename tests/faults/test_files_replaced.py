"""Files that commands write: whole or not at all, and only regular files are ever replaced.

Every expected value follows from open(2), rename(2) and fsync(2): a file renamed over another never shows a half, and a
name that is a link, a device or a pipe is no regular file.
"""

from __future__ import annotations

import os
import resource
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import COMMAND, ROOT

OLD = "kept: " + "x" * 100

#: One pair of kernels: which file is written does not depend on how many are looked at.
NARROW = ("--kvm", "6.12.117", "--guest-kernel", "6.12.117")
#: Each command that writes a file, and the file that it writes below the folder it is given.
WRITERS: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "fix": (
        lambda folder: [
            "fix", "--host", "examples/thread/host.toml", "--guest", "examples/thread/guest.toml",
            "--write", str(folder / "guest.json"),
        ],
        "guest.json",
    ),
    "probe": (lambda folder: ["probe", "--no-kvm", "--quiet", "--output", str(folder / "this.json")], "this.json"),
    "audit": (lambda folder: ["audit", "examples/fleet", "--no-cures", "--html", str(folder / "r.html")], "r.html"),
    "prove": (
        lambda folder: ["prove", "no-broken-promise", "--about", "mds", *NARROW, "--save", str(folder)],
        "no-broken-promise-mds-1-host.json",
    ),
    "sample-fleet": (lambda folder: ["sample-fleet", "20", "--out", str(folder)], "hosts.parquet"),
    "rules": (
        lambda folder: [
            "rules", "--sql", "duckdb", "--lookups", str(folder),
            "--hosts", str(folder / "hosts.ndjson"), "--guests", str(folder / "guests.ndjson"),
        ],
        "machines.sql",
    ),
}  # fmt: skip


#: Two are tried with every kind of file, one that writes by itself and one for which DuckDB does; in the long run all.
EVERY = tuple(WRITERS) if os.environ.get("ARCHCAPS_FULL") == "1" else ("fix", "sample-fleet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for role in ("host", "guest"):
        (tmp_path / f"{role}s.ndjson").write_text(f'{{"format_version": 1, "role": "{role}"}}\n')
    return tmp_path


def run(name: str, folder: Path, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a writer; `limit`: no file may grow beyond so many bytes, as on a full disk (setrlimit(2))."""

    def before() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [COMMAND, *WRITERS[name][0](folder)], cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=before
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"hosts.ndjson", "guests.ndjson"}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_replaced_and_keeps_its_permissions(name: str, folder: Path) -> None:
    target = folder / WRITERS[name][1]
    target.write_text(OLD)
    target.chmod(0o640)
    before = target.stat().st_ino
    done = run(name, folder)
    assert done.returncode < 64, done.stderr
    assert target.read_bytes() != OLD.encode()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert target.stat().st_ino != before  # another file under the same name: never written over
    assert not [left for left in names(folder) if left.startswith(".")]


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file_whole(name: str, folder: Path) -> None:
    target = folder / WRITERS[name][1]
    target.write_text(OLD)
    done = run(name, folder, limit=16)
    assert done.returncode >= 64
    assert "writ" in done.stderr  # archcaps: "cannot be written"; DuckDB: "Could not write file"
    assert len(done.stderr.splitlines()) == 1
    assert target.read_text() == OLD
    assert not [left for left in names(folder) if left.startswith(".")]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for kind in ("link", "dangling link", "folder", "pipe")
        for name in WRITERS
        if kind == "link" or name in EVERY
    ],
)
def test_what_is_no_regular_file_is_not_replaced(name: str, kind: str, folder: Path) -> None:
    target = folder / WRITERS[name][1]
    elsewhere = folder / "elsewhere"
    elsewhere.write_text(OLD)
    if kind == "link":
        target.symlink_to(elsewhere)
    elif kind == "dangling link":
        target.symlink_to(folder / "nothing")
    elif kind == "folder":
        target.mkdir()
    else:
        os.mkfifo(target)  # nobody reads from it
    before = target.lstat()
    done = run(name, folder)
    assert done.returncode >= 64
    assert str(target) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (target.lstat().st_ino, target.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert elsewhere.read_text() == OLD
    assert not (folder / "nothing").exists()


@pytest.mark.parametrize("name", ["fix", "probe", "audit"])
def test_a_device_and_standard_output_are_written_to(name: str, tmp_path: Path) -> None:
    command = WRITERS[name][0](tmp_path)
    device = Path("/dev/null").stat().st_rdev
    done = subprocess.run([COMMAND, *command[:-1], "/dev/null"], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode < 64, done.stderr
    assert Path("/dev/null").stat().st_rdev == device
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run([COMMAND, *command[:-1], "/dev/stdout"], cwd=ROOT, stdout=out, check=False)
    assert done.returncode < 64
    assert len((tmp_path / "out").read_bytes()) > 100
