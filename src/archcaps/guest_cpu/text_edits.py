"""Small edits of a text at known places, and the unified diff that shows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import unified_diff

__all__ = ["Edit", "apply_edits", "diff_of"]


@dataclass(frozen=True, slots=True)
class Edit:
    """The characters from `start` up to `end` become `text`; an empty range is an insertion."""

    start: int
    end: int
    text: str


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """Return the text with edits made that do not overlap; insertions at one place keep their order."""
    parts: list[str] = []
    at = 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*parts, text[at:]])


def diff_of(before: str, after: str, name: str) -> str:
    """Return the unified diff of two versions of a file; empty where they are the same."""
    old, new = (_lines(text) for text in (before, after))
    return "".join(unified_diff(old, new, f"a/{name}", f"b/{name}"))


def _lines(text: str) -> list[str]:
    return [f"{line}\n" for line in text.removesuffix("\n").split("\n")]
