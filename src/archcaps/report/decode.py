"""Answers of `decode` for a person at a terminal, as wide as the terminal, and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from archcaps.questions.decode import Change, Decoded, DecodedBit, DecodedField, Difference, Encoded
from archcaps.tables.bits import BITS, bits_of

if TYPE_CHECKING:
    from archcaps.report.page import Style

__all__ = ["Writer", "decode_schema", "render_json"]

#: From this width on a bit's meaning stands beside its name, below it under its name.
_WIDE = 110
#: A name longer than this gets no table with the meaning beside it.
_LONG_NAME = 40
#: The column of what bits are about is at most so wide.
_ABOUT = 24
_NEWS = {"good": "good", "bad": "bad", "good-if-needed": "clears", "neutral": "neutral", "unknown": "?"}
_COLOURS = {"good": "green", "bad": "red", "good-if-needed": "cyan", "neutral": None, "unknown": "yellow"}
#: What the words in the columns mean, by what a bit has in them.
_LEGEND = {
    "good-if-needed": "clears: good if that clearing is what you need",
    "unknown": "?: nothing is published on whether it is good",
    "AND": "AND: shown to a guest only if every host has it",
    "OR": "OR: shown if any host has it",
    "HOST": "HOST: never shown to a guest",
}
_EFFECTS = {
    "better": "{who} is better off",
    "worse": "{who} is worse off",
    "better-if-needed": "{who} is better off if that clearing is what it needs",
    "neither": "neither better nor worse",
    "unknown": "nothing is published on whether that is good",
}
_IN_POOL = {
    "hide": "in a pool of both: hidden from guests (AND)",
    "show": "in a pool of both: shown to guests (OR)",
    "never": "in a pool: never shown to guests (HOST)",
    "no-rule": "no rule for pools",
}


class Writer:
    """Writes answers one after the other, and at the end explains the words that they used."""

    def __init__(self, style: Style, width: int, names: str = "archcaps") -> None:
        self._style = style
        self._width = max(width, 30)
        self._names = names
        self._said: set[str] = set()
        self._count = 0

    def value(self, decoded: Decoded, *, everything: bool = False) -> str:
        """Return one decoded value as text."""
        lines = self._head(f"{_register(decoded)} = {decoded.value}", decoded.note)
        known = bits_of(decoded.register).values()
        fields = [field for field in decoded.fields if field.value or everything or not known]
        lines += [line for field in fields for line in self._field(field)]
        if decoded.bits:
            pooled = any(bit.pool for bit in known)
            lines += [*([""] if fields else []), *self._bits(decoded.bits, pooled=pooled, everything=everything)]
        elif not fields:
            lines.append("No bit is set.")
        return self._text(lines)

    def names(self, encoded: Encoded) -> str:
        """Return the values that names stand for, as text."""
        lines = []
        for decoded in encoded.values:
            title = self._fill(f"{_register(decoded)} = {decoded.value}")
            lines += [self._style(line, bold=True) for line in title]
            named = [f"{self._name(bit)} (bit {bit.bit})" for bit in decoded.bits]
            named += [f"{field.name}={_number(field)}" for field in decoded.fields if field.value]
            lines += self._fill(", ".join(named), "  ")
        return self._text(lines)

    def difference(self, found: Difference) -> str:
        """Return the difference of two values as text."""
        lines = self._head(f"{_register(found)}: A = {found.a}, B = {found.b}", found.note)
        for who, changes in (("A", found.only_a), ("B", found.only_b)):
            if changes:
                lines.append(self._style(f"Only in {who}:", bold=True))
                lines += [line for change in changes for line in self._change(change, who)] + [""]
        for one, other in zip(found.fields_a, found.fields_b, strict=True):
            if one.value != other.value:
                lines += self._fill(f"{one.name} (bits {one.high}:{one.low}): A = {_number(one)}, B = {_number(other)}")
        if found.a == found.b:
            lines.append("No difference.")
        elif found.both:
            both = [BITS[name].names.get(self._names, name) if name in BITS else name for name in found.both]
            lines += self._fill("In both: " + ", ".join(both))
        if found.pool_value is not None:
            lines += self._fill(f"By these rules a guest that may run on both may be shown {found.pool_value}.", "")
        return self._text(lines)

    def legend(self) -> str:
        """Return what explains the words used so far."""
        said = [text for key, text in _LEGEND.items() if key in self._said]
        if not said:
            return ""
        lines = self._fill("; ".join(said) + ".", "", "")
        return "\n" + "".join(self._style(line, fg="bright_black") + "\n" for line in lines)

    def _text(self, lines: Iterable[str]) -> str:
        self._count += 1
        return ("\n" if self._count > 1 else "") + "\n".join(lines).rstrip("\n") + "\n"

    def _head(self, title: str, note: str | None) -> list[str]:
        lines = [self._style(line, bold=True) for line in self._fill(title)]
        return lines + (self._fill(note, "", "") if note else []) + [""]

    def _fill(self, text: str, first: str = "", rest: str | None = None) -> list[str]:
        return textwrap.wrap(
            text, self._width, initial_indent=first, subsequent_indent=first + "  " if rest is None else rest,
            break_on_hyphens=False,
        )  # fmt: skip

    def _name(self, bit: DecodedBit) -> str:
        """Return the bit's name in the chosen consumer's words; in brackets archcaps' own where it has none."""
        if self._names == "archcaps":
            return bit.name
        return bit.names.get(self._names, f"({bit.name})")

    def _field(self, field: DecodedField) -> Iterator[str]:
        yield from self._fill(f"bits {field.high}:{field.low}  {field.name} = {_number(field)}")
        yield from self._fill(field.meaning, "     ", "     ")

    def _bits(self, bits: list[DecodedBit], *, pooled: bool, everything: bool) -> list[str]:
        """Return a table with one row for each bit; clear reserved bits that follow each other have one together."""
        name_width = max(len(self._name(bit)) for bit in bits)
        wide = self._width >= _WIDE and name_width <= _LONG_NAME
        head = [
            "bit",
            *(["is"] if everything else []),
            "name".ljust(name_width),
            "1 is   ",
            *(["pool"] if pooled else []),
        ]
        start = len("  ".join(head)) + 2
        about_width = min(max(len(_about(bit)) for bit in bits), _ABOUT) if wide else 0
        titles = ["about".ljust(about_width), "meaning"] if about_width else ["meaning" if wide else "about"]
        lines = [line.rstrip() for line in self._fill("  ".join([*head, *titles]))]
        for group in _runs(bits):
            bit = group[0]
            if len(group) > 1:
                lines.append(f"{bit.bit:3}  to {group[-1].bit}: reserved, and clear")
                continue
            self._said |= {bit.news, bit.pool}
            name = self._name(bit)
            cells = [f"{bit.bit:3}", *([f"{bit.set:2d}"] if everything else [])]
            cells.append(self._style(name, bold=True if bit.set else None) + " " * (name_width - len(name)))
            cells += [self._coloured(bit), *([f"{bit.pool or '-':4}"] if pooled else [])]
            lines += self._beside(cells, bit, start, about_width) if wide else self._below(cells, bit, start)
        return lines

    def _beside(self, cells: list[str], bit: DecodedBit, start: int, about_width: int) -> Iterator[str]:
        """Yield a row with what the bit is about and its meaning in columns of their own."""
        indent = start + (about_width + 2 if about_width else 0)
        meaning = textwrap.wrap(_meaning(bit), self._width - indent, break_on_hyphens=False)
        about = textwrap.wrap(_about(bit), about_width, break_on_hyphens=False) if about_width else []
        for number in range(max(len(meaning), len(about))):
            first = "  ".join(cells) + "  " if number == 0 else " " * start
            left = about[number] if number < len(about) else ""
            right = meaning[number] if number < len(meaning) else ""
            yield first + ((left.ljust(about_width) + "  " if about_width else "") + right).rstrip()

    def _below(self, cells: list[str], bit: DecodedBit, start: int) -> Iterator[str]:
        """Yield a row with what the bit is about, and its meaning under it."""
        about = _about(bit)
        if about and start + len(about) <= self._width:
            yield "  ".join([*cells, about])
        else:
            row = "  ".join(cells).rstrip()
            narrow = len(f"{bit.bit:3}  {self._name(bit)}") > self._width or start - 2 > self._width
            yield from (
                self._fill(f"{bit.bit:3}  {self._name(bit)}: {_NEWS[bit.news]}", "", "     ") if narrow else [row]
            )
        text = f"{about}: {_meaning(bit)}" if about and start + len(about) > self._width else _meaning(bit)
        yield from self._fill(text, "     ", "     ")

    def _change(self, change: Change, who: str) -> Iterator[str]:
        bit = change.bit
        about = f", about {', '.join(bit.vulnerabilities)}" if bit.vulnerabilities else ""
        yield from self._fill(f"{bit.bit:3}  {self._name(bit)}{about}", "", "     ")
        yield from self._fill(_meaning(bit), "     ", "     ")
        effect = _EFFECTS[change.effect].format(who=who)
        text = f"{effect}; {_IN_POOL[change.in_pool]}."
        for line in self._fill(text[:1].upper() + text[1:], "     ", "     "):
            yield self._style(line, fg=_COLOURS[bit.news]) if _COLOURS[bit.news] else line

    def _coloured(self, bit: DecodedBit) -> str:
        word = _NEWS[bit.news]
        colour = _COLOURS[bit.news] if bit.set else None
        return (self._style(word, fg=colour) if colour else word) + " " * (7 - len(word))


