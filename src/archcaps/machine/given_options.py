"""A kernel's command line and configuration together with what its release does with them.

What neither settles is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from archcaps.errors import InputError, nearest
from archcaps.machine.cmdline import CommandLine, Mitigations
from archcaps.machine.snapshot import Kernel
from archcaps.tables.files import read_toml

__all__ = ["ASSUMED_CONFIG", "Options", "Values", "config_items"]

#: The configuration that `--assume default-options` supposes.
ASSUMED_CONFIG: Final = "upstream-defaults"

#: Look-ups by name; None: unknown.
Values: TypeAlias = dict[str, bool | None]


def config_items(kernel: Kernel, where: str) -> Mapping[str, str] | None:
    """Return the CONFIG_ items of a kernel, or None where nothing is known of its configuration.

    Raises:
        InputError: the configuration's name is none of the table's.
    """
    if kernel.config is None or isinstance(kernel.config, dict):
        return kernel.config
    known = read_toml("kernel_configs.toml")
    if kernel.config not in known:
        raise InputError(f"unknown kernel configuration {kernel.config!r}{nearest(kernel.config, known)}", where)
    return {key: value for key, value in known[kernel.config].items() if key.isupper()}


@dataclass(frozen=True)
class Options:
    """A known command line, a configuration (None: unknown) and the release's behaviours (None: unknown)."""

    line: CommandLine
    config: Mapping[str, str] | None
    behaviours: Mapping[str, bool | None]

    def built(self, *items: str) -> bool | None:
        """Whether the first of `items` that the configuration speaks of is y or m; None where it names none."""
        value = next((self.config[item] for item in items if item in self.config), None) if self.config else None
        return None if value is None else value in ("y", "m")

    def compiled_off(self, item: str, can_be: bool | None) -> bool | None:
        """Whether the kernel was built with this mitigation off; `can_be`: its configuration has the item."""
        built = self.built(item)
        return False if can_be is False else None if built is None else not built

    def agreed(self, name: str, value: Callable[[bool], bool | None]) -> bool | None:
        """Return `value` for what behaviour `name` is; where that is unknown, what both answers agree on."""
        known = self.behaviours.get(name)
        if known is not None:
            return value(known)
        with_it, without = value(True), value(False)
        return with_it if with_it is without else None

    def mitigations(self, accept: Callable[[Mitigations], bool | None]) -> bool | None:
        """Return what `accept` says of mitigations=, whose grammar changed with attack vectors."""
        return self.agreed("attack_vectors", lambda vectors: accept(self.line.mitigations(attack_vectors=vectors)))
