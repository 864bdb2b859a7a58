"""What generated pages share: how they begin, their tables, and their sources by number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["WRITTEN_BY", "Sources", "table"]

WRITTEN_BY = "<!-- Written by tools/generate.py (make docs); not edited by hand. -->\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


class Sources:
    """Sources of one section by number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def cite(self, text: str) -> str:
        """Return the numbers of the sources that `text` names, parted by semicolons."""
        parts = [part.strip() for part in text.split(";")]
        return " ".join(f"[{self.numbers.setdefault(part, len(self.numbers) + 1)}]" for part in parts)

    def __str__(self) -> str:
        return "Sources: " + "; ".join(f"[{number}] {text}" for text, number in self.numbers.items()) + "\n"
