"""archcaps trace."""

from __future__ import annotations

import click

from archcaps.cli.machines import Machines, machine_options
from archcaps.cli.output import say, style
from archcaps.cli.screen import width
from archcaps.questions.trace import trace as ask
from archcaps.report.trace import render, render_json

__all__ = ["trace"]

_EPILOG = """
\b
Examples:
  archcaps trace --host examples/thread/host.toml --guest examples/thread/guest.toml
  archcaps trace --host examples/old-model-on-ice-lake/host.toml --guest examples/thread/guest.toml \\
      --host-kernel 7.1.3 --assume host-mmio

\b
Exit codes:
  0  no data of the host can leak to the guest
  2  data of the host can leak to the guest
  3  undecided: facts are missing
  64 and more: wrong usage, unreadable input, internal error
"""


@click.command(epilog=_EPILOG)
@machine_options
@click.option("--json", "as_json", is_flag=True, help="A JSON object on one line (schemas/trace-1.json).")
@click.option(
    "--color/--no-color", default=None, help="Colours: on a terminal only, unless said; NO_COLOR is honoured."
)
def trace(machines: Machines, as_json: bool, color: bool | None) -> int:
    """Show one VM entry and exit step by step: what clears the CPU's buffers, and when.

    For each step of KVM's way into the guest and back: whether this kernel takes it for this guest, the bit
    FB_CLEAR_DIS of IA32_MCU_OPT_CTRL after it, and which buffers may still hold the host's data. Then whether the host
    is protected from the guest, and whether the guest's own VERW works. Host and guest are named as for check.
    """
    if not machines.given:
        raise click.UsageError("name a host (--host, or --host-cpu and others) and a guest")
    host, guest = machines.read()
    result = ask(host, guest, machines.assumptions)
    if as_json:
        say(render_json(result))
    else:
        say(render(result, style, width=width()), color)
    return result.exit_code
