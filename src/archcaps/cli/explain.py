"""archcaps explain."""

from __future__ import annotations

import click

from archcaps.cli.output import say, style
from archcaps.cli.screen import width
from archcaps.questions.explain import explain as ask
from archcaps.questions.explain import names as every_name
from archcaps.report.explain import render, render_json, render_names

__all__ = ["explain"]

_EPILOG = """
\b
Examples:
  archcaps explain fb_clear
  archcaps explain vmx_update_fb_clear_dis
  archcaps explain withheld
  archcaps explain Vulnerable: Clear CPU buffers attempted, no microcode
  archcaps explain 'kvm_get_arch_capabilities[mds_no]'

\b
Exit codes:
  0  explained
  64 and more: wrong usage (64), nothing has that name (65), internal error (70)
"""


@click.command(epilog=_EPILOG)
@click.argument("words", nargs=-1, metavar="NAME")
@click.option("--list", "everything", is_flag=True, help="Name everything that can be explained.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object (schemas/explain-1.json).")
@click.option(
    "--color/--no-color", default=None, help="Colours: on a terminal only, unless said; NO_COLOR is honoured."
)
def explain(words: tuple[str, ...], everything: bool, as_json: bool, color: bool | None) -> None:
    """Say what a word means: a bit, a register, a rule, a vulnerability, a line of sysfs, a word of the verdict.

    NAME is a bit by anybody's name for it (MDS_NO, fb-clear), a register, a vulnerability (mds, taa, mmio, rfds, tsa),
    a rule (noverw, x86_bug_mds), a kernel behaviour, a word that archcaps prints (withheld, userspace), or a text of
    the files under /sys/devices/system/cpu/vulnerabilities, alone or as "mds: Vulnerable". Several words are one name;
    capitals, hyphens and underscores make no difference. A name with more than one meaning gets them all.
    """
    if everything is bool(words):
        raise click.UsageError("give a name or --list, not both" if words else "nothing to explain: give a name")
    answer = every_name() if everything else ask(" ".join(words))
    if as_json:
        say(render_json(answer))
        return
    text = (render_names if everything else render)(answer, style, width())
    say(text, color)
