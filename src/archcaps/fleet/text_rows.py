"""Inventories of text, CSV and NDJSON, looked at row by row before an engine reads them.

Nothing is guessed. CSV is that of RFC 4180: commas, quotation marks, a header; a field without anything is null, one
with two quotation marks is the empty text. NDJSON is one object a line. What is no row is told with its line, and all
others are written to files that every engine reads alike: each value as a text.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from archcaps.errors import InputError
from archcaps.fleet.inventory import Source
from archcaps.fleet.snapshots import BadLine, row_or_bad

__all__ = ["LONGEST", "TextFile", "TextRows", "text_rows"]

#: Longer than any row, in bytes; and so many lines may one CSV field with line breaks have.
LONGEST: Final = 4 << 20
_LINES: Final = 256
_MARK: Final = b"\xef\xbb\xbf"
_FIELD: Final = re.compile(r'(?:"((?:[^"]|"")*+)"|([^",\n]*+))(,|\Z)')
#: After so many lines progress is told.
_TOLD: Final = 500
Told = Callable[[float], None]


class TextFile(msgspec.Struct, frozen=True):
    """A file of clean rows: its columns in order (CSV), or all that occur (NDJSON)."""

    path: str
    columns: list[str]
    rows: int


class TextRows(msgspec.Struct, frozen=True):
    """What a source of text holds: files of clean rows, and what is no row."""

    files: list[TextFile]
    bad: list[BadLine]


@dataclass
class _Progress:
    """How much of all files has been read."""

    told: Told
    total: int
    before: int = 0
    lines: int = 0

    def line(self, length: int) -> None:
        self.before += length
        self.lines += 1
        if self.lines % _TOLD == 0:
            self.told(min(1.0, self.before / self.total))


def text_rows(source: Source, work: Path, told: Told = lambda _: None, *, again: bool = False) -> TextRows:
    """Return the rows of CSV or NDJSON files, written to `work`; `again`: an earlier run has done so.

    Raises:
        InputError: a file cannot be read, or has no header, or a column twice.
    """
    listed = work / f"{source.role}s.files.json"
    if again and listed.is_file():
        return msgspec.json.decode(listed.read_bytes(), type=TextRows)
    total = sum(Path(path).stat().st_size for path in source.paths if Path(path).is_file())
    read = _csv if source.format == "csv" else _ndjson
    found = read(source, work, _Progress(told, max(1, total)))
    listed.write_bytes(msgspec.json.encode(found))
    return found


def _lines(path: str, progress: _Progress) -> Iterator[tuple[int, bytes | str]]:
    """Yield each line with its number: its text, or its bytes where it is too long or not UTF-8."""
    try:
        with Path(path).open("rb") as file:
            number, start = 0, True
            while line := file.readline(LONGEST + 1):
                progress.line(len(line))
                number += start
                ends = line.endswith(b"\n")
                if start and not ends and len(line) > LONGEST:
                    yield number, line[:1]
                if start and (ends or len(line) <= LONGEST):
                    yield number, _text(line.removeprefix(_MARK) if number == 1 else line)
                start = ends
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path) from error


def _text(line: bytes) -> bytes | str:
    bare = line.removesuffix(b"\n").removesuffix(b"\r")
    try:
        return bare.decode()
    except UnicodeDecodeError:
        return bare


def _why(line: bytes) -> str:
    """Say why a line is none."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte {error.start + 1} of the line)"
    return f"longer than {LONGEST >> 20} MiB"


# --- CSV -----------------------------------------------------------------------------------


def _csv(source: Source, work: Path, progress: _Progress) -> TextRows:
    """Files with the same header become one."""
    bad: list[BadLine] = []
    parts: dict[tuple[str, ...], list[str]] = {}
    for path in source.paths:
        parts.setdefault(_header(path)[0], []).append(path)
    files = []
    for number, (columns, paths) in enumerate(parts.items()):
        clean, rows = work / f"{source.role}s.{number}.csv", 0
        with clean.open("w", encoding="utf-8", newline="") as file:
            for path in paths:
                for record in _records(path, len(columns), source.role, progress):
                    if isinstance(record, BadLine):
                        bad.append(record)
                    else:
                        file.write(record + "\n")
                        rows += 1
        files.append(TextFile(str(clean), list(columns), rows))
    return TextRows(files, bad)


def _header(path: str) -> tuple[tuple[str, ...], int]:
    """Return the names in a file's first line, and the number of that line."""
    for number, line in _lines(path, _Progress(lambda _: None, 1)):
        if isinstance(line, bytes):
            raise InputError(f"the header is {_why(line)}", f"{path}:{number}")
        if not line:
            continue
        fields = _fields(line)
        if fields is None:
            raise InputError("the header is no line of CSV (expected names with commas between them)", f"{path}:1")
        names = [field or "" for field in fields]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"two columns are called {name!r} (expected each once)", f"{path}:{number}")
        return tuple(names), number
    raise InputError("empty (expected a line with the names of columns first)", path)


