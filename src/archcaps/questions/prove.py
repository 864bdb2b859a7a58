"""prove: does a property hold in every configuration? If not: all that goes wrong, the least deviations first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TypeAlias

from msgspec import structs

from archcaps.errors import InputError, nearest
from archcaps.logic.diagram import Function, NotDecidedError
from archcaps.logic.graph import Kind, Node
from archcaps.machine.snapshot import Reading as Register
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.default_guest import default_guest
from archcaps.questions.prove_results import (
    FORMAT_VERSION,
    HOLDS,
    NOT_DECIDED,
    REFUTED,
    UNKNOWN,
    CounterExample,
    Deviation,
    Outcome,
    ProveResult,
    RestsOn,
)  # fmt: skip
from archcaps.questions.replay import replay
from archcaps.rules.kvm_offer import OFFERED_CPUID
from archcaps.rules.properties import VIOLATIONS
from archcaps.space.bounds import Bounds, Shown
from archcaps.space.cells import Cell
from archcaps.space.configuration import Configuration, configuration_of
from archcaps.space.given import is_known
from archcaps.space.names import OTHER_PART, is_deviation, split
from archcaps.space.names import UNKNOWN as UNKNOWN_FACT
from archcaps.space.releases import newest_of_lines, ranges, releases
from archcaps.space.space import Space
from archcaps.space.survey import Survey
from archcaps.tables.axioms import Axiom
from archcaps.tables.bits import BITS
from archcaps.tables.files import read_csv
from archcaps.tables.properties import Property, properties

__all__ = ["fixed_in", "free_in", "least_rows", "property_called", "prove"]

_EXIT = {HOLDS: 0, REFUTED: 1, UNKNOWN: 3, NOT_DECIDED: 3}


def property_called(name: str) -> Property:
    """Return the property of that name.

    Raises:
        InputError: there is none.
    """
    if name not in properties():
        raise InputError(f"unknown property {name!r}{nearest(name, properties())}", "prove")
    return properties()[name]


def prove(
    name: str,
    bounds: Bounds | None = None,
    *,
    subjects: Iterable[str] = (),
    listed: int = 10,
    seconds: float = 60,
    first: bool = False,
) -> ProveResult:
    """Return whether the property `name` holds in every configuration within `bounds`, with the counter-examples.

    `subjects`: of these vulnerabilities or bits only; `listed`: so many least deviations are given, of each subject.
    `seconds` bounds each subject; one that takes longer is not decided. `first`: one counter-example will do, and
    nothing is counted unless there is none.

    Raises:
        InputError: there is no such property or subject, or `bounds` name a fact that no rule reads.
    """
    asked = property_called(name)
    for subject in subjects:
        if subject not in asked.subjects:
            raise InputError(f"unknown subject {subject!r}{nearest(subject, asked.subjects)}", name)
    bounds = (bounds or Bounds()).showing(Shown(asked.shown))
    for given in bounds.given:
        known, like = is_known(given)
        if not known:
            raise InputError(f"no rule reads a fact {given!r}{nearest(given, like)}", name)
    axioms: dict[Axiom, None] = {}
    outcomes, read = [], dict[str, None]()
    rules: dict[str, None] = {}
    roots = {
        subject: VIOLATIONS[asked.forbids](subject) for subject in asked.subjects if not subjects or subject in subjects
    }
    soonest = dict(sorted(roots.items(), key=lambda item: item[0] != asked.soonest))
    found = _first(soonest, bounds, seconds, axioms, read) if first else None
    for subject, root in roots.items():
        rules |= dict.fromkeys(_top_rules(root))
        if found is None:
            outcomes.append(_outcome(subject, root, bounds, listed, seconds, axioms, read))
    outcomes += [] if found is None else [found]
    verdict = _verdict(outcomes)
    return ProveResult(
        FORMAT_VERSION,
        _EXIT[verdict],
        asked.name,
        asked.sentence,
        verdict,
        list(rules),
        free_in(bounds, read),
        fixed_in(bounds),
        [axiom.name for axiom in axioms],
        _rests_on(axioms, read),
        outcomes,
    )


def _first(
    roots: Mapping[str, Node], bounds: Bounds, seconds: float, axioms: dict[Axiom, None], read: dict[str, None]
) -> Outcome | None:
    """Return one counter-example, looked for among a few new releases first; None: there is none."""
    for part in (bounds.among(newest_of_lines()), bounds):
        for subject, root in roots.items():
            with suppress(NotDecidedError):
                space = Space(root, part, seconds)
                axioms |= dict.fromkeys(space.axioms)
                read |= dict.fromkeys(space.facts)
                for cell in space.cells():
                    shown, _ = space.sure_and_open(*cell.shown)
                    if shown != space.diagrams.false:
                        sure = cell.host.deviating(shown)
                        other = space.diagrams.variable(OTHER_PART)
                        here = sure & (other if cell.other_part else ~other)
                        configuration, agrees = _replayed(space, root, cell, here)
                        example = _told(configuration, replayed=agrees)
                        row = Deviation(list(configuration.deviations), "", [], [], example)
                        return Outcome(subject, REFUTED, "", "", "", [], sorted(space.deciding), 0, [row])
    return None


def _verdict(outcomes: list[Outcome]) -> str:
    found = {outcome.verdict for outcome in outcomes}
    return next((verdict for verdict in (REFUTED, NOT_DECIDED, UNKNOWN) if verdict in found), HOLDS)


def _top_rules(root: Node) -> list[str]:
    """Return the names of the rules at the top of a node: those that no other rule stands between."""
    if root.kind is Kind.RULE:
        return [root.name]
    return [name for arg in root.args for name in _top_rules(arg)]


def _outcome(
    subject: str,
    root: Node,
    bounds: Bounds,
    listed: int,
    seconds: float,
    axioms: dict[Axiom, None],
    read: dict[str, None],
) -> Outcome:
    try:
        space = Space(root, bounds, seconds)
        axioms |= dict.fromkeys(space.axioms)
        read |= dict.fromkeys(space.facts)
        survey = Survey(space)
        sets = survey.deviation_sets()
        number = space.diagrams.count(sets, len(space.diagrams.names) - len(space.deviations))
        rows = least_rows(survey, root, listed)
    except NotDecidedError as error:
        return Outcome(subject, NOT_DECIDED, "", "", "", [], [], 0, [], str(error))
    verdict = REFUTED if survey.sure else UNKNOWN if survey.open else HOLDS
    return Outcome(
        subject,
        verdict,
        str(survey.configurations),
        str(survey.sure),
        str(survey.open),
        _hangs_on(survey),
        sorted(space.deciding),
        number,
        rows,
    )


def _hangs_on(survey: Survey) -> list[str]:
    """Return the facts that nobody knows on which it depends whether the property fails."""
    space, found = survey.space, set[str]()
    for where in survey.hanging():
        # To look for all that is read takes longer than to see that it is nothing new.
        others = [name for name in space.unknowns if name not in found]
        if space.diagrams.exists(where, others) != where:
            found |= space.diagrams.support(where)
    return sorted(name.removeprefix(UNKNOWN_FACT) for name in found if name.startswith(UNKNOWN_FACT))


# --- least deviations ---------------------------------------------------------------------------------------------


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
            kvm |= cell.host.places
            guest_kernels |= cell.guest_places
            key = (max(cell.host.places, default=0), max(cell.guest_places, default=0))
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
    configuration, agrees = _replayed(space, root, cell, here)
    return _told(configuration, replayed=agrees)


def _replayed(space: Space, root: Node, cell: Cell, here: Function) -> tuple[Configuration, bool]:
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


def _told(configuration: Configuration, *, replayed: bool) -> CounterExample:
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


# --- what the answer is about -------------------------------------------------------------------------------------


def free_in(bounds: Bounds, read: Iterable[str]) -> list[str]:
    """Return what configurations within `bounds` differ in, for the facts that were read, in words."""
    names = list(read)
    bits = {
        scope: sum(1 for name in names if split(name)[0] == scope and split(name)[1] in BITS)
        for scope in ("host", "guest")
    }
    hosts = "those asked for" if bounds.host_parts else "every one that a table names"
    found = [
        f"the host's part: {hosts} (vendor, family, model, stepping)",
        f"the host's hardware: {bits['host']} bits of IA32_ARCH_CAPABILITIES and CPUID, its microcode",
        f"the host's kernel: {len(bounds.kvm)} of {len(releases())} releases that were read",
        f"the guest's kernel: {len(bounds.guest_kernels)} of {len(releases())}, built with KVM or without",
    ]
    if bounds.shown is Shown.ANY:
        found.append(f"what the guest is shown: any part at all, and {bits['guest']} bits (all others do not matter)")
    elif bounds.shown is Shown.SUBSET:
        found.append(
            f"what the guest is shown: the host's part, and of {bits['guest']} bits those KVM offers, or fewer"
        )
    situations = [name for name in names if split(name)[0] in ("vm", "assume")]
    if situations:
        found.append("the situation: " + ", ".join(situations))
    changes = [name for name in names if split(name)[0] == "changed"]
    if changes:
        found.append(f"what root changes while guests run: vmentry_l1d_flush, and by microcode {len(changes) - 1} bits")
    return found


def fixed_in(bounds: Bounds) -> list[str]:
    """Return what all configurations within `bounds` have in common, in words."""
    found = [
        "the host is bare metal",
        f"host kernel: command line {bounds.host_cmdline!r}, upstream's configuration, module parameters by default",
        f"guest kernel: command line {bounds.guest_cmdline!r}, upstream's configuration",
    ]
    if bounds.shown is Shown.OFFERED:
        found.append("the guest is shown the host's part and just what KVM offers")
    found += [f"given: {name}={int(value)}" for name, value in bounds.given.items()]
    if bounds.any_silicon:
        found.append("any hardware at all: no axioms")
    return found


def _rests_on(axioms: Iterable[Axiom], read: Iterable[str]) -> list[RestsOn]:
    """Return what is unverified: axioms, bits, and statements of lists about parts."""
    found = [RestsOn(axiom.name, axiom.meaning, axiom.source) for axiom in axioms if axiom.status == "unverified"]
    names = {split(name)[1] for name in read}
    found += [
        RestsOn(name, BITS[name].meaning, BITS[name].source)
        for name in sorted(names)
        if name in BITS and BITS[name].status == "unverified"
    ]
    if "tsa_published" in names:
        found += [
            RestsOn(
                f"{row['vendor']} {row['family']} {row['vulnerability']}", f"affected: {row['affected']}", row["source"]
            )
            for row in read_csv("silicon/parts.csv")
            if row["status"] == "unverified" and row["vulnerability"] == "tsa"
        ]
    return found
