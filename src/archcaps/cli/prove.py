"""archcaps prove."""

from __future__ import annotations

import os
from pathlib import Path

import click

from archcaps.cli.output import say, style, tell
from archcaps.cli.proving import bounds_of, bounds_options, save_examples
from archcaps.cli.screen import width
from archcaps.extras import needs
from archcaps.tables.properties import properties

__all__ = ["prove"]

_EPILOG = """
\b
Examples:
  archcaps prove
  archcaps prove host-entry-protected
  archcaps prove no-broken-promise --about mds --kvm 7.3.4 --host-parts 6/0x6a
  archcaps prove host-entry-protected --about mmio_stale_data --kvm 6.19- --save found

\b
Exit codes:
  0  it holds in every configuration
  1  it does not: there are counter-examples
  3  not decided, or it depends on what nobody knows
  64 and more: wrong usage, internal error
"""


@click.command(epilog=_EPILOG)
@click.argument("name", metavar="[PROPERTY]", required=False)
@bounds_options
@click.option("--about", multiple=True, metavar="SUBJECT", help="Only this vulnerability or bit; may be given again.")
@click.option(
    "--list", "listed", type=click.IntRange(1, 10_000), default=10, show_default=True,
    help="How many sets of things that deviate to list.",
)  # fmt: skip
@click.option(
    "--seconds",
    type=click.FloatRange(0, 86_400),
    default=60.0,
    show_default=True,
    help="Limit for each subject, of processor time.",
)
@click.option("--first", is_flag=True, help="Stop at the first counter-example, and count nothing.")
@click.option("--counts", is_flag=True, help="Count, and look for no deviations.")
@click.option(
    "--jobs", type=click.IntRange(1, 64), help="Subjects asked at once; default: one for each processor.",
)  # fmt: skip
@click.option(
    "--save", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Write each counter-example there, as snapshots for check.",
)  # fmt: skip
@click.option(
    "--all", "everything", is_flag=True, help="Say in full what was asked over, and what the answer rests on."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object (schemas/prove-1.json).")
@click.option(
    "--color/--no-color", default=None, help="Colours: on a terminal only, unless said; NO_COLOR is honoured."
)
def prove(name: str | None, about: tuple[str, ...], save: Path | None, color: bool | None, **options: object) -> int:
    """Prove a property of every configuration, or refute it with the smallest counter-examples.

    Every configuration: all hosts of all parts that a table names with all bits that real hardware can have, every KVM
    that was read, every value and CPUID a VMM can show a guest, and every guest kernel that was read. What no table
    knows counts both ways, so that what holds holds whatever it is. Without a property: the properties there are.

    A counter-example deviates from what KVM offers by default in a few things; the table has those sets of them from
    which nothing can be taken. Each is replayed by reading its snapshots as check does.
    """
    if name is None:
        for each in properties().values():
            say(f"{each.name:24}{each.sentence}\n")
        return 0
    needs("prove", "prove")
    from archcaps.questions.prove import prove as ask  # noqa: PLC0415  # needs the extra
    from archcaps.report.prove import render, render_json  # noqa: PLC0415  # as above

    listed, seconds = options["listed"], options["seconds"]
    assert isinstance(listed, int), "click made it so"
    assert isinstance(seconds, float), "click made it so"
    first = bool(options["first"])
    result = ask(
        name,
        bounds_of(options),
        subjects=about,
        listed=listed,
        seconds=seconds,
        first=first,
        counts=bool(options["counts"]),
        jobs=int(options["jobs"] or os.cpu_count() or 1),  # type: ignore[call-overload]  # click made it an integer
    )
    if save is not None:
        for path in save_examples(result, save):
            tell(f"wrote {path}")
    if options["as_json"]:
        say(render_json(result))
    else:
        text = render(result, style, width(), everything=bool(options["everything"]))
        say(text, color)
    return result.exit_code
