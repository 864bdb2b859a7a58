"""fix: what has to be changed so that this guest on this host is told the truth and is safe, and nothing more?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from msgspec.structs import replace

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.formats import expand
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.assumptions import assumptions_of, held_assumptions, naming
from archcaps.questions.check import judge, refuse_other_cpus
from archcaps.questions.default_guest import default_guest
from archcaps.questions.fix.changes import Rules
from archcaps.questions.fix.cures import cure_of
from archcaps.questions.fix.flags import offered, shown
from archcaps.questions.fix.goals import TOP, Rank, further_goals, rank_of
from archcaps.questions.fix.headline import headline
from archcaps.questions.fix.kernels import present
from archcaps.questions.fix.known import of_use, with_files_seen
from archcaps.questions.fix.remaining import remaining
from archcaps.questions.fix.results import FORMAT_VERSION, Answer, Cure, FixResult, Judged
from archcaps.questions.fix.search import Best, Found, Search, Start
from archcaps.questions.fix.short import in_short
from archcaps.questions.notices import notices_of, system_name
from archcaps.questions.of_configuration import features_said
from archcaps.questions.reader import Reader
from archcaps.questions.results import FINE, Assumption, CheckResult
from archcaps.tables.changes import kinds

__all__ = ["ALL", "fix"]

#: So many of the cheapest sets are given; the others are counted.
SHOWN: Final = 12
ALL: Final = tuple(kinds())
_OF_VM: Final = tuple(name for name, kind in kinds().items() if kind.of_vm)
_FOLLOWS: Final = (
    "the guest is shown what KVM offers, and is taken to be shown what a changed host offers (as QEMU's -cpu host does)"
)


def fix(  # noqa: PLR0913  # what may be changed has many sides
    host: Snapshot,
    guest: Snapshot,
    assumptions: Iterable[str] = (),
    *,
    allow: Iterable[str] | None = None,
    costs: Mapping[str, int] | None = None,
    max_changes: int = 6,
    max_worlds: int | None = None,
    configuration: Asked | Literal["default"] | None = None,
    strict: bool = False,
) -> FixResult:
    """Return the smallest sets of changes after which `guest` on `host` is told the truth and is safe.

    `allow` names the kinds of change that may be made (`archcaps.tables.changes.kinds`); without it first those that
    the VM's owner can make, then all. `costs` replaces the cost of kinds, `max_changes` limits a set. `max_worlds`:
    only so many combinations of kernels, options, microcode and CPUs are looked at, the cheapest; the answer says how
    many were left out. `assumptions` and `strict` as for `check`.

    `configuration` is what the guest comes from; then only changes count that its language can say, and each cure has
    the new text. ``default``: the guest is shown whatever KVM offers, as with ``-cpu host``; without a word it is taken
    for such a one if it is shown just that now.

    Raises:
        InputError: a snapshot speaks of something unknown, the guest is no Linux, or a kind, cost or number is none.
    """
    for snapshot in (host, guest):
        refuse_other_cpus(snapshot)
    if guest.kernel.system != "linux":
        name = system_name(guest.kernel.system)
        raise InputError(
            f"the guest runs {name}, whose rules archcaps has not: it can mend Linux guests only",
            "guest: kernel.system",
        )
    guest = with_files_seen(guest)
    rules = Rules(tuple(dict.fromkeys(ALL if allow is None else allow)), dict(costs or {}), max_changes, max_worlds)
    held = held_assumptions(assumptions, strict=strict)
    reader = Reader(host, guest, held)
    now = judge(reader, brief=True)
    asked = configuration if isinstance(configuration, Asked) else None
    follows = asked is None and (configuration == "default" or _follows(reader))
    start = Start(host, guest, held, rank_of(reader.ternary.value), follows, _bad(reader), asked)
    answers = [] if start.rank == TOP else _answers(start, rules, now, staged=allow is None)
    last = answers[-1].cures[0].after if answers and answers[-1].cures else in_short(now.vulnerabilities)
    assumed, code = _assumed(reader, now, start), _exit_code(last)
    said = headline(in_short(now.vulnerabilities), start.rank[0], answers)
    return FixResult(
        FORMAT_VERSION,
        naming(said if asked is None else _with_features(said, start), assumed, safe=code in (0, 1)),
        code,
        now.host,
        now.host_kernel,
        now.guest,
        now.guest_kernel,
        start.rank[0],
        in_short(now.vulnerabilities),
        answers,
        _limits(start, rules, answers),
        notices_of(reader, now.vulnerabilities),
        assumed,
    )


def _with_features(said: str, start: Start) -> str:
    """Return the headline with what is to be said of the CPU that the configuration comes to, besides the verdicts."""
    assert start.asked is not None
    shown = expand(start.asked, start.host, default_guest(start.host, start.guest.kernel.release))
    return " ".join(filter(None, (said, features_said(shown))))


def _answers(start: Start, rules: Rules, now: CheckResult, *, staged: bool) -> list[Answer]:
    if not staged:
        return [_answer("what is allowed", Search(start, rules), now)]
    alone = Search(start, rules.only(_OF_VM))
    first = _answer("the VM's owner", alone, now)
    if TOP in alone.best:
        return [first]
    together = Search(start, rules, alone)
    if min(together.best, default=start.rank) < min(alone.best, default=start.rank):
        return [first, _answer("the VM's owner and the host's owner", together, now)]
    # Nobody can do better: the answer is the same, and proven of everything.
    cheaper = together.cheaper(first.cures[0].cost) if first.cures else together.tried
    who = "the VM's owner" if first.cures else "everybody"
    return [
        replace(first, who=who, kinds=list(rules.allow), tried=together.tried, cheaper=cheaper,
                left_out=together.left_out)
    ]  # fmt: skip


def _answer(who: str, search: Search, now: CheckResult) -> Answer:
    rank = min(search.best, default=search.start.rank)
    best = search.best.get(rank, Best(0))
    useful = {tuple(map(str, found.steps)): found for each in best.sets[:SHOWN] if (found := of_use(search, each))}
    made = [(found, _rank(search, found)) for found in useful.values()]
    rank = min((each for _, each in made), default=search.start.rank)
    cures = _sorted(cure_of(search, found, each) for found, each in made if each == rank)
    lesser = []
    cheapest = best.cost if cures else 0
    for other in sorted(search.best):
        here = search.best[other]
        if other > rank and here.cost < cheapest and of_use(search, here.sets[0]) == here.sets[0]:
            cheapest = here.cost
            lesser.append(cure_of(search, here.sets[0], other))
    after = cures[0] if cures else None
    remains = remaining(search, after, now.vulnerabilities)
    more = best.more + max(len(best.sets) - SHOWN, 0) if cures else 0
    cheaper = search.cheaper(cures[0].cost) if cures else search.tried
    return Answer(
        who,
        list(search.rules.allow),
        rank[0],
        cures,
        more,
        lesser,
        remains,
        search.tried,
        cheaper,
        dict(search.unwritable),
        search.left_out,
    )


def _rank(search: Search, found: Found) -> Rank:
    return rank_of(search.made(found.world.parts, found.chosen)[0].ternary.value)


def _sorted(cures: Iterable[Cure]) -> list[Cure]:
    """Return cures by who can make them: the VM's owner first; then with fewer changes, with fewer untrue bits."""

    def key(cure: Cure) -> tuple[int, int, int, list[str]]:
        others = sum(not kinds()[step.kind].of_vm for step in cure.steps)
        return others, len(cure.steps), len(cure.untrue_bits), [step.what for step in cure.steps]

    return sorted(cures, key=key)


