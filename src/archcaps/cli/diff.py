"""archcaps diff."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from archcaps.cli.output import say, style
from archcaps.cli.proving import bounds_of, bounds_options
from archcaps.cli.screen import width
from archcaps.errors import InputError
from archcaps.extras import needs

if TYPE_CHECKING:
    from archcaps.questions.diff import Side

__all__ = ["diff"]

_EPILOG = """
\b
Examples:
  archcaps diff 6.12.117 6.13.2 --about mds --guest-kernel 6.12.117
  archcaps diff guest:6.12.117 guest:6.18.9 --about tsa --kvm 6.12.117
  archcaps diff examples/policies/today.py examples/policies/implicit_fb_clear.py --about mds --kvm 7.3.4
  archcaps diff examples/thread/guest.toml examples/tsa-no-always/guest.toml --kvm 6.18

\b
Exit codes:
  0  equivalent
  1  they differ
  3  not decided, or it depends on what nobody knows
  64 and more: wrong usage, unreadable input, internal error
"""


@click.command(epilog=_EPILOG)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@bounds_options
@click.option("--about", multiple=True, metavar="VULNERABILITY", help="Only this one; may be given again.")
@click.option(
    "--what", multiple=True, metavar="WHAT",
    help="lied-to, broken-promise, leaking-promise (broken, and data can leak), exposed, exposes-host or needless-work;"
    " may be given again. Else lied-to and the last three.",
)  # fmt: skip
@click.option(
    "--seconds",
    type=click.FloatRange(0, 86_400),
    default=60.0,
    show_default=True,
    help="Limit for each question, of processor time.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object (schemas/diff-1.json).")
@click.option(
    "--color/--no-color", default=None, help="Colours: on a terminal only, unless said; NO_COLOR is honoured."
)
def diff(first: str, second: str, about: tuple[str, ...], color: bool | None, **options: object) -> int:
    """Compare A and B over every configuration: do they tell guests the same truth, leak the same, cost the same?

    A and B are two releases of the host's kernel (6.12.117), two of the guest's (guest:6.12.117), two guests (snapshot
    files), or two policies: Python files with other rules in place of KVM's. All else is the same on both sides: the
    host, what the VMM writes, and the kernels that are not compared.
    """
    needs("prove", "diff")
    from archcaps.questions.diff import BAD  # noqa: PLC0415  # needs the extra
    from archcaps.questions.diff import diff as ask  # noqa: PLC0415  # as above
    from archcaps.report.diff import render, render_json  # noqa: PLC0415  # as above

    kinds = {_kind(first), _kind(second)}
    if len(kinds) > 1:
        raise click.UsageError(f"{first} and {second} are not of one kind ({' and '.join(sorted(kinds))})")
    what, seconds = options["what"], options["seconds"]
    assert isinstance(what, tuple), "click made it so"
    assert isinstance(seconds, float), "click made it so"
    for each in what:
        if each not in BAD:
            raise click.UsageError(f"unknown {each!r} (expected one of {', '.join(BAD)})")
    chosen = {"what": what} if what else {}
    result = ask(
        _side(first, second=False), _side(second, second=True), bounds_of(options), subjects=about, seconds=seconds,
        **chosen,
    )  # fmt: skip
    if options["as_json"]:
        say(render_json(result))
    else:
        say(render(result, style, width()), color)
    return result.exit_code


def _kind(word: str) -> str:
    if word.startswith("guest:"):
        return "a guest's kernel"
    if word.endswith(".py"):
        return "a policy"
    return "a guest" if word.endswith((".toml", ".json")) else "a host's kernel"


def _side(word: str, *, second: bool) -> Side:
    """Return what an argument names.

    Raises:
        InputError: it cannot be read.
    """
    from archcaps.machine.read import read_snapshot  # noqa: PLC0415  # only for what is compared
    from archcaps.policies import read_policy  # noqa: PLC0415  # as above
    from archcaps.questions import diff as sides  # noqa: PLC0415  # needs the extra
    from archcaps.space.releases import choose_releases  # noqa: PLC0415  # as above

    kind = _kind(word)
    if kind == "a policy":
        return sides.policy(word, read_policy(Path(word)).rules)
    if kind == "a guest":
        return sides.guest_cpu(word, read_snapshot(word, "guest"))
    places = choose_releases(word.removeprefix("guest:"), word)
    if len(places) != 1:
        raise InputError("names several releases: one is compared with one", word)
    make = sides.guest_kernel if kind == "a guest's kernel" else sides.host_kernel
    return make(word, places, second=second)
