"""The axioms that a space leaves out, as they say nothing of its facts, against a SAT solver."""

from __future__ import annotations

import os

import pytest
from pysat.solvers import Cadical153  # type: ignore[import-untyped]  # python-sat has no types

from archcaps.space.space import Space
from archcaps.tables.axioms import axioms
from archcaps.tables.bits import BITS
from tests.space.clauses import Clauses, satisfiable
from tests.space.test_brute_force import CASCADE_LAKE, Slice, properties
from tests.space.test_model_counter import LARGE

FULL = os.environ.get("ARCHCAPS_SPACE") == "full"


@pytest.mark.parametrize("name", list(properties()) if FULL else [each for each, _ in LARGE])
def test_axioms_that_are_left_out_forbid_nothing(name: str) -> None:
    # Of every axiom at once: each host that the chosen ones allow can be completed by bits that are all 0.
    space = Space(properties()[name], Slice((CASCADE_LAKE,), "6.12.117", "6.12.117").bounds({}))
    everything = Clauses({}, Slice(()), {})
    chosen = everything.of(space._axiom)
    # All axioms imply the chosen ones.
    assert satisfiable(everything, -chosen) is None
    alone = Clauses({}, Slice((), silicon=False), {})
    alone.clauses.append([alone.of(space._axiom)])
    kept = {each for each in space.facts if each.startswith("host.")}
    zero = [-alone.named(f"host.{bit}") for bit in BITS if f"host.{bit}" not in kept and bit != "hypervisor"]
    broken = {
        (axiom.name, str(literal)): [
            *(alone._literal(other.name, other.value) for other in axiom.when),
            -alone._literal(literal.name, literal.value),
        ]
        for axiom in axioms()
        for literal in axiom.then
        # What look-ups alone say of each other the tables keep to.
        if literal.name in BITS or any(other.name in BITS for other in axiom.when)
    }
    with Cadical153(bootstrap_with=alone.clauses) as solver:
        assert [which for which, literals in broken.items() if solver.solve(assumptions=[*literals, *zero])] == []
        assert solver.solve(assumptions=zero)
