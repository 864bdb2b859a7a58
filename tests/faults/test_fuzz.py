"""A small, fixed sample of `make fuzz`: whatever a reader is fed, it answers or refuses in archcaps' own words."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from archcaps.errors import InputError
from tools.fuzz.mutate import Mutator
from tools.fuzz.readers import readers, scratch
from tools.fuzz.run import feed

READERS = readers()
#: `make fuzz` has 100,000 of each.
EXECUTIONS = 8


@pytest.fixture(scope="module", autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    shutil.rmtree(scratch(), ignore_errors=True)


@pytest.mark.parametrize("name", READERS)
def test_no_reader_ends_in_another_way(name: str) -> None:
    reader = READERS[name]
    outcome = feed(reader, EXECUTIONS, seed=7)
    assert outcome.executions >= EXECUTIONS  # a reader of files takes whole files
    faults = {kind: inputs for kind, inputs in outcome.faults.items() if kind != "slow"}  # time is the long run's
    assert faults == {}


@pytest.mark.parametrize("name", READERS)
def test_its_examples_can_be_read(name: str) -> None:
    """What cannot be read is fed for nothing: of each reader at least one example is right as it is."""
    assert any(can_be_read(name, example) for example in reversed(READERS[name].examples))


def can_be_read(name: str, example: bytes) -> bool:
    try:
        READERS[name].read(example)
    except InputError:
        return False
    return True


def test_the_same_seed_gives_the_same_inputs() -> None:
    one, same, other = (Mutator(READERS["qmp"].examples, seed) for seed in (1, 1, 2))
    first = [one.next() for _ in range(50)]
    assert first == [same.next() for _ in range(50)]
    assert first != [other.next() for _ in range(50)]
    assert len(set(first)) > 40
