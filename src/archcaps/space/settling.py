"""Functions of facts with the values that choices of parts and kernels have, for all choices at once.

Choices that make the same of a function are put together as soon as they do, after a few facts at a time: what is left
to do is then done once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from archcaps.logic.diagram import Diagrams, Function
from archcaps.space.choices import Choices
from archcaps.space.names import UNKNOWN

__all__ = ["Functions", "Settling", "refined", "together"]

#: Functions of facts that are settled together.
Functions: TypeAlias = tuple[Function, ...]
_Key = TypeVar("_Key")
#: So many facts get their values at a time: with fewer more steps are made, with more fewer choices are alike.
_AT_A_TIME = 20
#: So many nodes make a function large: to go through them takes longer than a few steps that are not needed.
_LARGE = 4000


class Settling:
    """Settles functions of facts by `choices`, which decide the facts `names`, in the order of the diagrams `read`.

    What nobody knows is left as the fact; where its value is a variable of another name, that takes its place.
    """

    def __init__(self, read: Diagrams, choices: Choices, names: Iterable[str]) -> None:
        wanted = set(names)
        in_order = [name for name in read.names if name in wanted]
        self._read = read
        self._choices = choices
        self._stages = [in_order[at : at + _AT_A_TIME] for at in range(0, len(in_order), _AT_A_TIME)]

    def settle(self, functions: Functions) -> dict[Functions, int]:
        """Return what is left of `functions`, each with the choices that make it of them.

        Raises:
            NotDecidedError: a limit of the diagrams was reached.
        """
        found = {functions: self._choices.every}
        for stage in self._stages:
            found = together(
                part for each, choices in found.items() for part in self._with_values(each, choices, stage)
            )
        return found

    def _with_values(self, functions: Functions, choices: int, stage: Sequence[str]) -> Iterable[tuple[Functions, int]]:
        """Yield functions with the values of the facts of one stage, and the choices that have these."""
        names = self._read_among(functions, stage)
        for values, here in self._choices.divided(choices, names).items():
            pairs = zip(names, values, strict=True)
            known = {name: value for name, value in pairs if value != UNKNOWN + name}
            yield tuple(self._read.replaced(each, known) for each in functions), here

    def _read_among(self, functions: Functions, names: Sequence[str]) -> Sequence[str]:
        """Return those of `names` that the functions read; all of them where it would take long to find out."""
        if sum(map(self._read.size, functions)) > _LARGE:
            return names
        support = frozenset[str]().union(*map(self._read.support, functions))
        return [name for name in names if name in support]


def refined(parts: Mapping[tuple[_Key, ...], int], by: Mapping[_Key, int]) -> dict[tuple[_Key, ...], int]:
    """Return sets of choices divided once more, by what each is in the divisions so far and in this one."""
    return {
        (*key, other): here
        for key, choices in parts.items()
        for other, where in by.items()
        if (here := choices & where)
    }


def together(parts: Iterable[tuple[_Key, int]]) -> dict[_Key, int]:
    """Return sets of choices, with those of the same key as one."""
    found: dict[_Key, int] = {}
    for key, choices in parts:
        found[key] = found.get(key, 0) | choices
    return found
