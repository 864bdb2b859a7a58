"""archcaps check."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import click

from archcaps.cli.here import guest_of_process, guests_to_check, unknown_host
from archcaps.cli.screen import colour, width
from archcaps.machine.inline import InlineMachine, overlay
from archcaps.machine.read import read_snapshot
from archcaps.machine.snapshot import Snapshot
from archcaps.machine.this import this_machine
from archcaps.questions.check import check as ask
from archcaps.questions.default_guest import default_guest
from archcaps.questions.results import CheckResult
from archcaps.report.provider import provider_questions

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
"""


@click.command(epilog=_EXAMPLES + _EXIT)
@click.option(
    "--host",
    "host_file",
    metavar="HOST",
    help="Snapshot of the host: a TOML or JSON file, - for standard input, or this: the machine archcaps runs on.",
)
@click.option(
    "--guest",
    "guest_file",
    metavar="GUEST",
    help="Snapshot of the guest, likewise; default: a guest that gets what KVM offers on the host.",
)
@click.option("--pid", type=int, metavar="PID", help="The guest is a running QEMU process: read its command line.")
@click.option("--guest-kernel", metavar="RELEASE", help="The guest's kernel release, in place of the snapshot's.")
@click.option(
    "--arch-capabilities", metavar="VALUE", help="What the guest reads from MSR 0x10a; none: its CPUID hides the MSR."
)
@click.option(
    "--flags", metavar="NAMES", help="CPUID bits shown to the guest, by name; all others that archcaps knows are 0."
)
@click.option("--cpu", metavar="F/M/S", help="The guest's family/model/stepping, as intel:6/0x6a/6 or 6/0x6a/6.")
@click.option("--cmdline", metavar="TEXT", help="The guest kernel's command line.")
@click.option("--host-kernel", metavar="RELEASE", help="The host's kernel release.")
@click.option("--host-arch-capabilities", metavar="VALUE", help="The host's own MSR 0x10a; none: it has no such MSR.")
@click.option("--host-flags", metavar="NAMES", help="The host's CPUID bits, by name.")
@click.option("--host-cpu", metavar="F/M/S", help="The host's family/model/stepping.")
@click.option("--host-cmdline", metavar="TEXT", help="The host kernel's command line.")
@click.option("--host-microcode", metavar="REVISION", help="The host's microcode revision.")
@click.option(
    "--assume", "assumptions", multiple=True, type=click.Choice(["user-mmio", "host-mmio", "default-options"]),
    help="user-mmio: guest user code can map MMIO. host-mmio: host MMIO is mapped into the guest, by a device assigned "
    "to it. default-options: kernels whose command line or configuration a "
    "snapshot does not give have no mitigation options and upstream's configuration.",
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Explain every vulnerability, with every deciding input.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, one a guest (schemas/check-1.json).")
@click.option(
    "--color/--no-color", default=None, help="Colours: on a terminal only, unless said; NO_COLOR is honoured."
)
def check(  # noqa: PLR0913, PLR0917  # one parameter an option, given by name
    host_file: str | None,
    guest_file: str | None,
    pid: int | None,
    guest_kernel: str | None,
    arch_capabilities: str | None,
    flags: str | None,
    cpu: str | None,
    cmdline: str | None,
    host_kernel: str | None,
    host_arch_capabilities: str | None,
    host_flags: str | None,
    host_cpu: str | None,
    host_cmdline: str | None,
    host_microcode: str | None,
    assumptions: tuple[str, ...],
    everything: bool,
    as_json: bool,
    color: bool | None,
) -> int:
    """Say whether a guest is told the truth about its CPU, and whether data can leak.

    For MDS, TAA, MMIO stale data, RFDS and TSA: what the guest is shown, what its kernel concludes (the exact text of
    its file under /sys/devices/system/cpu/vulnerabilities), whether it runs VERW, what VERW really does for it, and
    who is responsible. Host and guest come from snapshot files, or from the options, which also replace single values
    of a file. What is not given is unknown, and an unknown never counts as safe.

    Without any option it checks this machine: a host for what guests get on it by default and for each running QEMU
    guest; a virtual machine for its own side, with what to ask of whoever runs its host.
    """
    guest_options = InlineMachine("guest", cpu, flags, arch_capabilities, guest_kernel, cmdline)
    host_options = InlineMachine(
        "host", host_cpu, host_flags, host_arch_capabilities, host_kernel, host_cmdline, host_microcode
    )
    show = partial(_show, as_json=as_json, everything=everything, color=colour(color))
    if not (host_file or guest_file or pid or host_options.given or guest_options.given):
        return _here(assumptions, show, as_json=as_json)
    if host_file == "-" and guest_file == "-":
        raise click.UsageError("standard input can hold one of --host and --guest, not both")
    if pid is not None and guest_file is not None:
        raise click.UsageError("the guest is either --guest or --pid, not both")
    host = overlay(_machine("this" if pid is not None and host_file is None else host_file, "host"), host_options)
    if pid is not None:
        base: Snapshot | None = guest_of_process(pid, host, guest_kernel)
    elif guest_file == "default":
        base = default_guest(host, guest_kernel)
    else:
        base = _machine(guest_file, "guest")
    guest = overlay(base, guest_options)
    return show(ask(host, guest, assumptions))


def _machine(name: str | None, role: str) -> Snapshot | None:
    """Return the machine that an option names: this one, a file's, or none."""
    if name == "this":
        return this_machine(role)
    return None if name is None else read_snapshot(name, role)


def _here(assumptions: tuple[str, ...], show: Callable[[CheckResult], int], *, as_json: bool) -> int:
    """Check this machine: as a guest its own side, as a host what guests get on it. The worst exit code counts."""
    this = this_machine()
    if this.role == "guest":
        result = ask(unknown_host(), this, assumptions)
        code = show(result)
        questions = provider_questions(result)
        if questions and not as_json:
            click.echo("\n" + questions, nl=False)
        return code
    worst = 0
    for number, guest in enumerate(guests_to_check(this, None)):
        if number and not as_json:
            click.echo()
        worst = max(worst, show(ask(this, guest, assumptions)), key=_FROM_FINE_TO_BAD.index)
    return worst


def _show(result: CheckResult, *, as_json: bool, everything: bool, color: bool | None) -> int:
    """Print one answer and return its exit code."""
    if as_json:
        from archcaps.report.json import render as render_json  # noqa: PLC0415  # only one of the two is needed

        sys.stdout.write(render_json(result))
    else:
        from archcaps.report.terminal import render  # noqa: PLC0415  # as above

        click.echo(render(result, click.style, everything=everything, width=width()), nl=False, color=color)
    return result.exit_code
