"""The space against an exact model counter: the same number of configurations."""

from __future__ import annotations

import os

import pytest

from archcaps.logic.graph import Node
from archcaps.space.bounds import Shown
from archcaps.space.cells import Cell
from archcaps.space.space import Space
from tests.space.brute import Counts
from tests.space.choices import choice_of
from tests.space.clauses import Clauses
from tests.space.test_brute_force import (
    CASCADE_LAKE,
    GOLDMONT,
    MILAN,
    SKYLAKE,
    TURIN,
    Slice,
    counted,
    free_of,
    properties,
)  # fmt: skip

pyganak = pytest.importorskip("pyganak", reason="pyganak is not to be had for this Python (requirements/dev.in)")
FULL = os.environ.get("ARCHCAPS_SPACE") == "full"


def models(clauses: Clauses, over: list[str], *literals: int) -> int:
    """Return how many assignments of the variables `over` can be completed."""
    numbers = [clauses.named(name) for name in over]
    counter = pyganak.Counter()
    counter.new_vars(len(clauses.numbers))
    counter.add_clauses([*clauses.clauses, *([literal] for literal in literals)])
    counter.set_sampling_set(numbers)
    found: int = counter.count()
    return found


def by_models(root: Node, clauses: Clauses, over: list[str]) -> Counts:
    holds = clauses.of(root)
    possible, some, fails = (models(clauses, over, *literals) for literals in ((), (holds,), (-holds,)))
    # What can be holds or fails, for some value of the unknowns; what does both is open.
    both = some + fails - possible
    return Counts(possible, some - both, both)


LARGE = [
    ("broken-promise-mds", Slice((CASCADE_LAKE,), "7.1.5", "6.12.117")),
    ("exposed-mds", Slice((CASCADE_LAKE,), "6.12.117", "6.1.192")),
    ("exposes-host-mds", Slice((SKYLAKE,), "6.6.150", "6.1.192")),
    ("exposed-mmio_stale_data", Slice((CASCADE_LAKE,), "6.1.192", "7.1.5", Shown.SUBSET)),
    ("broken-promise-reg_file_data_sampling", Slice((GOLDMONT,), "6.12.117", "6.12.117")),
    ("false-immunity-tsx_async_abort", Slice((SKYLAKE,), "6.12.117", "5.10.265", silicon=False)),
    ("exposed-tsa", Slice((MILAN,), "7.1.5", "6.12.117")),
    ("false-alarm-tsa", Slice((TURIN,), "6.12.117", "6.1.192", silicon=False)),
]  # fmt: skip


def spread(cells: list[Cell], space: Space, number: int) -> list[Cell]:
    """Return some of the cells: where the node holds in some configurations, and not in all, first."""
    mixed = [cell for cell in cells if cell.found not in (space.diagrams.false, cell.possible)]
    others = [cell for cell in cells if cell not in mixed]
    return [*mixed[:: 1 + len(mixed) // number], *others[:: 1 + len(others)]]


@pytest.mark.parametrize(("name", "cut"), LARGE, ids=lambda value: value if isinstance(value, str) else "")
def test_a_model_counter_counts_the_same(name: str, cut: Slice) -> None:
    root = properties()[name]
    space = Space(root, cut.bounds({}), seconds=3600)
    over = free_of(space)
    # Of most of these no brute force goes through every assignment.
    assert len(over) > 10
    for cell in spread(list(space.cells()), space, 40 if FULL else 3):
        assert counted(space, cell) == by_models(root, Clauses(choice_of(cell), cut, {}), over)
