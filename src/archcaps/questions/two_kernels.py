"""One guest read under two kernels: which nodes are the same under both, and which inputs differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from archcaps.logic.ternary import Ternary
from archcaps.machine.facts import LIST_FLAGS
from archcaps.questions.two_readings import TwoReadings
from archcaps.questions.upgrade_results import InputChange
from archcaps.tables.kernels import BEHAVIOURS
from archcaps.tables.names import CPU_LOOKUPS, KERNEL_LOOKUPS

__all__ = ["TwoKernels"]


class TwoKernels(TwoReadings):
    """The model read for a guest under the kernel it has and under another one, on the same host."""

    @property
    def same_kernel(self) -> bool:
        """Whether both are one kernel."""
        return self.before.guest is self.after.guest

    def may_differ(self, fact: str) -> bool:
        """Whether the guest's kernel release decides this fact."""
        return not self.same_kernel and _by_release(fact)

    def differences(self, answer: Callable[[Ternary], object], names: Iterable[str]) -> list[InputChange]:
        """Return those of the inputs that the kernels have differently and that make `answer` another one.

        An input that could stay as it was without changing the new answer is left out.
        """
        values = {name: tuple(reader.ternary.facts.get(name) for reader in self.readers) for name in sorted(names)}
        needed = {name: (was, now) for name, (was, now) in values.items() if was is not now}
        facts, wanted = dict(self.after.ternary.facts), answer(self.after.ternary)
        for name, (was, _) in list(needed.items()):
            # A reading of its own: what was observed of this guest under the present kernel stays out.
            if answer(Ternary({**facts, name: was}, self.after.ternary.observed)) == wanted:
                facts[name] = was
                del needed[name]
        return [InputChange(name, was, now, _meaning(name), self._source(name)) for name, (was, now) in needed.items()]

    def _source(self, name: str) -> str:
        datum = self.after.facts.known.get(name)
        return datum.source if datum is not None else self.after.facts.unknown.get(name, "not given")


def _by_release(name: str) -> bool:
    """Whether the guest's kernel release may decide this fact: a behaviour, what options come to, a list's row."""
    scope, _, fact = name.partition(".")
    if scope == "guest_kernel":
        return True
    return scope in ("guest", "offered", "true") and (fact in LIST_FLAGS or fact == "old_microcode")


def _meaning(name: str) -> str:
    fact = name.partition(".")[2]
    if fact in BEHAVIOURS:
        return BEHAVIOURS[fact].meaning
    return KERNEL_LOOKUPS.get(fact) or CPU_LOOKUPS.get(fact, "")
