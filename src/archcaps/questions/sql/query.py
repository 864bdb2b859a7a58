"""The rules as one SQL query: for each guest on its host the verdict, or what any rule says.

It reads the tables `hosts` and `guests`, whose columns are those of `archcaps.machine.row` with a `name` (and a guest's
`host`), and the look-up tables of `archcaps.questions.sql.lookups`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from archcaps.errors import InputError, nearest
from archcaps.logic.choice import Choice
from archcaps.logic.graph import Kind, Node, walk
from archcaps.logic.sql import Inputs, bit, identifier, layers, roots_of
from archcaps.logic.sql_dialects import DIALECTS, Dialect
from archcaps.machine.row import COLUMNS, VM_COLUMNS
from archcaps.questions.doubted import pure, shown_by_texts
from archcaps.questions.many.judge import questions
from archcaps.questions.sql.command_lines import sql_in_key
from archcaps.questions.sql.lookups import (
    CPU_KEY,
    KERNEL_KEY,
    PART_KEY,
    Role,
    columns_of,
    documented_bits,
    table_of,
    used,
)
from archcaps.questions.sql.tables import PREFIX
from archcaps.tables.bits import BITS
from archcaps.tables.names import STRICT, VULNERABILITIES

__all__ = ["check_names", "outputs_of", "query"]

#: What a machine's row is called in the query, and each look-up table's row.
_ROLES: Final[Mapping[Role, str]] = {"host": "h", "guest": "g"}
#: The joins in their order: the row's name, its table, and what is compared with the table's key.
_JOINS: Final = {
    "host_cpu": ("host_cpus", "h.lookup_cpu"),
    "host_kernel": ("host_kernels", "h.lookup_kernel"),
    "host_text": ("host_texts", "h.vulnerabilities"),
    "host_list": ("lists", "h.lookup_part || h.lookup_release"),
    "guest_cpu": ("guest_cpus", "g.lookup_cpu"),
    "guest_kernel": ("guest_kernels", "g.lookup_kernel"),
    "guest_text": ("guest_texts", "g.vulnerabilities"),
    "guest_list": ("lists", "g.lookup_part || g.lookup_release"),
    # The host's part in the lists of the guest's kernel: what the guest would find if it were shown it.
    "offered_list": ("lists", "h.lookup_part || g.lookup_release"),
}
_LISTS: Final = {"host": "host_list", "guest": "guest_list", "offered": "offered_list", "true": "offered_list"}
_OFFERED: Final = re.compile(r"kvm\.kvm_get_(?:arch_capabilities|supported_cpuid)\[(\w+)\]")
_KEYS: Final = ("lookup_cpu", "lookup_kernel", "lookup_part", "lookup_release")


def check_names(names: Sequence[str]) -> None:
    """Refuse what is neither a column nor a rule.

    Raises:
        InputError: with the nearest name.
    """
    known = [*questions(), *used()[1]]
    for name in names:
        if name not in known:
            raise InputError(
                f"no column and no rule is called so{nearest(name, known)}; archcaps rules lists them", name
            )


def outputs_of(names: Sequence[str]) -> dict[str, Node | Choice[Any]]:
    """Return what to ask by column: questions and rules by name, every question where there is no name.

    Raises:
        InputError: nothing is called so.
    """
    check_names(names)
    rules = used()[1]
    asked = names or questions()
    return {identifier(name): rules[name] if name in rules else questions()[name] for name in asked}


def query(names: Sequence[str], dialect_name: str, assumptions: Collection[str] = (), *, possible: bool = False) -> str:
    """Return one statement whose rows are the guests, with the columns or rules `names` of each (none: every question).

    A question's column holds a label of its choice or ``undecided``; a rule's column is Boolean, NULL where unknown.
    `assumptions` are those of `check`; ``default-options`` acts on the look-up tables, not here. With `possible` each
    question has a column of the labels still possible beside it.

    Raises:
        InputError: nothing is called so.
        KeyError: there is no such dialect.
    """
    dialect = DIALECTS[dialect_name]
    outputs = outputs_of(names)
    nodes = walk(roots_of(outputs))
    sources = _Sources(dialect, assumptions)
    rules = [node.name for node in nodes if node.kind is Kind.RULE]
    inputs = Inputs(
        facts={node.name: sources.fact(node.name) for node in nodes if node.kind is Kind.FACT},
        observed=sources.observed(rules),
        opaque=sources.opaque(rules),
        doubtful={name: pure(name) for name in rules if name in shown_by_texts()},
        keep={"guest": "g.name", "host": "g.host"},
        source=sources.joined(),
        complete=sources.complete(),
    )
    subqueries = {role: _machines(role, alias, dialect) for role, alias in _ROLES.items()}
    *inner, (_, last) = layers(outputs, inputs, dialect, possible=possible)
    named = [(_ROLES[role], text) for role, text in subqueries.items()] + inner
    start = ",\n".join(f"{name} AS (\n{text}\n)" for name, text in named)
    return f"{dialect.start}WITH {start}\n{last}\n{dialect.end}".rstrip() + ";\n"


class _Sources:
    """Where each fact is, as SQL; and which look-up tables that takes."""

    def __init__(self, dialect: Dialect, assumptions: Collection[str]) -> None:
        self._dialect = dialect
        self._assumptions = assumptions
        self._strict = STRICT in assumptions
        self._joins: set[str] = set()

    def fact(self, name: str) -> str:
        """Return a fact's expression."""
        scope, _, own = name.partition(".")
        if scope == "assume":
            return "CAST(NULL AS BOOLEAN)" if self._strict else _boolean("user-mmio" in self._assumptions)
        if scope == "vm" and self._strict:
            return f"g.{own}"
        if scope == "vm":
            return f"COALESCE(g.{own}, {_no_device('host-mmio' in self._assumptions)})"
        table = table_of(name)
        if table == "lists":
            return self._lookup(_LISTS[scope], own)
        if table:
            return self._lookup(table.removesuffix("s"), identifier(name))
        alias = "g" if scope == "guest" else "h"
        has = _has(self._dialect, f"{alias}.", own)
        if scope == "silicon":
            has = f"CASE WHEN NOT h.hypervisor THEN {has} END"
        if scope in ("host", "silicon") and own in documented_bits():
            has = f"COALESCE({has}, {self._lookup('host_cpu', identifier(f'documented.{own}'))})"
        return has

    def observed(self, rules: Iterable[str]) -> dict[str, str]:
        """Return where somebody read what rules say: what KVM was seen to offer, and the texts of files."""
        found = {}
        for name in rules:
            if offered := _OFFERED.fullmatch(name):
                found[name] = _has(self._dialect, "h.kvm_offered_", offered[1])
            for table in ("host_texts", "guest_texts"):
                if name in columns_of(table).values():
                    found[name] = self._lookup(table.removesuffix("s"), identifier(name))
        return found

    def opaque(self, rules: Iterable[str]) -> dict[str, str]:
        """Return where rules do not hold: those of Linux where a guest runs something else."""
        of_linux = ("guest.clear_cpu_buf", *(f"guest.verw_works[{name}]" for name in VULNERABILITIES))
        return {name: "COALESCE(g.system, 'linux') <> 'linux'" for name in rules if name in of_linux}

    def _lookup(self, join: str, column: str) -> str:
        self._joins.add(join)
        return f"{join}.{column}"

    def joined(self) -> str:
        """Return the relation that has all of it: each guest once."""
        lines = ["g", "LEFT JOIN h ON h.name = g.host"]
        for row, (table, key) in _JOINS.items():
            if row in self._joins:
                lines.append(f"LEFT JOIN {PREFIX}{table} AS {row} ON {row}.lookup_key = {key}")
        return "\n".join(lines)

    def complete(self) -> str:
        """Return whether the guest's host and all its look-ups were found; without them nothing is decided."""
        found = ["h.name IS NOT NULL"]
        for row, (table, key) in _JOINS.items():
            if row in self._joins:
                there = f"{row}.lookup_key IS NOT NULL"
                found.append(f"({key} IS NULL OR {there})" if table.endswith("_texts") else there)
        return " AND ".join(found)


