"""Running virtual machines, as far as /proc shows them to this user."""

from __future__ import annotations

from pathlib import Path

from archcaps.errors import InputError

__all__ = ["command_line", "process_exists", "process_ids"]

_PROC = Path("/proc")


def command_line(pid: int, proc: Path = _PROC) -> list[str]:
    """Return the arguments of a running process.

    Raises:
        InputError: there is no such process, or this user may not read it.
    """
    where = f"process {pid}"
    try:
        data = (proc / str(pid) / "cmdline").read_bytes()
    except FileNotFoundError as error:
        raise InputError("no such process", where) from error
    except OSError as error:
        raise InputError(f"its command line cannot be read: {error.strerror} (root could)", where) from error
    return data.rstrip(b"\0").decode("utf-8", "replace").split("\0")


def process_exists(pid: int, proc: Path = _PROC) -> bool:
    """Return whether there is such a process now."""
    return (proc / str(pid)).exists()


def process_ids(proc: Path = _PROC) -> list[int]:
    """Return the ids of all processes that this user can see."""
    try:
        return sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdigit())
    except OSError:
        return []
