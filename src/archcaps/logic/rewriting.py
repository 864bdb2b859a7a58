"""The graph with some of it replaced: facts by other nodes, and rules by others of the same name."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping

from archcaps.logic.graph import Kind, Node, all_of, any_of, arguments_of, walk

__all__ = ["Override", "rewritten", "spelled_out"]

#: What stands in for a rule: called with the rule's own arguments.
Override = Callable[..., Node]


def rewritten(node: Node, facts: Mapping[str, Node], rules: Mapping[str, Override] | None = None) -> Node:
    """Return `node` with facts replaced, by name, and with other rules in place of those whose function has that name.

    What stands in for a rule may use it: inside of it the rule is as it was.
    """
    overrides = rules or {}
    found: dict[Node, Node] = {}
    for part in walk((node,)):
        found[part] = _one(part, found, facts, overrides)
    return found[node]


def _one(part: Node, found: Mapping[Node, Node], facts: Mapping[str, Node], rules: Mapping[str, Override]) -> Node:
    match part.kind:
        case Kind.CONSTANT:
            return part
        case Kind.FACT:
            return facts.get(part.name, part)
        case Kind.RULE:
            assert part.info is not None, "a rule has its source"
            override = rules.get(part.info.name)
            if override is None:
                return part if found[part.args[0]] is part.args[0] else found[part.args[0]]
            others = {name: rule for name, rule in rules.items() if name != part.info.name}
            return rewritten(override(*arguments_of(part)), facts, others)
        case Kind.NOT:
            return ~found[part.args[0]]
        case Kind.AND:
            return all_of(found[arg] for arg in part.args)
        case Kind.OR:
            return any_of(found[arg] for arg in part.args)


def spelled_out(node: Node, rules: Container[str]) -> Node:
    """Return `node` with the formulas of those rules, by their names in the graph, in place of them."""
    found: dict[Node, Node] = {}
    for part in walk((node,)):
        args = [found[arg] for arg in part.args]
        match part.kind:
            case Kind.RULE if part.name not in rules and args[0] is part.args[0]:
                found[part] = part
            case Kind.RULE:
                found[part] = args[0]
            case Kind.NOT:
                found[part] = ~args[0]
            case Kind.AND:
                found[part] = all_of(args)
            case Kind.OR:
                found[part] = any_of(args)
            case _:
                found[part] = part
    return found[node]
