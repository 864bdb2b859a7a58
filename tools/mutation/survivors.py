"""The mutants that no test can kill, each with the reason (survivors.toml)."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from tools.mutation.results import Judged

__all__ = ["faults", "justified"]

_FILE = Path(__file__).with_name("survivors.toml")


def justified() -> dict[str, str]:
    """Return the reason by the mutant's id."""
    with _FILE.open("rb") as file:
        groups = tomllib.load(file)["survivors"]
    found: dict[str, str] = {}
    for group in groups:
        for mutant in group["mutants"]:
            if mutant in found:
                raise ValueError(f"{_FILE.name}: {mutant} stands twice")
            found[mutant] = group["because"]
    return found


def faults(
    survived: Sequence[Judged], made: Collection[str], reasons: Mapping[str, str], *, whole: bool
) -> Iterator[str]:
    """Yield a line for each survivor without a reason and each reason without a survivor."""
    alive = {judged.id for judged in survived}
    for judged in survived:
        if judged.id not in reasons:
            yield f"survived: {judged.place} {judged.id}"
    for mutant in reasons:
        if mutant not in made and whole:
            yield f"{_FILE.name}: no such mutant any more: {mutant}"
        elif mutant in made and mutant not in alive:
            yield f"{_FILE.name}: killed, or not judged: {mutant}"
