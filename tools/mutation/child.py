"""Runs killers against a mutant in a process of its own, in which nothing of the rules was imported before."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import os
import select
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import spec_from_loader
from types import CodeType, ModuleType
from typing import Protocol

from tools.mutation.mutant import RULES

__all__ = ["Killer", "Outcome", "forget_rules", "judge"]

#: Kept when the rules are forgotten: they import nothing of them, and hold what was read from files.
_KEPT = (
    "archcaps.questions.predict_case", "archcaps.questions.predict_facts", "tests.reality.records",
    "tests.oracle.guest_", "tests.oracle.pair_",
)  # fmt: skip
_FORGOTTEN = ("archcaps.rules", "archcaps.logic", "archcaps.questions", "archcaps.report", "archcaps.cli", "tests")


class Killer(Protocol):
    """Something that can fail: it returns what failed, or None where all was as ever."""

    @property
    def name(self) -> str: ...

    def __call__(self) -> str | None: ...


@dataclass(frozen=True)
class Outcome:
    """`state`: killed, timeout or survived; `by`: the killer; `what`: what failed."""

    state: str
    by: str = ""
    what: str = ""


class _Loader(importlib.machinery.SourceFileLoader):
    """Reads one module of the rules from another text."""

    def __init__(self, module: str, text: str) -> None:
        super().__init__(f"archcaps.rules.{module}", str(RULES / f"{module}.py"))
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._text, self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds that module."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return spec_from_loader(fullname, self._loader) if fullname == self._loader.name else None


def forget_rules() -> None:
    """Forget the rules and all that imports them, so that each child imports them again."""
    for name in list(sys.modules):
        if name == "archcaps" or (name.startswith(_FORGOTTEN) and not name.startswith(_KEPT)):
            del sys.modules[name]
    sys.modules.pop("archcaps.machine.observations", None)


def judge(module: str, text: str, killers: Iterable[Killer], limit: float) -> Outcome:
    """Return what becomes of a module of the rules with this text, after `limit` seconds at the latest."""
    assert not any(name.startswith("archcaps.rules") for name in sys.modules)

    def work() -> Outcome:
        sys.meta_path.insert(0, _Finder(_Loader(module, text)))
        for killer in killers:
            try:
                what = killer()
            except BaseException as error:  # whatever it is, the rules did not raise it before
                what = f"{type(error).__name__}: {error}"
            if what is not None:
                return Outcome("killed", killer.name, what)
        return Outcome("survived")

    return _in_child(work, limit)


def _in_child(work: Callable[[], Outcome], limit: float) -> Outcome:
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        outcome = work()
        os.write(sending, json.dumps([outcome.state, outcome.by, outcome.what[:300]]).encode())
        os._exit(0)
    os.close(sending)
    ready, _, _ = select.select([receiving], [], [], limit)
    told = os.read(receiving, 1 << 16) if ready else b""
    os.close(receiving)
    if not ready:
        _kill(child)
    os.waitpid(child, 0)
    if told:
        return Outcome(*json.loads(told))
    return (
        Outcome("killed", "crash", "the process ended") if ready else Outcome("timeout", "time limit", f"{limit:.0f} s")
    )


def _kill(child: int) -> None:
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(child, signal.SIGKILL)
