"""A survey counts without the least deviations what it counts with them; what is read for many hosts at once holds."""

from __future__ import annotations

import gc
import random
from functools import partial

import pytest

from archcaps.logic.diagram import Diagrams, Function
from archcaps.logic.reading import Reading
from archcaps.questions.prove import prove
from archcaps.rules.properties import VIOLATIONS
from archcaps.space.bounds import Bounds, Shown
from archcaps.space.cells import Cell, GuestClass, Guests
from archcaps.space.facts import default_of, fact_in
from archcaps.space.names import DEVIATES, variable_of
from archcaps.space.releases import choose_releases
from archcaps.space.space import Space
from archcaps.space.survey import Survey

BOUNDS = Bounds(kvm=choose_releases("5.15.0,7.3.4", "kvm"), guest_kernels=choose_releases("6.12.117,7.3.4", "guests"))
ASKED = [
    ("exposed", "mds", Shown.ANY),
    ("newly-exposed", "mmio_stale_data", Shown.ANY),
    ("exposed", "tsa", Shown.SUBSET),
]
#: So many cells of each space are looked at.
CELLS = 25


@pytest.fixture(params=ASKED, ids=lambda each: f"{each[0]} {each[1]} {each[2].value}")
def survey(request: pytest.FixtureRequest) -> Survey:
    forbidden, subject, shown = request.param
    return Survey(Space(VIOLATIONS[forbidden](subject), BOUNDS.showing(shown), seconds=600))


def some_cells(survey: Survey) -> list[Cell]:
    cells = list(survey.space.cells())
    return random.Random("cells").sample(cells, min(CELLS, len(cells)))


def test_counts_are_those_of_what_deviates(survey: Survey) -> None:
    space = survey.space
    found = [0, 0, 0]
    for cell in space.cells():
        functions = (cell.possible, *space.sure_and_open(cell.possible, cell.found))
        found = [total + cell.weight * space.count(each) for total, each in zip(found, functions, strict=True)]
    before = [survey.configurations, survey.sure, survey.open]
    assert found == before
    # The groups are made later, and change nothing; the cells that surely fail are all in one.
    assert sum(cell.weight * space.count(group.sure) for group in survey.groups for cell in group.cells) == survey.sure
    assert [survey.configurations, survey.sure, survey.open] == before


def deviating(cell: Cell, diagrams: Diagrams, name: str) -> Function:
    """Return a fact as a function of what deviates from this very host's defaults."""
    variable = fact_in(diagrams, name)
    guest = variable_of(name).startswith(DEVIATES)
    return variable ^ default_of(diagrams, name, cell.host.defaults) if guest else variable


def test_what_is_shown_is_read_as_what_deviates(survey: Survey) -> None:
    space = survey.space
    for cell in some_cells(survey):
        reading = Reading(space.diagrams, partial(deviating, cell, space.diagrams))
        given, root = (
            reading.of_function(each, cell.host.shows.over_facts, space.diagrams.true)
            for each in (cell.guest.given, cell.guest.root)
        )
        with space.diagrams.limits():
            possible = given & cell.host.deviating(cell.host.possible)
            assert cell.possible == possible
            assert cell.found == root & possible


def test_guests_weighed_in_parts_are_those_weighed_together(survey: Survey) -> None:
    for guest in (cell.guest for cell in some_cells(survey)):
        whole = GuestClass(guest.choices, [Guests(guest.choices, guest.chosen)], guest.given, guest.root)
        assert guest.ways == whole.ways
        assert guest.own == whole.own
        assert guest.beside_others == whole.beside_others
        for members, places in ((guest.members, guest.places), (guest.own_members, guest.own_places_of(guest.own))):
            assert places == {place for _, kernels in members for each in kernels.places.values() for place in each}


def test_no_diagrams_are_left_when_it_is_answered() -> None:
    gc.collect()
    before = sum(isinstance(each, Diagrams) for each in gc.get_objects())
    gc.disable()  # as the command does
    try:
        prove("no-exposure", BOUNDS, subjects=["mds", "tsa"])
        assert sum(isinstance(each, Diagrams) for each in gc.get_objects()) == before
    finally:
        gc.enable()
