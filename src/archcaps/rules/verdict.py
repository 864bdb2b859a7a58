"""The verdict on one vulnerability: is the guest told the truth, can data leak, who is responsible.

Four inputs: A, the silicon is affected; C, the class of the guest's text; R, the guest runs VERW on exit to user; K,
VERW in this guest is guaranteed to overwrite what the vulnerability samples.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache

from archcaps.logic.choice import Choice
from archcaps.logic.graph import TRUE, Node, any_of, fact, rule
from archcaps.rules.linux_mitigations import NO_FILE, TSX_DISABLED, Text, clear_cpu_buf, states_of
from archcaps.rules.shown import Case

__all__ = [
    "Claim",
    "Responsible",
    "Safety",
    "Truth",
    "claim_of",
    "claims",
    "concludes",
    "responsible",
    "safety",
    "truth",
]

_TABLE = "archcaps: docs/architecture/verdict.md"


class Claim(StrEnum):
    """What a text claims (C)."""

    NOT_AFFECTED = "not-affected"
    AVOIDED = "avoided"
    MITIGATED = "mitigated"
    NO_MICROCODE = "no-microcode"
    VULNERABLE = "vulnerable"
    NONE = "none"
    SAYS_UNKNOWN = "says-unknown"


class Truth(StrEnum):
    """Whether the guest is told the truth about one vulnerability."""

    TRUTHFUL = "truthful"
    FALSE_IMMUNITY = "false-immunity"
    BROKEN_PROMISE = "broken-promise"
    NEEDLESS_WORK = "needless-work"
    FALSE_ALARM = "false-alarm"
    WITHHELD = "withheld"
    UNSAID = "unsaid"


class Safety(StrEnum):
    """Whether data can leak over a border at the switch from one side to the other."""

    SAFE = "safe"
    EXPOSED = "exposed"


class Responsible(StrEnum):
    """Who made it so."""

    NOBODY = "nobody"
    USERSPACE = "userspace"
    KVM = "KVM"
    MICROCODE = "microcode"
    HOST_KERNEL = "host kernel"
    GUEST_KERNEL = "guest kernel"


def claim_of(text: Text) -> Claim:
    """Return the class of a sysfs text; None stands for a file that does not exist."""
    if text is NO_FILE:
        return Claim.NONE
    state = text.lower()
    if text == "Not affected":
        return Claim.NOT_AFFECTED
    if text == TSX_DISABLED:
        return Claim.AVOIDED
    if text.startswith("Mitigation:"):
        return Claim.MITIGATED
    if "no microcode" in state:
        return Claim.NO_MICROCODE
    return Claim.SAYS_UNKNOWN if text.startswith("Unknown") else Claim.VULNERABLE


@rule(_TABLE)
def concludes(case: Case, vulnerability: str, claim: str) -> Node:
    """The guest kernel's text makes this claim."""
    return states_of(vulnerability, case.cpu, case.kernel).where(lambda text: claim_of(text) == claim)


@cache
def claims(case: Case, vulnerability: str) -> Choice[Claim]:
    """Return the class of the guest's text."""
    return Choice.one_of((concludes(case, vulnerability, claim.value), claim) for claim in Claim)


