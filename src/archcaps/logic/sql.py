"""The SQL interpretation: the graph as one query, for any engine whose AND, OR and NOT are Kleene's with NULL.

Nodes that are used more than once are columns of subqueries, layer on layer, so that the text grows with the graph and
not with the tree of its formulas.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from archcaps.logic.choice import Choice
from archcaps.logic.graph import TRUE, Kind, Node, walk
from archcaps.logic.sql_dialects import Dialect

__all__ = ["UNDECIDED", "Inputs", "bit", "identifier", "is_identifier", "layers", "literal", "roots_of"]

#: What a choice's column holds where more than one label is possible. A text, as NULL gets lost in comparisons.
UNDECIDED: Final = "undecided"
#: The names of PostgreSQL end after so many bytes, without an error.
_LONGEST_NAME: Final = 63
#: An expression that reads more columns than this is parted.
_LONGEST: Final = 200
_SIGN: Final = 1 << 63


@dataclass(frozen=True)
class Inputs:
    """What the query reads: SQL expressions over the columns of `source`, a relation.

    `facts` are Boolean and may be NULL: unknown, as is a fact that is not there. `observed` holds what somebody read
    of rules, by name: where it is not NULL it stands in for the rule's own result; for a rule in `doubtful` only where
    that node there is not known to be otherwise, else neither is known. `opaque` tells by rule where it does
    not hold, and `complete` where the inputs are there at all: neither may be NULL. `keep` are further columns of the
    result, by name.
    """

    source: str
    facts: Mapping[str, str]
    observed: Mapping[str, str] = field(default_factory=dict)
    opaque: Mapping[str, str] = field(default_factory=dict)
    keep: Mapping[str, str] = field(default_factory=dict)
    complete: str = ""
    doubtful: Mapping[str, Node] = field(default_factory=dict)


@dataclass
class _Column:
    """A column of a layer: what it says, the columns of earlier layers that it reads, and its layer."""

    text: str
    reads: frozenset[str]
    layer: int


@dataclass(frozen=True)
class _Text:
    """An expression over columns, and how many it reads, each as often as it is written."""

    text: str
    reads: frozenset[str]
    size: int


def is_identifier(name: str) -> bool:
    """Return whether every engine takes `name` for a column, unquoted and whole."""
    return re.fullmatch(r"[a-z_][a-z0-9_]*", name) is not None and len(name) <= _LONGEST_NAME


def identifier(name: str) -> str:
    """Return the column for a fact or rule: ``guest.exposed[mds]`` is guest_exposed_mds.

    Raises:
        ValueError: nothing like it is a column of every engine.
    """
    found = _spelled(name)
    if not is_identifier(found):
        raise ValueError(f"{name} cannot be a column")
    return found


def literal(text: str) -> str:
    """Return a text literal.

    Raises:
        ValueError: engines differ in how they read it.
    """
    if "\\" in text or not text.isprintable():
        raise ValueError(f"{text!r} is not the same in all dialects")
    return "'" + text.replace("'", "''") + "'"


def bit(dialect: Dialect, word: str, mask: int, known: str = "") -> str:
    """Return whether the bits of `mask` (u64) that `word` has are not all 0, NULL where the word is.

    `known` is the word of the bits that `word` speaks for: NULL for all of them.
    """
    # Decimal, and never shifted: engines differ in what 1 << 40 is. The digits of -2^63 alone are no number of 64 bits.
    decimal = str(mask) if mask < _SIGN else f"({mask - 2 * _SIGN + 1} - 1)"
    has = f"{dialect.and_mask.format(word=word, mask=decimal)} <> 0"
    if not known:
        return has
    speaks = dialect.and_mask.format(word=f"COALESCE({known}, -1)", mask=decimal)
    return f"CASE WHEN {speaks} <> 0 THEN {has} END"


def roots_of(outputs: Mapping[str, Node | Choice[Any]]) -> list[Node]:
    """Return the nodes that the columns `outputs` rest on."""
    found: dict[Node, None] = {}
    for output in outputs.values():
        if isinstance(output, Choice):
            for label in output.labels:
                found |= dict.fromkeys((output.is_in([label]), output.permits(label)))
        else:
            found[output] = None
    return list(found)


def layers(
    outputs: Mapping[str, Node | Choice[Any]], inputs: Inputs, dialect: Dialect, *, possible: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield the subqueries by name, each reading the one before; the last, called ``""``, is the result.

    A node's column is Boolean or NULL. A choice's column is its label (the empty text for None) or `UNDECIDED`; with
    `possible` a second column, ``..._possible``, has the labels that are possible, each between two "|".

    Raises:
        ValueError: a name cannot be a column, or two are the same column.
    """
    return _Writer(outputs, inputs, dialect, possible=possible).layers()


