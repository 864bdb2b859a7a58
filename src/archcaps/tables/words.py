"""Words that archcaps uses and what to do about them; rules as conditions in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from archcaps.tables.files import read_toml

__all__ = ["WORD_KINDS", "Word", "phrases", "words"]

#: The kinds of words, and what each is.
WORD_KINDS: Final[Mapping[str, str]] = MappingProxyType({
    "truth": "whether the guest is told the truth about one vulnerability",
    "safety": "whether data can leak from the guest's kernel to its user code",
    "responsible": "who made it so",
    "claim": "what a text of the guest's kernel claims",
    "provenance": "how a value is known",
    "kind of bit": "what a bit tells",
    "pool rule": "what a pool of hosts may show a guest that moves among them",
    "vulnerability": "a file under /sys/devices/system/cpu/vulnerabilities",
    "further vulnerability": "another file there, or a field of spectre_v2, that check judges with --further",
    "predicted vulnerability": "another file there, whose text predict gives and which check does not judge",
    "text": "what such a file says",
    "suffix": "what follows such a text",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Word:
    """One word or text: its meaning, what to do about it, and where that comes from."""

    name: str
    kind: str
    meaning: str
    what_to_do: str
    source: str
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


@cache
def words() -> tuple[Word, ...]:
    """Return every word of words.toml, in its order."""
    return tuple(
        Word(
            entry["name"],
            entry["kind"],
            entry["meaning"],
            entry["what_to_do"],
            entry["source"],
            tuple(entry.get("aliases", ())),
            tuple(entry.get("links", ())),
        )
        for entry in read_toml("words.toml")["word"]
    )


@cache
def phrases() -> Mapping[str, tuple[str, str]]:
    """Return for each rule what it says where it holds, and where it does not; {} stands for its argument."""
    return MappingProxyType({name: (yes, no) for name, (yes, no) in read_toml("words.toml")["rules"].items()})
