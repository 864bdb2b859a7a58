"""A QEMU command line: which CPU it asks for, and what of that is certain without asking QEMU.

Only what the words themselves settle becomes known. A named model's own bits depend on QEMU's version and machine type
and stay unknown here; `-cpu host` and `max` under KVM start from what KVM offers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from msgspec.structs import replace

from archcaps.errors import InputError
from archcaps.machine.snapshot import BitReading, Cpuid, Kernel, Reading, Snapshot
from archcaps.tables.bits import BITS

__all__ = ["QemuCpu", "guest_of", "is_qemu", "parse_argv"]

_PROGRAMS: Final = ("qemu-system-x86_64", "qemu-kvm", "kvm", "qemu-system-i386")
#: QEMU has named bits 0 to 8 of MSR 0x10a in every version since 4.1; the others came one by one (8.1 to 10.1).
#: Source: QEMU 7.2.22 and 11.1.3 feature names (target/i386/cpu.c feature_word_info)
_LONG_NAMED: Final = 0x1FF
_BY_QEMU: Final[Mapping[str, str]] = {bit.names["qemu"]: name for name, bit in BITS.items() if "qemu" in bit.names}


@dataclass(frozen=True, slots=True)
class QemuCpu:
    """The -cpu option: model, bits switched on and off by our names, and whether unnamed bits are dropped."""

    model: str
    on: frozenset[str]
    off: frozenset[str]
    migratable: bool
    kvm: bool


def is_qemu(argv: Sequence[str]) -> bool:
    """Return whether a process with this command line is a QEMU for x86."""
    return bool(argv) and PurePath(argv[0]).name in _PROGRAMS


def parse_argv(argv: Sequence[str], where: str) -> QemuCpu:
    """Return the CPU that a QEMU command line asks for.

    Both spellings are read: ``+fb-clear,-mds-no`` and ``fb-clear=on,mds-no=off``; names that QEMU has and archcaps has
    not are passed over.

    Raises:
        InputError: it is no QEMU command line.
    """
    if not is_qemu(argv):
        raise InputError(f"not a QEMU process ({argv[0] if argv else 'no command line'})", where)
    options = _options(argv)
    model, *features = (options.get("cpu") or ["qemu64"])[-1].split(",")
    on: dict[str, bool] = {}
    migratable = True
    for feature in features:
        name, state = _feature(feature)
        if name == "migratable":
            migratable = state
        elif name in _BY_QEMU:
            on[_BY_QEMU[name]] = state
    accelerators = [value for key in ("accel", "machine", "M") for value in options.get(key, [])]
    kvm = "enable-kvm" in options or any("kvm" in value.replace("=", ",").split(",") for value in accelerators)
    return QemuCpu(
        model,
        frozenset(name for name, state in on.items() if state),
        frozenset(name for name, state in on.items() if not state),
        migratable,
        kvm or PurePath(argv[0]).name in ("qemu-kvm", "kvm"),
    )


def _options(argv: Sequence[str]) -> dict[str, list[str]]:
    """Return QEMU's options by name without dashes, each with the values given, in order."""
    found: dict[str, list[str]] = {}
    for index, word in enumerate(argv[1:], start=1):
        if word.startswith("-"):
            value = argv[index + 1] if index + 1 < len(argv) else ""
            found.setdefault(word.lstrip("-"), []).append("" if value.startswith("-") else value)
    return found


def _feature(text: str) -> tuple[str, bool]:
    if text[:1] in ("+", "-"):
        return text[1:].replace("_", "-"), text[0] == "+"
    name, _, value = text.partition("=")
    return name.replace("_", "-"), value in ("", "on", "yes", "true")


def guest_of(asked: QemuCpu, default: Snapshot, name: str) -> Snapshot:
    """Return the guest that QEMU's words are certain to show, on a host whose default guest is `default`.

    `-cpu host` and `max` take the default's identity and bits as far as QEMU surely names them; any other model only
    those bits that the command line itself switches.
    """
    passed = asked.model in ("host", "max") and asked.kvm
    base = default if passed else Snapshot(format_version=1, role="guest")
    registers = dict(base.registers)
    given = registers.get("ia32_arch_capabilities", Reading())
    known = _known(given) & (_LONG_NAMED if asked.migratable else (1 << 64) - 1)
    registers["ia32_arch_capabilities"] = replace(given, known=known) if given.value is not None else given
    for bit in asked.on | asked.off:
        register = BITS[bit].register
        said = BitReading(value=bit in asked.on, provenance="imported", source="the -cpu option")
        reading = registers.get(register, Reading())
        registers[register] = replace(reading, bits={**reading.bits, bit: said})
    cpuid = base.cpuid or Cpuid(complete=False)
    return Snapshot(
        format_version=1,
        role="guest",
        name=name,
        # What is not switched by name is the default guest's, and known as that is.
        provenance=base.provenance if passed else "imported",
        source=base.source if passed else "QEMU's command line",
        cpu=base.cpu,
        cpuid=replace(cpuid, shown=sorted({*cpuid.shown, "hypervisor"}), complete=False),
        registers=registers,
        kernel=Kernel(),
    )


def _known(reading: Reading) -> int:
    if reading.value is None:
        return 0
    known = reading.known if reading.known is not None else (1 << 64) - 1
    return int(known, 0) if isinstance(known, str) else known
