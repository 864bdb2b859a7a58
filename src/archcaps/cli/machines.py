"""A host and a guest as options name them: the same options for every command that asks about a pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any

import click

from archcaps.cli.here import guest_of_process
from archcaps.machine.inline import InlineMachine, overlay
from archcaps.machine.read import read_snapshot
from archcaps.machine.snapshot import Snapshot
from archcaps.machine.this import this_machine
from archcaps.questions.default_guest import default_guest

__all__ = ["Machines", "machine_options"]

_OPTIONS = (
    click.option(
        "--host",
        "host_file",
        metavar="HOST",
        help="Snapshot of the host: a TOML or JSON file, - for standard input, or this: the machine archcaps runs on.",
    ),
    click.option(
        "--guest",
        "guest_file",
        metavar="GUEST",
        help="Snapshot of the guest, likewise; default: a guest that gets what KVM offers on the host.",
    ),
    click.option("--pid", type=int, metavar="PID", help="The guest is a running QEMU process: read its command line."),
    click.option("--guest-kernel", metavar="RELEASE", help="The guest's kernel release, in place of the snapshot's."),
    click.option(
        "--arch-capabilities",
        metavar="VALUE",
        help="What the guest reads from MSR 0x10a; none: its CPUID hides the MSR.",
    ),
    click.option(
        "--flags", metavar="NAMES", help="CPUID bits shown to the guest, by name; all others that archcaps knows are 0."
    ),
    click.option("--cpu", metavar="F/M/S", help="The guest's family/model/stepping, as intel:6/0x6a/6 or 6/0x6a/6."),
    click.option("--cmdline", metavar="TEXT", help="The guest kernel's command line."),
    click.option("--host-kernel", metavar="RELEASE", help="The host's kernel release."),
    click.option(
        "--host-arch-capabilities",
        metavar="VALUE",
        help="The host's own MSR 0x10a; none: it has no such MSR.",
    ),
    click.option("--host-flags", metavar="NAMES", help="The host's CPUID bits, by name."),
    click.option("--host-cpu", metavar="F/M/S", help="The host's family/model/stepping."),
    click.option("--host-cmdline", metavar="TEXT", help="The host kernel's command line."),
    click.option("--host-microcode", metavar="REVISION", help="The host's microcode revision."),
    click.option(
        "--assume",
        "assumptions",
        multiple=True,
        type=click.Choice(["user-mmio", "host-mmio", "default-options"]),
        help="user-mmio: guest user code can map MMIO. host-mmio: host MMIO is mapped into the guest, by a device "
        "assigned to it. default-options: kernels whose command line or configuration a snapshot does not give have no "
        "mitigation options and upstream's configuration.",
    ),
)


@dataclass(frozen=True)
class Machines:
    """The values of `machine_options`, as the user wrote them."""

    host_file: str | None
    guest_file: str | None
    pid: int | None
    guest_kernel: str | None
    arch_capabilities: str | None
    flags: str | None
    cpu: str | None
    cmdline: str | None
    host_kernel: str | None
    host_arch_capabilities: str | None
    host_flags: str | None
    host_cpu: str | None
    host_cmdline: str | None
    host_microcode: str | None
    assumptions: tuple[str, ...]

    @property
    def _guest_options(self) -> InlineMachine:
        return InlineMachine("guest", self.cpu, self.flags, self.arch_capabilities, self.guest_kernel, self.cmdline)

    @property
    def _host_options(self) -> InlineMachine:
        return InlineMachine(
            "host", self.host_cpu, self.host_flags, self.host_arch_capabilities, self.host_kernel, self.host_cmdline,
            self.host_microcode,
        )  # fmt: skip

    @property
    def given(self) -> bool:
        """Whether any machine was named at all."""
        named = self.host_file or self.guest_file or self.pid
        return bool(named) or self._host_options.given or self._guest_options.given

    def read(self) -> tuple[Snapshot, Snapshot]:
        """Return the host and the guest.

        Raises:
            click.UsageError: options contradict each other.
            InputError: a file or a value can not be read.
        """
        if self.host_file == "-" and self.guest_file == "-":
            raise click.UsageError("standard input can hold one of --host and --guest, not both")
        if self.pid is not None and self.guest_file is not None:
            raise click.UsageError("the guest is either --guest or --pid, not both")
        host_file = "this" if self.pid is not None and self.host_file is None else self.host_file
        host = overlay(_machine(host_file, "host"), self._host_options)
        if self.pid is not None:
            base: Snapshot | None = guest_of_process(self.pid, host, self.guest_kernel)
        elif self.guest_file == "default":
            base = default_guest(host, self.guest_kernel)
        else:
            base = _machine(self.guest_file, "guest")
        return host, overlay(base, self._guest_options)


def machine_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that name a host, a guest and what is assumed; the command gets them as its first argument."""

    @wraps(command)
    def with_machines(**given: object) -> int:
        named: dict[str, Any] = {field.name: given.pop(field.name) for field in fields(Machines)}
        return command(Machines(**named), **given)

    found: Callable[..., int] = with_machines
    for option in reversed(_OPTIONS):
        found = option(found)
    return found


def _machine(name: str | None, role: str) -> Snapshot | None:
    """Return the machine that an option names: this one, a file's, or none."""
    if name == "this":
        return this_machine(role)
    return None if name is None else read_snapshot(name, role)
