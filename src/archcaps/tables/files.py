"""Reading the tables that ship with the package."""

from __future__ import annotations

import csv
import tomllib
from functools import cache
from pkgutil import get_data
from typing import Any

__all__ = ["read_csv", "read_lines", "read_toml"]


@cache
def read_csv(path: str) -> tuple[dict[str, str], ...]:
    """Return the rows of a table of this package, for example ``kernels/behaviours.csv``.

    Raises:
        ValueError: a row has more or fewer cells than the header.
    """
    rows = list(csv.DictReader(_text(path).splitlines()))
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise ValueError(f"{path}:{number}: another number of cells than the header")
    return tuple(rows)


@cache
def read_toml(path: str) -> dict[str, Any]:
    """Return a table of this package that is TOML."""
    return tomllib.loads(_text(path))


@cache
def read_lines(path: str) -> tuple[dict[str, Any], ...]:
    """Return the objects of a table of this package that has one JSON object a line."""
    import msgspec  # noqa: PLC0415  # `decode` reads tables too, and does without

    return tuple(msgspec.json.decode(line) for line in _text(path).splitlines())


def _text(path: str) -> str:
    data = get_data("archcaps.tables", path)
    if data is None:  # only a loader without data files, which no installation of archcaps has
        raise FileNotFoundError(path)
    return data.decode("utf-8")
