"""The answer of an audit: numbers by verdict, vulnerability, host and kernel; the worst classes; what is missing."""

from __future__ import annotations

import msgspec

from archcaps.questions.fix.results import Step

__all__ = [
    "FORMAT_VERSION",
    "AuditResult",
    "ByGroup",
    "ByVulnerability",
    "Cell",
    "ClassCure",
    "ClassVerdict",
    "Collect",
    "KernelVulnerability",
    "OpenQuestions",
    "PassedOver",
    "Rejected",
]

FORMAT_VERSION = 1


class ByVulnerability(msgspec.Struct, frozen=True):
    """Guests by truth, safety and the host's safety for one vulnerability; ``undecided`` is one of the words."""

    vulnerability: str
    truth: dict[str, int]
    safety: dict[str, int]
    host_safety: dict[str, int]


class ByGroup(msgspec.Struct, frozen=True):
    """Guests by verdict for one value of something: a host's CPU, a kernel."""

    name: str
    guests: int
    verdicts: dict[str, int]


class Cell(msgspec.Struct, frozen=True):
    """Guests of one kind on hosts of one kind, by verdict; ``others`` stands for all kinds that are not named."""

    host: str
    guest: str
    guests: int
    verdicts: dict[str, int]


class KernelVulnerability(msgspec.Struct, frozen=True):
    """Guests of one kernel that are not told the truth about a vulnerability, exposed to it, or undecided."""

    kernel: str
    vulnerability: str
    guests: int
    untruthful: int
    exposed: int
    undecided: int


class ClassCure(msgspec.Struct, frozen=True):
    """What mends a class: the smallest set of `changes` that `fix` found; empty where nothing betters it.

    `needs` is what has to be started again, in words; `others` counts other sets that cost the same. `then` is the
    verdict on the class with the changes made (without any: as it is), and `remains` what is not as it should be then,
    by vulnerability. `tried` counts the sets of changes that were evaluated; `complete` is false where a bound was
    reached, and dearer ones were not. `not_sought`: why no cure was looked for; empty where one was.
    """

    changes: list[Step] = []
    others: int = 0
    needs: str = ""
    then: str = ""
    remains: dict[str, str] = {}
    tried: int = 0
    complete: bool = True
    not_sought: str = ""


class ClassVerdict(msgspec.Struct, frozen=True):
    """One class of guests on one class of hosts: how many, the verdict, what is wrong, and why in a few lines.

    `truth` and `safety` hold only what is not in order; `host` and `guest` name the machines in one line; `cure` is
    null where the audit was asked to leave cures out.
    """

    id: str
    guests: int
    verdict: str
    host: str
    guest: str
    truth: dict[str, str]
    safety: dict[str, str]
    host_safety: dict[str, str]
    responsible: list[str]
    headline: str
    decided_by: dict[str, str]
    missing: dict[str, str]
    cure: ClassCure | None = None


class OpenQuestions(msgspec.Struct, frozen=True):
    """How many guests have an undecided truth or safety, in how many classes; those that are surely exposed count too.

    `collect` speaks of all of them. `beyond` are facts that no column of an inventory says, with the guests that hang
    on them; `beyond_guests` may stay undecided whatever is collected.
    """

    guests: int
    classes: int
    beyond_guests: int
    beyond: dict[str, int]


class Collect(msgspec.Struct, frozen=True):
    """A column to fill in: with it and all columns before it `settles` more guests surely have no open question.

    That is so as far as the tables know what it is filled in with; it may settle more. `hang_on_it` guests lack it.
    """

    column: str
    role: str
    settles: int
    hang_on_it: int


class Rejected(msgspec.Struct, frozen=True):
    """Rows that were set aside: why, how many, and the id of one of them."""

    role: str
    reason: str
    rows: int
    example: str


class PassedOver(msgspec.Struct, frozen=True):
    """A column of an inventory by a name that archcaps does not know; `nearest` is the one it may stand for, if any."""

    role: str
    column: str
    nearest: str


class AuditResult(msgspec.Struct, frozen=True):
    """The answer of `audit`. `guests` and `hosts` count rows that were judged; `classes` the pairs that were.

    `supposed` counts the guests of which nobody said what is supposed, by the assumption's name: ``no-host-mmio`` where
    no column says whether a device is assigned. `passed_over` are columns that were not read, with the nearest name.
    """

    format_version: int
    exit_code: int
    hosts: int
    guests: int
    host_classes: int
    guest_classes: int
    classes: int
    verdicts: dict[str, int]
    by_vulnerability: list[ByVulnerability]
    by_host: list[ByGroup]
    by_host_kernel: list[ByGroup]
    by_guest_kernel: list[ByGroup]
    heat_map: list[Cell]
    by_kernel_and_vulnerability: list[KernelVulnerability]
    worst: list[ClassVerdict]
    open_questions: OpenQuestions
    collect: list[Collect]
    rejected: list[Rejected]
    assumptions: list[str]
    supposed: dict[str, int]
    passed_over: list[PassedOver]
    files: dict[str, str]
