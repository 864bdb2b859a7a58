"""One change as a step of an answer: its kind's cost and owner, what it says."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from archcaps.errors import InputError, nearest
from archcaps.questions.fix.results import Step
from archcaps.tables.bits import BITS, REGISTERS
from archcaps.tables.changes import kinds
from archcaps.tables.releases import Release

__all__ = ["Rules", "place", "total"]


@dataclass(frozen=True)
class Rules:
    """Which kinds of change are allowed, what each costs, and how many changes a set may have.

    `max_worlds`: only so many combinations of kernels, options, microcode and CPUs are looked at, the cheapest.

    Raises:
        InputError: a kind is none, or a cost or number is not a positive one.
    """

    allow: tuple[str, ...]
    costs: Mapping[str, int] = field(default_factory=dict)
    max_changes: int = 6
    max_worlds: int | None = None

    def __post_init__(self) -> None:
        for name in (*self.allow, *self.costs):
            if name not in kinds():
                raise InputError(
                    f"unknown kind of change {name!r}{nearest(name, kinds())}; known: {', '.join(kinds())}"
                )
        for name, cost in self.costs.items():
            if not 1 <= cost <= 1000:
                raise InputError(f"the cost of {name} is {cost} (expected 1 to 1000)", "--cost")
        if not 1 <= self.max_changes <= 20:
            raise InputError(f"{self.max_changes} changes (expected 1 to 20)", "--max-changes")
        if self.max_worlds is not None and self.max_worlds < 1:
            raise InputError(f"{self.max_worlds} combinations (expected at least one)", "max_worlds")

    def allows(self, kind: str) -> bool:
        """Whether changes of this kind may be made."""
        return kind in self.allow

    def only(self, allow: Collection[str]) -> Rules:
        """Return the same rules for those of `allow` that are allowed here."""
        kept = tuple(name for name in self.allow if name in allow)
        return Rules(kept, self.costs, self.max_changes, self.max_worlds)

    def step(self, kind: str, what: str, source: str = "", *, other_line: bool = False) -> Step:
        """Return a change of this kind."""
        entry = kinds()[kind]
        cost = self.costs.get(kind, entry.cost) + (entry.other_line if other_line else 0)
        return Step(kind, what, entry.owner, cost, entry.needs, source or entry.reason)

    def of_bit(self, kind: str, bit: str, *, on: bool) -> Step:
        """Return the change that shows or hides a bit."""
        step, entry = self.step(kind, f"{'show' if on else 'hide'} {bit} ({place(bit)})"), BITS[bit]
        return Step(step.kind, step.what, step.owner, step.cost, step.needs, entry.source or step.source, bit, on)

    def of_kernel(self, kind: str, release: Release, present: Release) -> Step:
        """Return the change to another kernel release."""
        whose = "guest" if kind == "guest-kernel" else "host"
        other = release.line != present.line
        step = self.step(kind, f"{whose} kernel {release.text}", other_line=other)
        return Step(step.kind, step.what, step.owner, step.cost, step.needs, step.source, release=release.text)


def total(steps: Collection[Step]) -> int:
    """Return what steps cost together."""
    return sum(step.cost for step in steps)


def place(bit: str) -> str:
    """Return where a bit stands: MSR 0x10a bit 17, CPUID.7.0:EDX bit 10."""
    register = REGISTERS[BITS[bit].register]
    return f"{f'MSR {register.address:#x}' if register.kind == 'msr' else register.title} bit {BITS[bit].bit}"
