"""Snapshots: one machine's facts in a TOML or JSON file, raw register values first, each with its provenance.

Everything may be left out: what is not there is unknown.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from archcaps.errors import InputError, nearest
from archcaps.tables.bits import BITS, REGISTERS, feature_words

__all__ = [
    "FORMAT_VERSION", "Accepted", "BitReading", "Cpu", "Cpuid", "Kernel", "Kvm", "Provenance", "Reading", "Snapshot",
    "Vm", "number",
]  # fmt: skip

FORMAT_VERSION = 1

#: observed: read on the machine; imported: from another tool's dump; published: from a document; assumed: supposed.
Provenance = Literal["observed", "imported", "published", "assumed"]

#: A number as text. The pattern means the same in Python and in ECMA 262, which JSON Schema goes by: it has no \\Z, and
#: Python's $ lets a line feed follow. Eighty digits are more than any register has, and are converted in no time.
_Number = int | Annotated[str, msgspec.Meta(pattern=r"^(0[xX][0-9a-fA-F]{1,80}|[0-9]{1,80})(?![\s\S])")]
_Text = Annotated[str, msgspec.Meta(max_length=10_000)]


class BitReading(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One bit that is known apart from its register's value."""

    value: bool
    provenance: Provenance | None = None
    source: _Text | None = None


