"""Machines given by a few values instead of, or on top of, a snapshot file: by options, or from Python."""

from __future__ import annotations

import re
from dataclasses import dataclass

from msgspec.structs import replace

from archcaps.errors import InputError
from archcaps.machine.snapshot import (
    FORMAT_VERSION,
    Cpu,
    Cpuid,
    Kernel,
    Kvm,
    Reading,
    Snapshot,
    check_cpuid_bit,
    number,
)
from archcaps.tables.kernels import Release

__all__ = ["InlineMachine", "guest", "host", "overlay"]

_CPU = re.compile(r"(?:([A-Za-z]+):)?(0x[0-9a-fA-F]+|\d+)/(0x[0-9a-fA-F]+|\d+)/(0x[0-9a-fA-F]+|\d+)\Z")
_VENDORS = {
    "intel": "GenuineIntel", "amd": "AuthenticAMD", "hygon": "HygonGenuine", "zhaoxin": "  Shanghai  ",
    "centaur": "CentaurHauls",
}  # fmt: skip


@dataclass(frozen=True)
class InlineMachine:
    """The values that describe one machine, as the user wrote them: cpu="6/0x6a/6", flags="md_clear,flush_l1d"."""

    role: str
    cpu: str | None = None
    flags: str | None = None
    arch_capabilities: str | int | None = None
    kernel: str | None = None
    cmdline: str | None = None
    microcode: str | int | None = None
    source: str = "given on the command line"

    @property
    def given(self) -> bool:
        """Whether any option was given."""
        values = (self.cpu, self.flags, self.arch_capabilities, self.kernel, self.cmdline, self.microcode)
        return any(value is not None for value in values)

    def option(self, name: str) -> str:
        """Return the option's name as the user knows it, for an error."""
        return f"--host-{name}" if self.role == "host" else "--guest-kernel" if name == "kernel" else f"--{name}"


def overlay(file: Snapshot | None, options: InlineMachine) -> Snapshot:
    """Return the machine: the file's values, with those of the options in their place.

    A machine given by options alone is bare metal if it is a host and a virtual machine if it is a guest, and its
    kernel has no mitigation options unless they are given. Where an option replaces a value, what the file says was
    observed of the machine as it is (its kernel's texts, KVM's offer) does not hold for it as it would be: left out.

    Raises:
        InputError: an option's value cannot be read.
    """
    snapshot = file if file is not None else _bare(options)
    if _replaces(snapshot, options):
        snapshot = replace(snapshot, vulnerabilities={}, kvm=Kvm(parameters=snapshot.kvm.parameters))
    if options.cpu is not None or options.microcode is not None:
        snapshot = replace(snapshot, cpu=_cpu(snapshot.cpu, options))
    if options.flags is not None:
        snapshot = replace(snapshot, cpuid=_cpuid(options))
    if options.arch_capabilities is not None:
        snapshot = _with_arch_capabilities(snapshot, options)
    if options.kernel is not None or options.cmdline is not None:
        snapshot = replace(snapshot, kernel=_kernel(snapshot.kernel, options))
    return snapshot


def _replaces(snapshot: Snapshot, options: InlineMachine) -> bool:
    """Whether an option gives another value for something that the snapshot already says."""
    cpu, kernel = snapshot.cpu, snapshot.kernel
    return (
        (options.cpu is not None and cpu.family is not None)
        or (options.flags is not None and snapshot.cpuid is not None)
        or (options.arch_capabilities is not None and "ia32_arch_capabilities" in snapshot.registers)
        or (options.kernel is not None and kernel.release not in (None, options.kernel))
        or (options.cmdline is not None and kernel.cmdline not in (None, options.cmdline))
        or (options.microcode is not None and cpu.microcode is not None)
    )


def _bare(options: InlineMachine) -> Snapshot:
    guest = options.role == "guest"
    cpuid = Cpuid(
        shown=["hypervisor"] if guest else [],
        hidden=[] if guest else ["hypervisor"],
        complete=False,
        provenance="assumed",
        source="a guest's CPUID says that it is one" if guest else "the host is bare metal",
    )
    kernel = Kernel()
    if options.given:
        kernel = Kernel(
            cmdline="",
            config="upstream-defaults",
            options_provenance="assumed",
            options_source=f"the {options.role}'s kernel has no mitigation options and upstream's configuration",
        )
    return Snapshot(
        format_version=FORMAT_VERSION,
        role="guest" if guest else "host",
        provenance="imported",
        source=options.source,
        cpuid=cpuid if options.given else None,
        kernel=kernel,
    )


