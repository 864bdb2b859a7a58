"""The prose interpretation: a node as a formula to read, one level deep, and as a truth table.

One level deep: facts and other rules are inputs, with their names. What an input means is said by whoever renders.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final, Literal

from archcaps.logic.graph import FALSE, TRUE, Kind, Node

__all__ = ["Formula", "Row", "columns", "inputs_of", "prose", "simplest", "table", "vector"]

Shape = Literal["always", "never", "input", "not", "all", "any", "if"]
#: Gives an input in words: its name, and whether it is asked for or ruled out.
Words = Callable[[str, bool], str]

#: Of so many inputs at most the shortest formula is looked for.
_SEARCHED: Final = 10
#: Up to so many inputs a truth table is made at all: it has two to that power bits.
_TABLED = 18


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula as people read it: `not` stands before inputs only; `if` has a condition, a then and an otherwise."""

    shape: Shape
    name: str = ""
    parts: tuple[Formula, ...] = ()

    def evaluate(self, values: Mapping[str, bool]) -> bool:
        """Return the value of the formula for these values of its inputs."""
        match self.shape:
            case "always" | "never":
                return self.shape == "always"
            case "input":
                return values[self.name]
            case "not":
                return not values[self.name]
            case "all":
                return all(part.evaluate(values) for part in self.parts)
            case "any":
                return any(part.evaluate(values) for part in self.parts)
            case "if":
                condition, then, otherwise = self.parts
                return (then if condition.evaluate(values) else otherwise).evaluate(values)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names it reads, in the order they are first named."""
        if self.shape in ("input", "not"):
            return (self.name,)
        return tuple(dict.fromkeys(name for part in self.parts for name in part.inputs))

    def text(self, *, inner: bool = False) -> str:
        """Return the formula in one line: `and`, `or`, `not`, and an `if` as ``(then if condition else otherwise)``."""
        match self.shape:
            case "always" | "never":
                return self.shape
            case "input":
                return self.name
            case "not":
                return f"not {self.name}"
            case "if":
                condition, then, otherwise = (part.text(inner=True) for part in self.parts)
                return f"({then} if {condition} else {otherwise})"
            case _:
                sign = " and " if self.shape == "all" else " or "
                line = sign.join(part.text(inner=True) for part in self.parts)
                return f"({line})" if inner else line

    def outline(self, words: Words, depth: int = 0) -> list[tuple[int, str]]:
        """Return the formula as lines with their depth; every input stands in `words`."""
        match self.shape:
            case "always" | "never":
                inside = "it holds" if self.shape == "always" else "it does not hold"
                return [(depth, inside if depth else self.shape)]
            case "input" | "not":
                return [(depth, words(self.name, self.shape == "input"))]
            case "if":
                condition, then, otherwise = self.parts
                if condition.shape in ("input", "not"):
                    lines = [(depth, f"if {words(condition.name, condition.shape == 'input')}:")]
                else:
                    lines = [(depth, "if this holds:"), *condition.outline(words, depth + 1), (depth, "then:")]
                lines += then.outline(words, depth + 1)
                return [*lines, (depth, "otherwise:"), *otherwise.outline(words, depth + 1)]
            case _:
                return self._list(words, depth)

    def _list(self, words: Words, depth: int) -> list[tuple[int, str]]:
        if all(part.shape == "not" for part in self.parts):
            heading = "none of these:" if self.shape == "all" else "not all of these:"
            return [(depth, heading), *((depth + 1, words(part.name, True)) for part in self.parts)]
        heading = "all of these:" if self.shape == "all" else "any of these:"
        return [(depth, heading), *(line for part in self.parts for line in part.outline(words, depth + 1))]


def prose(node: Node) -> Formula:
    """Return `node` as a formula of facts and rules; a rule as what it says itself."""
    return _read(node.args[0] if node.kind is Kind.RULE else node, wanted=True)


def _read(node: Node, *, wanted: bool) -> Formula:
    """Return `node`, or its opposite where it is not `wanted`: negations go down to the inputs."""
    match node.kind:
        case Kind.CONSTANT:
            return Formula("always" if (node is TRUE) is wanted else "never")
        case Kind.FACT | Kind.RULE:
            return Formula("input" if wanted else "not", node.name)
        case Kind.NOT:
            return _read(node.args[0], wanted=not wanted)
        case Kind.AND:
            return _join("all" if wanted else "any", [_read(arg, wanted=wanted) for arg in node.args])
        case Kind.OR:
            return _join("any" if wanted else "all", _alternatives(node, wanted=wanted))


def _join(shape: Literal["all", "any"], parts: Sequence[Formula]) -> Formula:
    neutral, absorbing = ("always", "never") if shape == "all" else ("never", "always")
    flat: dict[Formula, None] = {}
    for part in parts:
        if part.shape == absorbing:
            return part
        flat.update(dict.fromkeys(part.parts if part.shape == shape else (part,)))
    kept = tuple(part for part in flat if part.shape != neutral)
    if not kept:
        return Formula(neutral)  # type: ignore[arg-type]  # one of two literals
    return kept[0] if len(kept) == 1 else Formula(shape, "", kept)


def _alternatives(node: Node, *, wanted: bool) -> list[Formula]:
    """Return the operands of a disjunction; those that `choose` made as one `if`."""
    args = list(node.args)
    parts = []
    while found := _find_choice(args):
        rows, condition, branches = found
        args = [arg for arg in args if arg not in rows]
        then, otherwise = (
            _join("all" if wanted else "any", [_read(part, wanted=wanted) for part in branch])
            if branch
            else _read(TRUE, wanted=wanted)
            for branch in branches
        )
        parts.append(Formula("if", "", (_read(condition, wanted=True), then, otherwise)))
    return [*(_read(arg, wanted=wanted) for arg in args), *parts]


def _find_choice(args: Sequence[Node]) -> tuple[set[Node], Node, tuple[list[Node], list[Node]]] | None:
    """Return three operands that are (c and t), (not c and o), (t and o): the operands, c, and the parts of t and o."""
    joined = {arg: (arg.args if arg.kind is Kind.AND else (arg,)) for arg in args}
    by_parts = {frozenset(parts): arg for arg, parts in joined.items()}
    for first, second in combinations(args, 2):
        for condition in joined[first]:
            opposite = next((part for part in joined[second] if _are_opposite(part, condition)), None)
            if opposite is None:
                continue
            then = [part for part in joined[first] if part is not condition]
            otherwise = [part for part in joined[second] if part is not opposite]
            consensus = by_parts.get(frozenset((*then, *otherwise)))
            if consensus is not None and consensus not in (first, second):
                return {first, second, consensus}, condition, (then, otherwise)
    return None


def _are_opposite(one: Node, other: Node) -> bool:
    return (one.kind is Kind.NOT and one.args[0] is other) or (other.kind is Kind.NOT and other.args[0] is one)


# --- truth as one long number: bit i is the value where the inputs, first highest, are the digits of i ----------------


def inputs_of(node: Node, inside: Container[str] = ()) -> list[str]:
    """Return the names that `node` reads: facts, and rules but those called as in `inside`, which are looked into."""
    names: dict[str, None] = {}
    seen: set[Node] = set()
    stack = [node.args[0] if node.kind is Kind.RULE else node]
    while stack:
        part = stack.pop()
        if part in seen:
            continue
        seen.add(part)
        if _is_input(part, inside):
            names[part.name] = None
        else:
            stack.extend(reversed(part.args))
    return list(names)


def _is_input(node: Node, inside: Container[str]) -> bool:
    if node.kind is Kind.RULE:
        return node.info is None or node.info.name not in inside
    return node.kind is Kind.FACT


def vector(node: Node, inputs: Sequence[str], inside: Container[str] = ()) -> int:
    """Return the truth of `node` over all values of `inputs`, which must name all that it reads."""
    size = 1 << len(inputs)
    every = (1 << size) - 1
    known = dict(zip(inputs, columns(len(inputs)), strict=True))
    found: dict[Node, int] = {TRUE: every, FALSE: 0}

    def value(part: Node) -> int:
        if part not in found:
            if _is_input(part, inside):
                found[part] = known[part.name]
            elif part.kind is Kind.RULE:
                found[part] = value(part.args[0])
            elif part.kind is Kind.NOT:
                found[part] = every & ~value(part.args[0])
            else:
                result = every if part.kind is Kind.AND else 0
                for arg in part.args:
                    result = result & value(arg) if part.kind is Kind.AND else result | value(arg)
                found[part] = result
        return found[part]

    return value(node.args[0] if node.kind is Kind.RULE else node)


def columns(count: int) -> list[int]:
    """Return the vector of each of `count` inputs."""
    size = 1 << count
    found = []
    for index in range(count):
        half = size >> (index + 1)
        block = ((1 << half) - 1) << half
        found.append(block * (((1 << size) - 1) // ((1 << (2 * half)) - 1)))
    return found


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a truth table: a value for each input (None: whatever it is), and the result."""

    values: tuple[bool | None, ...]
    result: bool


