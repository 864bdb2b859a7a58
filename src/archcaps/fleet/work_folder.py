"""The folder an engine works in: kept when the work is interrupted, so that it can go on, and taken away otherwise.

Whoever works in a folder holds a lock on a file in it. So two runs never share one, and what an interrupted run left is
told from what is in use.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from archcaps.errors import InputError
from archcaps.fleet.inventory import Inventory

__all__ = ["WorkFolder", "work_folder"]

_PREFIX: Final = ".audit-"
_LOCK: Final = "lock"
_IN_USE: Final = "another run is writing what this inventory gives there (wait for it, or choose another --out)"


@dataclass
class WorkFolder:
    """A folder to work in; `keep`: it stays when the work ends with an error or an interrupt."""

    path: Path
    keep: bool = False


@contextmanager
def work_folder(inventory: Inventory, out: Path | None, *, resumable: bool) -> Iterator[WorkFolder]:
    """Give a folder below `out`, or a temporary one, and take it away at the end.

    `resumable`: its name hangs on the inventory's files as they are, so that another run finds what this one left.
    When the work ends well, folders that other runs left in `out` go too, unless somebody works in them.

    Raises:
        InputError: the folder can not be made, or another run works in it.
    """
    try:
        path, lock = _locked(inventory, out, resumable=resumable)
    except OSError as error:
        raise InputError(f"can not be written: {error.strerror or error}", str(out)) from error
    folder = WorkFolder(path)
    try:
        yield folder
        if out is not None:
            _remove_left(out, path)
    finally:
        if not folder.keep:
            shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _locked(inventory: Inventory, out: Path | None, *, resumable: bool) -> tuple[Path, int]:
    """Return the folder, and the descriptor of its lock."""
    while True:
        path = _made(inventory, out, resumable=resumable)
        # A run that ends may take the folder away between any two of these steps; then all is done again.
        with suppress(FileNotFoundError):
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                _lock(lock)
            except BlockingIOError as error:
                os.close(lock)
                raise InputError(_IN_USE, str(out)) from error
            except OSError:  # a file system without locks
                return path, lock
            if os.fstat(lock).st_nlink:
                return path, lock
            os.close(lock)


def _lock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _made(inventory: Inventory, out: Path | None, *, resumable: bool) -> Path:
    if out is None:
        return Path(mkdtemp(prefix=_PREFIX)).absolute()
    out.mkdir(parents=True, exist_ok=True)
    if not resumable:
        return Path(mkdtemp(prefix=_PREFIX, dir=out)).absolute()
    path = out / f"{_PREFIX}{_fingerprint(inventory)}"
    path.mkdir(exist_ok=True)
    return path.absolute()


def _fingerprint(inventory: Inventory) -> str:
    """Return a name for the files of an inventory as they are now, and for what reads them."""
    found = [version("archcaps")]
    for source in filter(None, (inventory.hosts, inventory.guests)):
        found.append(f"{source.table} {source.whole_cmdline}")
        for path in source.paths:
            if Path(path).exists():  # what only Spark could read is refused later
                status = Path(path).stat()
                found.append(f"{Path(path).absolute()} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]


def _remove_left(out: Path, own: Path) -> None:
    """Take away the folders of runs that were interrupted or killed: those whose lock nobody holds.

    What has no lock of ours in it is not ours. Where the file system has no locks, nothing is taken away.
    """
    for path in out.glob(f"{_PREFIX}*"):
        if path.absolute() == own or path.is_symlink():
            continue
        with suppress(OSError):
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                _lock(lock)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
