"""The graph read as decision diagrams: every assignment of its facts at once.

A diagram says for all assignments together where a node holds, so that it can be proved, counted exactly, and asked for
the assignments that are least or minimal. The diagrams themselves are oxidd's.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import count
from time import monotonic
from typing import TypeAlias

from oxidd.bdd import BDDFunction, BDDManager, BDDSubstitution
from oxidd.util import DDMemoryError

from archcaps.logic.graph import TRUE, Kind, Node, walk

__all__ = ["Diagrams", "Function", "NotDecidedError", "Reading"]

#: A Boolean function of the variables of one `Diagrams`. Equal functions are equal objects, and can be hashed.
Function: TypeAlias = BDDFunction

#: What a node takes with its share of the tables around it, measured; and how many there may be: in all 544 MiB.
_NODE_BYTES = 34
_NODES = 1 << 24
_CACHE = 1 << 18
#: Of so many nodes the variables below them are remembered.
_KNOWN_SUPPORTS = 1 << 18


class NotDecidedError(Exception):
    """A limit was reached before there was an answer; its text says which."""


class Diagrams:
    """Decision diagrams over named Boolean variables, kept in the order given.

    `seconds` and `nodes` bound all that is done with one of these.

    Raises:
        ValueError: two variables have one name.
    """

    def __init__(self, names: Sequence[str], seconds: float = 60, nodes: int = _NODES) -> None:
        self.names = tuple(names)
        self._index = {name: number for number, name in enumerate(self.names)}
        if len(self._index) != len(self.names):
            raise ValueError("two variables have one name")
        self._manager = BDDManager(nodes, min(nodes, _CACHE), 1)
        self._manager.add_vars(len(self.names))
        self._seconds = seconds
        self._nodes = nodes
        self._end = monotonic() + seconds
        self.true = self._manager.true()
        self.false = self._manager.false()
        self._supports: dict[Function, int] = {}
        self._cubes: dict[tuple[str, ...], Function] = {}
        self._substitutions: dict[tuple[tuple[str, bool | str | Function], ...], BDDSubstitution] = {}

    def variable(self, name: str) -> Function:
        """Return the function that is the variable `name`.

        Raises:
            KeyError: there is none of that name.
            NotDecidedError: a limit was reached.
        """
        number = self._index[name]
        with self.limits():
            return self._manager.var(number)

    def __contains__(self, name: str) -> bool:
        return name in self._index

    @contextmanager
    def limits(self) -> Iterator[None]:
        """Bound what is done under it, and what was done with these diagrams before.

        Raises:
            NotDecidedError: there are too many nodes, or the time is over.
        """
        if monotonic() > self._end:
            raise NotDecidedError(f"not decided within {self._seconds:g} s")
        try:
            yield
        except DDMemoryError:
            raise NotDecidedError(f"not decided within {self._nodes * _NODE_BYTES >> 20} MiB") from None

    # --- making functions -----------------------------------------------------------------------------------------

    def all_of(self, functions: Iterable[Function]) -> Function:
        """Return the conjunction of `functions`."""
        found = self.true
        with self.limits():  # making them one after the other too
            for function in functions:
                with self.limits():
                    found = found & function
        return found

    def any_of(self, functions: Iterable[Function]) -> Function:
        """Return the disjunction of `functions`."""
        found = self.false
        with self.limits():  # making them one after the other too
            for function in functions:
                with self.limits():
                    found = found | function
        return found

    def choice(self, names: Sequence[str], functions: Sequence[Function]) -> Function:
        """Return the function that is, for each assignment of `names`, another one.

        Function i is that of the assignment whose variables are the bits of i, the first one the highest.

        Raises:
            ValueError: there is not one function for each assignment.
        """
        if len(functions) != 1 << len(names):
            raise ValueError(f"{len(functions)} functions for {len(names)} variables")
        rows = list(functions)
        for name in reversed(names):
            variable = self.variable(name)
            with self.limits():
                pairs = zip(rows[::2], rows[1::2], strict=True)
                rows = [low if low == high else variable.ite(high, low) for low, high in pairs]
        return rows[0]

    def table(self, names: Sequence[str], rows: bytes) -> Function:
        """Return the function of `names` that holds in the rows that are not 0.

        Row i is the assignment whose variables are the bits of i, the first one the highest.

        Raises:
            ValueError: there is not one row for each assignment.
        """
        if len(rows) != 1 << len(names):
            raise ValueError(f"{len(rows)} rows for {len(names)} variables")
        variables = [self.variable(name) for name in names]
        found: dict[bytes, Function] = {}

        def build(part: bytes, level: int) -> Function:
            # All alike: no need to look further down.
            if part.count(part[0]) == len(part):
                return self.true if part[0] else self.false
            if part not in found:
                half = len(part) // 2
                high, low = build(part[half:], level + 1), build(part[:half], level + 1)
                with self.limits():
                    found[part] = variables[level].ite(high, low)
            return found[part]

        return build(rows, 0)

    def equal(self, names: Sequence[str], others: Sequence[str]) -> Function:
        """Return the function that holds where the variables `names` have the values of `others`, pair by pair."""
        pairs = list(zip(names, others, strict=True))
        return self.all_of(self.variable(one).equiv(self.variable(other)) for one, other in reversed(pairs))

    def less(self, names: Sequence[str], others: Sequence[str]) -> Function:
        """Return where the number whose bits are `names`, the highest first, is less than that of `others`."""
        found = self.false
        for one, other in reversed(list(zip(names, others, strict=True))):
            low, high = self.variable(one), self.variable(other)
            with self.limits():
                found = (~low & high) | (low.equiv(high) & found)
        return found

    # --- asking them ----------------------------------------------------------------------------------------------

    def count(self, function: Function, without: int = 0) -> int:
        """Return in how many assignments of all variables, but `without` of them that it does not read, it holds."""
        return function.sat_count(len(self.names)) >> without

    def size(self, function: Function) -> int:
        """Return how many nodes a function has."""
        return function.node_count()

    def support(self, function: Function) -> frozenset[str]:
        """Return the variables on which the function really depends."""
        numbers = self._read_by(function)
        return frozenset(name for number, name in enumerate(self.names) if numbers >> number & 1)

    def _read_by(self, function: Function) -> int:
        """Return the numbers of the variables below a node, as bits."""
        known = self._supports
        if len(known) > _KNOWN_SUPPORTS:  # each keeps a node alive
            known.clear()
        known[self.true] = known[self.false] = 0
        for node in _inner(function, known):
            high, low = _branches(node)
            known[node] = 1 << _variable(node) | known[high] | known[low]
        return known[function]

    def _cube(self, names: Iterable[str]) -> Function:
        key = tuple(names)
        if key not in self._cubes:
            # From the bottom of the order to its top: each step then adds one node.
            numbers = sorted((self._index[name] for name in key), reverse=True)
            found = self.true
            for number in numbers:
                found = self._manager.var(number) & found
            self._cubes[key] = found
        return self._cubes[key]

    def exists(self, function: Function, names: Iterable[str]) -> Function:
        """Return where the function holds for some value of the variables `names`."""
        with self.limits():
            return function.exists(self._cube(names))

    def forall(self, function: Function, names: Iterable[str]) -> Function:
        """Return where the function holds for every value of the variables `names`."""
        with self.limits():
            return function.forall(self._cube(names))

    def with_values(self, function: Function, values: Mapping[str, bool]) -> Function:
        """Return the function with these variables fixed, as far as there are such; it no longer depends on them."""
        return self.replaced(function, {name: value for name, value in values.items() if name in self._index})

    def replaced(self, function: Function, values: Mapping[str, bool | str | Function]) -> Function:
        """Return the function with a value, another variable or a function in the place of each of these variables.

        Raises:
            KeyError: there is no variable of one of the names.
            NotDecidedError: a limit was reached.
        """
        if not values:
            return function
        key = tuple(values.items())
        with self.limits():
            # oxidd remembers what it made with the same substitution.
            if key not in self._substitutions:
                pairs = [(self._index[name], self._in_place(value)) for name, value in key]
                self._substitutions[key] = BDDFunction.make_substitution(pairs)
            return function.substitute(self._substitutions[key])

    def _in_place(self, value: bool | str | Function) -> Function:
        if isinstance(value, bool):
            return self.true if value else self.false
        return self._manager.var(self._index[value]) if isinstance(value, str) else value

    def evaluate(self, function: Function, values: Mapping[str, bool]) -> bool:
        """Return the function's value; a variable that `values` leaves out is false."""
        # Every variable is told: oxidd does not say what one that it is not told of is.
        return function.eval((number, values.get(name, False)) for number, name in enumerate(self.names))

    def least(self, function: Function, cost: Callable[[str, bool], int]) -> dict[str, bool] | None:
        """Return an assignment of all variables that satisfies the function; None where there is none.

        The total of `cost` (of a variable's name and value) is the least there is.
        """
        if function == self.false:
            return None
        prices = [(cost(name, False), cost(name, True)) for name in self.names]
        more = [(without - min(without, held), held - min(without, held)) for without, held in prices]
        best: dict[Function, int] = {self.true: 0}

        def ways(node: Function) -> list[tuple[int, bool, Function]]:
            high, low = _branches(node)
            without, held = more[_variable(node)]
            both = ((low, False, without), (high, True, held))
            return [(best[part] + price, value, part) for part, value, price in both if part != self.false]

        for node in _inner(function):
            best[node] = min(total for total, _, _ in ways(node))
        values = {name: held < without for name, (without, held) in zip(self.names, prices, strict=True)}
        node = function
        while node != self.true:
            _, value, part = min(ways(node), key=lambda way: way[0])
            values[self.names[_variable(node)]] = value
            node = part
        return values

    def minimal(self, function: Function, names: Iterable[str]) -> tuple[Function, Function]:
        """Return where the function holds and would not with fewer of the variables `names` true, all others alike.

        The second is where it would hold with these or with fewer.
        """
        support = self.support(function)
        kept = [name for name in names if name in self._index]
        upward = function
        for name in (name for name in kept if name in support):
            without = self.with_values(upward, {name: False})
            with self.limits():
                upward = upward | (self.variable(name) & without)
        fewer = self.any_of(
            # What the function does not read is never needed.
            self.variable(name) & (self.with_values(upward, {name: False}) if name in support else self.true)
            for name in reversed(kept)
        )
        with self.limits():
            return function & ~fewer, upward

    def smallest(self, function: Function, names: Sequence[str]) -> Iterator[frozenset[str]]:
        """Yield the sets of `names` that are true where the function holds, those of fewest names first, each once.

        Raises:
            ValueError: the function depends on other variables.
        """
        if not self.support(function) <= set(names):
            raise ValueError("the function depends on other variables")
        order = sorted(names, key=lambda name: self._index[name])
        best: dict[Function, int] = {self.true: 0}
        for node in _inner(function):
            high, low = _branches(node)
            best[node] = min(
                best[part] + more for part, more in ((low, 0), (high, 1)) if part != self.false
            )  # an inner node can be satisfied
        if function == self.false:
            return
        # A* over partial assignments: what is still to come costs at least `best`.
        tie = count()
        waiting: list[tuple[int, int, int, tuple[str, ...], Function]] = []
        heappush(waiting, (best[function], next(tie), 0, (), function))
        while waiting:
            _, _, level, chosen, node = heappop(waiting)
            if level == len(order):
                yield frozenset(chosen)
                continue
            name = order[level]
            if node != self.true and self.names[_variable(node)] == name:
                high, low = _branches(node)
            else:
                high = low = node
            for part, taken in ((low, chosen), (high, (*chosen, name))):
                if part != self.false:
                    heappush(waiting, (len(taken) + best[part], next(tie), level + 1, taken, part))


