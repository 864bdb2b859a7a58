"""Joined texts: what is possible of the fields, with and without splits."""

from __future__ import annotations

import pytest

from archcaps.logic.bitplanes import BitPlanes
from archcaps.logic.choice import Choice
from archcaps.logic.concatenation import JOINED, LIMIT, Concatenation, Split, joined
from archcaps.logic.graph import TRUE, Node, fact, rule
from archcaps.logic.ternary import Ternary


class Thing:
    scope = "thing"


@rule("made up for this test")
def on(thing: Thing) -> Node:
    """The thing is on."""
    return fact("thing.switch") & fact("thing.power")


def line(*splits: Split) -> Concatenation:
    """gone: no line; else `on` or `off`, and behind it the colour, which follows."""
    whole: Choice[str | None] = Choice.first_true(((fact("thing.gone"), None), (TRUE, JOINED)))
    state = Choice.first_true(((on(Thing()), "on"), (TRUE, "off")))
    colour = Choice.first_true(((on(Thing()), ", green"), (TRUE, ", red")))
    return Concatenation(whole, (("state", state), ("colour", colour)), splits)


def test_known_facts_give_one_text() -> None:
    facts = {"thing.gone": False, "thing.switch": True, "thing.power": True}
    answer = line().answer(Ternary(facts))
    assert answer.possible == ("on, green",)
    assert answer.reasons == {"thing.gone", "thing.switch", "thing.power"}


def test_the_whole_text_stands_alone() -> None:
    assert line().answer(Ternary({"thing.gone": True})).possible == (None,)


def test_without_a_split_fields_are_joined_freely_and_with_one_they_fit() -> None:
    facts = {"thing.switch": True}
    free = {None, "on, green", "on, red", "off, green", "off, red"}
    assert set(line().answer(Ternary(facts)).possible) == free
    answer = line(Split.on(on(Thing()))).answer(Ternary(facts))
    assert set(answer.possible) == {None, "on, green", "off, red"}
    assert "thing.power" in answer.reasons
    assert "thing.on" not in answer.reasons


def test_fields_by_name() -> None:
    assert line().field("colour").labels == (", green", ", red")
    with pytest.raises(KeyError):
        line().field("shape")


def test_more_texts_than_are_listed_are_said_to_be_more() -> None:
    digit = Choice.one_of((fact(f"thing.digit_{number}"), str(number)) for number in range(10))
    whole: Choice[str | None] = Choice.first_true(((TRUE, JOINED),))
    number = Concatenation(whole, tuple((str(place), digit) for place in range(4)))
    answer = number.answer(Ternary({}))
    assert len(answer.possible) == LIMIT
    assert not answer.complete
    with pytest.raises(ValueError, match="more than 1000 texts"):
        _ = number.labels


def test_joined() -> None:
    assert joined([None], [["a"]]) == [None]
    assert joined([None, JOINED], [["a", "b"], ["", "c"]]) == [None, "a", "ac", "b", "bc"]


def test_observing_adds_to_both_interpretations() -> None:
    ternary = Ternary({}, {"thing.other": True}).observing({"thing.on": False})
    assert ternary.value(on(Thing())) is False
    planes = BitPlanes(3, {}).observing({"thing.on": True}, 0b101).observing({"thing.on": False}, 0b100)
    assert planes.planes(on(Thing())) == (0b001, 0b100)
