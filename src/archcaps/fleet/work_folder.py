"""The folder an engine works in: kept when the work is interrupted, so that it can go on, and taken away otherwise.

Whoever works in a folder holds a lock on a file in it. So two runs never share one, and what an interrupted run left is
told from what is in use.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from archcaps.errors import InputError
from archcaps.fleet.inventory import Inventory, Source

__all__ = ["SourceFiles", "WorkFolder", "stamps", "work_folder"]

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

    `resumable`: its name depends on the inventory's files as they are, so that another run finds what this one left.
    When the work ends well, folders that other runs left in `out` go too, unless somebody works in them.

    Raises:
        InputError: the folder cannot be made, or another run works in it.
    """
    try:
        path, lock = _locked(inventory, out, resumable=resumable)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", str(out)) from error
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
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
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
    path.mkdir(mode=0o700, exist_ok=True)
    _is_ours(path)
    return path.absolute()


def _is_ours(path: Path) -> None:
    """Refuse a folder that somebody else may have filled: what lies in it is believed.

    Raises:
        InputError: it is no folder, another user's, or others may write to it.
    """
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise InputError(
            "is there, and is not a folder of this user alone (mode 700): its results would not be ours to believe "
            "(remove it, or choose another --out)",
            str(path),
        )


def _fingerprint(inventory: Inventory) -> str:
    """Return a name for the files of an inventory as they are now, and for what reads them."""
    found = [version("archcaps")]
    for source in filter(None, (inventory.hosts, inventory.guests)):
        found.append(f"{source.role} {source.table} {source.whole_cmdline} {source.views} {source.shared}")
        found += stamps(source)
    return hashlib.sha256("\n".join(found).encode(errors="surrogateescape")).hexdigest()[:16]


class SourceFiles:
    """The files of an inventory as they are when this is made."""

    def __init__(self, inventory: Inventory) -> None:
        self._sources = [source for source in (inventory.hosts, inventory.guests) if source is not None]
        self._before = [stamps(source) for source in self._sources]

    def check(self) -> None:
        """Refuse files that are others by now.

        Raises:
            InputError: one was replaced, written to or taken away while it was read.
        """
        for source, before in zip(self._sources, self._before, strict=True):
            if stamps(source) != before:
                raise InputError(
                    "changed while it was read: nothing is written (audit a copy that nobody writes to)", source.where
                )


def stamps(source: Source) -> list[str]:
    """Return for each file of a source on this machine what tells that it is another, or not the same any more."""
    found = []
    for path in source.paths:
        if Path(path).exists():  # what only Spark can read has none
            status = Path(path).stat()
            found.append(f"{Path(path).absolute()} {status.st_ino} {status.st_size} {status.st_mtime_ns}")
    return found


def _remove_left(out: Path, own: Path) -> None:
    """Take away the folders of runs that were interrupted or killed: those whose lock nobody holds.

    What has no lock of ours in it is not ours. Where the file system has no locks, nothing is taken away.
    """
    for path in out.glob(f"{_PREFIX}*"):
        if path.absolute() == own or path.is_symlink():
            continue
        with suppress(OSError):
            if path.stat().st_uid != os.geteuid():
                continue
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                _lock(lock)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
