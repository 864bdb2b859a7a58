"""YAML as a small tree that knows where each node stands in the text, read safely from anybody.

PyYAML's parser gives events with their places; the tree is built from them here, so that nothing recurses, nothing is
constructed, and an alias (with which a few lines can stand for gigabytes) is refused where it stands. PyYAML is well
kept and goes without a build; ruamel.yaml would keep comments too, but writes the whole file again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, cast

import yaml

from archcaps.errors import InputError
from archcaps.guest_cpu.formats import MAX_BYTES

__all__ = ["MAX_DEPTH", "MAX_NODES", "Node", "documents"]

MAX_DEPTH: Final = 64
MAX_NODES: Final = 50_000
_TEMPLATE: Final = " ({{ ... }} is a template's: give what it renders, as helm template prints)"
#: libyaml's parser where PyYAML was built with it: a hundred times as fast.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_resolve: Callable[..., str] = yaml.SafeLoader("").resolve


@dataclass(slots=True)
class Node:
    """A scalar, a list or a mapping. `line` counts from 1, `start` and `end` are characters of the text.

    A block's `end` may lie beyond blank lines and comments; `last` is where its last scalar ends.
    """

    kind: Literal["scalar", "list", "mapping"]
    line: int
    start: int
    column: int
    flow: bool = False
    end: int = 0
    text: str = ""
    tag: str = ""
    items: list[Node] = field(default_factory=list)
    keys: list[Node] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    @property
    def null(self) -> bool:
        """Whether nothing is written here, or null."""
        return self.tag == "tag:yaml.org,2002:null"

    @property
    def string(self) -> str | None:
        """The text of a string; None for anything else, as a number or yes."""
        return self.text if self.tag == "tag:yaml.org,2002:str" else None

    @property
    def last(self) -> int:
        """Where the last thing written in this node ends."""
        node = self
        while not node.flow and node.items:
            node = node.items[-1]
        return node.end

    def get(self, key: str) -> Node | None:
        """Return the value of a key of a mapping; None: it has none, or this is no mapping."""
        return next((value for name, value in zip(self.keys, self.items, strict=False) if name.text == key), None)


def documents(text: str, where: str) -> list[Node]:
    """Return the documents of a YAML text, without the empty ones.

    Raises:
        InputError: it is no YAML, has an alias or a key twice, or is too large or too deep; with file and line.
    """
    if len(text) > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES >> 20} MiB: not a guest's configuration", where)
    builder = _Builder(where, template="{{" in text)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}:{mark.line + 1}" if mark is not None else where
        hint = _TEMPLATE if builder.template else ""
        raise InputError(f"broken YAML: {error.problem or error.context}{hint}", place) from error
    except yaml.YAMLError as error:  # a character that YAML has not
        raise InputError(f"broken YAML: {str(error).splitlines()[0]}", where) from error
    except UnicodeEncodeError as error:
        raise InputError(f"not text that can be written as UTF-8 (character {error.start})", where) from error
    return [node for node in builder.roots if not node.null]


def _at(mark: object) -> tuple[int, int, int]:
    """Return a mark's line from 1, its character of the text, and its column from 0."""
    place = cast(yaml.Mark, mark)  # libyaml's marks are of another class with the same numbers
    return place.line + 1, place.index, place.column


class _Builder:
    """Builds the trees from PyYAML's events."""

    def __init__(self, where: str, *, template: bool) -> None:
        self.where = where
        self.template = template
        self.roots: list[Node] = []
        self.path: list[Node] = []
        self.count = 0

    def take(self, event: yaml.Event) -> None:
        """Take one event."""
        match event:
            case yaml.AliasEvent():
                what = f"the alias *{event.anchor} is refused: write out what it stands for"
                raise InputError(what, f"{self.where}:{_at(event.start_mark)[0]}")
            case yaml.ScalarEvent():
                tag = event.tag or _resolve(yaml.ScalarNode, event.value, event.implicit)
                node = self.node("scalar", event)
                node.text, node.tag, node.end = event.value, tag, _at(event.end_mark)[1]
                self.add(node)
            case yaml.SequenceStartEvent():
                self.open(self.node("list", event))
            case yaml.MappingStartEvent():
                self.open(self.node("mapping", event))
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self.path.pop().end = _at(event.end_mark)[1]
            case _:
                pass

    def node(self, kind: Literal["scalar", "list", "mapping"], event: yaml.NodeEvent) -> Node:
        line, start, column = _at(event.start_mark)
        self.count += 1
        if self.count > MAX_NODES:
            raise InputError(f"more than {MAX_NODES} values: not a guest's configuration", f"{self.where}:{line}")
        return Node(kind, line, start, column, bool(getattr(event, "flow_style", False)))

    def open(self, node: Node) -> None:
        if len(self.path) >= MAX_DEPTH:
            raise InputError(
                f"nested deeper than {MAX_DEPTH}: not a guest's configuration", f"{self.where}:{node.line}"
            )
        self.add(node)
        self.path.append(node)

    def add(self, node: Node) -> None:
        if not self.path:
            self.roots.append(node)
            return
        parent = self.path[-1]
        if parent.kind == "mapping" and len(parent.keys) == len(parent.items):
            if node.kind != "scalar":
                hint = _TEMPLATE if self.template else ""
                raise InputError(f"a key that is no text{hint}", f"{self.where}:{node.line}")
            if node.text in parent.names:  # readers of YAML take that differently
                raise InputError(f"the key {node.text!r} stands twice", f"{self.where}:{node.line}")
            parent.keys.append(node)
            parent.names.add(node.text)
            return
        parent.items.append(node)
