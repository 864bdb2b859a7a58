"""The space against a SAT solver: configurations are found just where there are some."""

from __future__ import annotations

import os

import pytest

from archcaps.space.bounds import Shown
from archcaps.space.space import Space
from tests.space.choices import choice_of
from tests.space.clauses import Clauses, satisfiable
from tests.space.test_brute_force import (
    ALDER_LAKE,
    CASCADE_LAKE,
    DHYANA,
    GOLDMONT,
    HASWELL,
    ICE_LAKE,
    MILAN,
    SKYLAKE,
    TURIN,
    Slice,
    properties,
)  # fmt: skip

FULL = os.environ.get("ARCHCAPS_SPACE") == "full"

WIDE = [
    ("broken-promise-mds", Slice((CASCADE_LAKE, SKYLAKE, GOLDMONT, ICE_LAKE), "6.1.192,6.12.117", "5.10.265,7.1.5")),
    ("exposed-mds", Slice((CASCADE_LAKE,), "7.1.5", "5.10.265,6.12.117", Shown.SUBSET)),
    ("exposes-host-mmio_stale_data", Slice((CASCADE_LAKE, HASWELL, MILAN), "5.10-5.15,7.1", "6.12.117")),
    ("false-alarm-tsa", Slice((MILAN, TURIN, DHYANA, SKYLAKE), "6.12,7.1", "6.1.192,6.12.117")),
    ("exposed-tsa", Slice((MILAN, TURIN), "6.12.117", "6.6.150,7.1.5", Shown.OFFERED)),
    ("false-immunity-reg_file_data_sampling", Slice((ALDER_LAKE, GOLDMONT), "6.6,6.12", "6.6.150,7.1.5")),
    ("false-immunity-tsx_async_abort", Slice((SKYLAKE, CASCADE_LAKE), "6.6.150,7.1", "6.1.192", silicon=False)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "cut"), WIDE, ids=lambda value: value if isinstance(value, str) else "")
def test_a_solver_finds_configurations_just_where_there_are_some(name: str, cut: Slice) -> None:
    root = properties()[name]
    space = Space(root, cut.bounds({}), seconds=3600)
    cells = list(space.cells())
    seen = set()
    for cell in cells if FULL else cells[:: 1 + len(cells) // 60]:
        clauses = Clauses(choice_of(cell), cut, {})
        holds = clauses.of(root)
        for literals, function in (
            ((), cell.possible),
            ((holds,), cell.found),
            ((-holds,), space.diagrams.all_of((cell.possible, ~cell.found))),
        ):
            found = satisfiable(clauses, *literals)
            assert (found is not None) is (function != space.diagrams.false)
            # The solver's configuration is one of the diagram's.
            assert found is None or space.diagrams.evaluate(function, found)
            # And the diagram's is one of the solver's.
            if function != space.diagrams.false:
                least = space.diagrams.least(function, lambda name, value: value)
                assert least is not None
                known = [
                    clauses.numbers[each] * (1 if least[each] else -1) for each in least if each in clauses.numbers
                ]
                assert satisfiable(clauses, *literals, *known) is not None
            seen.add((bool(literals), function == space.diagrams.false))
    assert (True, False) in seen
