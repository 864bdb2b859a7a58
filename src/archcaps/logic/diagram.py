"""Decision diagrams over named variables: every assignment of them at once.

A diagram says for all assignments together where something holds, so that it can be proved, counted exactly, and asked
for the assignments that are least or minimal. The diagrams themselves are oxidd's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf
from time import process_time

from oxidd.bdd import BDDFunction, BDDManager, BDDSubstitution
from oxidd.util import BooleanOperator, DDMemoryError

from archcaps.logic.nodes import Function, branches, folded, variable_at

__all__ = ["Diagrams", "Function", "NotDecidedError"]

#: What a node takes with its share of the tables around it, measured; and how many there may be: in all 544 MiB.
_NODE_BYTES = 34
_NODES = 1 << 24
_CACHE = 1 << 20
#: Of so many nodes the variables below them are remembered.
_KNOWN_SUPPORTS = 1 << 18


class NotDecidedError(Exception):
    """A limit was reached before there was an answer; its text says which."""


class _Limits:
    """Bounds what is done under it, in seconds of the processor: what else the machine does changes no answer.

    A class since it is entered a million times: a generator takes thrice as long.
    """

    def __init__(self, seconds: float, nodes: int) -> None:
        self._seconds = seconds
        self._nodes = nodes
        self._end = process_time() + seconds

    def __enter__(self) -> None:
        if process_time() > self._end:
            raise NotDecidedError(f"not decided within {self._seconds:g} s")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DDMemoryError):
            raise NotDecidedError(f"not decided within {self._nodes * _NODE_BYTES >> 20} MiB") from None


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
        self.true = self._manager.true()
        self.false = self._manager.false()
        self._limits = _Limits(seconds, nodes)
        self._variables: dict[str, Function] = {}
        self._supports: dict[Function, int] = {}
        self._names: dict[int, frozenset[str]] = {}
        self._cubes: dict[tuple[str, ...], Function] = {}
        self._literals: dict[tuple[tuple[str, bool], ...], Function] = {}
        self._substitutions: dict[tuple[tuple[str, str | Function], ...], BDDSubstitution] = {}

    def variable(self, name: str) -> Function:
        """Return the function that is the variable `name`.

        Raises:
            KeyError: there is none of that name.
            NotDecidedError: a limit was reached.
        """
        if name not in self._variables:
            number = self._index[name]
            with self.limits():
                self._variables[name] = self._manager.var(number)
        return self._variables[name]

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def limits(self) -> _Limits:
        """Bound what is done under it, and what was done with these diagrams before.

        Raises:
            NotDecidedError: there are too many nodes, or the time is over.
        """
        return self._limits

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
        known = self._supports
        if len(known) > _KNOWN_SUPPORTS:  # each keeps a node alive
            known.clear()
        known[self.true] = known[self.false] = 0
        numbers = folded(function, known, _with_both)
        if numbers not in self._names:
            self._names[numbers] = frozenset(name for at, name in enumerate(self.names) if numbers >> at & 1)
        return self._names[numbers]

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
        fixed = {name: value for name, value in values.items() if isinstance(value, bool)}
        if fixed:
            # Faster than to substitute, which makes all above a variable again.
            with self.limits():
                function = function.apply_exists(BooleanOperator.AND, self._literal(fixed), self._cube(fixed))
        key = tuple((name, value) for name, value in values.items() if not isinstance(value, bool))
        if not key:
            return function
        with self.limits():
            # oxidd remembers what it made with the same substitution.
            if key not in self._substitutions:
                pairs = [(self._index[name], self._in_place(value)) for name, value in key]
                self._substitutions[key] = BDDFunction.make_substitution(pairs)
            return function.substitute(self._substitutions[key])

    def _literal(self, values: Mapping[str, bool]) -> Function:
        """Return where these variables have these values."""
        key = tuple(values.items())
        if key not in self._literals:
            found = self.true
            for name in sorted(values, key=self._index.__getitem__, reverse=True):
                variable = self._manager.var(self._index[name])
                found = (variable if values[name] else ~variable) & found
            self._literals[key] = found
        return self._literals[key]

    def _in_place(self, value: str | Function) -> Function:
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
        best: dict[Function, float] = {self.true: 0, self.false: inf}
        folded(function, best, lambda at, high, low: min(low + more[at][0], high + more[at][1]))
        values = {name: held < without for name, (without, held) in zip(self.names, prices, strict=True)}
        node = function
        while node != self.true:
            at = variable_at(node)
            high, low = branches(node)
            value = best[high] + more[at][1] < best[low] + more[at][0]
            values[self.names[at]] = value
            node = high if value else low
        return values

    def minimal(self, function: Function, names: Iterable[str]) -> tuple[Function, Function]:
        """Return where the function holds and would not with fewer of the variables `names` true, all others alike.

        The second is where it would hold with these or with fewer.
        """
        upward, least = function, function
        # From the bottom of the order to its top: what is above a variable is made again for it.
        kept = sorted((self._index[name] for name in names if name in self._index), reverse=True)
        for name in map(self.names.__getitem__, kept):
            either = self.exists(upward, (name,))
            if either != upward:
                with self.limits():
                    upward = self.variable(name).ite(either, upward)
        for name in map(self.names.__getitem__, reversed(kept)):
            without = self.forall(upward, (name,))
            with self.limits():
                # Where it would hold with fewer of them it is not minimal; what does not matter is never needed.
                least = (self.variable(name) & without).imp_strict(least)
        return least, upward

    def smallest(self, function: Function, names: Sequence[str]) -> Iterator[frozenset[str]]:
        """Yield the sets of `names` that are true where the function holds, those of fewest names first, each once.

        Raises:
            ValueError: the function depends on other variables.
        """
        if not self.support(function) <= set(names):
            raise ValueError("the function depends on other variables")
        order = sorted(names, key=lambda name: self._index[name])
        best: dict[Function, float] = {self.true: 0, self.false: inf}
        folded(function, best, lambda _, high, low: min(low, high + 1))
        if function == self.false:
            return
        # A* over partial assignments: what is still to come costs at least `best`.
        tie = count()
        waiting: list[tuple[float, int, int, tuple[str, ...], Function]] = []
        heappush(waiting, (best[function], next(tie), 0, (), function))
        while waiting:
            _, _, level, chosen, node = heappop(waiting)
            if level == len(order):
                yield frozenset(chosen)
                continue
            name = order[level]
            if node != self.true and self.names[variable_at(node)] == name:
                high, low = branches(node)
            else:
                high = low = node
            for part, taken in ((low, chosen), (high, (*chosen, name))):
                if part != self.false:
                    heappush(waiting, (len(taken) + best[part], next(tie), level + 1, taken, part))


def _with_both(number: int, high: int, low: int) -> int:
    """Return the numbers of the variables below a node, as bits."""
    return 1 << number | high | low
