"""An answer as JSON: the result's own fields, as its committed schema says."""

from __future__ import annotations

import msgspec

from archcaps.questions.results import CheckResult

__all__ = ["check_schema", "render"]


def render(result: CheckResult) -> str:
    """Return the answer as one JSON object on one line, with a line feed at its end."""
    return msgspec.json.encode(result).decode() + "\n"


def check_schema() -> dict[str, object]:
    """Return the JSON Schema of `archcaps check --json`."""
    return msgspec.json.schema(CheckResult)
