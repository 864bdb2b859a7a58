"""archcaps audit."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from archcaps.cli.fleets import engine_settings, inventory_options
from archcaps.cli.progress import progress_line
from archcaps.cli.screen import colour, width

__all__ = ["audit"]

_EPILOG = """
\b
Examples:
  archcaps sample-fleet 10000 --out fleet
  archcaps audit fleet --out result
  archcaps audit --hosts 'hosts/*.parquet' --guests guests.csv --format json
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
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Write verdicts.parquet (a row a guest), classes.parquet and rejected.parquet there.",
)  # fmt: skip
@click.option("--wide", is_flag=True, help="Each guest's row has its host and every truth and safety besides.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "md", "csv", "ndjson"]), default="text", show_default=True,
    help="Of what is printed; csv and ndjson: one row for each class of guests on a class of hosts.",
)  # fmt: skip
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write a report for people there: one file that needs no network.",
)  # fmt: skip
@click.option("--no-cures", is_flag=True, help="Do not look for what mends the worst classes: that takes seconds.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json (schemas/audit-1.json).")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option(
    "--color/--no-color", default=None, help="Colours: on a terminal only, unless said; NO_COLOR is honoured."
)
def audit(
    inventory: str | None,
    hosts: str | None,
    guests: str | None,
    out: Path | None,
    html: Path | None,
    form: str,
    color: bool | None,
    **options: object,
) -> int:
    """Say who of a fleet is lied to, who is exposed, and what to mend first.

    Every guest gets the verdict of check on its host. Hosts that are alike, and guests that are alike, are judged
    once, so that ten million guests take seconds. What a row does not say is unknown, and never counts as safe; rows
    that can not be read are listed, never dropped.
    """
    settings = engine_settings(options)
    from archcaps.fleet.audit import audit as ask  # noqa: PLC0415  # needs the extra
    from archcaps.fleet.inventory import find  # noqa: PLC0415  # as above
    from archcaps.report.audit import render, render_classes, render_json, render_markdown  # noqa: PLC0415  # as above

    with progress_line(quiet=bool(options["quiet"])) as progress:
        audited = ask(
            find(inventory, hosts, guests),
            out,
            assumptions=options["assumptions"],  # type: ignore[arg-type]  # click made it a tuple of texts
            settings=settings,
            wide=bool(options["wide"]),
            cures=not options["no_cures"] and (html is not None or bool(options["as_json"]) or form not in _CLASSES),
            progress=progress,
        )
    result = audited.result
    if html is not None:
        from archcaps.report.html import write_html  # noqa: PLC0415  # needs the extra

        write_html(result, html)
        click.echo(f"wrote {html}", err=True)
    if options["as_json"] or form == "json":
        sys.stdout.write(render_json(result))
    elif form == "md":
        sys.stdout.write(render_markdown(result))
    elif form in _CLASSES:
        sys.stdout.writelines(render_classes(audited.classes, form))
    else:
        click.echo(render(result, click.style, width()), nl=False, color=colour(color))
    return result.exit_code
