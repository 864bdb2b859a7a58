"""Errors a user can mend: one line that says what, where and what was expected."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["InputError", "nearest"]


class InputError(Exception):
    """Input that can not be used. Its text is one line for the user."""

    def __init__(self, what: str, where: str = "") -> None:
        line = " ".join(what.split())
        super().__init__(f"{where}: {line}" if where else line)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean x?)`` for the known name closest to `name`, or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415  # only when something is wrong

    found = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]}?)" if found else ""
