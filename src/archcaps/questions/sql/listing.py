"""What `archcaps rules` lists: every column that can be asked for, and every rule under them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from archcaps.questions.many.judge import questions
from archcaps.questions.sql.lookups import used
from archcaps.questions.sql.query import check_names

__all__ = ["Column", "Rule", "RuleList", "list_rules"]


class Column(msgspec.Struct, frozen=True):
    """A column of the query and what it can hold beside ``undecided``; the empty text: there is no such file."""

    name: str
    labels: list[str]


class Rule(msgspec.Struct, frozen=True):
    """A rule with whose it is, the sentence it implements, and its source."""

    name: str
    meaning: str
    source: str


class RuleList(msgspec.Struct, frozen=True):
    """The columns and rules asked for, by name."""

    format_version: int
    columns: list[Column]
    rules: list[Rule]


def list_rules(names: Sequence[str] = ()) -> RuleList:
    """Return the columns and rules called `names`; all of them where there is none.

    Raises:
        InputError: nothing is called so.
    """
    check_names(names)
    columns = [
        Column(name, ["" if label is None else str(label) for label in choice.labels])
        for name, choice in questions().items()
        if name in names or not names
    ]
    found = []
    for name, node in sorted(used()[1].items()):
        assert node.info is not None, "a rule has its source"
        if name in names or not names:
            found.append(Rule(name, node.info.meaning, node.info.source))
    return RuleList(1, columns, found)
