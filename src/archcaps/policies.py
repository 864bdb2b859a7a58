"""A policy: KVM's rules as somebody would rather have them, in a Python file.

    from archcaps.policies import FALSE, rule

    @rule("where this was proposed")
    def vmx_update_fb_clear_dis(vcpu, kvm):
        \"\"\"KVM never sets FB_CLEAR_DIS.\"\"\"
        return FALSE

A function stands in for the rule of its name, and is called with the same arguments. It uses `&`, `|` and `~`.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from traceback import extract_tb

from archcaps.docstrings import docstring_of
from archcaps.errors import InputError, nearest
from archcaps.logic.graph import FALSE, TRUE, all_of, any_of, choose, walk
from archcaps.logic.rewriting import Override
from archcaps.rules.host_border import exposes_host
from archcaps.rules.kvm_entry import noverw, vmx_setup_fb_clear_ctrl
from archcaps.rules.kvm_offer import on_svm
from archcaps.rules.linux_mitigations import clear_cpu_buf
from archcaps.rules.properties import lied_to
from archcaps.rules.shown import model
from archcaps.rules.verdict import exposed
from archcaps.tables.names import VULNERABILITIES

__all__ = [
    "FALSE", "TRUE", "Policy", "all_of", "any_of", "choose", "clear_cpu_buf", "noverw", "on_svm", "read_policy", "rule",
    "vmx_setup_fb_clear_ctrl",
]  # fmt: skip


@dataclass(frozen=True)
class Policy:
    """Rules by the name of the function that they stand in for, and what the file says of itself."""

    name: str
    rules: Mapping[str, Override] = field(default_factory=dict)
    meaning: str = ""


def rule(source: str) -> Callable[[Override], Override]:
    """Mark a function as standing in for the rule of its name; `source` says where it was proposed."""

    def mark(function: Override) -> Override:
        if not source.strip() or not docstring_of(function):
            raise InputError("a rule needs a source and a docstring: the sentence it implements", function.__name__)
        function.policy_source = source  # type: ignore[attr-defined]  # found again by `read_policy`
        return function

    return mark


def read_policy(path: Path) -> Policy:
    """Return the policy in a file. The file is run: it can do whatever Python can.

    Raises:
        InputError: it cannot be read or run, holds no rule, or one whose name no rule of archcaps has.
    """
    where = str(path)
    try:
        found = runpy.run_path(where)
    except InputError as error:
        raise InputError(str(error), where) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where) from error
    except SystemExit as error:
        raise InputError("ends the program by itself (sys.exit): a policy only defines functions", where) from error
    except SyntaxError as error:
        raise InputError(f"no Python: {error.msg}", f"{where}:{error.lineno or 1}") from error
    except Exception as error:
        raise InputError(f"cannot be run: {_on_one_line(error)}", f"{where}{_line_in(where, error)}") from error
    rules = {name: each for name, each in found.items() if hasattr(each, "policy_source")}
    if not rules:
        raise InputError("no function in it is marked with @rule of archcaps.policies", where)
    for name in rules:
        if name not in _replaceable():
            raise InputError(f"no rule that decides a verdict is called {name!r}{nearest(name, _replaceable())}", where)
    meaning = " ".join((found.get("__doc__") or "").split())
    return Policy(path.stem, rules, meaning)


@cache
def _replaceable() -> frozenset[str]:
    """Return the names of the functions of every rule that a verdict rests on."""
    case = model().guest
    roots = [node(case, name) for name in VULNERABILITIES for node in (lied_to, exposed, exposes_host)]
    return frozenset(node.info.name for node in walk(roots) if node.info is not None)


def _on_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _line_in(path: str, error: Exception) -> str:
    """Return the line of the file at which it happened, after a colon; nothing where that is elsewhere."""
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == path]
    return f":{lines[-1]}" if lines else ""
