"""The options that say what is supposed: the same for every command that supposes something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from archcaps.tables.names import STRICT

__all__ = ["assumptions_of_options", "strict_option"]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_ASSUMED: Final = "assumptions"


def strict_option(command: _Command) -> _Command:
    """Add ``--strict`` to a command that has ``--assume``, or supposes something without being asked to."""
    return click.option(
        STRICT,
        "--strict",
        is_flag=True,
        help="Suppose nothing: not that a kernel newer than all of its line that was read does what the newest of "
        "these does, nor that a distribution's kernel does what upstream's does, nor that no MMIO is mapped, nor any "
        "option. What is not known stays unknown.",
    )(command)


def assumptions_of_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return a command's options with ``--strict`` among the assumptions, as the questions take it.

    Raises:
        click.UsageError: something is to be supposed, and nothing.
    """
    given = dict(options)
    strict, assumed = given.pop(STRICT), given.get(_ASSUMED, ())
    if strict and assumed:
        raise click.UsageError("--strict supposes nothing: --assume cannot be given with it")
    return {**given, _ASSUMED: (STRICT,) if strict else assumed}
