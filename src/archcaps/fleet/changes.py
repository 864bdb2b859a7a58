"""Changes that are rolled out over a fleet: what is set, on which machines, and what no longer holds there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

from archcaps.errors import InputError, nearest
from archcaps.machine.row import COLUMNS, OFFERED, WORDS, signed
from archcaps.questions.many.columns import Machines
from archcaps.tables.bits import BITS, REGISTERS
from archcaps.tables.kernels import Release

__all__ = ["CHANGES", "Change", "Only", "apply"]

Role = Literal["host", "guest"]
#: What can be changed: the role and the column, or a bit to show or to hide.
CHANGES: Final[dict[str, tuple[Role, str]]] = {
    "host-kernel": ("host", "kernel"),
    "host-cmdline": ("host", "cmdline"),
    "host-microcode": ("host", "microcode"),
    "guest-kernel": ("guest", "kernel"),
    "guest-cmdline": ("guest", "cmdline"),
    "guest-show": ("guest", "show"),
    "guest-hide": ("guest", "hide"),
}
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{1,16}|0|[1-9][0-9]{0,19}")


@dataclass(frozen=True)
class Change:
    """One thing to set: ``host-kernel=6.18.9``, ``guest-show=fb_clear``."""

    what: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Change:
        """Return the change that a text names.

        Raises:
            InputError: it is no change, or its value cannot be.
        """
        what, equals, value = text.partition("=")
        if not equals or what not in CHANGES:
            names = ", ".join(f"{name}=..." for name in CHANGES)
            raise InputError(f"{text!r} is no change{nearest(what, CHANGES)} (expected {names})", "--change")
        if what.endswith("-kernel"):
            try:
                Release.parse(value)
            except ValueError as error:
                raise InputError(str(error), f"--change {what}") from error
        if what in ("guest-show", "guest-hide") and value not in BITS:
            raise InputError(f"unknown bit {value!r}{nearest(value, BITS)}", f"--change {what}")
        if what == "host-microcode" and not (_NUMBER.fullmatch(value) and int(value, 0) < 1 << 64):
            raise InputError(f"{value!r} is not a number of 64 bits (decimal, or 0x and hexadecimal digits)",
                             f"--change {what}")  # fmt: skip
        return cls(what, value)

    @property
    def role(self) -> Role:
        """Whose it is."""
        return CHANGES[self.what][0]


@dataclass(frozen=True)
class Only:
    """Where to change something: machines of which a column's value matches a pattern (``host.kernel=6.12*``)."""

    role: Role
    column: str
    pattern: str

    @classmethod
    def parse(cls, text: str) -> Only:
        """Return the condition that a text names.

        Raises:
            InputError: it names no column.
        """
        name, equals, pattern = text.partition("=")
        role, _, column = name.partition(".")
        if not equals or role not in ("host", "guest"):
            raise InputError(f"{text!r} is no condition (expected host.COLUMN=PATTERN or guest.COLUMN=...)", "--only")
        known = COLUMNS[role]  # type: ignore[index]  # one of the two
        if column not in known:
            raise InputError(f"a {role} has no column {column!r}{nearest(column, known)}", "--only")
        return cls(role, column, pattern)  # type: ignore[arg-type]  # one of the two

    def holds(self, value: object) -> bool:
        """Return whether a value matches; a null never does."""
        return value is not None and fnmatchcase(str(value), self.pattern)


def apply(machines: Machines, changes: Sequence[Change], only: Sequence[Only]) -> tuple[Machines, list[bool]]:
    """Return the machines as they are after the changes, and which of them are changed.

    What was observed of a kernel (its files, what its KVM offers, its behaviours) does not hold for another kernel,
    command line or microcode: it is unknown there, and modelled.
    """
    own = [change for change in changes if change.role == machines.role]
    conditions = [condition for condition in only if condition.role == machines.role]
    columns = {name: list(values) for name, values in machines.columns.items()}
    chosen = [
        all(name.holds(_at(machines, name.column, number)) for name in conditions) for number in range(machines.count)
    ]
    if not own:
        return machines, [False] * machines.count
    for change in own:
        _, column = CHANGES[change.what]
        if column in ("show", "hide"):
            _set_bit(columns, chosen, change.value, shown=column == "show", count=machines.count)
            continue
        value: Any = signed(int(change.value, 0)) if column == "microcode" else change.value
        _set(columns, chosen, column, value, machines.count)
        stale = {"kernel": ("vulnerabilities", "behaviours", *OFFERED), "cmdline": ("vulnerabilities", *OFFERED)}
        for name in stale.get(column, ("vulnerabilities", *OFFERED)):
            if name in columns:
                _set(columns, chosen, name, None, machines.count)
    return Machines(machines.role, machines.count, columns, machines.assumptions), chosen


def _at(machines: Machines, column: str, number: int) -> object:
    return machines.columns[column][number] if column in machines.columns else None


def _set(columns: dict[str, list[Any]], chosen: Sequence[bool], name: str, value: object, count: int) -> None:
    old = columns.get(name, [None] * count)
    columns[name] = [value if here else was for here, was in zip(chosen, old, strict=True)]


def _set_bit(columns: dict[str, list[Any]], chosen: Sequence[bool], bit: str, *, shown: bool, count: int) -> None:
    """Set or clear a bit where it is known or not; showing a bit of MSR 0x10a does not show the MSR itself."""
    register, mask = BITS[bit].register, BITS[bit].mask
    every = (1 << REGISTERS[register].width) - 1
    words = columns.get(register, [None] * count)
    known = columns.get(f"{register}_known", [None] * count)
    for number, here in enumerate(chosen):
        if not here:
            continue
        word, mask_of = words[number], known[number]
        spoken_for = 0 if word is None else every if mask_of is None else mask_of & every
        value = (word or 0) & every
        words[number] = signed(value | mask if shown else value & ~mask)
        known[number] = signed(spoken_for | mask)
    columns[register], columns[f"{register}_known"] = words, known
    assert register in WORDS
    if "vulnerabilities" in columns:
        _set(columns, chosen, "vulnerabilities", None, count)
