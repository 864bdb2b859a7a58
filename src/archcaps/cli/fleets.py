"""The options of commands about fleets: where hosts and guests are, what the engine may use, and where answers go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archcaps.cli.assuming import assumptions_of_options, strict_option
from archcaps.errors import InputError
from archcaps.extras import needs

if TYPE_CHECKING:
    from archcaps.fleet.engine import Name, Settings
    from archcaps.fleet.inventory import Inventory

__all__ = ["FleetOptions", "answer_options", "inventory_options"]

_Command = Callable[..., int]

_OPTIONS = (
    click.argument("inventory", metavar="[INVENTORY]", required=False),
    click.option(
        "--hosts",
        metavar="FILES",
        help="The hosts: a file or a glob (Spark: also a URL, or spark:TABLE), in place of INVENTORY's.",
    ),
    click.option("--guests", metavar="FILES", help="The guests, likewise."),
    click.option(
        "--views",
        is_flag=True,
        help="Read views of a DuckDB database too, which run what its maker wrote; they reach no other file.",
    ),
    click.option(
        "--assume",
        "assumptions",
        multiple=True,
        type=click.Choice(["user-mmio", "host-mmio", "default-options"]),
        help="As for check; default-options: kernels whose command line or configuration is null have no mitigation "
        "options and upstream's configuration.",
    ),
    click.option("--memory", default="", metavar="SIZE", help="What the engine may take, as 4GB; default: 80% of it."),
    click.option("--threads", type=click.IntRange(1, 1024), help="Default: one for each processor."),
    click.option(
        "--engine",
        type=click.Choice(["duckdb", "spark"]),
        default="duckdb",
        show_default=True,
        help="What reads, groups, joins and writes; the results are the same (docs/fleets/spark.md).",
    ),
    click.option("--spark-master", default="", metavar="URL", help="A cluster, as spark://HOST:7077; default: none."),
)


@dataclass(frozen=True)
class FleetOptions:
    """What the options of `inventory_options` and `answer_options` say."""

    inventory: str | None
    hosts: str | None
    guests: str | None
    views: bool
    assumptions: tuple[str, ...]
    memory: str
    threads: int | None
    engine: Name
    spark_master: str
    out: Path | None
    as_json: bool
    quiet: bool
    color: bool | None

    def find(self) -> Inventory:
        """Return where hosts and guests are.

        Raises:
            InputError: nothing is there, or it is of no known format.
        """
        from archcaps.fleet.inventory import find  # noqa: PLC0415  # needs the extra

        return find(self.inventory, self.hosts, self.guests, views=self.views)

    def settings(self) -> Settings:
        """Return which engine works, and with what.

        Raises:
            InputError: the libraries for fleets, or the engine, are not installed, or the options do not go together.
        """
        needs("spark" if self.engine == "spark" else "fleet", f"--engine {self.engine}")
        from archcaps.fleet.engine import Settings  # noqa: PLC0415  # needs the extra

        if self.spark_master and self.engine != "spark":
            raise InputError("is for --engine spark", "--spark-master")
        return Settings(self.engine, self.memory, self.threads or 0, self.spark_master)


def inventory_options(command: _Command) -> _Command:
    """Add the options that say where an inventory is and what reads it: the first of a command's."""
    found = command
    for option in (strict_option, *reversed(_OPTIONS)):
        found = option(found)
    return found


def answer_options(*, out: str, as_json: str) -> Callable[[_Command], _Command]:
    """Add the options that say where the answer goes: the last of a command's, and the decorator next to it.

    `out` and `as_json` are the help texts of ``--out`` and ``--json``. The command gets all that these options and
    those of `inventory_options` say as one argument, `fleet`.
    """

    def decorate(command: _Command) -> _Command:
        @wraps(command)
        def gathered(**given: object) -> int:
            options = assumptions_of_options(given)
            own = {field.name: options.pop(field.name) for field in fields(FleetOptions)}
            return command(fleet=FleetOptions(**own), **options)

        found: _Command = gathered
        for option in (
            click.option(
                "--color/--no-color",
                default=None,
                help="Colours: on a terminal only, unless said; NO_COLOR is honoured.",
            ),
            click.option("--quiet", is_flag=True, help="No progress."),
            click.option("--json", "as_json", is_flag=True, help=as_json),
            click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help=out),
        ):
            found = option(found)
        return found

    return decorate
