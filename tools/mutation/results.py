"""The results file: one line of JSON for each mutant that was judged, so that a run that was stopped can go on.

A kill holds as long as the mutated module is the same. That a mutant survived holds only for the same rules and tests.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.mutation.mutant import RULES, Mutant

__all__ = ["Judged", "Results"]

ROOT = Path(__file__).parents[2]
_OF_SURVIVORS = ("src/archcaps", "tests", "tools/mutation")


@dataclass(frozen=True)
class Judged:
    """What became of one mutant."""

    id: str
    place: str
    module: str
    state: str
    by: str
    what: str
    of: str


class Results:
    """What earlier runs found, as far as it still holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._modules = {each.stem: _digest([each]) for each in RULES.glob("*.py")}
        files = [each for folder in _OF_SURVIVORS for each in sorted((ROOT / folder).rglob("*.py"))]
        self.digest = _digest(files)
        self.found: dict[str, Judged] = {}
        if path.exists():
            for line in path.read_text("utf-8").splitlines():
                judged = Judged(**json.loads(line))
                if judged.of == self._of(judged.module, judged.state):
                    self.found[judged.id] = judged
                else:
                    self.found.pop(judged.id, None)

    def add(self, mutant: Mutant, state: str, by: str, what: str) -> None:
        """Append a result; workers may do so at once."""
        judged = Judged(mutant.id, mutant.place, mutant.module, state, by, what, self._of(mutant.module, state))
        line = json.dumps(vars(judged), ensure_ascii=False) + "\n"
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def of(self, mutants: list[Mutant]) -> Mapping[str, Judged]:
        """Return what is known of these mutants."""
        return {mutant.id: self.found[mutant.id] for mutant in mutants if mutant.id in self.found}

    def _of(self, module: str, state: str) -> str:
        return self.digest if state == "survived" else self._modules.get(module, "")


def _digest(files: list[Path]) -> str:
    whole = hashlib.sha256()
    for file in files:
        whole.update(file.read_bytes())
    return whole.hexdigest()[:16]
