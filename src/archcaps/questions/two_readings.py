"""One guest read twice: which nodes have the same value in both readings, be it known or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from archcaps.logic.choice import Choice
from archcaps.logic.graph import Kind, Node, walk
from archcaps.questions.reader import Reader
from archcaps.rules.shown import Case

__all__ = ["TwoReadings"]


class TwoReadings(ABC):
    """The model read for a guest before and after something else around it changed.

    A subclass says by `may_differ` which unknown facts may be others afterwards.
    """

    def __init__(self, before: Reader, after: Reader) -> None:
        self.before = before
        self.after = after
        self._alike: dict[Node, bool] = {}

    @abstractmethod
    def may_differ(self, fact: str) -> bool:
        """Whether a fact that is unknown in both readings may be another one in the second."""

    @property
    def readers(self) -> tuple[Reader, Reader]:
        """Both readings, that of before first."""
        return self.before, self.after

    @property
    def case(self) -> Case:
        """The guest in the graph."""
        return self.before.model.guest

    def alike(self, node: Node) -> bool:
        """Whether `node` has the same value in both readings, be it known or not.

        An unknown node does if all that it is made of does.
        """
        for part in walk((node,), self._alike):
            if part not in self._alike:
                before, after = (reader.ternary.value(part) for reader in self.readers)
                if before is not None or after is not None:
                    self._alike[part] = before is after
                elif part.kind is Kind.FACT:
                    self._alike[part] = not self.may_differ(part.name)
                else:
                    self._alike[part] = all(self._alike[arg] for arg in part.args)
        return self._alike[node]

    def alike_all(self, *choices: Choice[Any]) -> bool:
        """Return whether each of these choices falls on the same label in both readings, be it known or not."""
        return all(self.alike(condition) for choice in choices for condition, _ in choice.rows)
