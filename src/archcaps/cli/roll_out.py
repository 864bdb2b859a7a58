"""archcaps roll-out."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from archcaps.cli.fleets import engine_settings, inventory_options
from archcaps.cli.progress import progress_line
from archcaps.cli.screen import colour, width

__all__ = ["roll_out"]

_EPILOG = """
\b
Examples:
  archcaps sample-fleet 10000 --out fleet
  archcaps roll-out fleet --change host-kernel=6.18.35
  archcaps roll-out fleet --change host-kernel=6.18.35 --only 'host.kernel=6.1.*'
  archcaps roll-out fleet --change guest-show=fb_clear --only host.model=106 --out result

\b
Exit codes:
  0  nobody is worse off
  1  somebody is newly lied to, but nothing leaks that did not before
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
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Write roll-out.parquet there: each guest's verdict before and after.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object (schemas/roll-out-1.json).")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option(
    "--color/--no-color", default=None, help="Colours: on a terminal only, unless said; NO_COLOR is honoured."
)
def roll_out(
    inventory: str | None,
    hosts: str | None,
    guests: str | None,
    out: Path | None,
    color: bool | None,
    **options: object,
) -> int:
    """Say what a change over a fleet does before it is made: who is newly lied to, newly exposed, cured.

    Guests are judged as they are and as they will be. What was observed of a kernel does not hold for another one: of
    changed hosts, what KVM offers is modelled.
    """
    settings = engine_settings(options)
    from archcaps.fleet.changes import Change, Only  # noqa: PLC0415  # needs the extra
    from archcaps.fleet.inventory import find  # noqa: PLC0415  # as above
    from archcaps.fleet.roll_out import Plan  # noqa: PLC0415  # as above
    from archcaps.fleet.roll_out import roll_out as ask  # noqa: PLC0415  # as above
    from archcaps.report.roll_out import render, render_json  # noqa: PLC0415  # as above

    plan = Plan(
        [Change.parse(text) for text in options["changes"]],  # type: ignore[attr-defined]  # click made it a tuple
        [Only.parse(text) for text in options["only"]],  # type: ignore[attr-defined]  # as above
        frozenset(options["assumptions"]),  # type: ignore[call-overload]  # as above
    )
    with progress_line(quiet=bool(options["quiet"])) as progress:
        result = ask(
            find(inventory, hosts, guests),
            plan,
            out=out,
            settings=settings,
            progress=progress,
        )
    if options["as_json"]:
        sys.stdout.write(render_json(result))
    else:
        click.echo(render(result, click.style, width()), nl=False, color=colour(color))
    return result.exit_code
