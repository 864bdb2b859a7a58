"""The look-up tables: what is not Boolean, looked up once for each different CPU, kernel and list row that occurs.

A row is found by its `lookup_key`, a text that the query writes for each machine in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final, Literal, TypeAlias

from archcaps.errors import InputError
from archcaps.logic.graph import Kind, Node, walk
from archcaps.logic.sql import identifier, roots_of
from archcaps.machine.datum import Facts
from archcaps.machine.facts import LIST_FLAGS, add_lists
from archcaps.machine.observations import guest_observations, host_observations
from archcaps.machine.row import CPU_COLUMNS, KERNEL_COLUMNS, snapshot_of
from archcaps.machine.snapshot import FORMAT_VERSION, Snapshot
from archcaps.questions.many.columns import FALSE, TRUE, Machines
from archcaps.questions.many.judge import questions
from archcaps.questions.sql.command_lines import in_key
from archcaps.rules.linux_files import TEXTS
from archcaps.tables.axioms import axioms
from archcaps.tables.bits import BITS
from archcaps.tables.linux_lists import Part
from archcaps.tables.names import STRICT

__all__ = [
    "CPU_KEY",
    "KERNEL_KEY",
    "PART_KEY",
    "TABLES",
    "Role",
    "Row",
    "columns_of",
    "documented_bits",
    "key_of",
    "rows_of",
    "table_of",
    "used",
]

Role: TypeAlias = Literal["host", "guest"]
#: A row of a look-up table: its key, and its columns that are not unknown.
Row: TypeAlias = tuple[str, Mapping[str, bool]]

#: What keys are written from, in order: columns of `archcaps.machine.row`, and two bits of its words.
CPU_KEY: Final = (*CPU_COLUMNS, "hypervisor", "hybrid")
KERNEL_KEY: Final[Mapping[Role, tuple[str, ...]]] = {
    "host": (*KERNEL_COLUMNS, "kvm_parameters", "hypervisor"),
    "guest": (*KERNEL_COLUMNS, "hypervisor"),
}
PART_KEY: Final = ("vendor", "family", "model", "stepping", "hybrid", "core_type")

#: No fleet has more different pairs of a part and a release.
_LIST_ROWS: Final = 200_000

#: The tables, with what a row of each is of.
TABLES: Final = {
    "host_cpus": "a host's CPU: identity, microcode, threads, and the vendors' lists of affected parts",
    "host_kernels": "a host's kernel: what its release does, its options, its KVM's parameters",
    "host_texts": "what a host's files under /sys/devices/system/cpu/vulnerabilities show of its rules",
    "guest_cpus": "a guest's CPU as it is shown",
    "guest_kernels": "a guest's kernel",
    "guest_texts": "what a guest's files show of its rules",
    "lists": "a part in the lists of a Linux release",
}


@cache
def used() -> tuple[frozenset[str], Mapping[str, Node]]:
    """Return the facts that the questions rest on, and the rules by name."""
    nodes = walk(roots_of(questions()))
    facts = frozenset(node.name for node in nodes if node.kind is Kind.FACT)
    return facts, {node.name: node for node in nodes if node.kind is Kind.RULE}


def table_of(fact: str) -> str:
    """Return the look-up table that has a fact; the empty text for one that is read off a machine's own row."""
    scope, _, name = fact.partition(".")
    if name in LIST_FLAGS:
        return "lists"
    if scope in ("host_kernel", "guest_kernel"):
        return f"{scope}s"
    if name in BITS or scope in ("vm", "assume"):
        return ""
    return "guest_cpus" if scope == "guest" else "host_cpus"


@cache
def documented_bits() -> frozenset[str]:
    """Return the bits that documents settle for some parts' bare hardware, as far as a question rests on them."""
    bits = {literal.name for each in axioms() if each.status == "documented" and each.when for literal in each.then}
    return frozenset(name for name in bits if name in BITS and {f"host.{name}", f"silicon.{name}"} & used()[0])


@cache
def columns_of(table: str) -> Mapping[str, str]:
    """Return the columns of a look-up table, and the fact or rule that each holds: in `lists` whosever it is."""
    facts, rules = used()
    if table == "lists":
        return {name: name for name in LIST_FLAGS}
    if table in ("host_texts", "guest_texts"):
        names = _said_by(table).keys() & rules.keys()
    else:
        names = {name for name in facts if table_of(name) == table}
        if table == "host_cpus":
            names |= {f"documented.{name}" for name in documented_bits()}
    return {identifier(name): name for name in sorted(names)}


