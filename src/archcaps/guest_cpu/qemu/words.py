"""A QEMU command line as words, each with its place in the text: as a shell reads it, or as /proc gives it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from archcaps.errors import InputError

__all__ = ["CommandLine", "Word", "command_line", "is_qemu", "is_qemu_program", "quoted"]

_PROGRAMS: Final = ("qemu-system-x86_64", "qemu-system-i386", "qemu-kvm", "kvm")
#: What may stand before the program: how it is started, not what it is.
_BEFORE: Final = ("exec", "sudo", "nohup", "nice", "env", "command", "time")


@dataclass(frozen=True, slots=True)
class Word:
    """One argument, and from where to where it stands in the text."""

    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class CommandLine:
    """QEMU's arguments in order: each option's name without dashes, with the word after it, if that is no option."""

    program: str
    options: tuple[tuple[str, Word | None], ...]
    end: int

    def last(self, *names: str) -> Word | None:
        """Return the word after the last of these options; None: none of them is given, or it has no word."""
        found = [word for name, word in self.options if name in names]
        return found[-1] if found else None

    def all(self, *names: str) -> list[str]:
        """Return the values of all these options, in order."""
        return [word.value for name, word in self.options if name in names and word is not None]

    def has(self, name: str) -> bool:
        """Return whether an option is given."""
        return any(name == option for option, _ in self.options)


def is_qemu_program(name: str) -> bool:
    """Return whether a program's name or path is that of a QEMU for x86."""
    return PurePath(name).name in _PROGRAMS


def is_qemu(argv: Sequence[str]) -> bool:
    """Return whether a process with this command line is a QEMU for x86."""
    return bool(argv) and is_qemu_program(argv[0])


def command_line(text: str, where: str) -> CommandLine:
    """Return a command line's options; the text is a shell's, or NUL-separated as in /proc/PID/cmdline.

    Raises:
        InputError: a quote is not closed.
    """
    words = _from_proc(text) if "\0" in text else _from_shell(text, where)
    program = ""
    for place, word in enumerate(words):
        if is_qemu_program(word.value):
            program, words = word.value, words[place + 1 :]
            break
        if word.value.startswith("-") or not (word.value in _BEFORE or "=" in word.value):
            break
    options: list[tuple[str, Word | None]] = []
    for place, word in enumerate(words):
        if len(word.value) > 1 and word.value.startswith("-"):
            after = words[place + 1] if place + 1 < len(words) else None
            options.append((word.value.lstrip("-"), None if after is None or after.value[:1] == "-" else after))
    return CommandLine(program, tuple(options), words[-1].end if words else len(text))


def quoted(value: str, text: str) -> str:
    """Return a word as it is written in a text of that kind."""
    return value if "\0" in text else shlex.quote(value)


def _from_proc(text: str) -> list[Word]:
    words, start = [], 0
    for value in text.split("\0"):
        words.append(Word(value, start, start + len(value)))
        start += len(value) + 1
    return words[:-1] if words and not words[-1].value else words


def _from_shell(text: str, where: str) -> list[Word]:
    """Return the words as a shell would split them: quotes, backslashes, continued lines, comments; no expansion."""
    words: list[Word] = []
    parts: list[str] = []
    start: int | None = None
    place = 0
    while place < len(text):
        sign = text[place]
        if sign in " \t\r\n":
            if start is not None:
                words.append(Word("".join(parts), start, place))
                parts, start = [], None
            place += 1
            continue
        if sign == "#" and start is None:
            end = text.find("\n", place)
            place = len(text) if end < 0 else end
            continue
        if sign == "\\" and text[place + 1 : place + 2] == "\n":
            place += 2
            continue
        if start is None:
            start = place
        if sign in "'\"":
            piece, place = _quoted_piece(text, place, where)
        elif sign == "\\":
            piece, place = text[place + 1 : place + 2], place + 2
        else:
            piece, place = sign, place + 1
        parts.append(piece)
    if start is not None:
        words.append(Word("".join(parts), start, len(text)))
    return words


def _quoted_piece(text: str, place: int, where: str) -> tuple[str, int]:
    """Return what stands between the quote at `place` and the one that closes it, and where it goes on."""
    parts: list[str] = []
    quote, at = text[place], place + 1
    while at < len(text):
        if text[at] == quote:
            return "".join(parts), at + 1
        if quote == '"' and text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\", "$", "`", "\n"):
            parts.append("" if text[at + 1] == "\n" else text[at + 1])
            at += 2
        else:
            parts.append(text[at])
            at += 1
    line = text.count("\n", 0, place) + 1
    raise InputError(f"the quote {quote} is not closed", f"{where}:{line}")
