"""Answers of `archcaps predict`: as JSON lines, and one on Linux as a table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

import msgspec

from archcaps.questions.predict_kvm import KvmPrediction
from archcaps.questions.predict_lines import NotACase
from archcaps.questions.predict_linux import Assumed, LinuxPrediction

__all__ = ["predict_kvm_schema", "predict_linux_schema", "render_lines", "render_table"]

_ENCODER = msgspec.json.Encoder()
_NO_FILE = "(no such file)"
_NO_FEATURE = "no such feature"


def render_lines(answers: Iterable[LinuxPrediction | KvmPrediction | NotACase]) -> bytes:
    """Return the answers as JSON, one a line."""
    buffer = bytearray()
    for answer in answers:
        buffer += _ENCODER.encode(answer)
        buffer += b"\n"
    return bytes(buffer)


def render_table(answer: LinuxPrediction, width: int) -> str:
    """Return one answer as a table of files and texts, uncut; where several texts are possible, one a line.

    Under it stands what keeps the answer open, and the same table as it is under assumptions where that differs.
    """
    lines = _table(answer, width)
    for note in answer.notes:
        lines += ["", *_filled(f"Note: {note}.", width)]
    if answer.vuln_cut:
        lines += ["", *_filled(f"Not all that is possible: {', '.join(answer.vuln_cut)}.", width)]
    if answer.assumed is not None:
        supposed = "; ".join(f"{each.supposes} ({each.name})" for each in answer.assumed.assumptions)
        lines += ["", *_filled(f"Assumed: {supposed}. Then:", width), "", *_table(answer.assumed, width)]
    return "\n".join(lines) + "\n"


def _filled(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 40), subsequent_indent="  ", break_on_hyphens=False)


def _table(answer: LinuxPrediction | Assumed, width: int) -> list[str]:
    column = max(map(len, answer.vuln), default=0) + 2
    lines = []
    for file, text in answer.vuln.items():
        texts = text if isinstance(text, list) else [text]
        for number, each in enumerate(texts):
            start = file if number == 0 else "  or"
            lines.append(start.ljust(column) + (_NO_FILE if each is None else each))
    lines.append("")
    lines += _listed("bugs: ", answer.bugs, width)
    lines += _listed("possible: ", answer.bugs_possible, width) if answer.bugs_possible else []
    for name, value in answer.verw.items():
        values = value if isinstance(value, list) else [value]
        lines.append(f"{name}: {' or '.join(map(_said, values))}")
    return lines


def _listed(title: str, names: list[str], width: int) -> list[str]:
    return textwrap.wrap(" ".join(names) or "none", max(width, 40), initial_indent=title, subsequent_indent="  ")


def _said(value: bool | None) -> str:
    return _NO_FEATURE if value is None else "set" if value else "not set"


def predict_kvm_schema() -> dict[str, object]:
    """Return the JSON Schema of one line of `archcaps predict --kvm`."""
    answers, components = msgspec.json.schema_components([KvmPrediction, NotACase])
    return {"anyOf": list(answers), "$defs": components}


def predict_linux_schema() -> dict[str, object]:
    """Return the JSON Schema of one line that `archcaps predict` answers."""
    answers, components = msgspec.json.schema_components([LinuxPrediction, NotACase])
    return {"anyOf": list(answers), "$defs": components}
