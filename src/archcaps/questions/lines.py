"""Steps of a why as typed lines: each with its value, its sentence and its source."""

from __future__ import annotations

from archcaps.logic.graph import Kind
from archcaps.logic.ternary import Because
from archcaps.questions.reader import Reader
from archcaps.questions.results import Line

__all__ = ["line_of"]


def line_of(reader: Reader, step: Because) -> Line:
    """Return a step of a why with what is known of its inputs."""
    children = [line_of(reader, child) for child in step.children]
    datum = reader.datum(step.name)
    if step.node.kind is Kind.RULE and step.node.info is not None:
        provenance = datum.provenance if datum is not None and step.observed else "modelled"
        source = datum.source if datum is not None and step.observed else step.node.info.source
        return Line(step.name, step.value, step.node.info.meaning, source, provenance, children)
    if datum is None:
        return Line(step.name, None, "", reader.facts.unknown.get(step.name, "not given"), "unknown", [])
    return Line(step.name, step.value, "", datum.source, datum.provenance, [])
