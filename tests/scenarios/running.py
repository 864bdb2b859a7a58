"""A case of examples/: what is expected of it, and how it is asked.

Of each vulnerability: the guest's text; C, the class of the text; A, the silicon is affected; R, the guest runs VERW on
exit to user; K, VERW in this guest is guaranteed to overwrite what the vulnerability samples; truth; safety; who is
responsible. All of it is written down by hand, from what was reported or published and from the rules' own sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import archcaps
from archcaps.machine.read import read_snapshot
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.check import check
from archcaps.questions.results import CheckResult, Verdict

EXAMPLES = Path(__file__).parents[2] / "examples"
FINE = "truthful safe nobody"
CLEAR = "Mitigation: Clear CPU buffers; SMT Host state unknown"
ATTEMPTED = "Vulnerable: Clear CPU buffers attempted, no microcode; SMT Host state unknown"
NO_FILE = "no such file"

Name = tuple[str, str, str]


@dataclass(frozen=True)
class Case:
    """What is expected of one guest on one host.

    `expected`: of a vulnerability its text, the inputs and the verdict; of those that are left out the verdict is
    `FINE`. `exposes_host`: who left the host open to the guest, by vulnerability; of the others the host is safe.
    """

    exit_code: int
    disable_fb_clear: bool | None
    expected: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    exposes_host: Mapping[str, str] = field(default_factory=dict)
    decided: bool = True


def machine(folder: str, name: str) -> Snapshot:
    return read_snapshot(EXAMPLES / folder / f"{name}.toml")


def ask(folder: str, host: str, guest: str, *assumptions: str) -> CheckResult:
    return check(machine(folder, host), machine(folder, guest), assumptions)


def kvm(folder: str, host: str = "host", **options: str) -> archcaps.Kvm:
    return archcaps.Kvm(machine(folder, host), **options)  # type: ignore[arg-type]  # options by name


def bit(value: bool | None) -> str:
    return {True: "1", False: "0", None: "?"}[value]


def found(verdict: Verdict) -> tuple[str, str, str]:
    return (
        str(verdict.concludes),
        f"{verdict.claim} A{bit(verdict.affected)} R{bit(verdict.runs_verw)} K{bit(verdict.verw_works)}",
        f"{verdict.truth} {verdict.safety} {verdict.responsible}",
    )


def holds(name: Name, case: Case) -> None:
    """Ask, and compare with everything that the case expects."""
    result = ask(*name)
    for vulnerability, expected in case.expected.items():
        assert (vulnerability, *found(result[vulnerability])) == (vulnerability, *expected)
    for verdict in result.vulnerabilities:
        if verdict.vulnerability not in case.expected:
            assert (verdict.vulnerability, found(verdict)[2]) == (verdict.vulnerability, FINE)
        if case.decided:
            by = case.exposes_host.get(verdict.vulnerability)
            border = f"exposed {by}" if by else "safe nobody"
            host = f"{verdict.host_safety} {verdict.host_responsible}"
            assert (verdict.vulnerability, host) == (verdict.vulnerability, border)
            for answer in (verdict.concludes, verdict.claim, verdict.truth, verdict.safety, verdict.responsible):
                assert answer.decided, (verdict.vulnerability, answer)
            assert verdict.missing == {}
    assert (result.exit_code, result.disable_fb_clear) == (case.exit_code, case.disable_fb_clear)
