"""Options that take one value: given twice they are refused, and not answered for the last value alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import click

__all__ = ["once"]


class _Once(click.Option):
    """An option that may be given once."""

    def __init__(self, names: Sequence[str], **given: Any) -> None:  # noqa: ANN401  # click's own
        super().__init__(names, **{**given, "multiple": True})

    def type_cast_value(self, ctx: click.Context, value: object) -> object:
        """Return the one value, None where there is none.

        Raises:
            click.UsageError: it is given several times.
        """
        values = super().type_cast_value(ctx, value)
        if values and len(values) > 1:
            said = " and ".join(str(each)[:60] for each in values[:3])
            raise click.UsageError(f"{self.opts[0]} is given {len(values)} times ({said}): it takes one", ctx)
        return values[0] if values else None


#: As click.option, for an option that may be given once.
once = partial(click.option, cls=_Once)
