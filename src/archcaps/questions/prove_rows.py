"""Counter-examples by what they deviate in, the least sets first, each replayed by reading its snapshots."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TypeAlias

from msgspec import structs

from archcaps.logic.diagram import Function
from archcaps.logic.graph import Node
from archcaps.machine.snapshot import Reading as Register
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.default_guest import default_guest
from archcaps.questions.prove_results import CounterExample, Deviation
from archcaps.questions.replay import replay
from archcaps.rules.kvm_offer import OFFERED_CPUID
from archcaps.space.bounds import Shown
from archcaps.space.cells import Cell
from archcaps.space.configuration import Configuration, configuration_of
from archcaps.space.names import is_deviation
from archcaps.space.releases import ranges
from archcaps.space.space import Space
from archcaps.space.survey import Survey
from archcaps.tables.bits import BITS

__all__ = ["least_rows", "replayed", "told"]


def least_rows(survey: Survey, root: Node, listed: int) -> list[Deviation]:
    """Return the least deviations, so many sets of things that deviate at most, those of fewest first."""
    diagrams, deviations = survey.space.diagrams, survey.space.deviations
    smallest = islice(diagrams.smallest(survey.deviation_sets(), deviations), listed)
    return [row for chosen in smallest for row in _rows(survey, root, chosen)]


def _rows(survey: Survey, root: Node, chosen: frozenset[str]) -> list[Deviation]:
    """Return one least deviation, or several: a bit that deviates is hidden on some hosts and added on others."""
    space = survey.space
    found: dict[tuple[str, ...], list[_Alike]] = {}
    for group, here in survey.just(chosen):
        alike: dict[object, list[Cell]] = {}
        for cell in group.cells:
            directions = tuple(where for name in sorted(chosen) for _, where in space.directions(cell, name))
            alike.setdefault((cell.found, directions), []).append(cell)
        for cells in alike.values():
            # Of what nobody knows not everything is possible: the axioms may settle it.
            with space.diagrams.limits():
                holding = here & cells[0].found
            for words, function in _by_direction(space, cells[0], holding, chosen):
                found.setdefault(words, []).append((cells, function))
    return [_row(survey, root, words, groups) for words, groups in sorted(found.items())]


#: Cells that deviate in the same direction, with the configurations of each that do.
_Alike: TypeAlias = tuple[list[Cell], Function]


def _by_direction(
    space: Space, cell: Cell, here: Function, chosen: frozenset[str]
) -> list[tuple[tuple[str, ...], Function]]:
    """Return where the bits that deviate are hidden, and where they are added, in words."""
    found: list[tuple[tuple[str, ...], Function]] = [((), here)] if here != space.diagrams.false else []
    for name in sorted(chosen):
        next_: list[tuple[tuple[str, ...], Function]] = []
        for words, function in found:
            for word, where in space.directions(cell, name):
                with space.diagrams.limits():
                    both = function & where
                if both != space.diagrams.false:
                    next_.append(((*words, word), both))
        found = next_
    return found


def _row(survey: Survey, root: Node, words: tuple[str, ...], groups: list[_Alike]) -> Deviation:
    space = survey.space
    number = 0
    kvm, guest_kernels = set[int](), set[int]()
    newest: tuple[tuple[int, int], Cell, Function] | None = None
    for cells, here in groups:
        number += sum(cell.weight for cell in cells) * space.count(here)
        for cell in cells:
            host_places, guest_places = cell.host_places, cell.guest_places
            kvm |= host_places
            guest_kernels |= guest_places
            key = (max(host_places, default=0), max(guest_places, default=0))
            if newest is None or key > newest[0]:
                newest = (key, cell, here)
    assert newest is not None, "a deviation comes from some group"
    return Deviation(
        list(words),
        str(number),
        ranges(kvm, space.bounds.kvm),
        ranges(guest_kernels, space.bounds.guest_kernels),
        _example(space, root, newest[1], newest[2]),
    )


def _example(space: Space, root: Node, cell: Cell, here: Function) -> CounterExample:
    """Return one of these configurations, replayed."""
    configuration, agrees = replayed(space, root, cell, here)
    return told(configuration, replayed=agrees)


def replayed(space: Space, root: Node, cell: Cell, here: Function) -> tuple[Configuration, bool]:
    """Return one of these configurations, and whether the ternary interpretation settles it.

    Raises:
        AssertionError: the ternary interpretation does not agree: a fault of archcaps.
    """
    # What nobody knows has to be such that there can be this hardware: not any value will do.
    values = space.diagrams.least(here & cell.found, _cost)
    assert values is not None, "a group is not empty"
    configuration = configuration_of(space, cell, values)
    if space.bounds.shown is Shown.OFFERED:
        configuration = replace(configuration, guest=_shown_the_offer(configuration))
    agrees = replay(root, configuration, space.bounds.fixed)
    assert agrees is not False, f"{root!r}: the interpretations differ"
    return configuration, agrees is True


def _shown_the_offer(configuration: Configuration) -> Snapshot:
    """Return the guest, shown just what KVM offers on its host, whether the property reads it or not."""
    host, guest = configuration.host, configuration.guest
    assert host.cpuid is not None, "a configuration says what CPUID shows"
    offer = default_guest(host)
    assert offer.cpuid is not None, "KVM offers some CPUID"
    said = {*offer.cpuid.shown, *offer.cpuid.hidden}
    own = [name for name in host.cpuid.shown if name not in said and name not in OFFERED_CPUID]
    cpuid = structs.replace(offer.cpuid, shown=[*offer.cpuid.shown, *own], complete=said.issuperset(OFFERED_CPUID))
    word = offer.registers["ia32_arch_capabilities"]
    word = Register(value=_hex(word.value), known=_hex(word.known))
    registers = {"ia32_arch_capabilities": word, "ia32_tsx_ctrl": Register(value=hex(BITS["rtm_disable"].mask))}
    return structs.replace(guest, cpuid=cpuid, registers=registers)


def _hex(number: int | str | None) -> int | str | None:
    return hex(number) if isinstance(number, int) else number


def told(configuration: Configuration, *, replayed: bool) -> CounterExample:
    """Return a configuration as it is told: its snapshots, and whether reading them again agreed."""
    return CounterExample(
        configuration.host,
        configuration.guest,
        dict(configuration.later),
        list(configuration.assumptions),
        [name.removeprefix("changed.") for name, value in configuration.changed.items() if value],
        dict(configuration.supposed),
        replayed,
    )


def _cost(variable: str, value: bool) -> int:
    """Return what makes a configuration less simple: a deviation most, then bits of the hardware."""
    if not value:
        return 0
    return 1000 if is_deviation(variable) else 1
