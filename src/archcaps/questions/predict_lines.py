"""Lines of cases answered as they come: many at once, and each at its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from archcaps.errors import InputError
from archcaps.questions.predict_case import Case, parse_case
from archcaps.questions.predict_kvm import KvmPrediction, predict_kvm
from archcaps.questions.predict_linux import ROWS, LinuxPrediction, predict_linux

__all__ = ["Answered", "NotACase", "answer_kvm_lines", "answer_lines"]


#: A case of which much is unknown has thousands of possible texts: it takes the place of so many others in a batch.
_OPEN: Final = 32


class NotACase(msgspec.Struct, frozen=True):
    """What stands in the place of an answer to a line that is no case: where, what and what was expected."""

    error: str


@dataclass(frozen=True)
class Answered:
    """Answers to the lines of one batch, in their order; `failed` of them are errors."""

    answers: Sequence[LinuxPrediction | KvmPrediction | NotACase]
    failed: int


def answer_lines(lines: Iterable[tuple[str, bytes] | None], *, strict: bool = False) -> Iterator[Answered]:
    """Yield answers for `lines`, each with where it stands; None asks for an answer to what has come so far.

    `strict`: without what the kernels would conclude under assumptions.
    """
    cases: list[Case | NotACase] = []
    weight = 0
    for each in lines:
        if each is not None:
            where, line = each
            try:
                cases.append(case := parse_case(line, where))
                weight += 1 if case.complete else _OPEN
            except InputError as error:
                cases.append(NotACase(str(error)))
        if cases and (each is None or weight >= ROWS or len(cases) >= ROWS):
            yield _answer(cases, strict=strict)
            cases, weight = [], 0
    if cases:
        yield _answer(cases, strict=strict)


def answer_kvm_lines(lines: Iterable[tuple[str, bytes] | None]) -> Iterator[Answered]:
    """Yield the answer to each line about its KVM; None, where nothing more is waiting, changes nothing."""
    for each in filter(None, lines):
        where, line = each
        try:
            yield Answered([predict_kvm(parse_case(line, where), where)], 0)
        except InputError as error:
            yield Answered([NotACase(str(error))], 1)


def _answer(cases: list[Case | NotACase], *, strict: bool) -> Answered:
    good = [case for case in cases if isinstance(case, Case)]
    found = iter(predict_linux(good, strict=strict))
    answers = [next(found) if isinstance(case, Case) else case for case in cases]
    return Answered(answers, len(cases) - len(good))