def _cpu(cpu: Cpu, options: InlineMachine) -> Cpu:
    if options.cpu is not None:
        match = _CPU.match(options.cpu)
        if match is None:
            raise InputError(
                f"{options.cpu!r} is not a CPU (expected family/model/stepping, as 6/0x6a/6)", options.option("cpu")
            )
        vendor, family, model, stepping = match.groups()
        numbers = [number(value, 16, options.option("cpu")) for value in (family, model, stepping)]
        cpu = Cpu(
            vendor=_vendor(vendor, numbers[0], options), family=numbers[0], model=numbers[1], stepping=numbers[2],
            microcode=cpu.microcode, smt_active=cpu.smt_active, provenance="imported", source=options.source,
        )  # fmt: skip
    if options.microcode is not None:
        revision = _integer(options.microcode, 32, options.option("microcode"))
        cpu = replace(cpu, microcode=revision, provenance="imported", source=options.source)
    return cpu


def _vendor(word: str | None, family: int, options: InlineMachine) -> str:
    if word is not None:
        if word.lower() not in _VENDORS:
            raise InputError(f"unknown vendor {word!r} (expected one of {', '.join(_VENDORS)})", options.option("cpu"))
        return _VENDORS[word.lower()]
    if family in (5, 6):
        return "GenuineIntel"
    if family == 0x18:
        return "HygonGenuine"
    if family >= 0x10:
        return "AuthenticAMD"
    raise InputError(
        f"family {family} is Intel's and AMD's: say which, as intel:{family}/... or amd:{family}/...",
        options.option("cpu"),
    )


def _cpuid(options: InlineMachine) -> Cpuid:
    names = [name.strip().lower().replace("-", "_") for name in (options.flags or "").split(",") if name.strip()]
    for name in names:
        check_cpuid_bit(name, options.option("flags"))
    if options.role == "guest" and "hypervisor" not in names:
        names.append("hypervisor")
    return Cpuid(shown=names, provenance="imported", source=options.source)


def _with_arch_capabilities(snapshot: Snapshot, options: InlineMachine) -> Snapshot:
    """A value says that CPUID shows the register; ``none`` that it does not."""
    text = str(options.arch_capabilities)
    shown = text.lower() != "none"
    cpuid = snapshot.cpuid or Cpuid(complete=False, provenance="imported", source=options.source)
    lists = {"shown": [name for name in cpuid.shown if name != "arch_capabilities"], "hidden": list(cpuid.hidden)}
    lists["shown" if shown else "hidden"].append("arch_capabilities")
    lists["hidden"] = [name for name in lists["hidden"] if name not in lists["shown"]]
    registers = dict(snapshot.registers)
    if shown:
        value = _integer(options.arch_capabilities, 64, options.option("arch-capabilities"))
        registers["ia32_arch_capabilities"] = Reading(value=value, provenance="imported", source=options.source)
    else:
        registers.pop("ia32_arch_capabilities", None)
    return replace(snapshot, cpuid=replace(cpuid, shown=lists["shown"], hidden=lists["hidden"]), registers=registers)


def _kernel(kernel: Kernel, options: InlineMachine) -> Kernel:
    if options.kernel is not None:
        try:
            Release.parse(options.kernel)
        except ValueError as error:
            raise InputError(str(error), options.option("kernel")) from error
        kernel = replace(kernel, release=options.kernel, behaviours={})
    if options.cmdline is not None:
        kernel = replace(kernel, cmdline=options.cmdline, options_provenance="imported", options_source=options.source)
    return kernel


def _integer(text: str | int | None, width: int, where: str) -> int:
    if isinstance(text, int):
        return number(text, width, where)
    if text is None or not re.fullmatch(r"0[xX][0-9a-fA-F]+|\d+", text):
        raise InputError(f"{text!r} is not a number (expected decimal or 0x and hexadecimal digits)", where)
    return number(text, width, where)


def host(
    cpu: str | None = None,
    flags: str | None = None,
    arch_capabilities: int | str | None = None,
    kernel: str | None = None,
    cmdline: str | None = None,
    microcode: int | str | None = None,
) -> Snapshot:
    """Return a bare-metal host from a few values: family/model/stepping, CPUID bits by name, MSR 0x10a (u64), kernel.

    Raises:
        InputError: a value cannot be read.
    """
    values = InlineMachine("host", cpu, flags, arch_capabilities, kernel, cmdline, microcode, "given from Python")
    return overlay(None, values)


def guest(
    cpu: str | None = None,
    flags: str | None = None,
    arch_capabilities: int | str | None = None,
    kernel: str | None = None,
    cmdline: str | None = None,
) -> Snapshot:
    """Return a guest from a few values: family/model/stepping, CPUID bits by name, MSR 0x10a (u64), its kernel.

    Raises:
        InputError: a value cannot be read.
    """
    return overlay(
        None, InlineMachine("guest", cpu, flags, arch_capabilities, kernel, cmdline, None, "given from Python")
    )
