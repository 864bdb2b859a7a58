"""archcaps upgrade."""

from __future__ import annotations

import click

from archcaps.cli.machines import Machines, machine_options
from archcaps.cli.output import say, style
from archcaps.cli.screen import width
from archcaps.questions.upgrade import upgrade as ask
from archcaps.report.upgrade import render, render_json

__all__ = ["upgrade"]

_EPILOG = """
\b
Examples:
  archcaps upgrade --to 6.18.9 --guest examples/tsa-verw-clear-dropped/guest-6.12.toml \\
      --host examples/tsa-verw-clear-dropped/host.toml
  archcaps upgrade --from 6.12.43 --to 6.18.9 --cpu 6/0x2a/7 --arch-capabilities none --flags avx
  archcaps upgrade --from 6.18.9 --to 6.12.117 --all --guest examples/thread/guest.toml

\b
Exit codes:
  0  nothing gets worse
  1  something gets worse, but nothing leaks that did not before
  2  newly exposed: data can leak that could not before
  3  undecided: facts are missing to tell whether it gets worse
  64 and more: wrong usage, unreadable input, internal error
"""


@click.command(epilog=_EPILOG)
@click.option("--from", "from_", metavar="RELEASE", help="The guest's kernel now; default: that of its snapshot.")
@click.option("--to", metavar="RELEASE", required=True, help="The guest's kernel afterwards, newer or older.")
@machine_options
@click.option("--further", is_flag=True, help="Count what else MSR 0x10a speaks of, as Meltdown, as check does.")
@click.option("--all", "everything", is_flag=True, help="Show what stays the same too.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object on one line (schemas/upgrade-1.json).")
@click.option(
    "--color/--no-color", default=None, help="Colours: on a terminal only, unless said; NO_COLOR is honoured."
)
def upgrade(
    machines: Machines,
    from_: str | None,
    to: str,
    *,
    further: bool,
    everything: bool,
    as_json: bool,
    color: bool | None,
) -> int:
    """Say what changes for a guest if it runs another kernel and nothing else is touched.

    The exact text of every file under /sys/devices/system/cpu/vulnerabilities, the bugs of /proc/cpuinfo, whether the
    guest runs VERW (on exit to user, and before VM entry of guests that it runs itself), and the verdicts of check:
    what changes, what in the two kernels makes it so, and who is responsible. Host and guest are named as for check;
    texts need no host, verdicts do. What was observed of the guest counts for the kernel it was observed under.
    Whether something gets worse is judged by the verdicts; the texts of other files are compared, not judged.
    """
    if machines.guest_kernel is not None and from_ is not None:
        raise click.UsageError("--from and --guest-kernel say the same: give one of them")
    if not machines.given:
        raise click.UsageError("name a guest (--guest, or --cpu and others), and a host for the verdicts")
    host, guest = machines.read()
    if from_ is None and guest.kernel.release is None:
        raise click.UsageError("--from is missing: the guest's snapshot does not say which kernel it runs")
    result = ask(host, guest, to, from_, machines.assumptions, further=further)
    if as_json:
        say(render_json(result))
    else:
        text = render(result, style, further=further, everything=everything, width=width())
        say(text, color)
    return result.exit_code
