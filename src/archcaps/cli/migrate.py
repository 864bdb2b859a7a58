"""archcaps migrate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from archcaps.cli.assuming import assumptions_of_options, strict_option
from archcaps.cli.guests import Vmm, configuration, data_of, is_inline, is_snapshot, shown_on
from archcaps.cli.once import once
from archcaps.cli.output import say, style
from archcaps.cli.screen import width
from archcaps.machine.inline import InlineMachine, overlay
from archcaps.machine.read import read_snapshot
from archcaps.machine.snapshot import Snapshot
from archcaps.machine.this import this_machine
from archcaps.questions.default_guest import default_guest
from archcaps.questions.migrate import Vmms
from archcaps.questions.migrate import migrate as ask
from archcaps.questions.migrate_configuration import vmms_of, with_features
from archcaps.questions.migrate_move import VMMS
from archcaps.report.migrate import render, render_json
from archcaps.tables.names import STRICT

__all__ = ["migrate"]

_EPILOG = """
\b
Examples:
  archcaps migrate --from examples/fb-clear-to-sapphire-rapids/host-cascade-lake.toml \\
      --to examples/fb-clear-to-sapphire-rapids/host-tsx-on.toml \\
      --guest examples/fb-clear-to-sapphire-rapids/guest.toml --vmm libvirt --to-vmm-version 10.1.1
  archcaps migrate --from examples/upgrade-across-6.13/host-6.12.toml --vmm kvm \\
      --to examples/upgrade-across-6.13/host-6.13.toml --guest examples/upgrade-across-6.13/guest.toml
  archcaps migrate --from examples/fb-clear-to-sapphire-rapids/host-cascade-lake.toml \\
      --to examples/fb-clear-to-sapphire-rapids/host-tsx-off.toml --to-vmm-version 10.2 --guest-kernel 6.12.117 \\
      --guest "qemu-system-x86_64 -accel kvm -machine pc-q35-9.0 -cpu Cascadelake-Server-v7,enforce"

\b
Exit codes:
  0  accepted, and nothing gets worse
  1  accepted, but the guest is told what is not so there, or is shown something else, or there is a notice
  2  accepted, and newly exposed: data can leak that could not before
  3  undecided: facts are missing to tell whether it is accepted, or whether it gets worse
  4  refused: a program on the way does not take the guest
  64 and more: wrong usage, unreadable input, internal error
"""


@dataclass(frozen=True)
class _Asked:
    """The command's options, as the user wrote them."""

    from_: str
    to: str
    guest_file: str
    guest_kernel: str | None
    vmm: str | None
    machine: str | None
    from_vmm_version: str | None
    to_vmm_version: str | None
    enforce: bool
    passthrough: bool
    saves_msr: bool | None
    assumptions: tuple[str, ...]
    further: bool
    everything: bool
    as_json: bool
    color: bool | None

    @property
    def strict(self) -> bool:
        """Whether nothing is supposed."""
        return STRICT in self.assumptions

    @property
    def vmms(self) -> Vmms:
        """What runs the guest."""
        return Vmms(
            self.vmm or "qemu", self.machine, self.from_vmm_version, self.to_vmm_version,
            "enforce" if self.enforce else None, self.passthrough, self.saves_msr,
        )  # fmt: skip


