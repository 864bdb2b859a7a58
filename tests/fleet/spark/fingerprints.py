"""What two tables have in common if they hold the same rows."""

from __future__ import annotations

from typing import Any

import duckdb

__all__ = ["fingerprint"]


def fingerprint(table: str) -> list[tuple[Any, ...]]:
    """Return a hash of a table's rows in the order of their own hashes, how many they are, and its columns.

    `table` is a file, or a pattern of files that are one table.
    """
    rows = duckdb.execute(
        f"""
        SELECT count(*), md5(string_agg(CAST(one AS VARCHAR), ' ' ORDER BY one))
        FROM (SELECT hash(t) AS one FROM '{table}' t)
        """
    ).fetchall()
    return [*rows, *((name, kind) for name, kind, *_ in duckdb.execute(f"DESCRIBE FROM '{table}'").fetchall())]
