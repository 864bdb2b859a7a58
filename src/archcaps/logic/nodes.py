"""The nodes of decision diagrams, gone through from the bottom to the top."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from oxidd.bdd import BDDFunction

__all__ = ["Function", "branches", "folded", "variable_at"]

#: A Boolean function of the variables of one `Diagrams`. Equal functions are equal objects, and can be hashed.
Function: TypeAlias = BDDFunction
_Made = TypeVar("_Made")


def variable_at(node: Function) -> int:
    """Return the number of the variable of an inner node."""
    number = node.node_var()
    assert number is not None, "a constant has no variable"
    return number


def branches(node: Function) -> tuple[Function, Function]:
    """Return what is left of an inner node where its variable is true, and where it is false."""
    parts = node.cofactors()
    assert parts is not None, "a constant has no branches"
    return parts


def folded(function: Function, known: dict[Function, _Made], make: Callable[[int, _Made, _Made], _Made]) -> _Made:
    """Return what `make` makes of a function: of a node's variable and of what it made of the two branches.

    `known` has it for both constants, and then for every node that was gone through.
    """
    waiting = [function]
    while waiting:
        node = waiting[-1]
        if node in known:
            waiting.pop()
            continue
        parts = node.cofactors()
        number = node.node_var()
        assert parts is not None, "a constant has no branches"
        assert number is not None, "a constant has no variable"
        high, low = parts
        ready = True
        if high not in known:
            waiting.append(high)
            ready = False
        if low not in known:
            waiting.append(low)
            ready = False
        if ready:
            known[node] = make(number, known[high], known[low])
            waiting.pop()
    return known[function]
