"""What can be changed for a guest to be told the truth and be safe: kinds of change, bits, boot options, microcode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from archcaps.tables.files import read_toml

__all__ = ["ChangeableBit", "Kind", "MicrocodeBrings", "OffSwitch", "bits", "kinds", "microcode", "needs", "options"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of change: who makes it, what it costs (a number without a unit), what has to be restarted for it.

    `other_line` is what a kernel of another line costs beside that.
    """

    name: str
    does: str
    owner: str
    cost: int
    needs: str
    reason: str
    other_line: int = 0

    @property
    def of_vm(self) -> bool:
        """Whether the VM's owner can make it."""
        return self.owner == "VM's owner"


@dataclass(frozen=True, slots=True)
class ChangeableBit:
    """A bit that may be shown or hidden; `forced`: also where KVM does not offer it, on CPUs of the vendors `only`."""

    name: str
    forced: bool
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OffSwitch:
    """A boot option, the values that switch a mitigation off, and the one that switches it on.

    `compiled` is the look-up that says, without the option, that the kernel was built with the mitigation off.
    """

    name: str
    off: tuple[str, ...]
    on: str = ""
    compiled: str = ""


@dataclass(frozen=True, slots=True)
class MicrocodeBrings:
    """The bit that microcode enumerates on parts of Intel's list whose cells in `columns` name microcode (MCU).

    `needs`: only on parts that have this bit.
    """

    vulnerability: str
    columns: tuple[str, ...]
    bit: str
    source: str
    needs: str = ""


@cache
def kinds() -> Mapping[str, Kind]:
    """Return every kind of change by name, in the order of the table."""
    return MappingProxyType({name: Kind(name, **entry) for name, entry in _table()["kind"].items()})


@cache
def needs() -> Mapping[str, str]:
    """Return what each word of `Kind.needs` asks for, as a sentence."""
    return MappingProxyType(dict(_table()["needs"]))


@cache
def bits() -> tuple[ChangeableBit, ...]:
    """Return the bits that may be shown or hidden."""
    return tuple(ChangeableBit(**_with_tuples(entry)) for entry in _table()["bit"])


@cache
def options() -> tuple[OffSwitch, ...]:
    """Return the boot options that switch mitigations off."""
    return tuple(OffSwitch(**_with_tuples(entry)) for entry in _table()["option"])


@cache
def microcode() -> tuple[MicrocodeBrings, ...]:
    """Return what microcode of Intel's brings."""
    return tuple(MicrocodeBrings(**_with_tuples(entry)) for entry in _table()["microcode"])


def _table() -> dict[str, Any]:
    return read_toml("changes.toml")


def _with_tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
