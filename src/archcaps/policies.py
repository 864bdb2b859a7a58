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
from pathlib import Path

from archcaps.docstrings import docstring_of
from archcaps.errors import InputError
from archcaps.logic.graph import FALSE, TRUE, all_of, any_of, choose
from archcaps.logic.rewriting import Override
from archcaps.rules.kvm_entry import noverw, vmx_setup_fb_clear_ctrl
from archcaps.rules.kvm_offer import on_svm
from archcaps.rules.linux_mitigations import clear_cpu_buf

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
        InputError: it can not be read or run, or holds no rule.
    """
    try:
        found = runpy.run_path(str(path))
    except InputError as error:
        raise InputError(str(error), str(path)) from error
    except Exception as error:
        raise InputError(f"can not be run: {type(error).__name__}: {error}", str(path)) from error
    rules = {name: each for name, each in found.items() if hasattr(each, "policy_source")}
    if not rules:
        raise InputError("no function in it is marked with @rule of archcaps.policies", str(path))
    meaning = " ".join((found.get("__doc__") or "").split())
    return Policy(path.stem, rules, meaning)
