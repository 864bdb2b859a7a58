"""The typed answer of `check`: the same object is printed, written as JSON and returned to Python."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

__all__ = [
    "FINE",
    "FORMAT_VERSION",
    "NO_SUCH_FILE",
    "Assumption",
    "CheckResult",
    "Deciding",
    "Exact",
    "FurtherVerdict",
    "Line",
    "Notice",
    "Possible",
    "Quickest",
    "ShownBit",
    "Verdict",
]

FORMAT_VERSION = 1

#: What stands for the text of a file that the kernel does not have.
NO_SUCH_FILE = "no such file"

#: Truths with nothing to answer for: where only these are possible it does not matter which it is.
FINE = frozenset(("truthful", "unsaid"))
_FINE_FURTHER = FINE | {"needless-work"}


class Possible(msgspec.Struct, frozen=True):
    """An answer: the one value, or null and the values still possible."""

    value: str | None
    possible: list[str]

    @property
    def decided(self) -> bool:
        """Whether one value is left."""
        return len(self.possible) == 1

    def settled(self, alike: Collection[str]) -> bool:
        """Whether one value is left, or only such as are `alike` for who asks."""
        return self.decided or (bool(self.possible) and all(value in alike for value in self.possible))

    def __str__(self) -> str:
        return " or ".join(self.possible)


class ShownBit(msgspec.Struct, frozen=True):
    """A bit that speaks of a vulnerability: as the guest reads it, as KVM offers it, as the hardware has it."""

    name: str
    guest: bool | None
    offered: bool | None
    hardware: bool | None


class Line(msgspec.Struct, frozen=True):
    """One step of a why: a fact or a rule with its value (null: unknown), its sentence and its source."""

    name: str
    value: bool | None
    meaning: str
    source: str
    provenance: str
    children: list[Line] = []


class Deciding(msgspec.Struct, frozen=True):
    """One input that decides the verdict: taking away any other changes nothing."""

    name: str
    value: bool
    provenance: str
    source: str


class Quickest(msgspec.Struct, frozen=True):
    """The fewest facts that would decide a question (truth, safety, host_safety) at once, if they had these values."""

    question: str
    answer: str
    facts: dict[str, bool]


class Exact(msgspec.Struct, frozen=True):
    """What `check --exact` found of an open verdict: the facts that matter, whatever the others are, and the quickest.

    `why_not`: a limit was reached, and what was not found for that.
    """

    matters: list[str]
    quickest: list[Quickest]
    why_not: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """The verdict on one vulnerability, on both borders.

    `safety` and `responsible`: guest user code against the guest's kernel; `host_safety` and `host_responsible`: the
    guest against its host.
    """

    vulnerability: str
    shown: list[ShownBit]
    concludes: Possible
    claim: Possible
    runs_verw: bool | None
    verw_works: bool | None
    affected: bool | None
    truth: Possible
    safety: Possible
    responsible: Possible
    cleared_before_entry: bool | None
    host_safety: Possible
    host_responsible: Possible
    why: list[Line]
    host_why: list[Line]
    decided_by: list[Deciding]
    missing: dict[str, str]
    exact: Exact | None = None

    @property
    def exposed(self) -> bool:
        """Whether data of the guest's kernel can leak to its user code."""
        return self.safety.value == "exposed"

    @property
    def exposes_host(self) -> bool:
        """Whether data of the host can leak to the guest."""
        return self.host_safety.value == "exposed"

    @property
    def undecided(self) -> bool:
        """Whether a safety, or whether the guest is told the truth, cannot be told from what is known."""
        return not (self.truth.settled(FINE) and self.safety.decided and self.host_safety.decided)

    @property
    def wrong(self) -> bool:
        """Whether the guest is told something other than the truth."""
        return self.truth.decided and self.truth.value not in FINE


class FurtherVerdict(msgspec.Struct, frozen=True):
    """The verdict on something that IA32_ARCH_CAPABILITIES speaks of beside the VERW family.

    `subject` is a file, or one of the fields of spectre_v2; `affected`: the silicon; `prevented`: by the host, for its
    guests; `works`: what the guest's kernel does about it does its work here. Null: unknown.
    """

    subject: str
    shown: list[ShownBit]
    concludes: Possible
    claim: Possible
    affected: bool | None
    prevented: bool | None
    works: bool | None
    truth: Possible
    safety: Possible
    responsible: Possible
    why: list[Line]
    decided_by: list[Deciding]
    missing: dict[str, str]

    @property
    def exposed(self) -> bool:
        """Whether it can happen to the guest unmitigated."""
        return self.safety.value == "exposed"

    @property
    def undecided(self) -> bool:
        """Whether truth or safety cannot be told from what is known."""
        return not (self.truth.settled(_FINE_FURTHER) and self.safety.decided)

    @property
    def wrong(self) -> bool:
        """Whether the guest is told something other than the truth; work for nothing is no such thing here."""
        return self.truth.decided and self.truth.value not in _FINE_FURTHER


class Notice(msgspec.Struct, frozen=True):
    """Something to know beside the verdicts."""

    kind: str
    text: str


class Assumption(msgspec.Struct, frozen=True):
    """Something that the verdicts take for granted, and the inputs that rest on it.

    `name`: as ``newest-reading``; empty for what has none, as how the VMM's configuration was read.
    """

    text: str
    inputs: list[str] = []
    name: str = ""


class CheckResult(msgspec.Struct, frozen=True):
    """The answer of `check` for one guest on one host."""

    format_version: int
    headline: str
    exit_code: int
    host: str
    host_kernel: str | None
    guest: str
    guest_kernel: str | None
    guest_system: str
    disable_fb_clear: bool | None
    vulnerabilities: list[Verdict]
    further: list[FurtherVerdict]
    notices: list[Notice]
    assumptions: list[Assumption]

    def __getitem__(self, vulnerability: str) -> Verdict:
        for verdict in self.vulnerabilities:
            if verdict.vulnerability == vulnerability:
                return verdict
        raise KeyError(vulnerability)
