"""archcaps shown."""

from __future__ import annotations

import click

from archcaps.cli.machines import Machines, machine_options
from archcaps.cli.output import say, style
from archcaps.cli.screen import width
from archcaps.questions.default_guest import default_guest
from archcaps.questions.shown import answer
from archcaps.report.shown import render, render_json

__all__ = ["shown"]

_EPILOG = """
\b
Examples:
  archcaps shown --guest "-cpu Cascadelake-Server-v6,-fb-clear" --host examples/thread/host.toml
  archcaps shown --guest "qemu:host,migratable=off" --vmm-version 7.2 --host examples/thread/host.toml
  archcaps shown --guest "qemu-system-x86_64 -M microvm -cpu Icelake-Server -enable-kvm" --vmm-version 10.2

\b
Exit codes:
  0  the guest gets what its configuration asks for
  1  it gets something else: features are dropped or added
  2  it does not start
  3  facts are missing to tell
  64 and more: wrong usage, unreadable input, internal error
"""


@click.command(epilog=_EPILOG)
@machine_options
@click.option("--all", "everything", is_flag=True, help="List the bits that nobody shows too.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object on one line (schemas/shown-1.json).")
@click.option(
    "--color/--no-color", default=None, help="Colours: on a terminal only, unless said; NO_COLOR is honoured."
)
def shown(machines: Machines, *, everything: bool, as_json: bool, color: bool | None) -> int:
    """Say what a VMM's configuration asks for, and what the guest is really shown of it on a host.

    The guest's CPU identity, its MSR 0x10a, its CPUID bits that speak of vulnerabilities; what of all that is asked
    for is dropped, or added, by whom and why; and whether the guest starts at all. --guest names the configuration
    (or --pid or --qmp a running QEMU), --host the host: without one, all that is asked for is taken as offered.
    """
    host, _, guest = machines.read_shown(any_hypervisor=True)
    if guest is None:
        raise click.UsageError("--guest names no VMM's configuration (nor do --pid or --qmp name a running QEMU)")
    given = machines.host_given
    result = answer(guest, host if given else None, default_guest(host, strict=machines.strict) if given else None)
    if as_json:
        say(render_json(result))
    else:
        say(render(result, style, everything=everything, width=width()), color)
    return result.exit_code
