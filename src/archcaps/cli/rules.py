"""archcaps rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from archcaps.cli.assuming import assumptions_of_options, strict_option
from archcaps.cli.input_lines import lines_of
from archcaps.cli.output import say, tell
from archcaps.errors import InputError
from archcaps.extras import needs
from archcaps.logic.sql_dialects import DIALECTS
from archcaps.safe_files import replace_file

__all__ = ["rules"]

_EPILOG = """
\b
Examples:
  archcaps rules
  archcaps rules --sql duckdb mds_truth mds_safety
  archcaps rules --sql spark 'guest.exposed[mds]'
  archcaps rules --sql postgres --lookups lookups --hosts examples/sql/hosts.ndjson \\
      --guests examples/sql/guests.ndjson

\b
Exit codes:
  0  printed
  64 and more: wrong usage (64), unreadable input (65), internal error (70)
"""


@click.command(epilog=_EPILOG)
@click.argument("names", nargs=-1, metavar="[COLUMN|RULE]...")
@click.option("--sql", "dialect", type=click.Choice(sorted(DIALECTS)), help="Print them as one query of this engine.")
@click.option("--possible", is_flag=True, help="With --sql: beside each column the labels that are still possible.")
@click.option(
    "--lookups",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="With --sql: write the look-up tables that the query joins there, as CSV, and the SQL that makes and loads "
    "them; needs --hosts and --guests. Prints no query.",
)
@click.option("--hosts", metavar="FILE", help="The hosts, a JSON object a line: columns of their table, or snapshots.")
@click.option("--guests", metavar="FILE", help="The guests, likewise. One of both can be -, standard input.")
@click.option(
    "--assume",
    "assumptions",
    multiple=True,
    type=click.Choice(["user-mmio", "host-mmio", "default-options"]),
    help="As for check; default-options acts on the look-up tables, the others on the query.",
)
@strict_option
@click.option("--json", "as_json", is_flag=True, help="The list as one JSON object (schemas/rules-1.json).")
def rules(
    names: tuple[str, ...],
    dialect: str | None,
    lookups: Path | None,
    assumptions: tuple[str, ...],
    *,
    possible: bool,
    as_json: bool,
    strict: bool,
    **files: str | None,
) -> None:
    """Print the rules as SQL for your own warehouse, or list them.

    The query reads tables called hosts and guests, a row a machine, and gives a row for each guest: for each
    vulnerability what its kernel says, what that claims, whether it is the truth, whether data can leak, and who is
    responsible. What is not known for sure is the text undecided, never safe. COLUMN and RULE choose what to print;
    the list has them all. A rule's column is true, false or NULL.

    What comes from our tables (what a kernel release does, boot options, lists of parts, microcode) is looked up
    beforehand: --lookups writes it for the machines there are. A guest whose CPU, kernel or host was not among them is
    undecided throughout, and its column complete is false. docs/reference/sql.md has it all step by step.
    """
    hosts, guests = files["hosts"], files["guests"]
    assumptions = assumptions_of_options({"assumptions": assumptions, "strict": strict})["assumptions"]
    if dialect is None:
        if lookups or hosts or guests or possible or assumptions:
            raise click.UsageError("--sql is missing: for which engine?")
        _list(names, as_json=as_json)
        return
    if as_json:
        raise click.UsageError("--json is for the list, without --sql")
    if lookups is None:
        if hosts or guests:
            raise click.UsageError("--hosts and --guests are for --lookups; the query reads tables of these names")
        needs("rules", "rules")
        from archcaps.questions.sql.query import query  # noqa: PLC0415  # needs the extra

        say(query(names, dialect, assumptions, possible=possible))
        return
    if hosts is None or guests is None:
        raise click.UsageError("--lookups needs the machines to look up: --hosts and --guests")
    if names or possible:
        raise click.UsageError("--lookups writes the tables for every query: give no columns with it")
    if hosts == guests:
        raise click.UsageError("--hosts and --guests are the same")
    _write(lookups, dialect, hosts, guests, frozenset(assumptions))


def _list(names: tuple[str, ...], *, as_json: bool) -> None:
    needs("rules", "rules")
    from archcaps.questions.sql.listing import list_rules  # noqa: PLC0415  # needs the extra
    from archcaps.report.rules import render, render_json  # noqa: PLC0415  # as above

    listed = list_rules(names)
    say(render_json(listed) if as_json else render(listed))


def _lines(file: str) -> Iterator[tuple[str, bytes]]:
    """Yield the lines of a file, each with the file and where it stands there."""
    label = "standard input" if file == "-" else file
    for each in lines_of([file]):
        if each is not None:
            yield f"{label}: {each[0]}", each[1]


def _write(folder: Path, dialect: str, hosts: str, guests: str, assumptions: frozenset[str]) -> None:
    needs("rules", "rules")
    from archcaps.questions.sql.lookups import rows_of  # noqa: PLC0415  # needs the extra
    from archcaps.questions.sql.rows import machines_of  # noqa: PLC0415  # as above
    from archcaps.questions.sql.tables import create_machines, load_lookups  # noqa: PLC0415  # as above
    from archcaps.report.rules import render_lookups  # noqa: PLC0415  # as above

    rows = rows_of(machines_of(_lines(hosts), "host", assumptions), machines_of(_lines(guests), "guest", assumptions))
    try:
        statements = {"machines.sql": create_machines(dialect), "lookups.sql": load_lookups(dialect, str(folder))}
    except ValueError as error:
        raise InputError(str(error), "--lookups") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (render_lookups(rows) | statements).items():
            replace_file(folder / name, text.encode())
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", str(error.filename or folder)) from error
    counts = ", ".join(f"{len(found)} {table}" for table, found in rows.items())
    tell(f"{folder}: {counts}")
