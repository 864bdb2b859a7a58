"""Lines of files and of standard input, with a sign where no more input is waiting."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from archcaps.errors import InputError

__all__ = ["lines_of"]

#: A line longer than this is no case.
_LONGEST: Final = 1 << 20
_CHUNK: Final = 1 << 16


def lines_of(files: Sequence[str]) -> Iterator[tuple[str, bytes] | None]:
    """Yield each line that is not blank, with where it stands, and None where it is worth answering what came so far.

    ``-`` is standard input; with several files the file's name stands in front of the line.

    Raises:
        InputError: a file cannot be read, or a line is too long.
    """
    for name in files:
        label = "standard input" if name == "-" else name
        where = f"{label}: line" if len(files) > 1 else "line"
        try:
            if name == "-" and sys.stdin is None:  # closed by whoever started us
                continue
            source = sys.stdin.fileno() if name == "-" else os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield from _lines(source, where)
            finally:
                if name != "-":
                    os.close(source)
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror or error}", label) from error


def _lines(source: int, where: str) -> Iterator[tuple[str, bytes] | None]:
    rest, number = b"", 0
    while chunk := os.read(source, _CHUNK):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            number += 1
            if line.strip():
                yield f"{where} {number}", line
        if len(rest) > _LONGEST:
            raise InputError(f"longer than {_LONGEST >> 20} MiB, expected a case", f"{where} {number + 1}")
        if not select.select([source], [], [], 0)[0]:
            yield None
    if rest.strip():
        yield f"{where} {number + 1}", rest
