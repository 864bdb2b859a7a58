"""prove: does a property hold in every configuration? If not: all that goes wrong, the least deviations first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypeAlias

from archcaps.errors import InputError, nearest
from archcaps.logic.diagram import NotDecidedError
from archcaps.logic.graph import Kind, Node
from archcaps.questions.prove_about import fixed_in, free_in, rests_on
from archcaps.questions.prove_results import (
    FORMAT_VERSION,
    HOLDS,
    NOT_DECIDED,
    REFUTED,
    UNKNOWN,
    Deviation,
    Outcome,
    ProveResult,
)  # fmt: skip
from archcaps.questions.prove_rows import least_rows, replayed, told
from archcaps.rules.properties import VIOLATIONS
from archcaps.space.bounds import Bounds, Shown
from archcaps.space.given import is_known
from archcaps.space.names import OTHER_PART
from archcaps.space.names import UNKNOWN as UNKNOWN_FACT
from archcaps.space.releases import choose_releases, newest_of_lines
from archcaps.space.space import Space
from archcaps.space.survey import Survey
from archcaps.tables.axioms import Axiom
from archcaps.tables.properties import Property, properties

__all__ = ["property_called", "prove"]

_EXIT = {HOLDS: 0, REFUTED: 1, UNKNOWN: 3, NOT_DECIDED: 3}


def property_called(name: str) -> Property:
    """Return the property of that name.

    Raises:
        InputError: there is none.
    """
    if name not in properties():
        raise InputError(f"unknown property {name!r}{nearest(name, properties())}", "prove")
    return properties()[name]


def prove(  # noqa: PLR0913  # each narrows one thing, by name
    name: str,
    bounds: Bounds | None = None,
    *,
    subjects: Iterable[str] = (),
    listed: int = 10,
    seconds: float = 60,
    first: bool = False,
    counts: bool = False,
    jobs: int = 1,
) -> ProveResult:
    """Return whether the property `name` holds in every configuration within `bounds`, with the counter-examples.

    `subjects`: of these vulnerabilities or bits only; `listed`: so many least deviations are given, of each subject.
    `seconds` bounds each subject; one that takes longer is not decided. `first`: one counter-example will do, and
    nothing is counted unless there is none. `counts`: they will do, no deviations are looked for. `jobs`: so many
    subjects are asked at once, each in a process of its own.

    Raises:
        InputError: there is no such property or subject, or `bounds` name a fact that no rule reads.
    """
    asked = property_called(name)
    for subject in subjects:
        if subject not in asked.subjects:
            raise InputError(f"unknown subject {subject!r}{nearest(subject, asked.subjects)}", name)
    bounds = (bounds or Bounds()).showing(Shown(asked.shown))
    for given in bounds.given:
        known, like = is_known(given)
        if not known:
            raise InputError(f"no rule reads a fact {given!r}{nearest(given, like)}", name)
    axioms: dict[Axiom, None] = {}
    outcomes, read = [], dict[str, None]()
    rules: dict[str, None] = {}
    roots = {
        subject: VIOLATIONS[asked.forbids](subject) for subject in asked.subjects if not subjects or subject in subjects
    }
    soonest = dict(sorted(roots.items(), key=lambda item: item[0] != asked.soonest))
    # Where the newest releases show nothing, the table says among which to look.
    early = choose_releases(asked.soonest_among, name) if asked.soonest_among else newest_of_lines()
    found = _first(soonest, early, bounds, seconds, axioms, read) if first else None
    for root in roots.values():
        rules |= dict.fromkeys(_top_rules(root))
    if found is None:
        asking = _Asking(asked.forbids, bounds, 0 if counts else listed, seconds)
        for outcome, of_it, facts in asking.all_of(list(roots), jobs):
            outcomes.append(outcome)
            axioms |= dict.fromkeys(of_it)
            read |= dict.fromkeys(facts)
    else:
        outcomes.append(found)
    verdict = _verdict(outcomes)
    return ProveResult(
        FORMAT_VERSION,
        _EXIT[verdict],
        asked.name,
        asked.sentence,
        verdict,
        list(rules),
        free_in(bounds, read),
        fixed_in(bounds),
        [axiom.name for axiom in axioms],
        rests_on(axioms, read),
        outcomes,
    )


def _first(
    roots: Mapping[str, Node],
    early: frozenset[int],
    bounds: Bounds,
    seconds: float,
    axioms: dict[Axiom, None],
    read: dict[str, None],
) -> Outcome | None:
    """Return one counter-example, looked for among a few releases first; None: there is none."""
    for part in (bounds.among(early), bounds):
        for subject, root in roots.items():
            with suppress(NotDecidedError):
                space = Space(root, part, seconds)
                axioms |= dict.fromkeys(space.axioms)
                read |= dict.fromkeys(space.facts)
                for cell in space.cells():
                    shown, _ = space.sure_and_open(*cell.shown)
                    if shown != space.diagrams.false:
                        sure = cell.host.deviating(shown)
                        other = space.diagrams.variable(OTHER_PART)
                        here = sure & (other if cell.other_part else ~other)
                        configuration, agrees = replayed(space, root, cell, here)
                        example = told(configuration, replayed=agrees)
                        row = Deviation(list(configuration.deviations), "", [], [], example)
                        return Outcome(subject, REFUTED, "", "", "", [], sorted(space.deciding), 0, [row])
    return None


def _verdict(outcomes: list[Outcome]) -> str:
    found = {outcome.verdict for outcome in outcomes}
    return next((verdict for verdict in (REFUTED, NOT_DECIDED, UNKNOWN) if verdict in found), HOLDS)


def _top_rules(root: Node) -> list[str]:
    """Return the names of the rules at the top of a node: those that no other rule stands between."""
    if root.kind is Kind.RULE:
        return [root.name]
    return [name for arg in root.args for name in _top_rules(arg)]


#: A subject's outcome, with the axioms and the facts that it rests on.
_Answer: TypeAlias = tuple[Outcome, list[Axiom], list[str]]


@dataclass(frozen=True)
class _Asking:
    """What is asked of each subject; `listed` is 0 where only counts are wanted."""

    forbids: str
    bounds: Bounds
    listed: int
    seconds: float

    def all_of(self, subjects: Sequence[str], jobs: int) -> list[_Answer]:
        """Return the subjects' answers in order, worked out in at most `jobs` processes at once."""
        if jobs < 2 or len(subjects) < 2:
            return [self.answer(subject) for subject in subjects]
        # A forked child has the graph as it is here; it takes one subject, so that its memory goes with it.
        with get_context("fork").Pool(min(jobs, len(subjects)), maxtasksperchild=1) as pool:
            answers = list(pool.imap(self.answer, subjects))
            # Told to end rather than ended by a signal: a process that was forked this very moment may lose a signal.
            pool.close()
            pool.join()
            return answers

    def answer(self, subject: str) -> _Answer:
        """Return what becomes of one subject."""
        root = VIOLATIONS[self.forbids](subject)
        try:
            space = Space(root, self.bounds, self.seconds)
            return self._outcome(subject, root, space), list(space.axioms), list(space.facts)
        except NotDecidedError as error:
            return Outcome(subject, NOT_DECIDED, "", "", "", [], [], 0, [], str(error)), [], []

    def _outcome(self, subject: str, root: Node, space: Space) -> Outcome:
        survey = Survey(space)
        number, rows = 0, list[Deviation]()
        if self.listed:
            sets = survey.deviation_sets()
            number = space.diagrams.count(sets, len(space.diagrams.names) - len(space.deviations))
            rows = least_rows(survey, root, self.listed)
        verdict = REFUTED if survey.sure else UNKNOWN if survey.open else HOLDS
        return Outcome(
            subject,
            verdict,
            str(survey.configurations),
            str(survey.sure),
            str(survey.open),
            _hangs_on(survey),
            sorted(space.deciding),
            number,
            rows,
        )


def _hangs_on(survey: Survey) -> list[str]:
    """Return the facts that nobody knows on which it depends whether the property fails."""
    space, found = survey.space, set[str]()
    for where in survey.hanging():
        # To look for all that is read takes longer than to see that it is nothing new.
        others = [name for name in space.unknowns if name not in found]
        if space.diagrams.exists(where, others) != where:
            found |= space.diagrams.support(where)
    return sorted(name.removeprefix(UNKNOWN_FACT) for name in found if name.startswith(UNKNOWN_FACT))
