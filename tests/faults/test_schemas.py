"""Schemas are JSON Schema 2020-12 whose patterns mean the same to every validator (ECMA 262, section 22.2)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.cli.running import ROOT

SCHEMAS = sorted((ROOT / "schemas").glob("*.json"))


def patterns(value: Any) -> Iterator[str]:  # noqa: ANN401  # any JSON
    if isinstance(value, dict):
        if isinstance(value.get("pattern"), str):
            yield value["pattern"]
        for each in value.values():
            yield from patterns(each)
    elif isinstance(value, list):
        for each in value:
            yield from patterns(each)


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_a_schema_is_one(path: Path) -> None:
    schema = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for pattern in patterns(schema):
        # ECMA 262 with the flag u, as validators compile it, refuses an escape of a letter that means nothing there:
        # \A, \Z and the inline flags and possessive quantifiers of Python.
        assert not re.search(r"\\[AZzQEGhHRXae]|\(\?[a-zP]|[*+?}]\+", pattern), pattern


def test_a_number_as_text_ends_where_it_ends() -> None:
    schema = json.loads((ROOT / "schemas" / "snapshot-1.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)

    def valid(model: object) -> bool:
        return validator.is_valid({"format_version": 1, "role": "host", "cpu": {"model": model}})

    assert all(map(valid, (85, "85", "0x55", "0X55", None)))
    assert not any(map(valid, ("85\n", "\n85", "0x", "-1", "5 ", "1" * 81)))