@cache
def truth(case: Case, vulnerability: str) -> Choice[Truth]:
    """Return whether the guest is told the truth: each row of the verdict table once."""
    affected = case.affected[vulnerability]
    works = case.verw_works[vulnerability]
    runs = clear_cpu_buf(case.cpu, case.kernel)
    mitigated_in_fact = runs & works
    says = {claim: concludes(case, vulnerability, claim.value) for claim in Claim}
    rows = (
        (says[Claim.NOT_AFFECTED] & ~affected, Truth.TRUTHFUL),
        (says[Claim.NOT_AFFECTED] & affected, Truth.FALSE_IMMUNITY),
        (says[Claim.AVOIDED] & ~affected, Truth.TRUTHFUL),
        (says[Claim.AVOIDED] & affected, Truth.BROKEN_PROMISE),
        (says[Claim.MITIGATED] & ~works, Truth.BROKEN_PROMISE),
        (says[Claim.MITIGATED] & works & affected, Truth.TRUTHFUL),
        (says[Claim.MITIGATED] & works & ~affected, Truth.NEEDLESS_WORK),
        (says[Claim.NO_MICROCODE] & (~affected | mitigated_in_fact), Truth.FALSE_ALARM),
        (says[Claim.NO_MICROCODE] & affected & ~works, Truth.TRUTHFUL),
        (says[Claim.NO_MICROCODE] & affected & works & ~runs, Truth.WITHHELD),
        (says[Claim.VULNERABLE] & (~affected | mitigated_in_fact), Truth.FALSE_ALARM),
        (says[Claim.VULNERABLE] & affected & ~mitigated_in_fact, Truth.TRUTHFUL),
        (says[Claim.NONE] | says[Claim.SAYS_UNKNOWN], Truth.UNSAID),
    )
    return Choice.one_of((is_told(case, vulnerability, value.value, _any(rows, value)), value) for value in Truth)


@rule(_TABLE)
def is_told(case: Case, vulnerability: str, truth: str, condition: Node) -> Node:
    """The verdict table gives this truth for the guest's claim, the silicon and what VERW does."""
    return condition


@rule(_TABLE)
def has_to_be_cleared(case: Case, vulnerability: str) -> Node:
    """Guest user code could sample this: the silicon is affected; MMIO alone only where user code can map MMIO."""
    affected = case.affected[vulnerability]
    if vulnerability != "mmio_stale_data":
        return affected
    reachable = case.affected["mds"] | case.affected["tsx_async_abort"] | fact("assume.user_mmio")
    return affected & reachable


@rule(_TABLE)
def exposed(case: Case, vulnerability: str) -> Node:
    """Data can leak: it has to be cleared, and the guest does not run a VERW that works."""
    cleared = clear_cpu_buf(case.cpu, case.kernel) & case.verw_works[vulnerability]
    return has_to_be_cleared(case, vulnerability) & ~cleared


@cache
def safety(case: Case, vulnerability: str) -> Choice[Safety]:
    """Return whether data can leak from the guest's kernel to its user code."""
    leaks = exposed(case, vulnerability)
    return Choice.one_of(((leaks, Safety.EXPOSED), (~leaks, Safety.SAFE)))


@rule(_TABLE)
def wrong(case: Case, vulnerability: str) -> Node:
    """Something has to be answered for: a truth that is neither truthful nor unsaid, or an exposure."""
    fine = truth(case, vulnerability).is_in([Truth.TRUTHFUL, Truth.UNSAID])
    return ~fine | exposed(case, vulnerability)


@rule(_TABLE)
def same_verdict(case: Case, other: Case, vulnerability: str, label: str) -> Node:
    """The verdict would be the same in the other case."""
    pairs = [(truth(case, vulnerability).is_in([value]), truth(other, vulnerability).is_in([value])) for value in Truth]
    pairs.append((exposed(case, vulnerability), exposed(other, vulnerability)))
    return ~any_of((a & ~b) | (~a & b) for a, b in pairs)


@cache
def responsible(case: Case, offered: Case, true: Case, vulnerability: str) -> Choice[Responsible]:
    """Return who made the verdict: the first in the chain without whose doing it would be another.

    Userspace, if it would be another with what KVM offers; KVM, if it would be another with what is true of the
    hardware; else the microcode where VERW cannot do its work, else the guest kernel.
    """
    kept_by_userspace = same_verdict(case, offered, vulnerability, "offered")
    kept_by_kvm = same_verdict(offered, true, vulnerability, "true")
    lacking = case.affected[vulnerability] & ~true.verw_works[vulnerability]
    return Choice.first_true(
        (
            (~wrong(case, vulnerability), Responsible.NOBODY),
            (~kept_by_userspace, Responsible.USERSPACE),
            (~kept_by_kvm, Responsible.KVM),
            (lacking, Responsible.MICROCODE),
            (TRUE, Responsible.GUEST_KERNEL),
        )
    )


def _any(rows: tuple[tuple[Node, Truth], ...], value: Truth) -> Node:
    return any_of(condition for condition, label in rows if label is value)
