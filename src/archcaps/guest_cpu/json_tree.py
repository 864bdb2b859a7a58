"""JSON with places: each value knows its line and where it stands in the text, so that it can be changed there.

Python's json gives values without their places. What it takes and JSON has not (NaN) is refused, and so are two equal
keys in one object, which readers understand differently.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from json import JSONDecodeError, JSONDecoder
from typing import Final

from archcaps.errors import InputError

__all__ = ["JsonNode", "Scalar", "read_json"]

Scalar = str | int | float | bool | None

#: No configuration nests deeper, or has more values.
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 60_000

_STRINGS: Final = JSONDecoder()
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}
_KINDS: Final[dict[type, str]] = {
    str: "a string", bool: "true or false", int: "a whole number", float: "a number", type(None): "null",
}  # fmt: skip


@dataclass(slots=True)
class JsonNode:
    """One value of a document: a scalar, an object (`members`) or an array (`items`).

    `start` and `end` are where it stands in the text, `where` is its file and line.
    """

    start: int
    where: str
    end: int = 0
    scalar: Scalar = None
    members: dict[str, JsonNode] | None = None
    items: list[JsonNode] | None = None

    @property
    def kind(self) -> str:
        """What the value is, in words."""
        if self.members is not None:
            return "an object"
        return "an array" if self.items is not None else _KINDS[type(self.scalar)]

    @property
    def null(self) -> bool:
        """Whether the value is null."""
        return self.members is None and self.items is None and self.scalar is None

    def object(self, what: str) -> dict[str, JsonNode]:
        """Return the members of an object; `what` it is to be is for the error.

        Raises:
            InputError: it is no object.
        """
        if self.members is None:
            raise InputError(f"{what} is {self.kind} (expected an object)", self.where)
        return self.members

    def array(self, what: str) -> list[JsonNode]:
        """Return the items of an array.

        Raises:
            InputError: it is no array.
        """
        if self.items is None:
            raise InputError(f"{what} is {self.kind} (expected an array)", self.where)
        return self.items

    def text(self, what: str) -> str:
        """Return a string.

        Raises:
            InputError: it is no string.
        """
        if not isinstance(self.scalar, str):
            raise InputError(f"{what} is {self.kind} (expected a string)", self.where)
        return self.scalar

    def whole(self, what: str, limit: int) -> int:
        """Return a whole number from 0 to `limit`.

        Raises:
            InputError: it is none.
        """
        if not isinstance(self.scalar, int) or isinstance(self.scalar, bool) or not 0 <= self.scalar <= limit:
            raise InputError(f"{what} is {self.said()} (expected a whole number from 0 to {limit})", self.where)
        return self.scalar

    def flag(self, what: str) -> bool:
        """Return true or false.

        Raises:
            InputError: it is neither.
        """
        if not isinstance(self.scalar, bool):
            raise InputError(f"{what} is {self.kind} (expected true or false)", self.where)
        return self.scalar

    def said(self) -> str:
        """Return a scalar as it may stand in an error, shortened; else its kind."""
        return self.kind if self.members is not None or self.items is not None else repr(self.scalar)[:80]


def read_json(text: str, where: str) -> JsonNode:
    """Return the one JSON value that a text holds.

    Raises:
        InputError: it is not JSON, a key stands twice in an object, or it is nested deeper than `MAX_DEPTH`.
    """
    return _Reader(text, where).document()


@dataclass(slots=True)
class _Reader:
    text: str
    where: str
    at: int = 0
    values: int = 0
    line: int = 1
    counted: int = field(default=0)

    def place(self, index: int | None = None) -> str:
        index = self.at if index is None else index
        if index < self.counted:
            return f"{self.where}:{self.text.count(chr(10), 0, index) + 1}"
        self.line += self.text.count("\n", self.counted, index)
        self.counted = index
        return f"{self.where}:{self.line}"

    def fail(self, what: str, index: int | None = None) -> InputError:
        return InputError(f"not JSON: {what}", self.place(index))

    def document(self) -> JsonNode:
        node = self.value(0)
        if self.peek():
            raise self.fail(f"{self.peek()!r} after the end of the document")
        return node

    def peek(self) -> str:
        match = _SPACE.match(self.text, self.at)
        assert match is not None  # it matches nothing as well
        self.at = match.end()
        return self.text[self.at : self.at + 1]

    def expect(self, character: str, what: str) -> None:
        found = self.peek()
        if found != character:
            raise self.fail(f"{found!r} where {what} was expected" if found else f"it ends where {what} was expected")
        self.at += 1

    def value(self, depth: int) -> JsonNode:
        found = self.peek()
        if depth > MAX_DEPTH:
            raise InputError(f"nested deeper than {MAX_DEPTH} values: not a guest's configuration", self.place())
        self.values += 1
        if self.values > MAX_VALUES:
            raise InputError(f"more than {MAX_VALUES} values: not a guest's configuration", self.place())
        node = JsonNode(self.at, self.place())
        if found == "{":
            node.members = self.members(depth)
        elif found == "[":
            node.items = self.array(depth)
        elif found == '"':
            node.scalar = self.string()
        else:
            node.scalar = self.plain(found)
        node.end = self.at
        return node

    def members(self, depth: int) -> dict[str, JsonNode]:
        self.at += 1
        members: dict[str, JsonNode] = {}
        if self.peek() == "}":
            self.at += 1
            return members
        while True:
            if self.peek() != '"':
                raise self.fail("a key was expected")
            begin = self.at
            key = self.string()
            if key in members:
                raise InputError(f"the key {key[:80]!r} stands twice", self.place(begin))
            self.expect(":", "':'")
            members[key] = self.value(depth + 1)
            if self.peek() == "}":
                self.at += 1
                return members
            self.expect(",", "',' or '}'")

    def array(self, depth: int) -> list[JsonNode]:
        self.at += 1
        items: list[JsonNode] = []
        if self.peek() == "]":
            self.at += 1
            return items
        while True:
            items.append(self.value(depth + 1))
            if self.peek() == "]":
                self.at += 1
                return items
            self.expect(",", "',' or ']'")

    def string(self) -> str:
        try:
            text, self.at = _STRINGS.raw_decode(self.text, self.at)
        except JSONDecodeError as error:
            raise self.fail(error.msg, error.pos) from error
        return str(text)

    def plain(self, found: str) -> Scalar:
        for word, value in _WORDS.items():
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return value
        match = _NUMBER.match(self.text, self.at)
        if match is None:
            raise self.fail(f"{found!r} where a value was expected" if found else "it ends where a value was expected")
        if match.end() - self.at > 400:
            raise self.fail("a number of more than 400 digits")
        self.at = match.end()
        return float(match[0]) if match[1] or match[2] else int(match[0])
