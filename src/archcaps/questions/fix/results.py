"""The typed answer of `fix`: printed, written as JSON and returned to Python."""

from __future__ import annotations

import msgspec

from archcaps.machine.snapshot import Snapshot
from archcaps.questions.results import FINE, Assumption, Deciding, Notice, Possible

__all__ = ["FORMAT_VERSION", "Answer", "Cure", "FixResult", "Judged", "Remaining", "Step", "Text", "Word"]

FORMAT_VERSION = 1


class Step(msgspec.Struct, frozen=True):
    """One change: its kind, what is to be done, by whom, at what cost (no unit), and what has to be restarted.

    `bit` and `on`: the bit that is shown or hidden. `release`: the kernel's, and `enough_from` the oldest of its line
    that was read and found to be enough too. `source`: why the change does what is said of it.
    """

    kind: str
    what: str
    owner: str
    cost: int
    needs: str
    source: str = ""
    bit: str | None = None
    on: bool | None = None
    release: str | None = None
    enough_from: str | None = None


class Judged(msgspec.Struct, frozen=True):
    """The verdict on one vulnerability, in short."""

    vulnerability: str
    concludes: Possible
    truth: Possible
    safety: Possible
    host_safety: Possible

    @property
    def fine(self) -> bool:
        """Whether it is surely told the truth (or told nothing) and safe over both borders."""
        return set(self.truth.possible) <= FINE and self.safe

    @property
    def safe(self) -> bool:
        """Whether it is surely safe over both borders."""
        return self.safety.value == "safe" and self.host_safety.value == "safe"

    @property
    def exposed(self) -> bool:
        """Whether something surely can leak, over either border."""
        return "exposed" in (self.safety.value, self.host_safety.value)


class Word(msgspec.Struct, frozen=True):
    """A register as the guest has it before and after: a hexadecimal u64 or u32; null where it is not known."""

    register: str
    before: str | None
    after: str | None


class Text(msgspec.Struct, frozen=True):
    """The VMM's configuration as it has to be: its language, the whole text, and the unified diff."""

    language: str
    after: str
    diff: str


class Cure(msgspec.Struct, frozen=True):
    """One smallest set of changes: what it costs, the level it reaches, the verdicts after it.

    `guest` and `host` are the snapshots afterwards. `untrue_bits` are those that the guest is still shown and the
    hardware does not have, though no verdict depends on them.
    """

    steps: list[Step]
    cost: int
    level: int
    after: list[Judged]
    words: list[Word]
    untrue_bits: list[str]
    guest: Snapshot
    host: Snapshot
    text: Text | None = None


class Remaining(msgspec.Struct, frozen=True):
    """A vulnerability that no set of changes mends: the verdict that stays, why, and what is missing to know better."""

    vulnerability: str
    truth: Possible
    safety: Possible
    host_safety: Possible
    why: list[str]
    deciding: list[Deciding]
    missing: dict[str, str]


class Answer(msgspec.Struct, frozen=True):
    """The best that some kinds of change can do: the level, every cheapest set that reaches it, and what stays.

    `who` can make them; `cures` is empty where no set betters anything, and `more` counts cheapest sets beyond those
    that are given. `lesser` are cheaper sets of a lower level that is still better than now. `tried` counts the sets of
    changes that were evaluated, `cheaper` those among them that cost less than the cures. `unwritable` are changes that
    the VMM's language has no words for, with why. `left_out` counts combinations of kernels, options, microcode and
    CPUs beyond a limit that was asked for: what they would do was not looked at.
    """

    who: str
    kinds: list[str]
    level: int
    cures: list[Cure]
    more: int
    lesser: list[Cure]
    remains: list[Remaining]
    tried: int
    cheaper: int
    unwritable: dict[str, str] = {}
    left_out: int = 0


class FixResult(msgspec.Struct, frozen=True):
    """The answer of `fix` for one guest on one host.

    `answers`: first what the VM's owner can do alone; where that is not all, what everybody can.
    """

    format_version: int
    headline: str
    exit_code: int
    host: str
    host_kernel: str | None
    guest: str
    guest_kernel: str | None
    level: int
    now: list[Judged]
    answers: list[Answer]
    limits: list[str]
    notices: list[Notice]
    assumptions: list[Assumption]

    @property
    def best(self) -> Answer | None:
        """The answer that reaches the best level at the least cost; None where nothing has to be mended."""
        return min(self.answers, key=lambda answer: answer.level, default=None)
