"""Ctrl-C ends a query of DuckDB at once."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import duckdb

__all__ = ["ends_at_once"]

#: The command's own handlers make an interrupt of each.
_ENDS: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


@contextmanager
def ends_at_once(database: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """End the query inside as soon as a signal wants the command to end, where the main thread asks it.

    DuckDB's client looks for signals between two steps of a query only; if other threads have all steps, or a step is
    long, that is late. Python's handler cannot run before that, but the number of a signal is written to a socket when
    it comes (`signal.set_wakeup_fd`), and a thread that reads there tells DuckDB.

    Raises:
        KeyboardInterrupt: there was one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    seen = threading.Event()

    def listen() -> None:
        while numbers := reader.recv(16):
            if not _ENDS.isdisjoint(numbers):
                seen.set()
                database.interrupt()

    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    except duckdb.InterruptException:
        if seen.is_set():
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.set_wakeup_fd(before)
        writer.close()
        thread.join()
        reader.close()
