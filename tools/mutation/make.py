"""Makes the mutants of a module of the rules from its syntax tree: one operator, one fact, one operand, one row.

Left alone are what no rule is made of (annotations, decorators, docstrings, lists of exports), and what cannot be
traced whatever the tests are: the closing `(TRUE, ...)` of a table is never taken away.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Final

from tools.mutation.mutant import RULES, Mutant, numbered
from tools.mutation.pools import Pools
from tools.mutation.tables import is_table, table_mutants

__all__ = ["every_mutant", "mutants_of"]

#: Texts of places are cut to so many characters in a mutant's id.
_WIDTH: Final = 90
_SWAPPED: Final[dict[type[ast.AST], type[ast.operator] | type[ast.cmpop] | type[ast.boolop]]] = {
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn,
    ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
_CONSTANTS: Final = {"TRUE": "FALSE", "FALSE": "TRUE"}


def every_mutant() -> list[Mutant]:
    """Return every mutant of every module of the rules, in order."""
    return [mutant for path in sorted(RULES.glob("*.py")) for mutant in mutants_of(path.stem, path.read_text("utf-8"))]


def mutants_of(module: str, text: str) -> list[Mutant]:
    """Return the mutants of one module's text."""
    tree = ast.parse(text)
    return list(numbered(_Maker(module, Pools(tree)).of(tree)))


class _Maker:
    def __init__(self, module: str, pools: Pools) -> None:
        self.module = module
        self.pools = pools
        self.function = ""

    def of(self, node: ast.AST, parent: ast.AST | None = None) -> Iterator[Mutant]:
        """Yield the mutants of all that stands under `node`."""
        outer, self.function = self.function, _inner_name(self.function, node)
        if isinstance(node, ast.expr | ast.Match):
            yield from self._here(node, parent)
        for child in ast.iter_child_nodes(node):
            if not _left_alone(child, node):
                yield from self.of(child, node)
        self.function = outer

    def _mutant(self, kind: str, node: ast.expr, new: str, shown: tuple[str, str] | None = None) -> Mutant:
        before, after = shown or (ast.unparse(node), new)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start, end = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
        return Mutant(self.module, self.function or "-", kind, _cut(before), _cut(after), start, end, f"({new})")

    def _here(self, node: ast.expr | ast.Match, parent: ast.AST | None) -> Iterator[Mutant]:
        match node:
            case ast.BinOp(op=ast.BitAnd() | ast.BitOr()):
                yield from self._of_operator(node, parent)
            case ast.UnaryOp(op=ast.Invert()):
                yield self._mutant("negation", node, ast.unparse(node.operand))
            case ast.Compare() | ast.BoolOp():
                yield self._mutant("operator", node, ast.unparse(_with_other_operator(node)))
            case ast.Call(func=ast.Name(id="choose"), args=[condition, then, otherwise]):
                swapped = ast.Call(node.func, [condition, otherwise, then], [])
                yield self._mutant("branches", node, ast.unparse(swapped))
            case ast.Attribute(attr=attr, value=base) if other := self.pools.other_fact(node):
                yield self._mutant("fact", node, f"{ast.unparse(base)}.{other}", (f"{ast.unparse(base)}.{attr}", other))
            case ast.Constant(value=str()) if other := self.pools.other_name(node):
                yield self._mutant("name", node, repr(other))
            case ast.Name(id=name) if name in _CONSTANTS and not _closes_a_table(node, parent):
                yield self._mutant("constant", node, _CONSTANTS[name])
            case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements) if len(elements) > 1:
                yield from self._of_elements(node, elements, parent)
            case ast.Dict() if len(node.keys) > 1:
                yield from self._of_entries(node)
            case _:
                pass
        if isinstance(node, ast.expr) and _is_leaf(node, parent):
            yield self._mutant("negation", node, f"~{ast.unparse(node)}")

    def _of_operator(self, node: ast.BinOp, parent: ast.AST | None) -> Iterator[Mutant]:
        """Yield the operator swapped, and of a whole chain each operand left out."""
        yield self._mutant("operator", node, ast.unparse(_with_other_operator(node)))
        if not (isinstance(parent, ast.BinOp) and type(parent.op) is type(node.op)):
            operands = _operands(node, type(node.op))
            for left_out, operand in enumerate(operands):
                if isinstance(operand, ast.BinOp):
                    continue  # its own operands are left out one by one
                rest = [each for place, each in enumerate(operands) if place != left_out]
                joined = rest[0]
                for each in rest[1:]:
                    joined = ast.BinOp(joined, node.op, each)
                shown = (ast.unparse(node), f"without {ast.unparse(operand)}")
                yield self._mutant("operand", node, ast.unparse(joined), shown)

    def _of_elements(self, node: ast.expr, elements: Sequence[ast.expr], parent: ast.AST | None) -> Iterator[Mutant]:
        if is_table(node):
            for kind, new, shown in table_mutants(node, parent):
                yield self._mutant(kind, node, new, shown)
        elif all(isinstance(each, ast.Constant | ast.Name | ast.Starred) for each in elements) and self.pools.lists(
            node
        ):
            for place, each in enumerate(elements):
                rest = type(node)(elts=[*elements[:place], *elements[place + 1 :]], ctx=ast.Load())  # type: ignore[call-arg]  # a list, tuple or set
                shown = (ast.unparse(node), f"without {ast.unparse(each)}")
                yield self._mutant("element", node, ast.unparse(rest), shown)

    def _of_entries(self, node: ast.Dict) -> Iterator[Mutant]:
        for place, key in enumerate(node.keys):
            rest = ast.Dict(
                [*node.keys[:place], *node.keys[place + 1 :]], [*node.values[:place], *node.values[place + 1 :]]
            )
            name = ast.unparse(key) if key else ast.unparse(node.values[place])
            yield self._mutant("element", node, ast.unparse(rest), (f"{{... {name} ...}}", "without it"))