def _no_device(host_mmio: bool) -> str:
    """Return what is assumed of a guest's devices: that there is none, unless one is known."""
    if host_mmio:
        return _boolean(value=True)
    known = " OR ".join(f"COALESCE(g.{name}, FALSE)" for name in VM_COLUMNS)
    return f"CASE WHEN NOT ({known}) THEN FALSE END"


def _boolean(value: bool) -> str:
    return "TRUE" if value else "FALSE"


def _has(dialect: Dialect, word_prefix: str, name: str) -> str:
    """Return whether a register's bit is set, NULL where the bit is unknown."""
    found = BITS[name]
    word = f"{word_prefix}{found.register}"
    return bit(dialect, word, found.mask, f"{word}_known")


def _machines(role: Role, alias: str, dialect: Dialect) -> str:
    """Return the subquery of one role's machines with the keys of their look-ups."""
    types = COLUMNS[role]
    seen = {name: _has(dialect, "m.", name) for name in ("hypervisor", "hybrid")}

    def key(names: Sequence[str]) -> str:
        return "\n    || '|' || ".join(part(name) for name in names)

    def part(name: str) -> str:
        if name in seen or types[name] == "BOOLEAN":
            value = f"({seen[name]})" if name in seen else f"m.{name}"
            return f"CASE WHEN {value} THEN 'yes' WHEN NOT {value} THEN 'no' ELSE '-' END"
        if types[name] == "BIGINT":
            return f"COALESCE('=' || {dialect.as_text.format(value=f'm.{name}')}, '-')"
        text = sql_in_key(dialect, f"m.{name}") if name == "cmdline" else f"m.{name}"
        return f"COALESCE('=' || REPLACE({text}, '|', '||'), '-')"

    release = "CASE WHEN COALESCE(m.system, 'linux') = 'linux' THEN m.kernel END"
    columns = [
        "m.*",
        f"{seen['hypervisor']} AS hypervisor",
        f"{key(CPU_KEY)} AS lookup_cpu",
        f"{key(KERNEL_KEY[role])} AS lookup_kernel",
        f"{key(PART_KEY)} AS lookup_part",
        f"'|' || COALESCE('=' || REPLACE({release}, '|', '||'), '-') AS lookup_release",
    ]
    return (
        "SELECT\n" + ",\n".join(f"  {column}" for column in columns) + f"\nFROM {role}s AS m\n{dialect.fence}".rstrip()
    )
