"""archcaps pool."""

from __future__ import annotations

from typing import Literal, cast

import click

from archcaps.cli.assuming import assumptions_of_options, strict_option
from archcaps.cli.output import say, style, tell
from archcaps.cli.screen import width
from archcaps.extras import needs

__all__ = ["pool"]

_EPILOG = """
\b
Examples:
  archcaps pool examples/fb-clear-to-sapphire-rapids/host-*.toml
  archcaps pool probes.ndjson --guest-kernel 6.12.117 --format libvirt
  archcaps pool fleet/hosts.parquet --format json

\b
HOSTS are snapshots (TOML or JSON), NDJSON of probes, tables (hosts.parquet, .csv, .duckdb), or globs.
Hosts that are alike are one class: 100,000 hosts are a few.

\b
Exit codes:
  0  every guest with this CPU is told the truth and is safe, on every host
  1  the best there is, but some guest is not told the truth somewhere, or there is a notice
  2  the best there is, and data can leak on some host
  3  undecided: facts of some host are missing
  64 and more: wrong usage, unreadable input, internal error
"""


@click.command(epilog=_EPILOG)
@click.argument("hosts", metavar="HOSTS...", nargs=-1, required=True)
@click.option(
    "--guest-kernel", "kernels", multiple=True, metavar="RELEASE",
    help="A kernel that guests run, once for each; default: the newest of the four newest long-term lines.",
)  # fmt: skip
@click.option(
    "--vmm", type=click.Choice(["qemu", "firecracker"]),
    help="Who starts the guests: QEMU (libvirt, KubeVirt, too; the default), which shows what it has a name for and "
    "takes as offered, or Firecracker, whose templates write any bit.",
)  # fmt: skip
@click.option("--vmm-version", "release", metavar="RELEASE", help="QEMU's release, the oldest of the pool.")
@click.option("--machine", metavar="TYPE", help="QEMU's machine type, as pc-q35-9.0.")
@click.option(
    "--assume", "assumptions", multiple=True, type=click.Choice(["user-mmio", "host-mmio", "default-options"]),
    help="As for check.",
)  # fmt: skip
@strict_option
@click.option(
    "--format", "form", default="text", show_default=True,
    type=click.Choice(["text", "json", "libvirt", "qemu", "firecracker", "kubevirt"]),
    help="libvirt, qemu, firecracker, kubevirt: the CPU alone, in that language; what it has no words for goes to "
    "standard error. For libvirt and kubevirt the identity is a named model's.",
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Show every host, bit and verdict.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json (schemas/pool-1.json).")
@click.option(
    "--color/--no-color", default=None, help="Colours: on a terminal only, unless said; NO_COLOR is honoured."
)
def pool(hosts: tuple[str, ...], form: str, **options: object) -> int:
    """Find the best CPU that the hosts of a migration pool can share.

    The most features such that every guest is told the truth about its CPU and is safe on every host. Every choice of
    the bits that a verdict depends on, and of the identity, is tried on every host for every kernel of the guests: the
    answer is the best there is, and says how many were tried. Bits follow Xen's rules for pools: good news is shown
    where every host has it, bad news where any has. Where no CPU is truthful and safe on all hosts, the answer says
    on which and why, and the fewest hosts to leave out. Beside it stands libvirt's plain intersection (virsh
    cpu-baseline), and what that gets wrong.
    """
    needs("fleet", "pool")
    from archcaps.fleet.pool.answer import Wish  # noqa: PLC0415  # needs the extra
    from archcaps.fleet.pool.answer import pool as ask  # noqa: PLC0415  # as above
    from archcaps.fleet.pool.hosts import read_hosts  # noqa: PLC0415  # as above
    from archcaps.report.pool import render, render_json  # noqa: PLC0415  # as above

    form = "json" if options["as_json"] else form
    vmm = _vmm(form, cast("Literal['qemu', 'firecracker'] | None", options["vmm"]))
    wish = Wish(
        cast("tuple[str, ...]", options["kernels"]), vmm, cast("str | None", options["release"]),
        cast("str | None", options["machine"]), form in ("libvirt", "kubevirt"),
        frozenset(cast("tuple[str, ...]", assumptions_of_options(options)["assumptions"])),
    )  # fmt: skip
    result = ask(read_hosts(hosts), wish)
    if form == "json":
        say(render_json(result))
    elif form == "text":
        text = render(result, style, everything=bool(options["everything"]), width=width())
        say(text, cast("bool | None", options["color"]))
    else:
        document = next(one for one in result.documents if one.vmm == form)
        if document.refused is not None:
            raise click.ClickException(document.refused)
        say(document.text)
        for line in [result.headline, *document.notes, *result.notices]:
            tell(f"archcaps: {line}")
    return result.exit_code


def _vmm(form: str, vmm: Literal["qemu", "firecracker"] | None) -> Literal["qemu", "firecracker"]:
    """Return who starts the guests: as said, else as the language of the answer says."""
    of_form: Literal["qemu", "firecracker"] = "firecracker" if form == "firecracker" else "qemu"
    if vmm is not None and form in ("libvirt", "qemu", "firecracker", "kubevirt") and vmm != of_form:
        raise click.UsageError(f"--vmm {vmm} and --format {form} contradict each other")
    return vmm or of_form