def _said_by(table: str) -> Mapping[str, object]:
    """Return every rule that texts can stand in for: where each file says something, all of them."""
    role: Role = "host" if table == "host_texts" else "guest"
    every = Snapshot(format_version=FORMAT_VERSION, role=role, vulnerabilities=dict.fromkeys(TEXTS, "Not affected"))
    return host_observations(every) if role == "host" else guest_observations(every)


def key_of(values: Sequence[str | int | bool | None]) -> str:
    """Return the key of a row with these values: no two different rows have the same."""
    return "|".join(_in_key(value) for value in values)


def _in_key(value: str | int | bool | None) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"={value}"
        case str():
            return "=" + value.replace("|", "||")


def rows_of(hosts: Machines, guests: Machines) -> dict[str, list[Row]]:
    """Return the rows of every table for guests on hosts, whichever guest is on whichever host.

    Raises:
        InputError: a machine's kernel configuration is unknown, a column holds what it should not, or there are too
            many different parts and kernels.
    """
    found: dict[str, list[Row]] = {}
    for machines in (_with_keys(hosts), _with_keys(guests)):
        role = machines.role
        found[f"{role}_cpus"] = list(_looked_up(machines, f"{role}_cpus", CPU_KEY))
        found[f"{role}_kernels"] = list(_looked_up(machines, f"{role}_kernels", KERNEL_KEY[role]))
        found[f"{role}_texts"] = list(_texts(machines))
    found["lists"] = list(_lists(hosts, guests))
    return {table: found[table] for table in TABLES}


def _with_keys(machines: Machines) -> Machines:
    """Return the machines with their command lines as keys have them."""
    if "cmdline" not in machines.columns:
        return machines
    lines = [None if line is None else in_key(line) for line in machines.columns["cmdline"]]
    return replace(machines, columns={**machines.columns, "cmdline": lines})


def _looked_up(machines: Machines, table: str, key: Sequence[str]) -> Iterator[Row]:
    index, groups = machines.grouped(key)
    first: dict[int, int] = {}
    for machine, group in enumerate(index.tolist()):
        first.setdefault(group, machine)
    vectors = {column: machines.vectors.get(fact) for column, fact in columns_of(table).items()}
    for group, values in enumerate(groups):
        states = {column: vector[first[group]] for column, vector in vectors.items() if vector is not None}
        known = {column: bool(state == TRUE) for column, state in states.items() if state in (TRUE, FALSE)}
        yield key_of([values.get(name) for name in key]), known


def _texts(machines: Machines) -> Iterator[Row]:
    observe = host_observations if machines.role == "host" else guest_observations
    columns = columns_of(f"{machines.role}_texts")
    for text in dict.fromkeys(machines.columns.get("vulnerabilities", ())):
        if text is not None:
            seen = observe(snapshot_of({"vulnerabilities": text}, machines.role))
            yield text, {column: seen[rule].value for column, rule in columns.items() if rule in seen}


def _lists(hosts: Machines, guests: Machines) -> Iterator[Row]:
    own = dict.fromkeys([*hosts.parts_and_releases, *guests.parts_and_releases])
    releases = dict.fromkeys(release for _, release in guests.parts_and_releases)
    parts = dict.fromkeys(part for part, _ in hosts.parts_and_releases)
    if len(parts) * len(releases) > _LIST_ROWS:
        raise InputError(
            f"{len(parts)} different parts with {len(releases)} kernel releases, expected at most {_LIST_ROWS} pairs: "
            "look up fewer machines at a time",
            "hosts and guests",
        )
    for part, release in own | dict.fromkeys((part, release) for part in parts for release in releases):
        facts = Facts()
        add_lists(facts, "of", part, release, strict=STRICT in guests.assumptions)
        flags = {name.removeprefix("of."): value for name, value in facts.values.items()}
        yield key_of([*_identity(part), release]), flags


def _identity(part: Part) -> list[Any]:
    return [part.vendor, part.family, part.model, part.stepping, part.hybrid, part.core_type]
