"""Docstrings of functions, also where Python was told to leave them out (-OO, PYTHONOPTIMIZE=2)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from inspect import unwrap
from typing import Any

__all__ = ["docstring_of"]


def docstring_of(function: Callable[..., Any]) -> str:
    """Return a function's docstring: rules and commands say by it what they mean. Empty where it has none."""
    if function.__doc__ or sys.flags.optimize < 2:
        return function.__doc__ or ""
    plain = unwrap(function)
    return _in_source(plain.__code__.co_filename).get(plain.__code__.co_firstlineno, "")


@cache
def _in_source(path: str) -> dict[int, str]:
    """Return the docstrings of a file's functions by the line that each begins in, with its decorators."""
    import ast  # noqa: PLC0415  # only where docstrings were left out

    try:
        with open(path, "rb") as file:  # noqa: PTH123  # a low layer that loads nothing more
            tree = ast.parse(file.read())
    except (OSError, SyntaxError):
        return {}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {
        min(node.lineno, *(part.lineno for part in node.decorator_list), node.lineno): ast.get_docstring(
            node, clean=False
        )
        or ""
        for node in functions
    }
