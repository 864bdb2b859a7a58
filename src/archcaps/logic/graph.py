"""The graph: named booleans joined by and, or, not, each node made once and shared.

A rule is plain Python over these nodes (`&`, `|`, `~`). Calling it with symbolic facts builds the graph; every
interpretation (ternary values, text, proofs) walks that graph and nothing else evaluates a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cache, wraps
from typing import NoReturn, ParamSpec, cast

from archcaps.docstrings import docstring_of

__all__ = [
    "FALSE",
    "TRUE",
    "Kind",
    "Node",
    "RuleInfo",
    "all_of",
    "any_of",
    "choose",
    "fact",
    "rule",
    "rule_called",
    "walk",
]

P = ParamSpec("P")


class Kind(Enum):
    """What a node is."""

    CONSTANT = "constant"
    FACT = "fact"
    NOT = "not"
    AND = "and"
    OR = "or"
    RULE = "rule"


@dataclass(frozen=True, slots=True)
class RuleInfo:
    """Where a rule comes from: its name, its source and the sentence it implements."""

    name: str
    source: str
    meaning: str
    module: str


class Node:
    """One boolean of the graph. Equal expressions are the same object.

    `kind` says what it is; `name` names a fact or a rule; `args` are its operands; `info` is set on rules.
    """

    __slots__ = ("args", "info", "kind", "name")

    def __init__(self, kind: Kind, name: str, args: tuple[Node, ...], info: RuleInfo | None = None) -> None:
        self.kind = kind
        self.name = name
        self.args = args
        self.info = info

    def __and__(self, other: Node) -> Node:
        return all_of((self, other))

    def __or__(self, other: Node) -> Node:
        return any_of((self, other))

    def __invert__(self) -> Node:
        if self is TRUE:
            return FALSE
        if self is FALSE:
            return TRUE
        if self.kind is Kind.NOT:
            return self.args[0]
        return _make(Kind.NOT, "", (self,))

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} has no truth value while rules are traced: use & | ~ instead of and, or, not, if, =="
        )

    def __repr__(self) -> str:
        match self.kind:
            case Kind.CONSTANT | Kind.FACT | Kind.RULE:
                return self.name
            case Kind.NOT:
                return f"~{self.args[0]!r}"
            case _:
                sign = " & " if self.kind is Kind.AND else " | "
                return "(" + sign.join(repr(arg) for arg in self.args) + ")"


_nodes: dict[tuple[Kind, str, tuple[int, ...]], Node] = {}
_rules: dict[str, Node] = {}
_arguments: dict[Node, tuple[object, ...]] = {}

TRUE = Node(Kind.CONSTANT, "true", ())
FALSE = Node(Kind.CONSTANT, "false", ())


def _make(kind: Kind, name: str, args: tuple[Node, ...], info: RuleInfo | None = None) -> Node:
    key = (kind, name, tuple(id(arg) for arg in args))
    node = _nodes.get(key)
    if node is None:
        node = _nodes[key] = Node(kind, name, args, info)
    return node


def fact(name: str) -> Node:
    """Return the free boolean called `name`, for example ``host.mds_no``.

    Raises:
        ValueError: a rule has that name: an observation of it would be ambiguous.
    """
    if name in _rules:
        raise ValueError(f"{name} is a rule and cannot be a fact too")
    return _make(Kind.FACT, name, ())


def all_of(nodes: Iterable[Node]) -> Node:
    """Return the conjunction of `nodes`; true where there are none."""
    return _join(Kind.AND, nodes, neutral=TRUE, absorbing=FALSE)


def any_of(nodes: Iterable[Node]) -> Node:
    """Return the disjunction of `nodes`; false where there are none."""
    return _join(Kind.OR, nodes, neutral=FALSE, absorbing=TRUE)


def _join(kind: Kind, nodes: Iterable[Node], *, neutral: Node, absorbing: Node) -> Node:
    flat: dict[Node, None] = {}
    for node in nodes:
        for part in node.args if node.kind is kind else (node,):
            if part is absorbing:
                return absorbing
            if part is not neutral:
                flat[part] = None
    if not flat:
        return neutral
    if len(flat) == 1:
        return next(iter(flat))
    return _make(kind, "", tuple(flat))


def choose(condition: Node, then: Node, otherwise: Node) -> Node:
    """Return `then` where `condition` holds, else `otherwise`.

    The third term is the consensus of the first two: without it an unknown condition would hide that both agree.
    """
    return (condition & then) | (~condition & otherwise) | (then & otherwise)


def rule(source: str) -> Callable[[Callable[P, Node]], Callable[P, Node]]:
    """Make a function a rule: its result becomes a node that carries the function's name, meaning and source.

    The first argument must have a `scope` (``host``, ``guest``, ...): the node is called ``scope.function``. Text
    arguments follow in brackets: ``kvm.offers[mds_no]``. The function is traced once for each set of arguments.
    """
    if not source.strip():
        raise ValueError("a rule needs a source")

    def decorate(function: Callable[P, Node]) -> Callable[P, Node]:
        docstring = docstring_of(function)
        if not docstring:
            raise ValueError(f"rule {function.__name__} needs a docstring: the sentence it implements")
        meaning = docstring.strip().partition("\n")[0]

        def trace(*args: P.args, **kwargs: P.kwargs) -> Node:
            scope = getattr(args[0], "scope", None)
            if not isinstance(scope, str):
                raise TypeError(f"the first argument of rule {function.__name__} has no scope")
            extra = [arg for arg in args[1:] if isinstance(arg, str)]
            name = f"{scope}.{function.__name__}" + (f"[{','.join(extra)}]" if extra else "")
            info = RuleInfo(function.__name__, source, meaning, function.__module__)
            body = function(*args, **kwargs)
            node = _make(Kind.RULE, name, (body,), info)
            _arguments[node] = args
            if _rules.setdefault(name, node) is not node:
                raise ValueError(f"two different rules are called {name}")
            if (Kind.FACT, name, ()) in _nodes:
                raise ValueError(f"{name} is a fact and cannot be a rule too")
            return node

        # Tracing is pure: the cache only spares building the same expression again.
        return cast("Callable[P, Node]", wraps(function)(cache(trace)))

    return decorate


def rule_called(name: str) -> Node | None:
    """Return the rule traced under `name`, for example ``guest.exposed[mds]``; None where there is none yet."""
    return _rules.get(name)


def arguments_of(node: Node) -> tuple[object, ...]:
    """Return what a rule was called with.

    Raises:
        KeyError: `node` is no rule.
    """
    return _arguments[node]


def walk(roots: Iterable[Node], known: Container[Node] = ()) -> list[Node]:
    """Return every node under `roots` once, operands before the nodes that use them; skip what lies under `known`."""
    seen: dict[Node, None] = {}
    stack = [(node, False) for node in reversed(list(roots))]
    while stack:
        node, done = stack.pop()
        if done:
            seen[node] = None
        elif node not in seen and node not in known:
            stack.append((node, True))
            stack.extend((arg, False) for arg in reversed(node.args))
    return list(seen)
