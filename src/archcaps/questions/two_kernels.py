"""One guest read under two kernels: which nodes are the same under both, and which inputs differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from archcaps.logic.choice import Choice
from archcaps.logic.graph import Kind, Node, walk
from archcaps.logic.ternary import Ternary
from archcaps.machine.facts import LIST_FLAGS
from archcaps.questions.reader import Reader
from archcaps.questions.upgrade_results import InputChange
from archcaps.rules.shown import Case
from archcaps.tables.kernels import BEHAVIOURS
from archcaps.tables.names import CPU_LOOKUPS, KERNEL_LOOKUPS

__all__ = ["TwoKernels"]


class TwoKernels:
    """The model read for a guest under the kernel it has and under another one, on the same host."""

    def __init__(self, before: Reader, after: Reader) -> None:
        self.before = before
        self.after = after
        self._alike: dict[Node, bool] = {}

    @property
    def readers(self) -> tuple[Reader, Reader]:
        """Both readings, the present kernel's first."""
        return self.before, self.after

    @property
    def case(self) -> Case:
        """The guest in the graph."""
        return self.before.model.guest

    @property
    def same_kernel(self) -> bool:
        """Whether both are one kernel."""
        return self.before.guest is self.after.guest

    def alike(self, node: Node) -> bool:
        """Whether `node` has the same value under both kernels, be it known or not.

        An unknown node does if all that it is made of does; an unknown fact if no kernel release decides it.
        """
        for part in walk((node,), self._alike):
            if part not in self._alike:
                before, after = (reader.ternary.value(part) for reader in self.readers)
                if before is not None or after is not None:
                    self._alike[part] = before is after
                elif part.kind is Kind.FACT:
                    self._alike[part] = self.same_kernel or not _by_release(part.name)
                else:
                    self._alike[part] = all(self._alike[arg] for arg in part.args)
        return self._alike[node]

    def alike_all(self, *choices: Choice[Any]) -> bool:
        """Return whether each of these choices falls on the same label under both kernels, be it known or not."""
        return all(self.alike(condition) for choice in choices for condition, _ in choice.rows)

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
