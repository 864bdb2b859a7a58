"""A command line as a key of the look-ups has it: without the words that no rule reads, where SQL can tell them.

All engines read these regular expressions alike, which have no backslash and look neither ahead nor back.
"""

from __future__ import annotations

import re
from typing import Final

from archcaps.logic.sql import literal
from archcaps.logic.sql_dialects import Dialect
from archcaps.machine.cmdline import NAMES

__all__ = ["in_key", "sql_in_key"]

#: A text with such a character is left as it is: quotation marks keep spaces together, other blanks end words too, with
#: a dollar or a backslash dialects write groups, and brackets are not the same in all of them.
_OTHER: Final = "[^ !#%-Z^-~]"
#: A word and the space behind it; its group is empty unless somebody reads it, or it ends the options.
_WORD: Final = f"((?:{NAMES})(?:=[^ ]*)? |-- )|[^ ]* "


def in_key(text: str) -> str:
    """Return what stands for a command line in a key: two that differ in it are read differently, or not plain."""
    return text if re.search(_OTHER, text) else re.sub(_WORD, lambda found: found[1] or "", f"{text} ")


def sql_in_key(dialect: Dialect, column: str) -> str:
    """Return `in_key` of a column, NULL where it is NULL."""
    other = dialect.matches.format(text=column, pattern=literal(_OTHER))
    options = dialect.group.format(text=f"({column} || ' ')", pattern=literal(_WORD))
    return f"CASE WHEN {other} THEN {column} ELSE {options} END"
