"""Options that take one value: given twice they are refused, and not answered for the last value alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

__all__ = ["once"]


def _one(context: click.Context, option: click.Parameter, values: Sequence[object]) -> object:
    """Return the one value, None where there is none.

    Raises:
        click.UsageError: it is given several times.
    """
    if len(values) > 1:
        said = " and ".join(str(each)[:60] for each in values[:3])
        raise click.UsageError(f"{option.opts[0]} is given {len(values)} times ({said}): it takes one", context)
    return values[0] if values else None


#: As click.option, for an option that may be given once.
once = partial(click.option, multiple=True, callback=_one)
