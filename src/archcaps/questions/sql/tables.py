"""The tables that the query reads, as SQL: those of machines, which a team fills, and those of look-ups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from archcaps.logic.sql import literal
from archcaps.logic.sql_dialects import DIALECTS, Dialect
from archcaps.machine.row import COLUMNS
from archcaps.questions.sql.lookups import TABLES, Role, columns_of

__all__ = ["PREFIX", "create_machines", "load_lookups"]

#: What the names of look-up tables start with in the warehouse.
PREFIX: Final = "archcaps_"
_NAMES: Final[Mapping[Role, tuple[str, ...]]] = {"host": ("name",), "guest": ("name", "host")}


def create_machines(dialect_name: str) -> str:
    """Return the statements that make the tables `hosts` and `guests`, empty.

    Raises:
        KeyError: there is no such dialect.
    """
    dialect = DIALECTS[dialect_name]
    found = []
    for role, names in _NAMES.items():
        types = dict.fromkeys(names, "VARCHAR") | dict(COLUMNS[role])
        columns = {name: _type(dialect, kind) for name, kind in types.items()}
        found.append(dialect.create.format(table=f"{role}s", columns=_listed(columns)))
    return "\n".join(found) + "\n"


def load_lookups(dialect_name: str, folder: str) -> str:
    """Return the statements that make the look-up tables from the CSV files in `folder`.

    Raises:
        KeyError: there is no such dialect.
        ValueError: the folder's name is not the same in all dialects.
    """
    dialect = DIALECTS[dialect_name]
    found = []
    for table, meaning in TABLES.items():
        columns = {"lookup_key": dialect.key} | dict.fromkeys(columns_of(table), dialect.boolean)
        path = literal(f"{folder}/{table}.csv")
        text = dialect.load.format(table=f"{PREFIX}{table}", columns=_listed(columns), path=path)
        found.append(f"-- {meaning}\n{text}\n")
    return "\n".join(found)


def _type(dialect: Dialect, kind: str) -> str:
    return {"VARCHAR": dialect.text, "BIGINT": dialect.integer, "BOOLEAN": dialect.boolean}[kind]


def _listed(columns: Mapping[str, str]) -> str:
    return ",\n".join(f"  {name} {kind}" for name, kind in columns.items())
