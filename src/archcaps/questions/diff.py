"""diff: two kernels, guest CPUs or policies over every configuration: which tells more truth, which leaks more?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from archcaps.errors import InputError, nearest
from archcaps.logic.diagram import NotDecidedError
from archcaps.logic.graph import FALSE, TRUE, Node
from archcaps.logic.rewriting import Override, rewritten
from archcaps.machine.facts import facts_of
from archcaps.machine.snapshot import FORMAT_VERSION as SNAPSHOT_VERSION
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.diff_results import FORMAT_VERSION, Difference, DiffResult, Sample
from archcaps.questions.prove_about import fixed_in, free_in
from archcaps.questions.prove_rows import least_rows
from archcaps.rules.host_border import exposes_host
from archcaps.rules.later import after_guest_upgrade, after_host_upgrade
from archcaps.rules.properties import lied_to
from archcaps.rules.shown import Case, model
from archcaps.rules.verdict import Truth, exposed, truth
from archcaps.space.bounds import Bounds
from archcaps.space.space import Space
from archcaps.space.survey import Survey
from archcaps.tables.names import VULNERABILITIES

__all__ = ["BAD", "Side", "diff", "guest_cpu", "guest_kernel", "host_kernel", "policy"]

#: What is bad, and for whom: the less of it, the better.
BAD: Final[Mapping[str, Callable[[Case, str], Node]]] = {
    "lied-to": lied_to,
    "broken-promise": lambda case, vulnerability: truth(case, vulnerability).is_in([Truth.BROKEN_PROMISE]),
    "leaking-promise": lambda case, vulnerability: (
        truth(case, vulnerability).is_in([Truth.BROKEN_PROMISE]) & exposed(case, vulnerability)
    ),
    "exposed": exposed,
    "exposes-host": exposes_host,
    "needless-work": lambda case, vulnerability: truth(case, vulnerability).is_in([Truth.NEEDLESS_WORK]),
}
#: Those that are no lie.
_NO_LIES: Final = ("exposed", "exposes-host", "needless-work")
EQUAL, BETTER, WORSE, INCOMPARABLE = "equivalent", "better", "worse", "incomparable"
#: It depends on what nobody knows; a limit was reached.
UNKNOWN, NOT_DECIDED = "unknown", "not-decided"
_TRUTH: Final = {
    EQUAL: "the same truth", BETTER: "more truth", WORSE: "less truth", INCOMPARABLE: "incomparable",
    UNKNOWN: "not known", NOT_DECIDED: "not decided",
}  # fmt: skip


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: the case to look at, what is replaced in it, and its kernels' places."""

    label: str
    case: Callable[[], Case] = field(default=lambda: model().guest)
    facts: Mapping[str, Node] = field(default_factory=dict)
    rules: Mapping[str, Override] = field(default_factory=dict)
    kernels: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def node(self, what: str, vulnerability: str) -> Node:
        """Return the node that says `what` is the case here."""
        node = BAD[what](self.case(), vulnerability)
        return rewritten(node, self.facts, self.rules) if self.facts or self.rules else node


def host_kernel(label: str, places: frozenset[int], *, second: bool) -> Side:
    """Return a host's kernel as one side."""
    scope = "later_host_kernel" if second else "host_kernel"
    return Side(label, after_host_upgrade if second else lambda: model().guest, kernels={scope: places})


def guest_kernel(label: str, places: frozenset[int], *, second: bool) -> Side:
    """Return a guest's kernel as one side."""
    scope = "later_kernel" if second else "guest_kernel"
    return Side(label, after_guest_upgrade if second else lambda: model().guest, kernels={scope: places})


def policy(label: str, rules: Mapping[str, Override]) -> Side:
    """Return other rules as one side; one that cannot be traced is an `InputError` when it is asked."""
    return Side(label, rules={name: _guarded(label, rule) for name, rule in rules.items()})


def _guarded(label: str, rule: Override) -> Override:
    """Return a rule of somebody's that says in one line what is wrong with it."""

    def traced(*arguments: object) -> Node:
        try:
            found = rule(*arguments)
        except (Exception, SystemExit) as error:
            said = " ".join(str(error).split())
            raise InputError(f"{type(error).__name__}: {said}", f"{label}: {rule.__name__}") from error
        if not isinstance(found, Node):
            raise InputError(f"gives {found!r} (expected facts and rules joined by & | ~)", f"{label}: {rule.__name__}")
        return found

    return traced


