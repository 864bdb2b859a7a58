"""Reading a snapshot takes work that grows with its size: twice the text is at most about twice the work.

Work is counted in lines that Python executes (sys.settrace), so the machine's load and clock are no part of it; what
runs in C over the text (regular expressions, decoding) is bounded by patterns that never go back (possessive).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from archcaps.errors import InputError
from archcaps.machine.read import parse_snapshot

HEAD = 'format_version = 1\nrole = "host"\n'
JSON_HEAD = '{"format_version": 1, "role": "host"'
NAME = "m"
SHAPES: dict[str, Callable[[int], str]] = {
    "digits": lambda n: "1" * n,
    "blank lines": lambda n: "\n" * n,
    "blanks": lambda n: " " * n + "x",
    "blank lines and a wrong key": lambda n: HEAD + "\n" * n + "[cpu]\nwrong = 1\n",
    "dotted keys": lambda n: "a." * (n // 2) + "a = 1",
    "short dotted keys": lambda n: "\n".join(f"k{i}.{'a.' * 20}a = 1" for i in range(n // 50)),
    "tables": lambda n: "\n".join(f"[t{i}]" for i in range(n // 6)),
    "arrays of tables": lambda n: "[[a]]\n" * (n // 6),
    "nested tables": lambda n: "\n".join(f"[{'a.' * 20}t{i}]" for i in range(n // 48)),
    "quotes": lambda n: 'a = "' + '\\"' * (n // 2),
    "open brackets": lambda n: "a = " + "[" * n,
    "inline tables": lambda n: "a = " + "{b = " * (n // 5),
    "commas": lambda n: "a = [" + "1, " * (n // 3) + "]",
    "comments": lambda n: "#" * n + "\n" + "# x\n" * (n // 4),
    "JSON braces": lambda n: '{"a": ' * (n // 6),
    "JSON brackets": lambda n: '{"a": ' + "[" * n,
    "JSON quotes": lambda n: '{"' + '\\"' * (n // 2),
    "JSON keys": lambda n: "{" + ", ".join(f'"k{i}": 1' for i in range(n // 10)) + "}",
    "JSON keys twice": lambda n: '{"a": 1, ' + ", ".join(f'"k{i}": 1' for i in range(n // 10)) + ', "a": 2}',
    "JSON digits": lambda n: '{"format_version": ' + "1" * n + "}",
    "a long unknown name": lambda n: (
        f'{{"format_version": 1, "role": "host", "vulnerabilities": {{"{NAME * n}": "x"}}}}'
    ),
    "a long unknown bit": lambda n: f'{JSON_HEAD}, "cpuid": {{"shown": ["{NAME * n}"]}}}}',
}


def work(text: str) -> int:
    """Return how many lines Python executes to read a text."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ANN401  # sys.settrace's own types
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(InputError):
            parse_snapshot(text.encode(), "x")
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", SHAPES)
def test_twice_the_text_is_twice_the_work(name: str) -> None:
    work(SHAPES[name](100))  # what is loaded once is loaded
    small, large = (work(SHAPES[name](size)) for size in (4_000, 16_000))
    assert large <= 5 * small + 2_000, (small, large)