def _inner_name(outer: str, node: ast.AST) -> str:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return f"{outer}.{node.name}" if outer else node.name
    if not outer and isinstance(node, ast.Assign | ast.AnnAssign):
        return ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
    return outer


def _left_alone(child: ast.AST, parent: ast.AST) -> bool:
    match parent:
        case ast.FunctionDef() if child in parent.decorator_list or child is parent.returns or child is parent.args:
            return True
        case ast.ClassDef() if not isinstance(child, ast.FunctionDef):
            return True
        case ast.AnnAssign() if child is parent.annotation or ast.unparse(parent.annotation) == "TypeAlias":
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) if name == "__all__" or name in ("Text", "Texts"):
            return True
        case _:
            return isinstance(child, ast.JoinedStr | ast.Assert | ast.Raise | ast.Import | ast.ImportFrom)


def _with_other_operator(node: ast.BinOp | ast.Compare | ast.BoolOp) -> ast.expr:
    match node:
        case ast.BinOp():
            return ast.BinOp(node.left, _SWAPPED[type(node.op)](), node.right)  # type: ignore[arg-type]  # by its kind
        case ast.Compare():
            swapped = [_SWAPPED[type(op)]() for op in node.ops]
            return ast.Compare(node.left, swapped, node.comparators)  # type: ignore[arg-type]  # by its kind
        case _:
            return ast.BoolOp(_SWAPPED[type(node.op)](), node.values)  # type: ignore[arg-type]  # by its kind


def _operands(node: ast.expr, operator: type[ast.operator]) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, operator):
        return [*_operands(node.left, operator), *_operands(node.right, operator)]
    return [node]


def _is_leaf(node: ast.expr, parent: ast.AST | None) -> bool:
    """Whether a single condition stands here by itself.

    Those in a conjunction or disjunction and in rows of tables are left out instead: what shows that shows a negation
    too.
    """
    if not isinstance(node, ast.Attribute | ast.Call | ast.Name) or ast.unparse(node) in _CONSTANTS:
        return False
    match parent:
        case ast.Call(func=ast.Name(id="choose")):
            return node in parent.args
        case ast.Dict():
            return node in parent.values and not _is_a_module_s(node)
        case ast.Return() | ast.IfExp():
            return isinstance(node, ast.Attribute) and not _is_a_module_s(node)
        case _:
            return False


def _is_a_module_s(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Name)
        or (isinstance(node, ast.Attribute) and ast.unparse(node.value)[0].isupper())
        or (isinstance(node, ast.Attribute) and ast.unparse(node.value).startswith("linux_"))
    )


def _closes_a_table(node: ast.Name, parent: ast.AST | None) -> bool:
    return node.id == "TRUE" and isinstance(parent, ast.Tuple) and len(parent.elts) == 2 and parent.elts[0] is node


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."
