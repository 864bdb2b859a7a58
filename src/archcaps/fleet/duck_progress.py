"""How far DuckDB is with a query: another thread asks while it works."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import duckdb

from archcaps.fleet.classes import Progress, silent
from archcaps.fleet.duck_interrupts import ends_at_once

__all__ = ["tell_progress", "watched"]

#: How often a running query is asked, in seconds.
_PAUSE: Final = 0.2


def tell_progress(database: duckdb.DuckDBPyConnection, progress: Progress) -> None:
    """Have DuckDB count how far it is, if somebody watches, and never draw a bar of its own."""
    database.execute("SET enable_progress_bar_print=false")
    database.execute(f"SET enable_progress_bar={'false' if progress is silent else 'true'}")


@contextmanager
def watched(database: duckdb.DuckDBPyConnection, phase: str, progress: Progress) -> Iterator[None]:
    """Tell a phase and how much of it is done, as DuckDB counts it; the phase is one query of any length.

    What `progress` raises ends the query, and is raised here.
    """
    progress(phase, 0.0)
    if progress is silent:
        with ends_at_once(database):
            yield
        return
    over = threading.Event()
    raised: list[BaseException] = []

    def watch() -> None:
        most = 0.0
        while not over.wait(_PAUSE):
            most = max(most, min(database.query_progress() / 100, 1.0))  # -1: it has not begun
            try:
                progress(phase, most)
            except BaseException as error:  # it is raised where the work is done
                raised.append(error)
                database.interrupt()
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        with ends_at_once(database):
            yield
    except duckdb.InterruptException:
        if not raised:
            raise
    finally:
        over.set()
        thread.join()
    if raised:
        raise raised[0]
