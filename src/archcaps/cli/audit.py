"""archcaps audit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archcaps.cli.fleets import FleetOptions, answer_options, inventory_options
from archcaps.cli.output import say, style, tell
from archcaps.cli.progress import progress_line
from archcaps.cli.screen import width

if TYPE_CHECKING:
    from archcaps.fleet.audit import Audited

__all__ = ["audit"]

_EPILOG = """
\b
Examples:
  archcaps sample-fleet 10000 --out fleet
  archcaps audit fleet --out result
  archcaps audit --hosts 'hosts/*.parquet' --guests guests.csv --format json
  archcaps audit fleet --format html > report.html
  archcaps audit probes.ndjson --format md > report.md

\b
INVENTORY is a folder with hosts and guests (.parquet, .csv, .ndjson), a DuckDB database with tables
hosts and guests, or an NDJSON file of snapshots as probe writes them, each with an "id" and a guest
with the id of its "host". Columns: docs/reference/inventory.md. For --engine spark also spark:DATABASE,
whose tables are hosts and guests; what it writes is folders of part files.

\b
Exit codes:
  0  every guest is told the truth and is safe
  1  somebody is not told the truth, or rows were set aside; nobody is exposed
  2  somebody is exposed
  3  undecided: facts are missing to tell
  64 and more: wrong usage, unreadable input, internal error
"""
#: Forms in which only the table of classes is printed.
_CLASSES = ("csv", "ndjson")


@click.command(epilog=_EPILOG)
@inventory_options
@click.option("--wide", is_flag=True, help="Each guest's row has its host and every truth and safety besides.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "md", "html", "csv", "ndjson"]), default="text",
    show_default=True,
    help="Of what is printed; csv and ndjson: one row for each class of guests on a class of hosts.",
)  # fmt: skip
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write a report for people there, as --format html prints it: one file that needs no network.",
)  # fmt: skip
@click.option(
    "--cures/--no-cures", default=None,
    help="Look for what mends the worst classes, which takes seconds; by default for a report in HTML.",
)  # fmt: skip
@click.option(
    "--reasons", is_flag=True,
    help="Write reasons.parquet too: the facts that decide each class; takes about 20 ms a class.",
)  # fmt: skip
@answer_options(
    out="Write verdicts.parquet (a row a guest), classes.parquet and rejected.parquet there.",
    as_json="The same as --format json (schemas/audit-1.json).",
)
def audit(fleet: FleetOptions, *, html: Path | None, form: str, wide: bool, reasons: bool, cures: bool | None) -> int:
    """Say who of a fleet is lied to, who is exposed, and what to mend first.

    Every guest gets the verdict of check on its host. Hosts that are alike, and guests that are alike, are judged
    once, so that ten million guests take seconds. What a row does not say is unknown, and never counts as safe; rows
    that cannot be read are listed, never dropped.
    """
    form = "json" if fleet.as_json else form
    if form == "html" and sys.stdout is not None and sys.stdout.isatty():
        raise click.UsageError("a terminal shows no HTML (give --html FILE, or redirect: --format html > FILE)")
    if reasons and fleet.out is None:
        raise click.UsageError("--reasons writes a file (give --out DIR too)")
    settings = fleet.settings()
    from archcaps.fleet.audit import audit as ask  # noqa: PLC0415  # needs the extra

    with progress_line(quiet=fleet.quiet) as progress:
        audited = ask(
            fleet.find(),
            fleet.out,
            assumptions=fleet.assumptions,
            settings=settings,
            wide=wide,
            reasons=reasons,
            cures=html is not None or form == "html" if cures is None else cures,
            progress=progress,
        )
    if html is not None:
        from archcaps.report.html import write_html  # noqa: PLC0415  # needs the extra

        write_html(audited.result, html)
        tell(f"wrote {html}")
    _print(audited, form, fleet.color)
    return audited.result.exit_code


def _print(audited: Audited, form: str, color: bool | None) -> None:
    from archcaps.report.audit import render, render_classes, render_json, render_markdown  # noqa: PLC0415  # as above

    result = audited.result
    if form == "json":
        say(render_json(result))
    elif form == "md":
        say(render_markdown(result))
    elif form == "html":
        from archcaps.report.html import render_html  # noqa: PLC0415  # as above

        say(render_html(result).encode("ascii", "xmlcharrefreplace").decode("ascii"))  # right in any locale
    elif form in _CLASSES:
        for line in render_classes(audited.classes, form):
            say(line)
    else:
        say(render(result, style, width()), color)
