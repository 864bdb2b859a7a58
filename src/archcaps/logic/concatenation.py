"""Texts made of parts that are chosen apart: the answer is every joined text that is still possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from math import prod

from archcaps.logic.choice import Answer, Choice
from archcaps.logic.graph import TRUE, Node
from archcaps.logic.ternary import Ternary

__all__ = ["JOINED", "LIMIT", "Concatenation", "Split", "joined"]

#: The label of the whole line that stands for the joined fields.
JOINED = "(fields)"
#: So many joined texts are listed; `Answer.complete` says whether that was all.
LIMIT = 1000


@dataclass(frozen=True, eq=False)
class Split:
    """A choice that several fields follow, and for each of its labels what it makes of the rules that read it.

    `by_label` names the rules as they are called in the graph.
    """

    choice: Choice[str]
    by_label: Mapping[str, Mapping[str, bool]]

    @classmethod
    def on(cls, rule: Node) -> Split:
        """Return the split on whether `rule` holds."""
        choice = Choice.first_true(((rule, "yes"), (TRUE, "no")))
        return cls(choice, {"yes": {rule.name: True}, "no": {rule.name: False}})


@dataclass(frozen=True, eq=False)
class Concatenation:
    """A line that is one of a few whole texts or None, or where `whole` falls on `JOINED` its `fields` joined.

    Where a choice of `splits` is open each label that is possible is looked at by itself, so that no text joins the
    field of one with that of another. Apart from these what is possible is known of each field alone: with unknown
    facts the joined texts can still be more than the facts permit together, never fewer.
    """

    whole: Choice[str | None]
    fields: tuple[tuple[str, Choice[str]], ...]
    splits: tuple[Split, ...] = ()

    @property
    def labels(self) -> tuple[str | None, ...]:
        """Every text there can be.

        Raises:
            ValueError: there are more than `LIMIT`.
        """
        if prod(len(choice.labels) for _, choice in self.fields) > LIMIT:
            raise ValueError(f"more than {LIMIT} texts: ask the fields")
        return tuple(joined(self.whole.labels, [choice.labels for _, choice in self.fields]))

    def field(self, name: str) -> Choice[str]:
        """Return one field by its name.

        Raises:
            KeyError: there is none of that name.
        """
        return dict(self.fields)[name]

    def answer(self, ternary: Ternary) -> Answer[str | None]:
        """Return the texts still possible in `ternary` (at most `LIMIT`), and the inputs behind that."""
        texts: dict[str | None, None] = {}
        reasons: frozenset[str] = frozenset()
        complete = True
        supposed: list[tuple[Mapping[str, bool], ...]] = []
        for split in self.splits:
            answer = split.choice.answer(ternary)
            if not answer.decided:
                reasons |= answer.reasons
                supposed.append(tuple(split.by_label[label] for label in answer.possible))
        each = [{name: value for part in parts for name, value in part.items()} for parts in product(*supposed)]
        for observed, reading in zip(each, ternary.supposing(each) if supposed else (ternary,), strict=True):
            found = self._answer(reading)
            texts |= dict.fromkeys(found.possible)
            # What was supposed is no input: the reasons for the split stand for it.
            reasons |= found.reasons - observed.keys()
            complete &= found.complete
        return Answer(tuple(texts)[:LIMIT], reasons, complete=complete and len(texts) <= LIMIT)

    def _answer(self, ternary: Ternary) -> Answer[str | None]:
        whole = self.whole.answer(ternary)
        reasons = whole.reasons
        parts: list[tuple[str, ...]] = []
        if JOINED in whole.possible:
            for _, choice in self.fields:
                found = choice.answer(ternary)
                parts.append(found.possible)
                reasons |= found.reasons
        texts = joined(whole.possible, parts)
        return Answer(tuple(texts[:LIMIT]), reasons, complete=len(texts) <= LIMIT)


def joined(whole: Sequence[str | None], parts: Sequence[Sequence[str]], most: int = LIMIT) -> list[str | None]:
    """Return the whole texts, and where `JOINED` is one of them every text joined of `parts` (to one over `most`)."""
    texts: dict[str | None, None] = dict.fromkeys(text for text in whole if text != JOINED)
    if JOINED in whole:
        texts |= dict.fromkeys("".join(each) for each in islice(product(*parts), most + 1))
    return list(texts)
