"""archcaps check."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import click

from archcaps.cli.here import guests_to_check, unknown_host
from archcaps.cli.machines import Machines, machine_options
from archcaps.cli.output import say, style
from archcaps.cli.screen import width
from archcaps.extras import needs
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.machine.this import this_machine
from archcaps.questions.check import check as ask
from archcaps.questions.of_configuration import with_configuration
from archcaps.questions.results import CheckResult
from archcaps.report.provider import provider_questions
from archcaps.tables.names import STRICT

__all__ = ["check"]

_EXIT = """
\b
Exit codes:
  0  told the truth, and safe
  1  not the truth (or a notice), but nothing leaks
  2  exposed: data can leak
  3  undecided: facts are missing
  64 and more: wrong usage, unreadable input, internal error
"""

#: Exit codes in the order of what they mean: fine, not the truth, undecided, exposed.
_FROM_FINE_TO_BAD = (0, 1, 3, 2)

_EXAMPLES = """
\b
Examples:
  archcaps check --host examples/thread/host.toml --guest examples/thread/guest.toml
  archcaps check --host examples/tsa-no-always/host.toml --guest default
  archcaps check --cpu 6/0x55/4 --arch-capabilities 0x0 --flags md_clear,flush_l1d --guest-kernel 6.12.117 \\
      --host-cpu 6/0x8f/8 --host-arch-capabilities 0x6e120 --host-flags md_clear,flush_l1d --host-kernel 6.12.117
  archcaps check --host examples/thread/host.toml --guest "-cpu Cascadelake-Server-v5,+md-clear" \\
      --vmm-version 10.1 --guest-kernel 6.12.117
"""


@click.command(epilog=_EXAMPLES + _EXIT)
@machine_options
@click.option(
    "--further",
    is_flag=True,
    help="Explain what else the register speaks of, as Meltdown, and count it for the exit code.",
)
@click.option(
    "--exact",
    is_flag=True,
    help="Where missing facts leave a verdict open: is it so whatever they are, which of them matter, and which few "
    "would decide? (needs archcaps[prove])",
)
@click.option("--all", "everything", is_flag=True, help="Explain every vulnerability, with every deciding input.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, one a guest (schemas/check-1.json).")
@click.option(
    "--color/--no-color", default=None, help="Colours: on a terminal only, unless said; NO_COLOR is honoured."
)
def check(machines: Machines, further: bool, exact: bool, everything: bool, as_json: bool, color: bool | None) -> int:
    """Say whether a guest is told the truth about its CPU, and whether data can leak.

    For MDS, TAA, MMIO stale data, RFDS and TSA: what the guest is shown, what its kernel concludes (the exact text of
    its file under /sys/devices/system/cpu/vulnerabilities), whether it runs VERW, what VERW really does for it, and
    who is responsible. Host and guest come from snapshot files, or from the options, which also replace single values
    of a file. What is not given is unknown, and an unknown never counts as safe.

    In short it says the same of what else IA32_ARCH_CAPABILITIES speaks of: Meltdown, L1TF, SSB, ITLB multihit, GDS,
    ITS, Retbleed, Spectre v2 with BHI and PBRSB.

    Without any option it checks this machine: a host for what guests get on it by default and for each running QEMU
    guest; a virtual machine for its own side, with what to ask of whoever runs its host.
    """
    show = partial(_show, as_json=as_json, further=further, everything=everything, color=color)
    if exact:
        needs("prove", "check --exact")
    judge = partial(ask, exact=exact, further=further, brief=not (further or everything or as_json))
    if not machines.given:
        return _here(machines.assumptions, judge, show, as_json=as_json)
    host, guest, shown = machines.read_shown()
    result = judge(host, guest, machines.assumptions)
    return show(result if shown is None else with_configuration(result, shown))


def _here(
    assumptions: tuple[str, ...],
    judge: Callable[..., CheckResult],
    show: Callable[[CheckResult], int],
    *,
    as_json: bool,
) -> int:
    """Check this machine: as a guest its own side, as a host what guests get on it. The worst exit code counts."""
    this = this_machine()
    if this.role == "guest":
        result = judge(unknown_host(), this, assumptions)
        code = show(result)
        questions = provider_questions(result)
        if questions and not as_json:
            say("\n" + questions)
        return code
    worst = 0
    for number, guest in enumerate(guests_to_check(this, None, strict=STRICT in assumptions)):
        if number and not as_json:
            say("\n")
        if isinstance(guest, ShownGuest):
            result = with_configuration(judge(this, guest.snapshot, assumptions), guest)
        else:
            result = judge(this, guest, assumptions)
        worst = max(worst, show(result), key=_FROM_FINE_TO_BAD.index)
    return worst


def _show(result: CheckResult, *, as_json: bool, further: bool, everything: bool, color: bool | None) -> int:
    """Print one answer and return its exit code."""
    if as_json:
        from archcaps.report.json import render as render_json  # noqa: PLC0415  # only one of the two is needed

        say(render_json(result))
    else:
        from archcaps.report.terminal import render  # noqa: PLC0415  # as above

        say(render(result, style, further=further, everything=everything, width=width()), color)
    return result.exit_code
