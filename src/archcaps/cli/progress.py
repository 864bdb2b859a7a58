"""Progress of long work on standard error: what is done, a bar, and the time left; on a terminal only."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archcaps.fleet.classes import Progress

__all__ = ["progress_line"]

#: Lines are written again at most so often, in seconds.
_PAUSE = 0.1
#: The time left is told after so many seconds.
_TOO_SOON = 1.0
#: Columns of the bar.
_BAR = 20


@contextmanager
def progress_line(*, quiet: bool = False) -> Iterator[Progress]:
    """Give a function that shows a phase and how much of it is done (0 to 1); the line is taken away at the end."""
    if quiet or not sys.stderr.isatty():
        yield lambda phase, done: None
        return
    line = _Line()
    try:
        yield line.show
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


class _Line:
    def __init__(self) -> None:
        self._phase = ""
        self._began = self._written = 0.0

    def show(self, phase: str, done: float) -> None:
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._began = phase, now
        elif now - self._written < _PAUSE and done < 1:
            return
        self._written = now
        # What the first moments say of the rest is chance.
        left = (now - self._began) * (1 - done) / done if done > 0 and now - self._began >= _TOO_SOON else None
        rest = "" if left is None or done >= 1 else f", {_duration(left)} left"
        far = "" if done <= 0 else f" [{'=' * int(_BAR * done):<{_BAR}}] {done:.0%}"
        # A line that is wrapped could not be taken away.
        sys.stderr.write(f"\r\x1b[K{f'{phase}{far}{rest}'[: _columns() - 1]}")
        sys.stderr.flush()


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
