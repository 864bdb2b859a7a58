"""What the user's screen is like: its width, and whether to colour."""

from __future__ import annotations

import os
import sys

__all__ = ["colour", "width"]

_WITHOUT_TERMINAL = 100


def width() -> int:
    """Return the columns of standard output: COLUMNS goes first, and what is no terminal has 100."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and 0 < len(columns) < 5 and int(columns) > 0:
        return int(columns)
    if sys.stdout is None:  # closed by whoever started us
        return _WITHOUT_TERMINAL
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _WITHOUT_TERMINAL
    except (OSError, ValueError):
        return _WITHOUT_TERMINAL


def colour(wanted: bool | None) -> bool | None:
    """Return whether to colour; None leaves it to click, which looks whether standard output is a terminal."""
    if wanted is None and (os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"):
        return False
    return wanted
