"""Text of a snapshot's file, bounded before it is parsed: its encoding, nesting, numbers, lines, keys given twice.

A reader of strangers' files works for no longer than their size gives reason to. What a parser would take quietly, a
key given twice, is refused: nobody can tell which of both was meant.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any, Final

import msgspec

from archcaps.errors import InputError

__all__ = ["decode_json", "decode_toml", "duplicate_line", "has_duplicate", "text_of"]

#: Far more than any snapshot has; parsers recurse, and some work quadratically.
_DEEPEST: Final = 64
_DIGITS: Final = 80
_LONGEST_LINE: Final = 1 << 17
_KEY_PARTS: Final = 32

#: How files begin that are no text of ours: magic numbers of their formats.
_MAGIC: Final = (
    (b"\x1f\x8b", "a gzip file (unpack it first: gunzip)"),
    (b"\xfd7zXZ\x00", "an xz file (unpack it first: unxz)"),
    (b"(\xb5/\xfd", "a zstd file (unpack it first: unzstd)"),
    (b"BZh", "a bzip2 file (unpack it first: bunzip2)"),
    (b"PK\x03\x04", "a zip file (unpack it first)"),
    (b"%PDF-", "a PDF (expected plain text)"),
    (b"\x7fELF", "a program (expected plain text)"),
    (b"PAR1", "a Parquet file (archcaps audit reads those, as a fleet)"),
    (b"SQLite format 3\x00", "an SQLite database (expected plain text)"),
    (b"\xff\xfe", "UTF-16 text (save it as UTF-8)"),
    (b"\xfe\xff", "UTF-16 text (save it as UTF-8)"),
)
_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.?)*+(?:"|\Z)', re.DOTALL)
_TOKEN: Final = re.compile(r'("(?:[^"\\]++|\\.?)*+(?:"|\Z))(\s*+:)?|[\[\]{}]', re.DOTALL)
_PART: Final = r"""[ \t]*+(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\."""
_MANY_PARTS: Final = re.compile(rf"(?:^[ \t]*+\[{{0,2}}+|[{{,])(?:{_PART}){{{_KEY_PARTS}}}", re.MULTILINE)


def text_of(data: bytes, where: str) -> str:
    """Return the text that a file holds; a byte order mark before it does not count.

    Raises:
        InputError: it is no UTF-8 text; says what it is where that is plain.
    """
    for magic, what in _MAGIC:
        if data.startswith(magic):
            raise InputError(f"not UTF-8 text: this is {what}", where)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text (byte {error.start})", where) from error
    if "\0" in text:
        kind = "UTF-16 text without its mark, or no text at all" if "\0" in text[:2] else "no text"
        raise InputError(
            f"holds zero bytes: {kind} (expected UTF-8 text)", f"{where}:{_line(text, text.index(chr(0)))}"
        )
    return text


def decode_json(text: str, where: str) -> Any:  # noqa: ANN401  # whatever the text holds
    """Return what a JSON text holds.

    Raises:
        InputError: it is broken, nested too deeply, has a key twice or a number that is too long; with the line.
    """
    bare = _STRING.sub('""', text)
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", bare):
        depth += 1 if bracket in "[{" else -1
        if depth > _DEEPEST:
            raise InputError(f"nested more than {_DEEPEST} deep", where)
    if long := re.search(rf"[0-9]{{{_DIGITS + 1}}}", bare):
        raise InputError(f"a number of more than {_DIGITS} digits", f"{where}:{_line(bare, long.start())}")
    try:
        raw = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        at = re.search(r"byte (\d+)", str(error))
        line = text.encode()[: int(at[1])].count(b"\n") + 1 if at else text.count("\n") + 1
        raise InputError(f"broken JSON: {error}", f"{where}:{line}") from error
    if has_duplicate(text):
        key, line = duplicate_line(text)
        raise InputError(f"the key {key!r} is given twice in one object (expected once)", f"{where}:{line}")
    return raw


def has_duplicate(text: str | bytes) -> bool:
    """Whether an object of a JSON text, which is well-formed, has a key twice."""
    found = False

    def look(pairs: list[tuple[str, object]]) -> None:
        nonlocal found
        found = found or len({key for key, _ in pairs}) < len(pairs)

    json.loads(text, object_pairs_hook=look, strict=False)
    return found


def duplicate_line(text: str) -> tuple[str, int]:
    """Return the first key that an object of a JSON text has twice, and the line of the second."""
    objects: list[set[str]] = []
    for token in _TOKEN.finditer(text):
        if token[0] in ("{", "["):
            objects.append(set())
        elif token[0] in ("}", "]"):
            objects.pop()
        elif token[2]:
            key = json.loads(token[1])
            if key in objects[-1]:
                return key, _line(text, token.start())
            objects[-1].add(key)
    raise ValueError("no key is given twice")


def decode_toml(text: str, where: str) -> dict[str, Any]:
    """Return what a TOML text holds.

    Raises:
        InputError: it is broken, or has keys, lines or numbers longer than any snapshot's; with the line.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > _LONGEST_LINE:
            raise InputError(f"longer than {_LONGEST_LINE:,} characters, so no TOML of a snapshot", f"{where}:{number}")
    if many := _MANY_PARTS.search(text):
        raise InputError(f"a key of more than {_KEY_PARTS} parts", f"{where}:{_line(text, many.end())}")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        place = f"{where}:{found[1] if found else text.count(chr(10)) + 1}"
        raise InputError(f"broken TOML: {re.sub(r' [(]at .*[)]', '', str(error))}", place) from error
    except RecursionError as error:
        raise InputError(f"nested more than {_DEEPEST} deep", where) from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise InputError("a number of thousands of digits", where) from error


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