def _exit_code(last: list[Judged]) -> int:
    """Return the exit code for how it stands with the cure, or without where there is none."""
    if any(verdict.exposed for verdict in last):
        return 2
    if not all(verdict.truth.settled(FINE) and verdict.safe for verdict in last):
        return 3
    return 0 if all(verdict.fine for verdict in last) else 1


def _follows(reader: Reader) -> bool:
    """Whether the guest is shown what KVM offers: the host's part, and each bit of which the offer is known."""
    has, offers = shown(reader), offered(reader)
    same = all(has[bit] is offers[bit] for bit in has if offers[bit] is not None)
    return same and reader.facts.values.get("guest.host_identity") is True


def _bad(reader: Reader) -> frozenset[str]:
    value = reader.ternary.value
    return frozenset(subject for subject, node in further_goals().items() if value(node) is False)


def _limits(start: Start, rules: Rules, answers: list[Answer]) -> list[str]:
    """Return what was not tried, and why."""
    if not answers:
        return []
    found = []
    if left_out := max(answer.left_out for answer in answers):
        found.append(f"the dearest {left_out:,} combinations of kernels, options, microcode and CPUs: a limit was set")
    for machine, kind in ((start.host, "host-kernel"), (start.guest, "guest-kernel")):
        if rules.allows(kind) and present(machine) is None:
            found.append(f"no other {machine.role} kernel was tried: the present release is not known")
    if rules.allows("host-options") and start.host.kernel.cmdline is None:
        found.append("the host kernel's command line is not known: nothing was taken off it")
    return found


def _assumed(reader: Reader, now: CheckResult, start: Start) -> list[Assumption]:
    found = assumptions_of(reader, now.vulnerabilities)
    return [*found, Assumption(_FOLLOWS)] if start.follows else found
