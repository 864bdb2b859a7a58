"""A host and a guest as options name them: the same options for every command that asks about a pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any

import click

from archcaps.cli.assuming import assumptions_of_options, strict_option
from archcaps.cli.guests import (
    Vmm,
    configuration,
    data_of,
    is_inline,
    is_snapshot,
    of_process,
    refuse_other_than_kvm,
    shown_on,
    where_of,
)
from archcaps.cli.once import once
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.machine.inline import InlineMachine, overlay
from archcaps.machine.read import parse_snapshot, read_snapshot
from archcaps.machine.snapshot import Snapshot
from archcaps.machine.this import this_machine
from archcaps.questions.default_guest import default_guest
from archcaps.tables.names import STRICT

__all__ = ["Machines", "machine_options"]

_OPTIONS = (
    once(
        "--host",
        "host_file",
        metavar="HOST",
        help="Snapshot of the host: a TOML or JSON file, - for standard input, or this: the machine archcaps runs on.",
    ),
    once(
        "--guest",
        "guest_file",
        metavar="GUEST",
        help="Snapshot of the guest, likewise; default: a guest that gets what KVM offers on the host. Or a VMM's "
        'configuration: its file (docs/guests), or QEMU\'s words as "-cpu Skylake-Server,+md-clear" or '
        '"qemu-system-x86_64 ...".',
    ),
    # What says more of a configuration, and running guests to ask.
    once(
        "--vmm-version",
        metavar="RELEASE",
        help="The VMM's own release, as 10.1.2; libvirt's with QEMU's as 9.0.0/7.2.22.",
    ),
    once("--machine", metavar="TYPE", help="QEMU's machine type, as pc-q35-9.0, where the guest's does not say."),
    once("--qmp", metavar="SOCKET", help="The guest is a running QEMU: ask it at its QMP socket."),
    once(
        "--libvirt",
        metavar="URI",
        help="Ask this libvirt, as qemu:///system, for --domain (by virsh).",
    ),
    once(
        "--domain",
        metavar="NAME",
        help="The guest is this domain of libvirt's (of qemu:///system, without --libvirt); with --guest, the one of "
        "this name in a file that holds several.",
    ),
    once("--pid", type=int, metavar="PID", help="The guest is a running QEMU process: read its command line."),
    once("--guest-kernel", metavar="RELEASE", help="The guest's kernel release, in place of the snapshot's."),
    once(
        "--arch-capabilities",
        metavar="VALUE",
        help="What the guest reads from MSR 0x10a; none: its CPUID hides the MSR.",
    ),
    once(
        "--flags", metavar="NAMES", help="CPUID bits shown to the guest, by name; all others that archcaps knows are 0."
    ),
    once("--cpu", metavar="F/M/S", help="The guest's family/model/stepping, as intel:6/0x6a/6 or 6/0x6a/6."),
    once("--cmdline", metavar="TEXT", help="The guest kernel's command line."),
    once("--host-kernel", metavar="RELEASE", help="The host's kernel release."),
    once(
        "--host-arch-capabilities",
        metavar="VALUE",
        help="The host's own MSR 0x10a; none: it has no such MSR.",
    ),
    once("--host-flags", metavar="NAMES", help="The host's CPUID bits, by name."),
    once("--host-cpu", metavar="F/M/S", help="The host's family/model/stepping."),
    once("--host-cmdline", metavar="TEXT", help="The host kernel's command line."),
    once("--host-microcode", metavar="REVISION", help="The host's microcode revision."),
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
    vmm_version: str | None
    machine: str | None
    qmp: str | None
    libvirt: str | None
    domain: str | None
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
        named = self.host_file or self.guest_file or self.pid or self.qmp or self.domain or self.libvirt
        return bool(named) or self._host_options.given or self._guest_options.given

    @property
    def strict(self) -> bool:
        """Whether nothing is supposed."""
        return STRICT in self.assumptions

    @property
    def _running(self) -> bool:
        """Whether the guest runs on this machine."""
        return self.pid is not None or self.qmp is not None or self._local_domain

    @property
    def _local_domain(self) -> bool:
        """Whether the guest is a domain of this machine's libvirt; a URI with a host names another one's."""
        return (
            self.domain is not None
            and self.guest_file is None
            and (self.libvirt or "x:///").partition(":")[2][:3] == "///"
        )

    @property
    def host_given(self) -> bool:
        """Whether there is a host: named, or this machine, on which the guest runs."""
        return self.host_file is not None or self._host_options.given or self._running

    def read(self) -> tuple[Snapshot, Snapshot]:
        """Return the host and the guest; the rest as in `read_shown`."""
        host, guest, _ = self.read_shown()
        return host, guest

    def read_shown(self, *, any_hypervisor: bool = False) -> tuple[Snapshot, Snapshot, ShownGuest | None]:
        """Return the host and the guest, and how its CPU came about if it is a VMM's configuration or a running VMM.

        `any_hypervisor`: the guest may be one that runs without KVM.

        Raises:
            click.UsageError: options contradict each other.
            InputError: a file or a value cannot be read, or the guest runs without KVM.
        """
        if self.host_file == "-" and self.guest_file == "-":
            raise click.UsageError("standard input can hold one of --host and --guest, not both")
        self._refuse_two_guests()
        host_file = "this" if self._running and self.host_file is None else self.host_file
        host = overlay(_machine(host_file, "host"), self._host_options)
        data = self._guest_data()
        asked = self.asked(data)
        if asked is not None:
            if not any_hypervisor:
                refuse_other_than_kvm(asked)
            shown = shown_on(
                asked, host if self.host_given else None, self.guest_kernel, Vmm(self.vmm_version, self.machine),
                strict=self.strict,
            )  # fmt: skip
            return host, overlay(shown.snapshot, self._guest_options), shown
        if self.vmm_version is not None or self.machine is not None:
            raise click.UsageError("--vmm-version and --machine say more of a VMM's configuration: --guest names none")
        if self.guest_file == "default":
            guest = default_guest(host, self.guest_kernel, strict=self.strict)
            return host, overlay(guest, self._guest_options), None
        named = _machine("this", "guest") if self.guest_file == "this" else None
        if data is not None and self.guest_file is not None:
            named = parse_snapshot(data, where_of(self.guest_file), "guest")
        return host, overlay(named, self._guest_options), None

    def _guest_data(self) -> bytes | None:
        """Return what the guest's file holds; None: it is no file."""
        name = self.guest_file
        return None if name in (None, "this", "default") or is_inline(str(name)) else data_of(str(name))

    def asked(self, data: bytes | None) -> Asked | None:
        """Return what the guest's configuration or its running VMM says; None: the guest is no such thing.

        `data`: what the guest's file holds.

        Raises:
            InputError: it cannot be read.
        """
        if self.pid is not None:
            return of_process(self.pid)
        if self.qmp is not None:
            from archcaps.guest_cpu.qemu.qmp import ask  # noqa: PLC0415  # only where a QEMU is asked

            return ask(self.qmp)
        name = self.guest_file
        if name is not None and (is_inline(name) or (data is not None and not is_snapshot(data))):
            return configuration(name, data or b"", self.domain)
        if self.domain is not None and name is None:
            from archcaps.guest_cpu.libvirt import virsh  # noqa: PLC0415  # as above

            return virsh.ask(self.domain, self.libvirt or virsh.DEFAULT_URI)
        return None

    def _refuse_two_guests(self) -> None:
        ways = {"--guest": self.guest_file, "--pid": self.pid, "--qmp": self.qmp, "--libvirt": self.libvirt}
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise click.UsageError(f"the guest is either {' or '.join(given)}, not both")
        if self.libvirt is not None and self.domain is None:
            raise click.UsageError("--libvirt without --domain: which of its domains is the guest?")


def machine_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that name a host, a guest and what is assumed; the command gets them as its first argument."""

    @wraps(command)
    def with_machines(**options: object) -> int:
        given = assumptions_of_options(options)
        named: dict[str, Any] = {field.name: given.pop(field.name) for field in fields(Machines)}
        return command(Machines(**named), **given)

    found: Callable[..., int] = with_machines
    for option in (strict_option, *reversed(_OPTIONS)):
        found = option(found)
    return found


def _machine(name: str | None, role: str) -> Snapshot | None:
    """Return the machine that an option names: this one, a file's, or none."""
    if name == "this":
        return this_machine(role)
    return None if name is None else read_snapshot(name, role)
