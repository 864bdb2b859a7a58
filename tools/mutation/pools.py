"""What a fact or a name of a rule is replaced by: another one that the same module asks of the same kind of thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import Final

from archcaps.tables.bits import BITS
from archcaps.tables.kernels import BEHAVIOURS
from archcaps.tables.names import ACCESS_LOOKUPS, CPU_LOOKUPS, KERNEL_LOOKUPS, SILICON_LOOKUPS, VM_LOOKUPS

__all__ = ["Pools"]

#: Bases that are modules, and not CPUs or kernels.
_MODULES: Final = {"bugs", "features", "hardware", "spectre_v2", "v2", "retbleed", "branch_bugs", "linux_mitigations"}


class Pools:
    """The facts and the names that one module uses."""

    def __init__(self, tree: ast.Module) -> None:
        facts: defaultdict[str, dict[str, None]] = defaultdict(dict)
        names: dict[str, None] = {}
        self._names: set[ast.Constant] = set()
        self._lists: set[ast.expr] = set()
        sources = {
            part for node in ast.walk(tree) for each in getattr(node, "decorator_list", []) for part in ast.walk(each)
        }
        for node in ast.walk(tree):
            if node in sources:
                continue
            if isinstance(node, ast.Attribute) and (kind := _kind(node)):
                facts[kind][node.attr] = None
            for constant in _names_in(node):
                names[str(constant.value)] = None
                self._names.add(constant)
            self._lists.update(_lists_in(node, top=node in tree.body))
        self._facts = {kind: sorted(attrs) for kind, attrs in facts.items()}
        self._other = _next(sorted(names))

    def other_fact(self, node: ast.Attribute) -> str | None:
        """Return the fact that takes the place of this one; None: this is no fact, or there is no other."""
        kind = _kind(node)
        return _next(self._facts[kind]).get(node.attr) if kind else None

    def other_name(self, node: ast.Constant) -> str | None:
        """Return the name that takes the place of this one, where a rule is asked for something by a name."""
        return self._other.get(str(node.value)) if node in self._names else None

    def lists(self, node: ast.expr) -> bool:
        """Whether this is a list of names that the rules go by."""
        return node in self._lists


def _next(values: list[str]) -> dict[str, str]:
    return dict(zip(values, [*values[1:], *values[:1]], strict=True)) if len(values) > 1 else {}


def _kind(node: ast.Attribute) -> str | None:
    """Return the kind of thing this is a fact of."""
    base = ast.unparse(node.value)
    if base in _MODULES:
        return None
    if base.rpartition(".")[2] == "silicon" and (node.attr in SILICON_LOOKUPS or node.attr in BITS):
        return "silicon"
    for kind, known in (
        ("cpu", {*BITS, *CPU_LOOKUPS}),
        ("kernel", {*BEHAVIOURS, *KERNEL_LOOKUPS}),
        ("access", ACCESS_LOOKUPS),
        ("vm", VM_LOOKUPS),
    ):
        if node.attr in known:
            return kind
    return None


def _names_in(node: ast.AST) -> list[ast.Constant]:
    """Return the names by which something is asked for right here: arguments of rules, keys, what is compared with."""
    match node:
        case ast.Call(func=ast.Name(), args=args):
            found = args
        case ast.Call(func=ast.Attribute(attr="bit" | "stored" | "field"), args=args):
            found = args
        case ast.Subscript(slice=key):
            found = [key]
        case ast.Compare(comparators=others):
            found = others
        case ast.MatchValue(value=value):
            found = [value]
        case _:
            return []
    return [each for each in found if isinstance(each, ast.Constant) and isinstance(each.value, str) and each.value]


def _lists_in(node: ast.AST, *, top: bool) -> list[ast.expr]:
    """Return the lists of names right here: constants, what `in` and `is_in` look in, and loops' lists."""
    match node:
        case ast.Assign(value=value) | ast.AnnAssign(value=value) if top and value is not None:
            return [each for each in ast.walk(value) if isinstance(each, ast.Tuple | ast.Set)]
        case ast.Compare(comparators=[ast.Tuple() as looked_in]):
            return [looked_in]
        case ast.Call(func=ast.Attribute(attr="is_in"), args=[ast.List() as looked_in]):
            return [looked_in]
        case ast.Call(func=ast.Name(id="any_of"), args=[ast.Tuple() as looked_in]):
            return [looked_in]
        case ast.For(iter=ast.Tuple() as looped) | ast.comprehension(iter=ast.Tuple() as looped):
            return [looped]
        case _:
            return []