def _refuse_host(_context: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError("--host: a move has two hosts (name them with --from and --to)")


@click.command(epilog=_EPILOG)
@click.option("--host", hidden=True, is_eager=True, expose_value=False, callback=_refuse_host)
@once(
    "--from", "from_", metavar="HOST", required=True,
    help="Snapshot of the host where the guest runs: a TOML or JSON file, or this: the machine archcaps runs on.",
)  # fmt: skip
@once("--to", metavar="HOST", required=True, help="Snapshot of the host where it goes, likewise.")
@once(
    "--guest", "guest_file", metavar="GUEST", required=True,
    help="Snapshot of the guest; default: a guest that gets what KVM offers on the first host; or a configuration: "
    'its file, or QEMU\'s words as "-cpu Cascadelake-Server-v7,+md-clear".',
)  # fmt: skip
@once("--guest-kernel", metavar="RELEASE", help="The guest's kernel release, in place of the snapshot's.")
@click.option(
    "--vmm",
    type=click.Choice(VMMS),
    help="What runs the guest (default: as its configuration says, else qemu); kvm: only KVM's own rules.",
)
@once("--machine", metavar="TYPE", help="QEMU's machine type, as pc-q35-10.0: it decides on ARCH_CAPABILITIES.")
@once("--from-vmm-version", metavar="VERSION", help="The QEMU that the guest runs under now, as 10.0.2.")
@once("--to-vmm-version", metavar="VERSION", help="The QEMU on the destination.")
@click.option("--enforce", is_flag=True, help="QEMU is started with enforce: it exits where a bit is missing.")
@click.option("--passthrough", is_flag=True, help="The guest's CPU is the host's (-cpu host, host-passthrough).")
@strict_option
@click.option(
    "--saves-msr/--no-saves-msr", default=None,
    help="Firecracker: whether the CPU template names MSR 0x10a, so that a snapshot holds it.",
)  # fmt: skip
@click.option(
    "--assume", "assumptions", multiple=True, type=click.Choice(["user-mmio", "host-mmio", "default-options"]),
    help="As for check.",
)  # fmt: skip
@click.option("--further", is_flag=True, help="Count what else MSR 0x10a speaks of, as Meltdown, as check does.")
@click.option("--all", "everything", is_flag=True, help="Show what stays the same too, and all that is assumed.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object on one line (schemas/migrate-1.json).")
@click.option(
    "--color/--no-color", default=None, help="Colours: on a terminal only, unless said; NO_COLOR is honoured."
)
def migrate(**given: object) -> int:
    """Say whether a running guest is taken on another host, which bits are in the way, and what it believes there.

    A guest's kernel looks at its CPU once, at boot: after the move it says and does what it concluded on the first
    host, while silicon and KVM are the second's. For each program on the way (libvirt, QEMU, Firecracker, Cloud
    Hypervisor, KVM) the answer is whether it takes the guest, and why. For each bit that is in the way: does its claim
    hold there, what is lost if it is hidden before the move (drop), and what comes of showing it there though KVM does
    not offer it (fake); both are worked out by the verdicts of check. KVM itself never compares bits of MSR 0x10a.
    """
    options: dict[str, Any] = dict(given)
    asked = _Asked(**assumptions_of_options(options))
    if [asked.from_, asked.to, asked.guest_file].count("-") > 1:
        raise click.UsageError("standard input can hold one of --from, --to and --guest")
    if asked.saves_msr is not None and asked.vmm != "firecracker":
        raise click.UsageError("--saves-msr is about snapshots of Firecracker (--vmm firecracker)")
    source, destination = _host(asked.from_), _host(asked.to)
    guest, vmms = _guest(asked, source)
    result = ask(source, destination, guest, vmms, asked.assumptions, further=asked.further)
    if asked.as_json:
        say(render_json(result))
    else:
        text = render(result, style, further=asked.further, everything=asked.everything, width=width())
        say(text, asked.color)
    return result.exit_code


def _host(name: str) -> Snapshot:
    return this_machine("host") if name == "this" else read_snapshot(name, "host")


def _guest(asked: _Asked, host: Snapshot) -> tuple[Snapshot, Vmms]:
    """Return the guest as it is shown its CPU on the host where it runs, and what runs it."""
    name, kernel, vmms = asked.guest_file, asked.guest_kernel, asked.vmms
    data = None if name in ("default", "-") or is_inline(name) else data_of(name)
    if is_inline(name) or (data is not None and not is_snapshot(data)):
        configured = configuration(name, data or b"")
        vmms = vmms_of(configured, vmms, vmm_given=asked.vmm is not None)
        shown = shown_on(configured, host, kernel, Vmm(vmms.from_version, vmms.machine), strict=asked.strict)
        return shown.snapshot, with_features(vmms, shown)
    guest = default_guest(host, kernel, strict=asked.strict) if name == "default" else read_snapshot(name, "guest")
    return overlay(guest, InlineMachine("guest", kernel=kernel)), vmms
