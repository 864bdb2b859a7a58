"""migrate: will the guest be taken on the other host, what blocks it, and what does it believe there?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from archcaps.errors import InputError
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.assumptions import held_assumptions
from archcaps.questions.check import judge, refuse_other_cpus
from archcaps.questions.migrate_advice import advice_of
from archcaps.questions.migrate_bits import bits_of
from archcaps.questions.migrate_headline import exit_code, headline
from archcaps.questions.migrate_layers import accepted, layers_of
from archcaps.questions.migrate_move import Move, Vmms
from archcaps.questions.migrate_peers import peers_of
from archcaps.questions.migrate_results import FORMAT_VERSION, MigrateResult, VerdictMove
from archcaps.questions.migrate_silent import border_of, silent_changes
from archcaps.questions.migrate_support import COMPARED, QEMU_FAMILY
from archcaps.questions.reader import Reader
from archcaps.questions.results import Assumption, CheckResult, FurtherVerdict, Notice, Possible, Verdict
from archcaps.questions.two_hosts import TwoHosts, after_move
from archcaps.questions.upgrade_results import Judged, VerdictChange
from archcaps.questions.upgrade_verdicts import conditions, further_changes, judged, verdict_changes

__all__ = ["Vmms", "migrate"]

_NO_VMM = Vmms()
_COMPARED_ONLY = (
    f"the {len(COMPARED)} bits that speak of CPU bugs and mitigations are compared, and the CPU features that QEMU has "
    "a name for; devices and the frequency of the TSC are not"
)
_BITS_ONLY = (
    f"the {len(COMPARED)} bits that speak of CPU bugs and mitigations are compared; other CPUID bits, devices, and the "
    "frequency of the TSC are not"
)
_KEEPS = "the guest's kernel looks at its CPU at boot only: after the move it says and does what it did before"


def migrate(
    from_: Snapshot,
    to: Snapshot,
    guest: Snapshot,
    vmms: Vmms = _NO_VMM,
    assumptions: Iterable[str] = (),
    *,
    further: bool = False,
    strict: bool = False,
) -> MigrateResult:
    """Return whether `guest`, which runs on host `from_`, is taken on host `to`, and what is to be said of it there.

    `guest`: the guest as it was shown its CPU when it booted. `assumptions` and `strict` as for `check`;
    `further`: what else IA32_ARCH_CAPABILITIES speaks of counts for headline and exit code too.

    Raises:
        InputError: a snapshot speaks of something unknown, is of the wrong role, or a version is none.
    """
    return _migrate(from_, to, guest, vmms, held_assumptions(assumptions, strict=strict), further=further, advise=True)


def _migrate(
    from_: Snapshot, to: Snapshot, guest: Snapshot, vmms: Vmms, held: frozenset[str], *, further: bool, advise: bool
) -> MigrateResult:
    for snapshot, role in ((from_, "host"), (to, "host"), (guest, "guest")):
        refuse_other_cpus(snapshot)
        if snapshot.role != role:
            raise InputError(f"{snapshot.name or 'a snapshot'} is of a {snapshot.role}, not of a {role}")
    move = Move(from_, to, guest, vmms, held)
    layers = layers_of(move)
    accepts = accepted(layers)
    after = after_move(to, guest, move.carried, held)
    rebooted = Reader(to, move.booted_there, held)
    hosts = TwoHosts(move.before, after)
    results = [judge(reader) for reader in (move.before, after, rebooted)]
    verdicts = _moves(verdict_changes(hosts, *results[:2]), results[1].vulnerabilities, results[2].vulnerabilities)
    others = _moves(further_changes(hosts, *results[:2]), results[1].further, results[2].further)
    counted = [*verdicts, *others] if further else verdicts
    bits = bits_of(move, layers) if advise else []
    border = border_of(hosts, *results[:2])
    notices = [*_other_vendor(move), *_notices(*results[:2])]
    code = exit_code(accepts, counted, border, move.features, notices=bool(notices))
    ask = partial(_ask_again, from_, to, held, further)
    advice = advice_of(move, accepts, bits, counted, ask) if advise else []
    said = headline(accepts, layers, counted, border, move.features, same_place=move.same_place)
    return MigrateResult(
        FORMAT_VERSION, said, code, accepts,
        results[0].host, from_.kernel.release, results[1].host, to.kernel.release, results[0].guest,
        guest.kernel.release, vmms.vmm, vmms.machine, vmms.from_version, vmms.to_version, layers, bits,
        move.shown_changes, verdicts, others, border, silent_changes(hosts), peers_of(move), advice,
        _missing(hosts, counted), notices, _assumptions(move, results), list(move.features.lost),
        list(move.features.unsure), move.features.unsaid,
    )  # fmt: skip


def _ask_again(
    from_: Snapshot, to: Snapshot, held: frozenset[str], further: bool, guest: Snapshot, vmms: Vmms
) -> MigrateResult:
    """Ask the same with another guest or other VMMs, without asking for advice again."""
    return _migrate(from_, to, guest, vmms, held, further=further, advise=False)


def _moves(
    changes: Sequence[VerdictChange],
    after: Sequence[Verdict | FurtherVerdict],
    rebooted: Sequence[Verdict | FurtherVerdict],
) -> list[VerdictMove]:
    return [
        _move(change, now.concludes, again.concludes, judged(again))
        for change, now, again in zip(changes, after, rebooted, strict=True)
    ]


def _move(change: VerdictChange, says: Possible, anew_says: Possible, again: Judged) -> VerdictMove:
    was, now = change.before, change.after
    told = ("truthful", "unsaid")
    cured = was.truth.value is not None and was.truth.value not in told and now.truth.value in told
    cured = (cured and now.safety.value == "safe") or (was.safety.value == "exposed" and now.safety.value == "safe")
    return VerdictMove(
        change.subject, says, was, now, anew_says, again, change.changes, change.worse, change.newly_exposed,
        cured and change.worse is False,
    )  # fmt: skip


def _missing(hosts: TwoHosts, verdicts: Iterable[VerdictMove]) -> dict[str, str]:
    """Return the unknown facts that leave a verdict's change open, each with what is known of why."""
    nodes = [node for each in verdicts if each.undecided for node in conditions(hosts, each.subject)]
    found: dict[str, str] = {}
    for reader in hosts.readers:
        missing = frozenset[str]().union(*map(reader.ternary.missing, nodes))
        for fact in sorted(missing):
            found.setdefault(fact, reader.facts.unknown.get(fact, "not given"))
    return found


def _other_vendor(move: Move) -> list[Notice]:
    """Return that the two hosts are of different vendors, which no layer here asks about and no guest expects."""
    vendors = move.from_.cpu.vendor, move.to.cpu.vendor
    if None in vendors or vendors[0] == vendors[1]:
        return []
    text = f"the hosts are of different vendors ({vendors[0]}, {vendors[1]}): what else such a move does is not judged"
    return [Notice("vendors", text)]


def _notices(before: CheckResult, after: CheckResult) -> list[Notice]:
    """Return the notices that hold on the destination and did not on the first host."""
    known = {notice.text for notice in before.notices}
    return [notice for notice in after.notices if notice.text not in known]


def _assumptions(move: Move, results: Sequence[CheckResult]) -> list[Assumption]:
    found = [Assumption(_COMPARED_ONLY if move.vmms.vmm in QEMU_FAMILY else _BITS_ONLY), Assumption(_KEEPS)]
    if move.vmms.vmm in QEMU_FAMILY and move.goal.patched:
        found.append(Assumption(f"QEMU {move.vmms.to_version} behaves as upstream's release of that number"))
    for result in results[:2]:
        for assumption in result.assumptions:
            if assumption.text not in [known.text for known in found]:
                found.append(assumption)
    return found