def guest_cpu(label: str, guest: Snapshot) -> Side:
    """Return a guest, with its CPU and its kernel, as one side; what its snapshot does not say stays free.

    Raises:
        InputError: the snapshot speaks of something that archcaps does not know.
    """
    known = facts_of(Snapshot(format_version=SNAPSHOT_VERSION, role="host"), guest).values
    scopes = ("guest.", "guest_kernel.", "vm.")
    return Side(
        label, facts={name: TRUE if value else FALSE for name, value in known.items() if name.startswith(scopes)}
    )


def diff(
    first: Side,
    second: Side,
    bounds: Bounds | None = None,
    *,
    subjects: Iterable[str] = (),
    what: Iterable[str] = ("lied-to", *_NO_LIES),
    seconds: float = 60,
) -> DiffResult:
    """Return how two sides differ over every configuration within `bounds` that they share.

    `subjects`: vulnerabilities (all, where none is named); `what`: names of `BAD`. `seconds` bounds each question.

    Raises:
        InputError: there is no such vulnerability.
    """
    chosen = tuple(subjects) or VULNERABILITIES
    for subject in chosen:
        if subject not in VULNERABILITIES:
            raise InputError(f"unknown vulnerability {subject!r}{nearest(subject, VULNERABILITIES)}", "diff")
    bounds = replace(bounds or Bounds(), kernels={**first.kernels, **second.kernels})
    read: dict[str, None] = {}
    rows = [_difference(first, second, name, subject, bounds, seconds, read) for name in what for subject in chosen]
    relation = _of([row.relation for row in rows])
    lies = _of([row.relation for row in rows if row.what not in _NO_LIES])
    return DiffResult(
        FORMAT_VERSION,
        {EQUAL: 0, UNKNOWN: 3, NOT_DECIDED: 3}.get(relation, 1),
        first.label,
        second.label,
        relation,
        _TRUTH[lies],
        free_in(bounds, read),
        fixed_in(bounds),
        rows,
    )


def _of(relations: Iterable[str]) -> str:
    """Return what several relations come to together."""
    found = set(relations) - {EQUAL}
    if INCOMPARABLE in found or {BETTER, WORSE} <= found:
        return INCOMPARABLE
    for open_ in (NOT_DECIDED, UNKNOWN):
        if open_ in found:
            return open_
    return EQUAL if not found else found.pop() if len(found) == 1 else INCOMPARABLE


def _difference(
    first: Side, second: Side, what: str, subject: str, bounds: Bounds, seconds: float, read: dict[str, None]
) -> Difference:
    one, other = first.node(what, subject), second.node(what, subject)
    try:
        roots = (one & ~other, ~one & other, one & other)
        surveys = []
        for root in roots:
            space = Space(root, bounds, seconds, beside=(one, other))
            read |= dict.fromkeys(space.facts)
            surveys.append((root, Survey(space)))
    except NotDecidedError as error:
        return Difference(what, subject, NOT_DECIDED, "", "", "", "", "", None, None, str(error))
    only, not_, both = (survey.sure for _, survey in surveys)
    hanging = max(survey.open for _, survey in surveys[:2])
    relation = _relation(surveys[0][1], surveys[1][1])
    return Difference(
        what,
        subject,
        relation,
        str(surveys[0][1].configurations),
        str(only),
        str(not_),
        str(both),
        str(hanging),
        _sample(*surveys[0]),
        _sample(*surveys[1]),
    )


def _relation(first_only: Survey, second_only: Survey) -> str:
    """Return how the second stands to the first; what depends on unknowns could be so, and is no equivalence."""
    if first_only.sure and second_only.sure:
        return INCOMPARABLE
    never_first = not first_only.sure and not first_only.open
    never_second = not second_only.sure and not second_only.open
    if never_first and never_second:
        return EQUAL
    if first_only.sure and never_second:
        return BETTER
    return WORSE if second_only.sure and never_first else UNKNOWN


def _sample(root: Node, survey: Survey) -> Sample | None:
    if not survey.sure:
        return None
    row = least_rows(survey, root, 1)[0]
    return Sample(row.deviates, row.example)
