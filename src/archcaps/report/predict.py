"""The answers of `archcaps predict` as JSON: a line each, as their committed schemas say."""

from __future__ import annotations

import msgspec

from archcaps.questions.predict_kvm import Failed, KvmPrediction

__all__ = ["predict_kvm_schema", "render_line"]

_ENCODER = msgspec.json.Encoder()


def render_line(answer: KvmPrediction | Failed) -> str:
    """Return an answer as one JSON object on one line, with a line feed at its end."""
    return _ENCODER.encode(answer).decode() + "\n"


def predict_kvm_schema() -> dict[str, object]:
    """Return the JSON Schema of one line of `archcaps predict --kvm`."""
    answers, components = msgspec.json.schema_components([KvmPrediction, Failed])
    return {"anyOf": list(answers), "$defs": components}
