"""What interrupted runs left is taken away once nobody needs it, and never what somebody works in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from archcaps.errors import InputError
from archcaps.fleet.audit import audit
from archcaps.fleet.inventory import find
from archcaps.fleet.sample import sample_fleet

#: A run of another process, up to where it waits in the middle of its work.
WORKER = """
import sys
from pathlib import Path
from archcaps.fleet.engine import Settings, opened
from archcaps.fleet.inventory import find
with opened(find(sys.argv[1]), Path(sys.argv[2]), Settings(), lambda _, __: None) as (engine, work):
    engine.classes()
    print(work.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def fleets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two inventories."""
    folder = tmp_path_factory.mktemp("fleets")
    for name in ("one", "other"):
        sample_fleet(folder / name, 300, hosts=20)
    return folder / "one", folder / "other"


def interrupted(fleet: Path, out: Path) -> str:
    """Interrupt an audit while it writes; return the name of what it left."""

    def interrupt(phase: str, _: float) -> None:
        if phase.startswith("writing verdicts"):
            raise KeyboardInterrupt

    before = set(left(out))
    with pytest.raises(KeyboardInterrupt):
        audit(find(str(fleet)), out, progress=interrupt)
    (name,) = set(left(out)) - before
    return name


def left(out: Path) -> list[str]:
    return sorted(path.name for path in out.glob(".audit-*"))


@contextmanager
def running(fleet: Path, out: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that works on an inventory, and the name of its folder."""
    program = [sys.executable, "-c", WORKER, str(fleet), str(out)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        process.kill()


def test_what_another_inventory_left_goes_when_an_audit_ends_well(fleets: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = fleets
    name = interrupted(other, tmp_path)
    with pytest.raises(InputError):
        audit(find(None, str(one / "hosts.parquet"), str(one / "planted.parquet")), tmp_path)
    assert left(tmp_path) == [name]
    audit(find(str(one)), tmp_path)
    assert left(tmp_path) == []


def test_what_is_not_ours_stays(fleets: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = fleets
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    name = interrupted(other, elsewhere)
    (out / ".audit-notes").mkdir(parents=True)
    (out / ".audit-notes" / "todo").touch()
    (out / ".audit-list").touch()
    (out / ".audit-link").symlink_to(elsewhere / name)
    audit(find(str(one)), out)
    assert left(out) == [".audit-link", ".audit-list", ".audit-notes"]
    assert (out / ".audit-notes" / "todo").exists()
    assert (elsewhere / name / "audit.duckdb").exists()


def test_what_another_process_works_in_stays_until_it_is_gone(fleets: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = fleets
    with running(other, tmp_path) as (process, name):
        audit(find(str(one)), tmp_path)
        assert left(tmp_path) == [name]
        process.kill()  # it has no time to tidy up
        process.wait()
        assert left(tmp_path) == [name]
        audit(find(str(one)), tmp_path)
        assert left(tmp_path) == []


def test_two_runs_on_one_inventory_do_not_share_a_folder(fleets: tuple[Path, Path], tmp_path: Path) -> None:
    one, _ = fleets
    with running(one, tmp_path) as (process, name):
        with pytest.raises(InputError, match="another run"):
            audit(find(str(one)), tmp_path)
        assert left(tmp_path) == [name]
        assert audit(find(str(one)), tmp_path / "more").result.guests == 300
        _, _ = process.communicate()  # it goes on, and ends well
        assert process.returncode == 0
        assert left(tmp_path) == []


#: A run of which a query is interrupted by a signal while DuckDB works: it is one that takes longer than any.
SLOW = WORKER.replace("    print", "    import os, signal, threading, time\n    print").replace(
    "    sys.stdin.read()",
    "    try:\n"
    "        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
    "        with engine._phase('a long query'):\n"
    "            engine._db.execute('SELECT count(*) FROM range(1000000000000) a(i) WHERE hash(i) % 7 = 3')\n"
    "    finally:\n"
    "        print('ended', flush=True)",
)


def test_an_interrupt_within_a_query_is_one_and_leaves_what_was_done(fleets: tuple[Path, Path], tmp_path: Path) -> None:
    program = [sys.executable, "-c", SLOW, str(fleets[0]), str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    name, said = done.stdout.split()
    assert said == "ended"
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert left(tmp_path) == [name]