def table(node: Node) -> tuple[list[str], list[Row]]:
    """Return the inputs of `node` and its truth table: rows that exclude each other and cover everything.

    A row leaves out the inputs that do not matter once the ones before it are known.
    """
    inputs = inputs_of(node)
    return inputs, list(_rows(vector(node, inputs), len(inputs), ()))


def _rows(truth: int, count: int, before: tuple[bool | None, ...]) -> list[Row]:
    size = 1 << count
    every = (1 << size) - 1
    if truth in (0, every):
        return [Row((*before, *(None for _ in range(count))), truth != 0)]
    half = size >> 1
    without, having = truth & ((1 << half) - 1), truth >> half
    if without == having:
        return _rows(without, count - 1, (*before, None))
    return [*_rows(having, count - 1, (*before, True)), *_rows(without, count - 1, (*before, False))]


def simplest(node: Node, assume: Node = TRUE) -> Formula:
    """Return a shortest formula that is `node` wherever `assume` holds: what always has to hold, then the ways left.

    Of many inputs only those that matter are searched; past ten of these, or 18 of all, it is the formula as written.
    """
    inputs = inputs_of(node)
    inputs += [name for name in inputs_of(assume) if name not in inputs]
    if len(inputs) > _TABLED:
        return prose(node)
    given = vector(assume, inputs)
    truth = vector(node, inputs) & given
    by_name = dict(zip(inputs, columns(len(inputs)), strict=True))
    every = (1 << (1 << len(inputs))) - 1
    free = every & ~given
    fixed: list[Formula] = []
    for name, column in by_name.items():
        for literal, shape in ((column, "input"), (every & ~column, "not")):
            if truth and not truth & ~literal and given & ~literal:
                fixed.append(Formula(shape, name))  # type: ignore[arg-type]  # one of two literals
                free |= every & ~literal
    missing = every & ~(truth | free)
    if not missing:
        return _join("all", fixed) if truth else Formula("never")
    settled = {part.name for part in fixed}
    left = [
        name for name, column in by_name.items() if name not in settled and given & column and given & every & ~column
    ]
    if len(left) > _SEARCHED:
        return prose(node)
    return _join("all", [*fixed, _cover(truth, truth | free, {name: by_name[name] for name in left}, every)])


def _cover(truth: int, permitted: int, columns: Mapping[str, int], every: int) -> Formula:
    """Return conjunctions within `permitted` that cover `truth`, the shortest and most covering first."""
    found: list[Formula] = []
    for length in range(1, len(columns) + 1):
        cubes = []
        for names in combinations(columns, length):
            for signs in product((True, False), repeat=length):
                cube = every
                for name, sign in zip(names, signs, strict=True):
                    cube &= columns[name] if sign else every & ~columns[name]
                if not cube & ~permitted and cube & truth:
                    literals = [Formula("input" if sign else "not", n) for n, sign in zip(names, signs, strict=True)]
                    cubes.append((cube, _join("all", literals)))
        while True:
            best = max(cubes, key=lambda item: (item[0] & truth).bit_count(), default=None)
            if best is None or not best[0] & truth:
                break
            truth &= ~best[0]
            found.append(best[1])
        if not truth:
            break
    return _join("any", found)
