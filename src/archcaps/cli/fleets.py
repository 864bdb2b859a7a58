"""The options of commands about fleets: where hosts and guests are, and what the engine may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from archcaps.errors import InputError

if TYPE_CHECKING:
    from archcaps.fleet.engine import Settings

__all__ = ["engine_settings", "inventory_options", "needs_engine"]

_OPTIONS = (
    click.argument("inventory", metavar="[INVENTORY]", required=False),
    click.option(
        "--hosts",
        metavar="FILES",
        help="The hosts: a file or a glob (Spark: also a URL, or spark:TABLE), in place of INVENTORY's.",
    ),
    click.option("--guests", metavar="FILES", help="The guests, likewise."),
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


def inventory_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that say where an inventory is; the command gets them by name."""
    found = command
    for option in reversed(_OPTIONS):
        found = option(found)
    return found


def needs_engine() -> None:
    """Refuse to go on without the libraries for fleets.

    Raises:
        InputError: they are not installed.
    """
    missing = [name for name in ("duckdb", "jinja2", "numpy") if find_spec(name) is None]
    if missing:
        raise InputError(f"{', '.join(missing)} not installed (pip install 'archcaps[fleet]')", "fleets")


def engine_settings(options: Mapping[str, Any]) -> Settings:
    """Return what the options of a command say about the engine.

    Raises:
        InputError: the libraries for fleets, or the engine, are not installed, or the options do not go together.
    """
    needs_engine()
    from archcaps.fleet.engine import Settings  # noqa: PLC0415  # needs the extra

    if options["spark_master"] and options["engine"] != "spark":
        raise InputError("is for --engine spark", "--spark-master")
    return Settings(options["engine"], options["memory"], options["threads"] or 0, options["spark_master"])
