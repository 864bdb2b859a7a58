"""Mutations of real examples that keep most of their structure: words, lines and values, and now and then bytes.

The same seed gives the same inputs. Values that break readers (very large numbers, depth, control characters, words of
other formats) are put where values stand.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

__all__ = ["MAX_BYTES", "Mutator"]

#: No mutant is longer: a longer one costs time, and finds nothing that a shorter one does not.
MAX_BYTES: Final = 1 << 14
_TOKEN: Final = re.compile(r"\w+|\s+|[^\w\s]")
#: What stands where a word stood.
_WORDS: Final = (
    "", "0", "-1", "1", "1e999", "0x", "0xffffffffffffffff", "0x10000000000000000", "9" * 30, "9" * 4400, "1.5", "NaN",
    "null", "true", "none", "None", "host", "kvm", "x" * 300, "\x1b[2J", "\0", "\u202e", "é", "\ufeff", "'", '"', "\\",
    "\\u0000", "\\ud800", "${X}", "%s", "{}", "[]", "{", "}", "[", "]", "<", ">", "&amp;", "&x;", "<!--", "]]>", "#",
    "//", "--", ",", "=", ":", ";", "\n", "\r\n", "\t", " ", "*a", "&a", "!!python/object", "|", "- ", "6.12.117",
    "7.3.4", "0.0.0", "6.12", "99999.1.1", "6/0x6a/6", "md_clear", "mds_no", "arch_capabilities", "mitigations=off",
)  # fmt: skip
_VALUES: Final[tuple[object, ...]] = (
    None, True, False, 0, -1, 1 << 64, 1 << 80, 1.5, float("inf"), "", "0x", "0x10", "x" * 300, "\x1b", "\0", "\ud800",
    [], {}, [[]], {"": None}, [None], "6.12.117", "6/0x6a/6",
)  # fmt: skip
_BYTES: Final = (b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r", b"\n", b"\x1b", b"\xf0\x9f\x92\xa9")


class Mutator:
    """Makes mutants of `examples`, all from one seed."""

    def __init__(self, examples: Sequence[bytes], seed: int) -> None:
        self._examples = [example[:MAX_BYTES] for example in examples]
        self._random = random.Random(seed)
        texts = [one.decode("utf-8", "replace") for one in self._examples]
        self._words = sorted({word for text in texts for word in _TOKEN.findall(text)})
        self._values = [value for one in self._examples for value in _values_of(one)] or list(_VALUES)

    def next(self) -> bytes:
        """Return the next mutant; about one in two hundred is an example as it is."""
        choose = self._random
        data = choose.choice(self._examples)
        if choose.random() < 0.005:
            return data
        if choose.random() < 0.3 and data.lstrip()[:1] in (b"{", b"["):
            data = self._json(data)
        for _ in range(choose.choice((0, 1, 1, 1, 2, 2, 3, 8))):
            step: Callable[[str], str] = choose.choice(
                (self._replace, self._replace, self._delete, self._repeat, self._swap, self._lines, self._splice)
            )
            data = step(data.decode("utf-8", "surrogateescape")[:MAX_BYTES]).encode("utf-8", "surrogateescape")
        if choose.random() < 0.1:
            data = self._bytes(data)
        return data[:MAX_BYTES]

    def _replace(self, text: str) -> str:
        tokens, word = _TOKEN.findall(text) or [""], self._random.random()
        at = self._random.randrange(len(tokens))
        tokens[at] = self._random.choice(_WORDS if word < 0.6 else self._words)
        return "".join(tokens)

    def _delete(self, text: str) -> str:
        tokens = _TOKEN.findall(text)
        at = self._random.randrange(len(tokens) + 1)
        return "".join(tokens[:at] + tokens[at + self._random.choice((1, 1, 2, 5, 100)) :])

    def _repeat(self, text: str) -> str:
        tokens = _TOKEN.findall(text)
        at = self._random.randrange(len(tokens) + 1)
        end = at + self._random.choice((1, 1, 2, 4, 20))
        return "".join(tokens[:end] + tokens[at:end] * self._random.choice((1, 2, 70, 2000)) + tokens[end:])

    def _swap(self, text: str) -> str:
        tokens = _TOKEN.findall(text) or [""]
        one, other = (self._random.randrange(len(tokens)) for _ in range(2))
        tokens[one], tokens[other] = tokens[other], tokens[one]
        return "".join(tokens)

    def _lines(self, text: str) -> str:
        lines = text.splitlines(keepends=True) or [""]
        one, other = (self._random.randrange(len(lines)) for _ in range(2))
        change = self._random.randrange(4)
        if change == 0:
            lines[one], lines[other] = lines[other], lines[one]
        elif change == 1:
            lines.insert(one, lines[other])
        elif change == 2:
            del lines[one]
        else:
            lines[one] = self._random.choice(("  ", "\t", "", "- ", "# ")) + lines[one].lstrip()
        return "".join(lines)

    def _splice(self, text: str) -> str:
        other = self._random.choice(self._examples).decode("utf-8", "replace")
        return text[: self._random.randrange(len(text) + 1)] + other[self._random.randrange(len(other) + 1) :]

    def _bytes(self, data: bytes) -> bytes:
        at = self._random.randrange(len(data) + 1)
        return data[:at] + self._random.choice(_BYTES) + data[at + self._random.choice((0, 1)) :]

    def _json(self, data: bytes) -> bytes:
        """Change a value or a name inside a JSON text, and leave it JSON; what is none stays as it is."""
        try:
            tree = json.loads(data)
        except ValueError:
            return data
        places = list(_places(tree))
        if places:
            holder, key = self._random.choice(places)
            change = self._random.random()
            value = self._random.choice(_VALUES if change < 0.5 else self._values)
            if change > 0.9:
                del holder[key]
            elif change > 0.8 and isinstance(holder, dict):
                holder[self._random.choice(self._words)] = holder.pop(key)
            else:
                holder[key] = [[value]] * 40 if change < 0.02 else value
        return json.dumps(tree, ensure_ascii=self._random.random() < 0.5).encode("utf-8", "surrogatepass")


def _places(tree: object) -> list[tuple[Any, Any]]:
    """Return every container in a JSON value with each of its keys or indices."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        numbers = range(len(one)) if isinstance(one, list) else ()
        keys: Sequence[object] = list(one) if isinstance(one, dict) else numbers
        found += [(one, key) for key in keys]
        waiting += [one[key] for key in keys]  # type: ignore[index]  # keys are of a container
    return found


def _values_of(data: bytes) -> list[object]:
    try:
        tree = json.loads(data)
    except ValueError:
        return []
    return [holder[key] for holder, key in _places(tree)][:2000]
