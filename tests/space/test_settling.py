"""Settling functions of facts in stages: as one by one for every choice, and each choice in one class."""

from __future__ import annotations

import random

import pytest

from archcaps.logic.diagram import Diagrams, Function
from archcaps.space.bounds import Bounds
from archcaps.space.choices import Choices, bits, first
from archcaps.space.lookups import kernel_classes, part_classes, value_of_kernel, value_of_part
from archcaps.space.names import KERNELS, UNKNOWN, microcode_of, split
from archcaps.space.releases import choose_releases
from archcaps.space.settling import Settling, refined, together

FACTS = [
    "host_kernel.mds_off", "silicon.tsa_microcode", "silicon.mds_published", "host.listed_mmio", "host.vendor_amd",
    "host_kernel.has_rfds", "host.listed_tsa",
]  # fmt: skip
FREE = ["host.mds_no", "host.fb_clear"]
BOUNDS = Bounds(kvm=choose_releases("5.15.0,6.12.117,7.3.4", "kvm"))


def choices() -> Choices:
    parts = [(part, False) for part in part_classes(FACTS, BOUNDS) if part.hosts]
    return Choices(kernel_classes(FACTS, BOUNDS, hosts=True), parts, BOUNDS)


def some_function(read: Diagrams, seed: int) -> Function:
    choose = random.Random(seed)
    found = read.variable(choose.choice(FREE))
    for name in choose.sample([*FACTS, *FREE], 8):
        other = read.variable(name)
        found = choose.choice([found & other, found | ~other, found ^ other])
    return found


@pytest.mark.parametrize("large", [0, 4000])
@pytest.mark.parametrize("seed", range(10))
def test_in_stages_a_choice_makes_of_a_function_what_its_values_do(
    seed: int, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archcaps.space.settling._AT_A_TIME", 2)
    monkeypatch.setattr("archcaps.space.settling._LARGE", large)
    read = Diagrams([*FACTS, *FREE, microcode_of("silicon.tsa_microcode")])
    every = choices()
    function = some_function(read, seed)
    found = Settling(read, every, FACTS).settle((function,))
    assert sum(chosen.bit_count() for chosen in found.values()) == every.every.bit_count()
    for (settled,), chosen in found.items():
        for (part, _), kernels in every.members(chosen):
            values = {
                name: value_of_kernel(name, kernels, BOUNDS)
                if split(name)[0] in KERNELS
                else value_of_part(name, part.boxes[0], kernels)
                for name in FACTS
            }
            expected = read.replaced(
                function, {name: value for name, value in values.items() if value != UNKNOWN + name}
            )
            assert settled == expected


def test_sets_of_choices() -> None:
    every = choices()
    some = every.every & ~(every.every >> 3)
    assert every.of_rows(every.rows(some)) == some
    assert len(list(every.members(some))) == some.bit_count()
    assert next(bits(some)) == first(some)
    assert sum(ways for _, ways in every.ways(every.every)) == sum(
        kernels.ways * len(every.columns) for kernels in every.kernels
    )
    column = every.of_columns(every.columns[:1])
    assert {each for each, _ in every.members(column)} == {every.columns[0]}
    assert every.beside(column) == every.every


def test_divisions_together() -> None:
    assert refined({(): 0b1111}, {"a": 0b0011, "b": 0b1100}) == {("a",): 0b0011, ("b",): 0b1100}
    assert refined({("a",): 0b0111}, {"c": 0b0101}) == {("a", "c"): 0b0101}
    assert together([("a", 1), ("b", 2), ("a", 4)]) == {"a": 5, "b": 2}
