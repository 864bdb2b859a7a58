"""XML as a small tree that knows where each element stands in the text, read safely from anybody.

A document type is refused, and with it every entity of one's own: nothing is expanded and nothing else is opened. The
standard library's expat does the parsing: of the well-kept parsers it alone says at which byte an element stands, which
changing a file in place needs (lxml gives the line, and defusedxml has had no release since 2021).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from archcaps.errors import InputError
from archcaps.guest_cpu.formats import MAX_BYTES

__all__ = ["MAX_DEPTH", "MAX_ELEMENTS", "Element", "parse_documents", "parse_xml"]

#: A domain's XML is some ten levels deep and has some hundred elements.
MAX_DEPTH: Final = 64
MAX_ELEMENTS: Final = 50_000

#: A tag up to its end; nothing is tried twice (++), so a long one costs no more than its length.
_TAG: Final = re.compile(rb"""<(?:[^"'>]++|"[^"]*+"|'[^']*+')*+>""")


@dataclass(slots=True)
class Element:
    """An element: its name (with its namespace and a blank before it, if it has one), attributes and children.

    `line` counts from 1. `start` and `end` are the bytes where it starts and ends in the text as UTF-8, `opened` the
    byte after its start tag; `start_tag` is that tag as written.
    """

    name: str
    attributes: dict[str, str]
    line: int
    start: int
    opened: int
    start_tag: str
    end: int = 0
    text: str = ""
    children: list[Element] = field(default_factory=list)

    @property
    def empty_tag(self) -> bool:
        """Whether it is written as one tag, <name/>."""
        return self.start_tag.endswith("/>")

    def all(self, name: str) -> list[Element]:
        """Return the children with this name."""
        return [child for child in self.children if child.name == name]

    def first(self, name: str) -> Element | None:
        """Return the first child with this name, or None."""
        return next((child for child in self.children if child.name == name), None)

    def walk(self) -> Iterator[Element]:
        """Yield this element and all in it, as they stand in the text."""
        waiting = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting += reversed(element.children)


#: What expat says where a document has ended and another one begins.
_NEXT_BEGINS: Final = tuple(
    expat.errors.codes[text]
    for text in (expat.errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT, expat.errors.XML_ERROR_MISPLACED_XML_PI)
)
#: virt-install prints two; a file of a few machines' dumps has one for each.
MAX_DOCUMENTS: Final = 64


def parse_xml(text: str, where: str) -> Element:
    """Return the root element of an XML document.

    Raises:
        InputError: it is no well-formed XML, has a document type, or is too large or too deep; with file and line.
    """
    found = parse_documents(text, where)
    if len(found) > 1:
        raise InputError(f"{len(found)} XML documents, one after the other (expected one)", f"{where}:{found[1].line}")
    return found[0]


def parse_documents(text: str, where: str) -> list[Element]:
    """Return the root elements of XML documents that stand one after the other, each with its place in the text.

    Raises:
        InputError: as `parse_xml`, or there are too many.
    """
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"not text that can be written as UTF-8 (character {error.start})", where) from error
    if len(data) > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES >> 20} MiB: not a guest's configuration", where)
    found: list[Element] = []
    start, line, count = 0, 1, 0
    while True:
        builder = _Builder(data, where, start, line, count)
        try:
            builder.parser.Parse(memoryview(data)[start:], True)
        except expat.ExpatError as error:
            begins = start + builder.parser.ErrorByteIndex
            ended = builder.root is not None and not builder.path
            if not ended or error.code not in _NEXT_BEGINS or data[begins : begins + 1] != b"<":
                what, at = expat.ErrorString(error.code), line + error.lineno - 1
                raise InputError(f"broken XML: {what} (column {error.offset + 1})", f"{where}:{at}") from error
            start, line, count = begins, line + error.lineno - 1, builder.count
        else:
            start = len(data)
        assert builder.root is not None  # expat refuses a document without an element
        found.append(builder.root)
        if start == len(data):
            return found
        if len(found) == MAX_DOCUMENTS:
            raise InputError(f"more than {MAX_DOCUMENTS} XML documents", f"{where}:{line}")


class _Builder:
    """Builds the tree of the document that starts at a byte, on a line, from expat's events."""

    def __init__(self, data: bytes, where: str, start: int, line: int, count: int) -> None:
        self.data = data
        self.where = where
        self.start = start
        self.line = line - 1
        self.root: Element | None = None
        self.path: list[Element] = []
        self.texts: list[list[str]] = []
        self.count = count
        # The text is UTF-8 here whatever its XML declaration says it was.
        self.parser = expat.ParserCreate("utf-8", " ")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self.doctype
        self.parser.StartElementHandler = self.open
        self.parser.EndElementHandler = self.close
        self.parser.CharacterDataHandler = self.characters

    @property
    def here(self) -> str:
        return f"{self.where}:{self.line + self.parser.CurrentLineNumber}"

    def doctype(self, *_: object) -> None:
        raise InputError("a document type (<!DOCTYPE ...>) is refused: libvirt's XML has none", self.here)

    def open(self, name: str, attributes: dict[str, str]) -> None:
        self.count += 1
        if self.count > MAX_ELEMENTS:
            raise InputError(f"more than {MAX_ELEMENTS} elements: not a guest's configuration", self.here)
        if len(self.path) >= MAX_DEPTH:
            raise InputError(f"elements nested deeper than {MAX_DEPTH}: not a guest's configuration", self.here)
        start = self.start + self.parser.CurrentByteIndex
        opened = _end_of_tag(self.data, start)
        tag = self.data[start:opened].decode("utf-8")
        element = Element(name, attributes, self.line + self.parser.CurrentLineNumber, start, opened, tag)
        if self.path:
            self.path[-1].children.append(element)
        else:
            self.root = element
        self.path.append(element)
        self.texts.append([])

    def close(self, _: str) -> None:
        element = self.path.pop()
        element.text = "".join(self.texts.pop())
        element.end = (
            element.opened if element.empty_tag else _end_of_tag(self.data, self.start + self.parser.CurrentByteIndex)
        )

    def characters(self, text: str) -> None:
        if self.texts:
            self.texts[-1].append(text)


def _end_of_tag(data: bytes, start: int) -> int:
    """Return the byte after the tag that starts here; a > within quotes does not end it."""
    found = _TAG.match(data, start)
    assert found is not None  # expat has seen it whole
    return found.end()
