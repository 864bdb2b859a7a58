"""The facts that decided each class of a fleet, as a table: a row for each class, vulnerability and fact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from archcaps.fleet.classes import Progress
from archcaps.machine.row import snapshot_of
from archcaps.questions.many.judge import questions
from archcaps.questions.reader import Reader
from archcaps.tables.names import VULNERABILITIES

__all__ = ["reasons_of"]

#: The questions that the verdict on a guest depends on.
_QUESTIONS: Final = ("truth", "safety", "host_safety")
_COLUMNS: Final = ("class", "vulnerability", "fact", "value", "provenance", "source")


def reasons_of(
    classes: Sequence[str],
    machines: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    assumptions: frozenset[str],
    progress: Progress,
) -> dict[str, Any]:
    """Return for each class the facts that decide its truth, its safety and its host's, for every vulnerability.

    `classes` are names, `machines` the host's and the guest's row of each. With the facts of a class alone its answers
    are the same. An unknown fact that keeps an answer open has no value, and says why it is not known.
    """
    rows: list[tuple[str, str, str, str | None, str, str]] = []
    for done, (name, (host, guest)) in enumerate(zip(classes, machines, strict=True)):
        reader = Reader(snapshot_of(host, "host"), snapshot_of(guest, "guest"), assumptions)
        for vulnerability in VULNERABILITIES:
            asked = [questions()[f"{vulnerability}_{question}"] for question in _QUESTIONS]
            for fact in sorted(frozenset().union(*(choice.answer(reader.ternary).reasons for choice in asked))):
                datum = reader.datum(fact)
                if datum is None:
                    rows.append(
                        (name, vulnerability, fact, None, "unknown", reader.facts.unknown.get(fact, "not given"))
                    )
                else:
                    rows.append((name, vulnerability, fact, str(datum.value).lower(), datum.provenance, datum.source))
        progress("reasons", (done + 1) / len(classes))
    columns = zip(*rows, strict=True) if rows else ([] for _ in _COLUMNS)
    return {name: np.array(values, dtype=object) for name, values in zip(_COLUMNS, columns, strict=True)}
