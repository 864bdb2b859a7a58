"""Files written whole or not at all: beside the old one, under a name nobody can guess, then renamed over it.

Only a regular file is ever replaced. A symbolic link is refused, and so are a directory, a socket and a block device:
whoever else may write to the folder shall not choose what is overwritten. A terminal, a pipe or another character
device (``/dev/stdout``, ``/dev/null``) is written to as it is.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from archcaps.errors import InputError

__all__ = ["replace_file", "replacing"]

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: For what is there already: no link is followed, no pipe waited for, no terminal taken for our own.
_THERE: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
#: Names of a descriptor that is open already (proc(5)): what is behind it, whoever started us chose.
_DESCRIPTOR: Final = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,4})\Z")
_STANDARD: Final = {"/dev/stdout": 1, "/dev/stderr": 2}
#: What is neither replaced nor written to.
_REFUSED: Final = {stat.S_IFDIR: "a directory", stat.S_IFBLK: "a block device", stat.S_IFSOCK: "a socket"}


def replace_file(path: str | Path, data: bytes) -> None:
    """Write `data` to a file, whole or not at all: until all of it is on the disk, the old file stays as it is.

    Raises:
        InputError: the file cannot be written, or is none that may be replaced.
    """
    named = _DESCRIPTOR.match(str(path))
    descriptor = int(named[1]) if named else _STANDARD.get(str(path))
    try:
        if descriptor is not None:
            _write(descriptor, data)
        elif _is_stream(Path(path)):
            _append(Path(path), data)
        else:
            with replacing(Path(path)) as new:
                _append(new, data)
    except BrokenPipeError:
        raise  # the reader of a pipe went away: no fault of the file
    except OSError as error:
        raise _unwritable(error, path) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a new, empty file beside `path`, for a writer that takes names alone, and rename it at the end.

    Where the block ends with an error, the new file goes and the old one stays as it is.

    Raises:
        InputError: the file cannot be written, or is none that may be replaced.
    """
    try:
        mode = _mode(path)
        new = path.with_name(f".archcaps-{secrets.token_hex(8)}.new")
        os.close(os.open(new, _CREATE, 0o666 if mode is None else 0o600))
        try:
            yield new
            _to_disk(new, mode)
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(error, path) from error
    with suppress(OSError):  # not every file system can, and the file has its name by now
        _to_disk(path.parent, None)


def _unwritable(error: OSError, path: str | Path) -> InputError:
    if error.errno == errno.ENXIO:
        return InputError("cannot be written: nobody reads from this pipe (start its reader first)", str(path))
    return InputError(f"cannot be written: {error.strerror or error}", str(path))


def _is_stream(path: Path) -> bool:
    """Whether a pipe or a character device is there, not behind a link."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _mode(path: Path) -> int | None:
    """Return the permissions of the regular file that is there, None where nothing is; refuse everything else."""
    try:
        kind = stat.S_IFMT(path.lstat().st_mode)
    except FileNotFoundError:
        return None
    if kind == stat.S_IFLNK:
        hint = f"name the file itself: {path.resolve()}"
        raise InputError(f"cannot be written: Is a symbolic link, which is not followed ({hint})", str(path))
    if kind in _REFUSED:
        raise InputError(f"cannot be written: Is {_REFUSED[kind]} (expected a file, or none yet)", str(path))
    there = os.open(path, _THERE)  # fails where it may not be written; a rename would not ask
    try:
        status = os.fstat(there)
    finally:
        os.close(there)
    if not stat.S_ISREG(status.st_mode):
        raise InputError("cannot be written: Is no regular file (expected one, or none yet)", str(path))
    return stat.S_IMODE(status.st_mode) & 0o777


def _append(path: Path, data: bytes) -> None:
    """Write to what is there: a new file of ours, a pipe or a device."""
    descriptor = os.open(path, _THERE)
    try:
        os.set_blocking(descriptor, True)
        _write(descriptor, data)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _to_disk(path: Path, mode: int | None) -> None:
    """Give a file these permissions, and wait until it, or the names of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if mode is not None and stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
            os.fchmod(descriptor, mode)  # not everywhere allowed, so only where there is a need
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
