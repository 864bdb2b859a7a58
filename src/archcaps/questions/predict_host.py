"""A case of `archcaps predict` as the snapshot of a host, for questions about its KVM."""

from __future__ import annotations

import msgspec

from archcaps.errors import InputError
from archcaps.machine.module_parameters import module_parameters
from archcaps.machine.snapshot import FORMAT_VERSION, Cpu, Cpuid, Kernel, Kvm, Reading, Snapshot
from archcaps.questions.predict_case import Case, number_of
from archcaps.tables.linux_lists import VENDORS

__all__ = ["host_of_case"]

_SOURCE = "the case's line"
#: MSRs that a snapshot holds as registers; 0x8b gives the microcode revision, others stay with the case alone.
_REGISTERS = {0x122: "ia32_tsx_ctrl", 0x123: "ia32_mcu_opt_ctrl"}
_UCODE_REV = 0x8B


def host_of_case(case: Case, where: str) -> Snapshot:
    """Return the host that a case describes; `where` says which line it is.

    The parameters of KVM's modules are the case's own, else those of its command line, else the defaults.

    Raises:
        InputError: the vendor is none that archcaps knows.
    """
    if case.vendor is not None and case.vendor not in VENDORS:
        raise InputError(f"vendor: unknown vendor {case.vendor!r}, expected CPUID's, as GenuineIntel", where)
    return Snapshot(
        format_version=FORMAT_VERSION,
        role="host",
        provenance="imported",
        source=_SOURCE,
        cpu=_cpu(case),
        cpuid=_cpuid(case),
        registers=_registers(case),
        kernel=Kernel(release=case.kernel, cmdline=case.cmdline, config=case.config),
        kvm=Kvm(parameters=module_parameters(case.cmdline) | case.kvm_parameters),
    )


def _cpu(case: Case) -> Cpu:
    revision = case.msr(_UCODE_REV)
    if revision is not None and case.vendor != "AuthenticAMD":
        revision >>= 32  # Intel SDM volume 4, IA32_BIOS_SIGN_ID; AMD has the patch level below
    active, supported = case.smt
    return Cpu(
        vendor=case.vendor,
        family=case.number("family"),
        model=case.number("model"),
        stepping=case.number("stepping"),
        core_type=case.number("core_type") if case.bits is not None else None,
        microcode=revision,
        smt_active=active,
        smt_supported=supported,
    )


def _cpuid(case: Case) -> Cpuid:
    values = case.bit_values()
    return Cpuid(
        shown=[name for name, value in values.items() if value],
        hidden=[name for name, value in values.items() if value is False],
        complete=False,
    )


def _registers(case: Case) -> dict[str, Reading]:
    found = {}
    for index, name in _REGISTERS.items():
        value = case.msr(index)
        if value is not None:
            found[name] = Reading(value=value)
    if case.arch_caps is not msgspec.UNSET:
        found["ia32_arch_capabilities"] = Reading(value=number_of(case.arch_caps) or 0)
    return found
