"""The typed answer of `diff`: printed, written as JSON, and returned to Python. Counts are text: they are large."""

from __future__ import annotations

from dataclasses import dataclass

from archcaps.questions.prove_results import CounterExample

__all__ = ["FORMAT_VERSION", "DiffResult", "Difference", "Sample"]

FORMAT_VERSION = 1


@dataclass(eq=False)
class Sample:
    """A smallest configuration on which the two differ, and how it deviates from what KVM offers by default."""

    deviates: list[str]
    example: CounterExample


@dataclass(eq=False)
class Difference:
    """Something bad (a lie, an exposure, work for nothing) of one vulnerability under the first and under the second.

    `first_only`, `second_only` and `both` count configurations, among `configurations`; `hanging` those where it
    depends on what nobody knows. `samples` are the smallest of the first only, then of the second only.
    """

    what: str
    subject: str
    relation: str
    configurations: str
    first_only: str
    second_only: str
    both: str
    hanging: str
    first_sample: Sample | None
    second_sample: Sample | None
    why_not: str = ""


@dataclass(eq=False)
class DiffResult:
    """The answer of `diff`: is the second equivalent to the first, better, worse, or neither (incomparable).

    `truth` looks at lies only: the second tells more truth, less, the same, or neither; `relation` at everything.
    """

    format_version: int
    exit_code: int
    first: str
    second: str
    relation: str
    truth: str
    free: list[str]
    fixed: list[str]
    differences: list[Difference]
