"""Ctrl-C while DuckDB works: its words for that turned into Python's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["interrupts"]

#: What DuckDB's Python client throws, as a plain RuntimeError, where it finds a signal between two steps of a query
#: (its `CompletePendingQuery`); the KeyboardInterrupt is gone by then.
_SAID: Final = "Query interrupted"


@contextmanager
def interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt where a query was interrupted by a signal.

    Raises:
        KeyboardInterrupt: the user does not want to wait.
    """
    try:
        yield
    except RuntimeError as error:
        if str(error) != _SAID:
            raise
        raise KeyboardInterrupt from None
