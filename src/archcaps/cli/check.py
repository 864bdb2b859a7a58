"""archcaps check."""

from __future__ import annotations

import sys

import click

from archcaps.machine.inline import InlineMachine, overlay
from archcaps.machine.read import read_snapshot
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.check import check as ask

__all__ = ["check"]

_EXIT = """
\b
Exit codes:
  0  told the truth, and safe
  1  not the truth (or a notice), but nothing leaks
  2  exposed: data can leak
  3  undecided: facts are missing
  64 and more: wrong usage, unreadable input, internal error
"""

_EXAMPLES = """
\b
Examples:
  archcaps check --host examples/thread/host.toml --guest examples/thread/guest.toml
  archcaps check --cpu 6/0x55/4 --arch-capabilities 0x0 --flags md_clear,flush_l1d --guest-kernel 6.12.117 \\
      --host-cpu 6/0x8f/8 --host-arch-capabilities 0x6e120 --host-flags md_clear,flush_l1d --host-kernel 6.12.117
"""


@click.command(epilog=_EXAMPLES + _EXIT)
@click.option(
    "--host", "host_file", metavar="HOST", help="Snapshot of the host: a TOML or JSON file, - for standard input."
)
@click.option("--guest", "guest_file", metavar="GUEST", help="Snapshot of the guest, likewise.")
@click.option("--guest-kernel", metavar="RELEASE", help="The guest's kernel release, in place of the snapshot's.")
@click.option(
    "--arch-capabilities", metavar="VALUE", help="What the guest reads from MSR 0x10a; none: its CPUID hides the MSR."
)
@click.option(
    "--flags", metavar="NAMES", help="CPUID bits shown to the guest, by name; all others that archcaps knows are 0."
)
@click.option("--cpu", metavar="F/M/S", help="The guest's family/model/stepping, as intel:6/0x6a/6 or 6/0x6a/6.")
@click.option("--cmdline", metavar="TEXT", help="The guest kernel's command line.")
@click.option("--host-kernel", metavar="RELEASE", help="The host's kernel release.")
@click.option("--host-arch-capabilities", metavar="VALUE", help="The host's own MSR 0x10a; none: it has no such MSR.")
@click.option("--host-flags", metavar="NAMES", help="The host's CPUID bits, by name.")
@click.option("--host-cpu", metavar="F/M/S", help="The host's family/model/stepping.")
@click.option("--host-cmdline", metavar="TEXT", help="The host kernel's command line.")
@click.option("--host-microcode", metavar="REVISION", help="The host's microcode revision.")
@click.option(
    "--assume", "assumptions", multiple=True, type=click.Choice(["user-mmio", "default-options"]),
    help="user-mmio: guest user code can map MMIO. default-options: kernels whose command line or configuration a "
    "snapshot does not give have no mitigation options and upstream's configuration.",
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Explain every vulnerability, with every deciding input.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object (schemas/check-1.json).")
@click.option(
    "--color/--no-color", default=None, help="Colours: on a terminal only, unless said; NO_COLOR is honoured."
)
def check(  # noqa: PLR0913, PLR0917  # one parameter an option, given by name
    host_file: str | None,
    guest_file: str | None,
    guest_kernel: str | None,
    arch_capabilities: str | None,
    flags: str | None,
    cpu: str | None,
    cmdline: str | None,
    host_kernel: str | None,
    host_arch_capabilities: str | None,
    host_flags: str | None,
    host_cpu: str | None,
    host_cmdline: str | None,
    host_microcode: str | None,
    assumptions: tuple[str, ...],
    everything: bool,
    as_json: bool,
    color: bool | None,
) -> int:
    """Say whether a guest is told the truth about its CPU, and whether data can leak.

    For MDS, TAA, MMIO stale data, RFDS and TSA: what the guest is shown, what its kernel concludes (the exact text of
    its file under /sys/devices/system/cpu/vulnerabilities), whether it runs VERW, what VERW really does for it, and
    who is responsible. Host and guest come from snapshot files, or from the options, which also replace single values
    of a file. What is not given is unknown, and an unknown never counts as safe.
    """
    guest_options = InlineMachine("guest", cpu, flags, arch_capabilities, guest_kernel, cmdline)
    host_options = InlineMachine(
        "host", host_cpu, host_flags, host_arch_capabilities, host_kernel, host_cmdline, host_microcode
    )
    if guest_file is None and not guest_options.given and host_file is None and not host_options.given:
        raise click.UsageError("nothing to check: give --host and --guest, or their values by options")
    if host_file == "-" and guest_file == "-":
        raise click.UsageError("standard input can hold one of --host and --guest, not both")
    host = overlay(_read(host_file, "host"), host_options)
    guest = overlay(_read(guest_file, "guest"), guest_options)
    result = ask(host, guest, assumptions)
    if as_json:
        from archcaps.report.json import render as render_json  # noqa: PLC0415  # only one of the two is needed

        sys.stdout.write(render_json(result))
    else:
        from archcaps.report.terminal import render  # noqa: PLC0415  # as above

        text = render(result, click.style, everything=everything)
        click.echo(text, nl=False, color=_colour(color))
    return result.exit_code


def _read(path: str | None, role: str) -> Snapshot | None:
    return None if path is None else read_snapshot(path, role)


def _colour(wanted: bool | None) -> bool | None:
    """Return whether to colour; None leaves it to click, which looks whether standard output is a terminal."""
    import os  # noqa: PLC0415  # for this alone

    if wanted is None and os.environ.get("NO_COLOR"):
        return False
    return wanted
