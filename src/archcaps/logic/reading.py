"""The graph read as decision diagrams: for each node the function that it is of the facts."""

from __future__ import annotations

from collections.abc import Callable

from archcaps.logic.diagram import Diagrams
from archcaps.logic.graph import TRUE, Kind, Node, walk
from archcaps.logic.nodes import Function, folded

__all__ = ["Reading"]


class Reading:
    """The graph read in `diagrams`, with a function for each fact: `facts` returns it by name."""

    def __init__(self, diagrams: Diagrams, facts: Callable[[str], Function]) -> None:
        self.diagrams = diagrams
        self._facts = facts
        self._functions: dict[Node, Function] = {}
        self._variables: dict[tuple[Diagrams, int], Function] = {}
        self._transferred: dict[tuple[Diagrams, Function], dict[Function, Function]] = {}

    def of(self, node: Node) -> Function:
        """Return the function of `node`.

        Raises:
            NotDecidedError: a limit of the diagrams was reached.
        """
        for part in walk((node,), self._functions):
            with self.diagrams.limits():
                self._functions[part] = self._make(part)
        return self._functions[node]

    def _make(self, node: Node) -> Function:
        diagrams, known = self.diagrams, self._functions
        match node.kind:
            case Kind.CONSTANT:
                return diagrams.true if node is TRUE else diagrams.false
            case Kind.FACT:
                return self._facts(node.name)
            case Kind.RULE:
                return known[node.args[0]]
            case Kind.NOT:
                return ~known[node.args[0]]
            case Kind.AND:
                return diagrams.all_of(known[arg] for arg in node.args)
            case Kind.OR:
                return diagrams.any_of(known[arg] for arg in node.args)

    def of_function(self, function: Function, read: Diagrams, where: Function) -> Function:
        """Return a function of the diagrams `read`, whose variables are facts, as one of these, where `where` holds.

        Raises:
            NotDecidedError: a limit of the diagrams was reached.
        """
        found = self._transferred.setdefault((read, where), {read.true: where, read.false: self.diagrams.false})
        if function in found:
            return found[function]

        def make(number: int, high: Function, low: Function) -> Function:
            variable = self._variables.get((read, number))
            if variable is None:
                variable = self._variables[read, number] = self._facts(read.names[number])
            return variable.ite(high, low)

        # Over the facts a function is small: to ask for the time once is enough.
        with self.diagrams.limits():
            return folded(function, found, make)
