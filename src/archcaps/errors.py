"""Errors a user can mend: one line that says what, where and what was expected."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["InputError", "nearest"]


class InputError(Exception):
    """Input that cannot be used. Its text is one line for the user."""

    def __init__(self, what: str, where: str = "") -> None:
        line = " ".join(what.split())
        super().__init__(f"{where}: {line}" if where else line)


#: A name longer than this is nobody's: comparing it would take time that grows with its square.
_LONGEST_NAME = 100


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean x?)`` for the known name closest to `name`, or nothing; capitals do not count."""
    if len(name) > _LONGEST_NAME:
        return ""
    from difflib import get_close_matches  # noqa: PLC0415  # only when something is wrong

    names = {each.lower(): each for each in known}
    found = get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return f" (did you mean {names[found[0]]}?)" if found else ""
