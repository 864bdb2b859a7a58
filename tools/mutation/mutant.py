"""One changed place of a rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["RULES", "Mutant", "numbered"]

RULES = Path(__file__).parents[2] / "src" / "archcaps" / "rules"


@dataclass(frozen=True)
class Mutant:
    """A module of the rules with one place of its text replaced.

    `id` stays the same when lines above move: the module, the function, what was changed, and which of several alike.
    """

    module: str
    function: str
    kind: str
    before: str
    after: str
    start: tuple[int, int]
    end: tuple[int, int]
    new: str
    number: int = 1

    @property
    def id(self) -> str:
        again = f" #{self.number}" if self.number > 1 else ""
        return f"{self.module}.{self.function}: {self.kind}: {self.before} -> {self.after}{again}"

    @property
    def place(self) -> str:
        return f"{self.module}.py:{self.start[0]}:{self.start[1] + 1}"

    def text(self, whole: str) -> str:
        """Return the module's text with the place replaced; columns count octets, as in the syntax tree."""
        lines = whole.encode().splitlines(keepends=True)
        (first, column), (last, until) = self.start, self.end
        head = b"".join(lines[: first - 1]) + lines[first - 1][:column]
        tail = lines[last - 1][until:] + b"".join(lines[last:])
        return (head + self.new.encode() + tail).decode()


def numbered(mutants: Iterable[Mutant]) -> Iterator[Mutant]:
    """Number those alike, in the order of their places."""
    seen: Counter[str] = Counter()
    for mutant in sorted(mutants, key=lambda each: (each.start, each.end, each.kind, each.after)):
        seen[mutant.id] += 1
        yield replace(mutant, number=seen[mutant.id])
