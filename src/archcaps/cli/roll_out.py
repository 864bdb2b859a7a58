"""archcaps roll-out."""

from __future__ import annotations

import click

from archcaps.cli.fleets import FleetOptions, answer_options, inventory_options
from archcaps.cli.output import say, style
from archcaps.cli.progress import progress_line
from archcaps.cli.screen import width

__all__ = ["roll_out"]

_EPILOG = """
\b
Examples:
  archcaps sample-fleet 10000 --out fleet
  archcaps roll-out fleet --change host-kernel=6.18.35
  archcaps roll-out fleet --change host-kernel=6.18.35 --only 'host.kernel=6.1.*'
  archcaps roll-out fleet --change guest-show=fb_clear --only host.model=106 --out result

\b
INVENTORY is what archcaps audit takes. Rows that audit sets aside, and classes that cannot be judged
after the change, are told with their reasons and written to rejected.parquet; they are in no other number.

\b
Exit codes:
  0  nobody is worse off
  1  somebody is newly lied to, or rows were set aside; nothing leaks that did not before
  2  somebody is newly exposed
  3  facts are missing to tell
  64 and more: wrong usage, unreadable input, internal error
"""


@click.command(epilog=_EPILOG)
@inventory_options
@click.option(
    "--change", "changes", multiple=True, required=True, metavar="WHAT=VALUE",
    help="host-kernel, host-cmdline, host-microcode, guest-kernel, guest-cmdline, guest-show, guest-hide (a bit).",
)  # fmt: skip
@click.option(
    "--only", multiple=True, metavar="ROLE.COLUMN=PATTERN",
    help="Change only machines of which a column matches (* and ?); all that are given must hold.",
)  # fmt: skip
@answer_options(
    out="Write roll-out.parquet (each guest's verdict before and after) and rejected.parquet there.",
    as_json="One JSON object (schemas/roll-out-1.json).",
)
def roll_out(fleet: FleetOptions, *, changes: tuple[str, ...], only: tuple[str, ...]) -> int:
    """Say what a change over a fleet does before it is made: who is newly lied to, newly exposed, cured.

    Guests are judged as they are and as they will be. What was observed of a kernel does not hold for another one: of
    changed hosts, what KVM offers is modelled. Rows that cannot be judged, before or after, are listed, never dropped.
    """
    settings = fleet.settings()
    from archcaps.fleet.changes import Change, Only  # noqa: PLC0415  # needs the extra
    from archcaps.fleet.roll_out import Plan  # noqa: PLC0415  # as above
    from archcaps.fleet.roll_out import roll_out as ask  # noqa: PLC0415  # as above
    from archcaps.report.roll_out import render, render_json  # noqa: PLC0415  # as above

    plan = Plan(
        [Change.parse(text) for text in changes], [Only.parse(text) for text in only], frozenset(fleet.assumptions)
    )
    with progress_line(quiet=fleet.quiet) as progress:
        result = ask(fleet.find(), plan, out=fleet.out, settings=settings, progress=progress)
    if fleet.as_json:
        say(render_json(result))
    else:
        say(render(result, style, width()), fleet.color)
    return result.exit_code
