"""archcaps fix."""

from __future__ import annotations

from typing import Literal

import click
import msgspec
from msgspec.structs import replace

from archcaps.cli.machines import Machines, machine_options
from archcaps.cli.output import say, style
from archcaps.cli.screen import width
from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked
from archcaps.questions.fix.question import ALL
from archcaps.questions.fix.question import fix as ask
from archcaps.questions.fix.results import FixResult
from archcaps.questions.of_configuration import configuration_says
from archcaps.report.fix import render, render_json
from archcaps.safe_files import replace_file

__all__ = ["fix"]

_EPILOG = """
\b
Kinds of change, for --allow and --cost, the cheapest first:
  guest-flags    show the guest a bit that KVM offers, or hide one
  guest-options  take an option off the guest kernel's command line, or add one
  forced-flags   show a bit that KVM does not offer (the VMM sets it by itself)
  guest-kernel   a newer kernel in the guest, of its line or another
  model          another CPU model, or the host's own CPU
  machine        another machine type
  host-options   parameters of KVM, the host kernel's command line
  microcode      newer microcode in the host
  host-kernel    a newer kernel in the host, of its line or another

\b
Examples:
  archcaps fix --host examples/thread/host.toml --guest examples/thread/guest.toml
  archcaps fix --host examples/tsa-no-always/host.toml --guest default --guest-kernel 6.12.117
  archcaps fix --allow host-kernel --host examples/tsa-no-always/host.toml --guest default
  archcaps fix --cost model=1 --host examples/thread/host.toml --guest examples/thread/guest.toml

\b
Exit codes:
  0  nothing to mend, or the cure mends all of it
  1  mended in part: even with the cure the guest is not told the truth, but nothing leaks
  2  even with the cure, or for want of one, data can leak
  3  undecided: facts are missing to tell whether it is mended
  64 and more: wrong usage, unreadable input, internal error
"""


@click.command(epilog=_EPILOG)
@machine_options
@click.option(
    "--allow",
    multiple=True,
    metavar="KINDS",
    help="Only changes of these kinds, by commas; default: first what the VM's owner can do, then everything.",
)
@click.option("--cost", "costs", multiple=True, metavar="KIND=N", help="What a change of this kind costs (1 to 1000).")
@click.option("--max-changes", type=int, default=6, show_default=True, help="At most so many changes together.")
@click.option(
    "--write",
    "write_to",
    metavar="FILE",
    help="Write what the first cure makes of the guest: its VMM's configuration, else its snapshot.",
)
@click.option("--all", "everything", is_flag=True, help="Every cheapest cure, every vulnerability, sources.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object on one line (schemas/fix-1.json).")
@click.option(
    "--color/--no-color", default=None, help="Colours: on a terminal only, unless said; NO_COLOR is honoured."
)
def fix(  # noqa: PLR0913  # one for each option
    machines: Machines,
    allow: tuple[str, ...],
    costs: tuple[str, ...],
    max_changes: int,
    write_to: str | None,
    *,
    everything: bool,
    as_json: bool,
    color: bool | None,
) -> int:
    """Say what has to be changed so that a guest is told the truth about its CPU and is safe, and nothing more.

    All sets of changes are tried in the order of their cost, so the answer is proven the cheapest: no cheaper set of
    allowed changes does as well. A set counts only if each vulnerability of check is then surely told truly and surely
    safe, against guest user code and for the host; what is not known never counts as mended. Where that cannot be
    had, the best that can: no exposure and no lie, no exposure, the fewest lies; and why there is no more. A change of
    bits that would make worse what else MSR 0x10a speaks of, as Meltdown, is no cure.

    Host and guest are named as for check. What each change needs (a power cycle of the VM, a reboot) is said with it.
    """
    if not machines.given:
        raise click.UsageError("name a host and a guest (--host and --guest)")
    if not machines.host_given:
        raise click.UsageError("tell me the host first: name it too (--host FILE, or --host this on it)")
    host, guest, shown = machines.read_shown()
    configuration: Asked | Literal["default"] | None = "default" if machines.guest_file == "default" else None
    if shown is not None:
        _refuse_replaced_cpu(machines)
        configuration = shown.asked
    result = ask(
        host,
        guest,
        machines.assumptions,
        allow=_kinds(allow),
        costs=dict(map(_cost, costs)),
        max_changes=max_changes,
        configuration=configuration,
    )
    if shown is not None:
        notices, assumptions = configuration_says(shown)
        result = replace(result, notices=[*notices, *result.notices], assumptions=[*result.assumptions, *assumptions])
    if write_to is not None:
        _write(result, write_to)
    if as_json:
        say(render_json(result))
    else:
        text = render(result, style, everything=everything, width=width())
        say(text, color)
    return result.exit_code


def _refuse_replaced_cpu(machines: Machines) -> None:
    """Refuse options that replace parts of a CPU which the configuration gives: the cure would be of another guest."""
    for option, value in (("--cpu", machines.cpu), ("--flags", machines.flags),
                          ("--arch-capabilities", machines.arch_capabilities)):  # fmt: skip
        if value is not None:
            raise click.UsageError(f"{option} replaces what the configuration says: change the configuration instead")


def _kinds(allow: tuple[str, ...]) -> tuple[str, ...] | None:
    names = tuple(name.strip() for each in allow for name in each.split(",") if name.strip())
    if allow and not names:
        raise click.UsageError(f"--allow names no kind of change (known: {', '.join(ALL)})")
    return names or None


def _cost(text: str) -> tuple[str, int]:
    kind, sign, number = text.partition("=")
    if not sign or not number.isdecimal():
        raise InputError(f"{text!r} is no cost (expected KIND=N, as model=2)", "--cost")
    return kind.strip(), int(number)


def _write(result: FixResult, path: str) -> None:
    """Write the guest as the first cure makes it."""
    best = result.best
    if best is None or not best.cures:
        raise InputError("there is no cure, so nothing is written", "--write")
    cure = best.cures[0]
    data = msgspec.json.encode(cure.guest) + b"\n" if cure.text is None else cure.text.after.encode()
    replace_file(path, data)
