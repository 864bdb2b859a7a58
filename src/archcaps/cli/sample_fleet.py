"""archcaps sample-fleet."""

from __future__ import annotations

from pathlib import Path

import click

from archcaps.cli.output import say
from archcaps.extras import needs

__all__ = ["sample_fleet"]

_EPILOG = """
\b
Examples:
  archcaps sample-fleet 10000 --out fleet
  archcaps audit fleet
"""


@click.command(epilog=_EPILOG)
@click.argument("guests", type=click.IntRange(1, 1_000_000_000), metavar="GUESTS")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR", help="Where to write it."
)
@click.option("--hosts", type=click.IntRange(1, 100_000_000), help="How many hosts; default: a hundredth of GUESTS.")
@click.option("--seed", type=click.IntRange(0, 1 << 31), default=1, show_default=True, help="Another fleet.")
def sample_fleet(guests: int, out: Path, hosts: int | None, seed: int) -> int:
    """Make a synthetic fleet, to try audit on: real parts and kernels, skewed, some facts missing, known lies planted.

    Writes hosts.parquet and guests.parquet, and planted.parquet, which says of each planted guest which published case
    it is and what the verdict must be. The lies are planted from the reports, not by archcaps' own rules.
    """
    needs("fleet", "sample-fleet")
    from archcaps.fleet.sample import sample_fleet as make  # noqa: PLC0415  # needs the extra

    rows = make(out, guests, hosts=hosts, seed=seed)
    for name, count in rows.items():
        say(f"{out / f'{name}.parquet'}: {count:,} rows\n")
    return 0