class _Writer:
    def __init__(
        self, outputs: Mapping[str, Node | Choice[Any]], inputs: Inputs, dialect: Dialect, *, possible: bool
    ) -> None:
        self._outputs, self._inputs, self._dialect, self._possible = outputs, inputs, dialect, possible
        self._columns: dict[str, _Column] = {}
        self._texts: dict[Node, _Text] = {}
        self._uses = Counter(roots := roots_of(outputs))
        apart = [node for name, node in inputs.doubtful.items() if name in inputs.observed]
        self._uses.update(apart)
        # What decides on an observation stands before what reads that.
        nodes = list(dict.fromkeys([*walk(apart), *walk(roots)]))
        for node in nodes:
            self._uses.update(node.args)
        for name, text in inputs.keep.items():
            self._column(name, _Text(text, frozenset(), 0), 0)
        if inputs.complete:
            self._column("complete", _Text(inputs.complete, frozenset(), 0), 0)
        for node in nodes:
            self._texts[node] = self._shared(node, self._expression(node))
        self._masks = {name: self._mask(name, each) for name, each in outputs.items() if isinstance(each, Choice)}

    def layers(self) -> Iterator[tuple[str, str]]:
        last = max(column.layer for column in self._columns.values())
        result, wanted = self._result()
        source = self._inputs.source
        for layer in range(last + 1):
            later = {name for column in self._columns.values() if column.layer > layer for name in column.reads}
            own = [f"{column.text} AS {name}" for name, column in self._columns.items() if column.layer == layer]
            passed = [
                name
                for name, column in self._columns.items()
                if column.layer < layer and (name in later or name in wanted)
            ]
            end = f"\n{self._dialect.fence}" if self._dialect.fence else ""
            yield f"layer_{layer}", f"SELECT\n{_lines([*passed, *own])}\nFROM {source}{end}"
            source = f"layer_{layer}"
        yield "", f"SELECT\n{_lines(result)}\nFROM {source}"

    def _result(self) -> tuple[list[str], set[str]]:
        """Return the result's columns, and the columns of layers that they read."""
        found, wanted = list(self._inputs.keep), set(self._inputs.keep)
        if self._inputs.complete:
            found.append("complete")
            wanted.add("complete")
        for name, output in self._outputs.items():
            if isinstance(output, Choice):
                mask = self._masks[name]
                labels = {1 << number: literal(_label(label)) for number, label in enumerate(output.labels)}
                cases = " ".join(f"WHEN {value} THEN {label}" for value, label in labels.items())
                found.append(f"CASE {mask} {cases} ELSE {literal(UNDECIDED)} END AS {name}")
                if self._possible:
                    found.append(f"{self._possible_labels(mask, labels)} AS {name}_possible")
                wanted.add(mask)
            else:
                text = self._texts[output]
                found.append(f"{self._if_complete(text.text)} AS {name}")
                wanted |= text.reads
        return found, wanted

    def _possible_labels(self, mask: str, labels: Mapping[int, str]) -> str:
        parts = (
            f"CASE WHEN {bit(self._dialect, mask, value)} THEN {label} || '|' ELSE '' END"
            for value, label in labels.items()
        )
        return "'|' || " + " || ".join(parts)

    def _if_complete(self, text: str) -> str:
        return f"CASE WHEN complete THEN {text} END" if self._inputs.complete else text

    def _column(self, name: str, text: _Text, layer: int) -> _Text:
        if not is_identifier(name):
            raise ValueError(f"{name} cannot be a column")
        if name in self._columns:
            raise ValueError(f"two columns are called {name}")
        self._columns[name] = _Column(text.text, text.reads, layer)
        return _Text(name, frozenset((name,)), 1)

    def _shared(self, node: Node, text: _Text) -> _Text:
        """Return `node` as other expressions write it: by a column, or written out."""
        again = self._uses[node] > 1 and text.size > self._dialect.written_again
        if not (again or text.size > _LONGEST):
            return text
        name = f"n{len(self._texts)}"
        if node.kind is Kind.RULE and is_identifier(own := _spelled(node.name)):
            name = own
        return self._column(name, text, self._layer_above(text.reads))

    def _layer_above(self, reads: Iterable[str]) -> int:
        return 1 + max((self._columns[name].layer for name in reads), default=-1)

    def _expression(self, node: Node) -> _Text:
        match node.kind:
            case Kind.CONSTANT:
                return _Text("TRUE" if node is TRUE else "FALSE", frozenset(), 0)
            case Kind.FACT:
                text = self._inputs.facts.get(node.name)
                if text is None:
                    return _Text(self._dialect.unknown, frozenset(), 1)
                return self._input(node.name, text)
            case Kind.RULE:
                return self._rule(node)
            case Kind.NOT:
                inner = self._texts[node.args[0]]
                return _joined([inner], f"(NOT {inner.text})")
            case _:
                sign = " AND " if node.kind is Kind.AND else " OR "
                parts = [self._texts[arg] for arg in node.args]
                return _joined(parts, f"({sign.join(part.text for part in parts)})")

    def _rule(self, node: Node) -> _Text:
        own = self._texts[node.args[0]]
        if node.name in self._inputs.opaque:
            out = self._input(f"{node.name} opaque", self._inputs.opaque[node.name])
            own = _joined([own, out], f"CASE WHEN NOT {out.text} THEN {own.text} END")
        if node.name in self._inputs.observed:
            seen = self._input(f"{node.name} observed", self._inputs.observed[node.name])
            text = f"COALESCE({seen.text}, {own.text})"
            parts = [own, seen]
            if node.name in self._inputs.doubtful:
                bare = self._texts[self._inputs.doubtful[node.name]]
                differ = f"({bare.text} AND NOT {seen.text}) OR (NOT {bare.text} AND {seen.text})"
                text = f"CASE WHEN {differ} THEN {self._dialect.unknown} ELSE {text} END"
                parts += [seen, seen, bare, bare]
            own = _joined(parts, text)
        return own

    def _input(self, name: str, text: str) -> _Text:
        column = identifier(name)
        return self._column(column, _Text(text, frozenset(), 0), 0)

    def _mask(self, name: str, choice: Choice[Any]) -> str:
        """Add the column of a choice's possible labels, bit i for label i, and return its name.

        The first label that is chosen is the only one; if none is, all that are not ruled out.
        """
        chosen = [self._texts[choice.is_in([label])] for label in choice.labels]
        permitted = [self._texts[choice.permits(label)] for label in choice.labels]
        first = [f"WHEN {text.text} THEN {1 << number}" for number, text in enumerate(chosen)]
        rest = [f"CASE WHEN NOT {text.text} THEN 0 ELSE {1 << number} END" for number, text in enumerate(permitted)]
        everything = (1 << len(choice.labels)) - 1
        start = [f"WHEN NOT complete THEN {everything}"] if self._inputs.complete else []
        text = _joined([*chosen, *permitted], f"CASE {' '.join([*start, *first])} ELSE {' + '.join(rest)} END")
        if self._inputs.complete:
            text = _Text(text.text, text.reads | {"complete"}, text.size)
        column = f"{name}_mask"
        self._column(column, text, self._layer_above(text.reads))
        return column


def _joined(parts: Sequence[_Text], text: str) -> _Text:
    return _Text(text, frozenset().union(*(part.reads for part in parts)), sum(part.size for part in parts))


def _label(label: object) -> str:
    return "" if label is None else str(label)


def _lines(columns: Iterable[str]) -> str:
    return ",\n".join(f"  {column}" for column in columns)


def _spelled(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
