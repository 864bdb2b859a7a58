"""archcaps kernel."""

from __future__ import annotations

import click

from archcaps.cli.assuming import strict_option
from archcaps.cli.output import say, style
from archcaps.cli.screen import width
from archcaps.questions.kernel import kernel as ask
from archcaps.questions.kernel import running_kernel
from archcaps.report.kernel import render, render_json

__all__ = ["kernel"]

_EPILOG = """
\b
Examples:
  archcaps kernel 6.1.153
  archcaps kernel 6.1.152 6.1.153
  archcaps kernel --all 6.12.117
  archcaps kernel 6.1.0-49-amd64 --version-text '#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1 (2026-11-10)'
  archcaps kernel

\b
Exit codes:
  0  answered; what is unknown is said to be
  64 and more: wrong usage (64), no kernel release (65), internal error (70)
"""


@click.command(epilog=_EPILOG)
@click.argument("releases", nargs=-1, metavar="[RELEASE]...")
@click.option(
    "--version-text", metavar="TEXT",
    help="What uname -v, /proc/version or /proc/version_signature says there: Debian and Ubuntu name the upstream "
    "point release in it, and not in uname -r.",
)  # fmt: skip
@strict_option
@click.option("--all", "everything", is_flag=True, help="With the source of every line, and the commits.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object (schemas/kernel-1.json).")
@click.option(
    "--color/--no-color", default=None, help="Colours: on a terminal only, unless said; NO_COLOR is honoured."
)
def kernel(
    releases: tuple[str, ...],
    version_text: str | None,
    everything: bool,
    as_json: bool,
    color: bool | None,
    strict: bool,
) -> None:
    """Say what a kernel does: what its KVM offers, FB_CLEAR_DIS, VERW on entry, the MSR interface, what Linux prints.

    RELEASE is what uname -r prints: 6.1.153, 6.18.30-61.116.amzn2023.x86_64. Without one it is the kernel that runs
    here. Each behaviour comes with the release since which kernels of that line have it, or with the reason why it is
    unknown and what would show it. More than one release: only what differs between them.

    A release with a distribution's suffix says what its version tells there, and where the upstream release stands. Of
    a kernel that somebody made of an upstream release only what no later one changed is known. A release newer than
    all of its line that was read is answered as the newest of these, and so marked, unless --strict.
    """
    running = not releases
    if running:
        if version_text is not None:
            raise click.UsageError("--version-text is for the release of another machine: name it")
        here, version_text = running_kernel()
        releases = (here,)
    answer = ask(releases, version_text, strict=strict)
    if as_json:
        say(render_json(answer))
        return
    text = render(answer, style, width(), everything=everything, running=running)
    say(text, color)