def _records(path: str, width: int, role: str, progress: _Progress) -> Iterator[str | BadLine]:
    """Yield each record behind the header as it is written, or why it is none."""
    header = _header(path)[1]
    lines = _Ahead((number, line) for number, line in _lines(path, progress) if number > header)
    for number, line in lines:
        if line == "":
            continue  # what stands between rows, and at the end
        where = f"{path}:{number}"
        if isinstance(line, bytes):
            yield BadLine(role, where, _why(line))
        elif '"' not in line:
            count = line.count(",") + 1
            yield (
                line
                if count == width and "\0" not in line and "\r" not in line
                else _odd(line, count, width, where, role)
            )
        else:
            yield _quoted_record(lines, line, width, where, role)


class _Ahead:
    """Lines that can be looked at before they are taken."""

    def __init__(self, lines: Iterator[tuple[int, bytes | str]]) -> None:
        self._lines = lines
        self._seen: deque[tuple[int, bytes | str]] = deque()

    def __iter__(self) -> Iterator[tuple[int, bytes | str]]:
        return self

    def __next__(self) -> tuple[int, bytes | str]:
        return self._seen.popleft() if self._seen else next(self._lines)

    def peek(self, at: int) -> bytes | str | None:
        """Return the line `at` lines ahead, None where there is none."""
        while len(self._seen) <= at:
            line = next(self._lines, None)
            if line is None:
                return None
            self._seen.append(line)
        return self._seen[at][1]


def _quoted_record(lines: _Ahead, first: str, width: int, where: str, role: str) -> str | BadLine:
    """Return a record with quotation marks; where it is none, its first line alone is taken."""
    taken, odd, size = [first], first.count('"') % 2, len(first)
    while odd:
        following = lines.peek(len(taken) - 1)
        if not isinstance(following, str) or len(taken) > _LINES or size > LONGEST:
            return BadLine(role, where, "a quotation mark that is never closed")
        taken.append(following)
        size += len(following)
        odd ^= following.count('"') % 2
    text = "\n".join(taken)
    fields = _fields(text)
    if fields is None:
        return BadLine(
            role, where, "a quotation mark inside a field (expected the field in such marks, each in it doubled)"
        )
    if len(fields) != width or "\0" in text:
        return _odd(text, len(fields), width, where, role)
    for _ in taken[1:]:
        next(lines)
    return text


def _odd(line: str, count: int, width: int, where: str, role: str) -> BadLine:
    if count != width:
        return BadLine(role, where, f"{count} fields (expected {width}, as the header has)")
    return BadLine(role, where, "a zero byte" if "\0" in line else "a carriage return inside the line")


def _fields(text: str) -> list[str | None] | None:
    """Return a record's fields, null where there is nothing; or null where the text is no record."""
    found: list[str | None] = []
    at = 0
    while match := _FIELD.match(text, at):
        quoted, bare, end = match.groups()
        found.append(quoted.replace('""', '"') if quoted is not None else bare or None)
        at = match.end()
        if not end:
            return found
    return None


# --- NDJSON --------------------------------------------------------------------------------


def _ndjson(source: Source, work: Path, progress: _Progress) -> TextRows:
    bad: list[BadLine] = []
    columns: dict[str, None] = {}
    clean, rows = work / f"{source.role}s.rows.ndjson", 0
    with clean.open("wb") as file:
        for path in source.paths:
            for number, line in _lines(path, progress):
                if not line.strip():
                    continue
                row = _row(line, f"{path}:{number}", source)
                if isinstance(row, BadLine):
                    bad.append(row)
                elif row is not None:
                    columns |= dict.fromkeys(row)
                    file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                    rows += 1
    if not rows and bad:
        raise InputError(
            f"no line is a row or a snapshot, as {bad[0].where}: {bad[0].reason}{_hint(source)}", source.where
        )
    return TextRows([TextFile(str(clean), list(columns), rows)], bad)


def _hint(source: Source) -> str:
    with Path(source.paths[0]).open("rb") as file:
        start = file.read(1 << 16)
    if b'"apiVersion"' in start or b'"kind"' in start:
        return (
            "; what kubectl prints is no inventory: archcaps shown and check --guest read a VirtualMachineInstance of "
            "it, one at a time (kubectl get vmi -n NAMESPACE NAME -o json)"
        )
    return "; expected one JSON object on each line (jq -c makes such lines)"


def _row(line: bytes | str, where: str, source: Source) -> dict[str, str | None] | BadLine | None:
    """Return what a line says, each value as a text; nothing for a snapshot of the other role."""
    role = "line" if source.shared else source.role
    told = source.role == "host" or not source.shared  # a line of both tells no role: it is told with the hosts
    if isinstance(line, bytes):
        return BadLine(role, where, _why(line)) if told else None
    try:
        raw = json.loads(line, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        return BadLine(role, where, _broken(error)) if told else None
    if not isinstance(raw, dict):
        return BadLine(role, where, "no JSON object") if told else None
    if "apiVersion" in raw and "kind" in raw:
        return BadLine(role, where, "an object of Kubernetes") if told else None
    if "format_version" in raw or source.shared:
        found = row_or_bad(raw, where, source)
        if found is None or isinstance(found, BadLine):
            return found if told or found is None or found.role != "line" else None
        raw = found
    row = {name: _value(value) for name, value in raw.items()}
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return BadLine(role, where, "half of a character (a lone surrogate)")
    return row


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _broken(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "broken JSON: nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"broken JSON: {error.msg} (character {error.pos + 1} of the line)"
    said = str(error)
    return "a number of thousands of digits" if "integer string conversion" in said else said


def _value(value: object) -> str | None:
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