def _register(found: Decoded | Difference) -> str:
    return f"{found.title} ({found.address})" if found.address != found.title else found.title


def _number(field: DecodedField) -> str:
    return f"{field.value:#x} ({field.says})" if field.says else f"{field.value:#x}"


def _about(bit: DecodedBit) -> str:
    return ", ".join(bit.vulnerabilities)


def _meaning(bit: DecodedBit) -> str:
    return f"UNVERIFIED. {bit.meaning}" if bit.status == "unverified" else bit.meaning


def _runs(bits: Iterable[DecodedBit]) -> list[list[DecodedBit]]:
    """Put clear reserved bits that follow each other together; every other bit stands alone."""
    groups: list[list[DecodedBit]] = []
    for bit in bits:
        idle = bit.status == "reserved" and not bit.set
        last = groups[-1][-1] if groups else None
        if idle and last is not None and last.status == "reserved" and not last.set and last.bit + 1 == bit.bit:
            groups[-1].append(bit)
        else:
            groups.append([bit])
    return groups


def render_json(answer: Decoded | Encoded | Difference, *, indented: bool = True) -> str:
    """Return the answer as one JSON object: indented, or on one line for streams."""
    import msgspec  # noqa: PLC0415  # text needs none of it, and has to be quick

    encoded = msgspec.json.encode(answer)
    return (msgspec.json.format(encoded, indent=2) if indented else encoded).decode() + "\n"


def decode_schema() -> dict[str, object]:
    """Return the JSON Schema of `archcaps decode --json`: of one object, and of every line of a stream."""
    import msgspec  # noqa: PLC0415  # as above

    answers, components = msgspec.json.schema_components([Decoded, Encoded, Difference])
    return {"anyOf": list(answers), "$defs": components}