class Reading(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A register's value: u64 for an MSR, u32 for a CPUID word.

    `known` is a mask of the bits that `value` speaks for (all, where left out); `bits` overrides single bits by name.
    """

    value: _Number | None = None
    known: _Number | None = None
    bits: dict[str, BitReading] = {}
    provenance: Provenance | None = None
    source: _Text | None = None


class Cpu(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The CPU's identity (CPUID leaves 0 and 1), and what decides list rows: core type, microcode, threads.

    `smt_supported`: more than one thread of a core is there; `smt_active`: and online.

    Linux tries some MSRs and looks at whether the access faults: `ls_cfg_readable` is the answer of MSR 0xC0011020 to a
    read, `msr_writes_succeed` of MSR 0x49 to a write (SBPB). `snp_host`: the firmware enabled SEV-SNP for a host.
    `platform_id` is bits 52:50 of MSR 0x17; `vmx_enabled`: IA32_FEAT_CTL lets VMX be used; `ram_above_half`: RAM lies
    in the upper half of the physical addresses.
    """

    vendor: _Text | None = None
    family: _Number | None = None
    model: _Number | None = None
    stepping: _Number | None = None
    core_type: _Number | None = None
    microcode: _Number | None = None
    smt_active: bool | None = None
    smt_supported: bool | None = None
    ls_cfg_readable: bool | None = None
    msr_writes_succeed: bool | None = None
    snp_host: bool | None = None
    platform_id: _Number | None = None
    vmx_enabled: bool | None = None
    ram_above_half: bool | None = None
    provenance: Provenance | None = None
    source: _Text | None = None


class Cpuid(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """CPUID bits by name. With `complete`, every bit that archcaps knows and `shown` does not name is 0."""

    shown: list[str] = []
    hidden: list[str] = []
    complete: bool = True
    provenance: Provenance | None = None
    source: _Text | None = None


class Kernel(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The kernel that runs on this CPU.

    `system` is what runs there; archcaps has Linux's rules alone, and says of others only what does not turn on them.
    `config` is the name of a known configuration or CONFIG_ items (without the prefix); `behaviours` are observed
    ones, which beat those of the release; `xen_pv`: it runs as a Xen PV guest. `options_provenance` and
    `options_source` are of `cmdline` and `config`. With `options_sought`, `cmdline` holds only options of these names,
    and whether any other was given is unknown; `options_left_out` counts the words that were not kept.
    """

    system: Literal["linux", "freebsd", "windows", "xen"] = "linux"
    release: _Text | None = None
    cmdline: _Text | None = None
    config: str | dict[str, str] | None = None
    behaviours: dict[str, bool] = {}
    xen_pv: bool | None = None
    provenance: Provenance | None = None
    source: _Text | None = None
    options_provenance: Provenance | None = None
    options_source: _Text | None = None
    options_sought: list[str] | None = None
    options_left_out: int | None = None


class Accepted(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One try to set MSR 0x10a of a scratch vCPU: the value (u64), whether KVM took it, and what it read back."""

    set: _Number
    cpuid_arch_capabilities: bool
    accepted: bool
    get: _Number | None = None


class Kvm(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What was observed of a host's KVM.

    `parameters` of its modules; what it offers (`offered`: registers as /dev/kvm reports them); MSR 0x10a of a new
    vCPU (`vcpu_initial`) and what could be set there (`accepts`).
    """

    parameters: dict[str, str] = {}
    offered: dict[str, Reading] = {}
    vcpu_initial: _Number | None = None
    accepts: list[Accepted] = []


class Vm(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What KVM sees of a guest apart from its CPU.

    `has_assigned_device`: KVM counts a device assigned to it; `has_mapped_host_mmio`: host MMIO is mapped into it.
    `has_host_device`: it has, or may have, a device of the host's, in whatever way: what is not given of the two before
    is then unknown, and no longer assumed to be false.
    """

    has_assigned_device: bool | None = None
    has_mapped_host_mmio: bool | None = None
    has_host_device: bool | None = None
    provenance: Provenance | None = None
    source: _Text | None = None


class Snapshot(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One machine. `provenance` and `source` hold for every value that does not give its own.

    `vulnerabilities` are the texts of /sys/devices/system/cpu/vulnerabilities by file; null for one that is there and
    whose text is not known. `unreadable` names what could not be read, with why and what would make it readable.
    """

    format_version: int
    role: Literal["host", "guest"]
    name: _Text = ""
    provenance: Provenance = "observed"
    source: _Text = ""
    cpu: Cpu = Cpu()
    cpuid: Cpuid | None = None
    registers: dict[str, Reading] = {}
    kernel: Kernel = Kernel()
    kvm: Kvm = Kvm()
    vm: Vm = Vm()
    vulnerabilities: dict[str, str] = {}
    unreadable: dict[str, str] = {}


def number(value: int | str, width: int, where: str) -> int:
    """Return an unsigned number of at most `width` bits.

    Raises:
        InputError: it is negative or too wide.
    """
    found = int(value, 0) if isinstance(value, str) and value.lower().startswith("0x") else int(value)
    if not 0 <= found < 1 << width:
        raise InputError(f"{value} does not fit in {width} bits (expected 0 to {(1 << width) - 1:#x})", where)
    return found


def check_bit(name: str, where: str, register: str | None = None) -> None:
    """Refuse a bit name that no table has, or that belongs to another register.

    Raises:
        InputError: always with the nearest name.
    """
    known = [bit for bit in BITS if register is None or BITS[bit].register == register]
    if name not in known:
        of = f" of {register}" if register else ""
        raise InputError(f"unknown bit {name!r}{of}{nearest(name, known)}", where)


def check_cpuid_bit(name: str, where: str) -> None:
    """Refuse what is no CPUID bit by name: one of ours, or a feature as QEMU or libvirt call it.

    Raises:
        InputError: no table has the name, or it is a bit of an MSR.
    """
    if name not in BITS and is_feature(name):
        return
    check_bit(name, where)
    if REGISTERS[BITS[name].register].kind != "cpuid":
        raise InputError(f"{name!r} is a bit of an MSR, not of CPUID", where)


def is_feature(name: str) -> bool:
    """Return whether QEMU or libvirt call a CPUID bit so that has no name of ours."""
    from archcaps.tables.cpu_features import by_libvirt, cpu_feature  # noqa: PLC0415  # seldom needed

    found = cpu_feature(name) or by_libvirt().get(name)
    return found is not None and found.kind == "cpuid" and not found.known_as


def width_of(register: str) -> int:
    """Return the width in bits of a register that a snapshot may have.

    Raises:
        KeyError: no table has that register.
    """
    return (REGISTERS.get(register) or feature_words()[register]).width


def check_register(name: str, where: str) -> None:
    """Refuse a register that no table has.

    Raises:
        InputError: with the nearest name.
    """
    if name not in REGISTERS and name not in feature_words():
        raise InputError(f"unknown register {name!r}{nearest(name, REGISTERS)}; known: {', '.join(REGISTERS)}", where)