class Reading:
    """The graph read in `diagrams`, with a function for each fact: `facts` returns it by name."""

    def __init__(self, diagrams: Diagrams, facts: Callable[[str], Function]) -> None:
        self.diagrams = diagrams
        self._facts = facts
        self._functions: dict[Node, Function] = {}
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
        # Over the facts a function is small: to ask for the time once is enough.
        with self.diagrams.limits():
            for node in _inner(function, found):
                high, low = _branches(node)
                found[node] = self._facts(read.names[_variable(node)]).ite(found[high], found[low])
        return found[function]


def _variable(node: Function) -> int:
    number = node.node_var()
    assert number is not None, "a constant has no variable"
    return number


def _branches(node: Function) -> tuple[Function, Function]:
    parts = node.cofactors()
    assert parts is not None, "a constant has no branches"
    return parts


def _inner(function: Function, known: Container[Function] = ()) -> list[Function]:
    """Return every inner node of a function once, the nodes below it before it; none that is known, or just below."""
    seen: dict[Function, None] = {}
    stack = [(function, False)]
    while stack:
        node, done = stack.pop()
        if done:
            seen[node] = None
        elif node not in seen and node not in known:
            parts = node.cofactors()
            if parts is not None:
                stack.append((node, True))
                stack.extend((part, False) for part in parts)
    return list(seen)
