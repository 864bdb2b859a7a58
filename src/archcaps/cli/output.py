"""What a command writes to standard output and standard error: the one place for it, so that nothing raw gets out.

A style is written as marks that no input can hold (two characters drawn by chance when the command starts, of a kind
that is never written), and they become a terminal's colours only after everything else has been made safe to show.
"""

from __future__ import annotations

import codecs
import errno
import os
import re
import secrets
import sys
from typing import Final, TextIO

import click

from archcaps.cli.screen import colour
from archcaps.safe_text import cut, encodable, one_line, visible

__all__ = ["OutputError", "broken", "flush", "open_streams", "say", "style", "tell", "to_nowhere"]

_PRIVATE, _MANY = 0x100000, 0xFFFE  # the last plane of Unicode is for private use
_MARK: Final = "".join(chr(_PRIVATE + secrets.randbelow(_MANY)) for _ in range(2))
_FOREGROUNDS: Final = ("red", "green", "yellow", "blue", "magenta", "cyan", "bright_black")
_RESET: Final = "\x1b[0m"
#: A letter behind the mark, and what a terminal is sent for it.
_CODES: Final = {
    "0": _RESET,
    "1": click.style("", bold=True, reset=False),
    **{chr(ord("a") + at): click.style("", fg=name, reset=False) for at, name in enumerate(_FOREGROUNDS)},
}
_LETTERS: Final = {name: chr(ord("a") + at) for at, name in enumerate(_FOREGROUNDS)}
_MARKED: Final = re.compile(f"{_MARK}([01a-g])")


class OutputError(Exception):
    """Standard output takes no more. Its text is one line for the user."""


def style(text: str, *, fg: str | None = None, bold: bool | None = None) -> str:
    """Return text that `say` writes in that colour and weight where colours are wanted."""
    start = (_MARK + _LETTERS[fg] if fg else "") + (_MARK + "1" if bold else "")
    return f"{start}{text}{_MARK}0" if start else text


def say(text: str, color: bool | None = None) -> None:
    """Write to standard output: text, or JSON; nothing in it but our own styles is obeyed by a terminal.

    `color` None: colours on a terminal only, and there NO_COLOR and TERM=dumb are heard.

    Raises:
        OutputError: it takes no more.
        BrokenPipeError: nobody reads it.
    """
    wanted = colour(color)
    coloured = sys.stdout is not None and sys.stdout.isatty() if wanted is None else wanted
    pieces = _MARKED.split(text)
    pieces[::2] = map(visible, pieces[::2])
    pieces[1::2] = [_CODES[letter] if coloured else "" for letter in pieces[1::2]]
    try:
        _write(sys.stdout, "".join(pieces))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise broken(error) from error


def flush() -> None:
    """Bring what was said to standard output on its way.

    Raises:
        OutputError: it takes no more.
        BrokenPipeError: nobody reads it.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise broken(error) from error


def tell(line: str) -> None:
    """Write one line to standard error, made safe to show. Where that fails there is nobody to tell, and no error."""
    try:
        _write(sys.stderr, one_line(cut(line)) + "\n")
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        to_nowhere(2)


def _write(stream: TextIO | None, text: str) -> None:
    if stream is not None:
        # Where the locale is not UTF-8, all but ASCII is shown escaped: JSON is UTF-8 everywhere (RFC 8259).
        utf8 = codecs.lookup(stream.encoding or "ascii").name == "utf-8"
        stream.write(text if utf8 else encodable(text, "ascii"))


def broken(error: OSError) -> OutputError:
    """Return the error for standard output that takes no more, and let nothing more be written there."""
    to_nowhere(1)  # Python writes what is left when it ends, and would complain once more
    why = "it is closed" if error.errno == errno.EBADF else error.strerror or error
    return OutputError(f"standard output: cannot be written: {why}")


def to_nowhere(descriptor: int) -> None:
    """Let what is written to a standard stream vanish from now on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def open_streams() -> None:
    """Fill the places of standard streams that are closed, so that no file of ours gets into one.

    Standard input is filled with what is empty, standard output with what fails when it is used, standard error with
    what vanishes.
    """
    for descriptor, how in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, how), True)  # the lowest number that is free: this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # open until the end
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # as above
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # as above
