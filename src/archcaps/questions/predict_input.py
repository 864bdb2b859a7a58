"""Cases for `archcaps predict`: one JSON object a line, read into a snapshot.

Keys that are not known are let through, keys that are missing are unknown facts. `bits` names every CPUID bit that is
shown: where it is given, all others are 0, and so is the native core type (leaf 1Ah).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from archcaps.errors import InputError
from archcaps.machine.options import config_items, module_parameters
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
from archcaps.tables.linux_lists import VENDORS

__all__ = ["Case", "parse_case", "snapshot_of_case"]

_SOURCE = "the case's line"
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+\Z|[0-9]+\Z")
_SMP = re.compile(r"[0-9]+(?:,threads=([0-9]+))?\Z")
#: MSRs that a snapshot holds as registers; 0x8b gives the microcode revision, others stay with the case alone.
_REGISTERS = {0x122: "ia32_tsx_ctrl", 0x123: "ia32_mcu_opt_ctrl"}
_UCODE_REV = 0x8B


@dataclass(frozen=True)
class Case:
    """One case: what its line says, with what a snapshot has no place for."""

    given: Mapping[str, Any]
    msrs: Mapping[int, int]
    msr_writes_succeed: bool | None
    where: str

    def snapshot(self, role: Literal["host", "guest"]) -> Snapshot:
        """Return the machine that the case describes.

        Raises:
            InputError: a value is of another kind than expected.
        """
        return snapshot_of_case(self, role)


def parse_case(line: bytes, where: str) -> Case:
    """Return the case in one line of JSON; `where` says which line it is.

    Raises:
        InputError: it is no JSON object, or a value is of another kind than expected.
    """
    try:
        given = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"not a line of JSON: {error} (expected one object)", where) from error
    if not isinstance(given, dict):
        raise InputError("not a JSON object (expected keys as kernel, vendor, family, bits, arch_caps)", where)
    msrs = {}
    for index, value in _typed(given, "msrs", dict, "an object of MSR numbers and values", where, {}).items():
        msrs[integer(index, 32, f"{where}: msrs")] = integer(value, 64, f"{where}: msrs.{index}")
    writes = _typed(given, "msr_writes_succeed", bool, "true or false", where)
    return Case(given, msrs, writes, where)


def snapshot_of_case(case: Case, role: Literal["host", "guest"]) -> Snapshot:
    """Return the machine that a case describes, in the given role.

    Raises:
        InputError: a value is of another kind than expected.
    """
    given, where = case.given, case.where
    cmdline = _typed(given, "cmdline", str, "text", where)
    kernel = Kernel(release=_release(given, where), cmdline=cmdline, config=_config(given, where))
    parameters = module_parameters(cmdline) | _parameters(given, where)
    return Snapshot(
        format_version=FORMAT_VERSION,
        role=role,
        provenance="imported",
        source=_SOURCE,
        cpu=_cpu(case),
        cpuid=_cpuid(given, where),
        registers=_registers(case),
        kernel=kernel,
        kvm=Kvm(parameters=parameters) if role == "host" else Kvm(),
    )


def integer(value: object, width: int, where: str) -> int:
    """Return a number given as JSON number or as text (decimal, or 0x and hexadecimal digits).

    Raises:
        InputError: it is neither, or does not fit in `width` bits.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise InputError(f"{value!r} is no number (expected one, or text as 0x2b)", where)
    if isinstance(value, str) and not _NUMBER.match(value):
        raise InputError(f"{value!r} is no number (expected decimal, or 0x and hexadecimal digits)", where)
    return number(value, width, where)


def _typed(given: Mapping[str, Any], key: str, kind: type, expected: str, where: str, otherwise: object = None) -> Any:  # noqa: ANN401  # of the kind asked for
    value = given.get(key)
    if value is None:
        return otherwise
    if not isinstance(value, kind):
        raise InputError(f"{value!r} is of another kind (expected {expected})", f"{where}: {key}")
    return value


def _release(given: Mapping[str, Any], where: str) -> str | None:
    release: str | None = _typed(given, "kernel", str, "a kernel release", where)
    if release is not None:
        try:
            Release.parse(release)
        except ValueError as error:
            raise InputError(str(error), f"{where}: kernel") from error
    return release


def _config(given: Mapping[str, Any], where: str) -> str | dict[str, str] | None:
    config = given.get("config")
    if isinstance(config, dict):
        for item, value in config.items():
            _typed({item: value}, item, str, "text", f"{where}: config")
    elif config is not None and not isinstance(config, str):
        raise InputError(f"{config!r} is of another kind (expected a configuration's name)", f"{where}: config")
    config_items(Kernel(config=config), f"{where}: config")
    return config


def _parameters(given: Mapping[str, Any], where: str) -> dict[str, str]:
    found: dict[str, str] = _typed(given, "kvm_parameters", dict, "an object of names and values", where, {})
    for name, value in found.items():
        _typed(found, name, str, "text", f"{where}: kvm_parameters")
        if value is None:
            raise InputError("null is no value (expected text)", f"{where}: kvm_parameters.{name}")
    return found


def _cpu(case: Case) -> Cpu:
    given, where = case.given, case.where
    vendor: str | None = _typed(given, "vendor", str, "CPUID's vendor string", where)
    if vendor is not None and vendor not in VENDORS:
        raise InputError(f"unknown vendor {vendor!r} (expected CPUID's, as GenuineIntel)", f"{where}: vendor")
    family, model, stepping = (
        None if given.get(key) is None else integer(given[key], 16, f"{where}: {key}")
        for key in ("family", "model", "stepping")
    )
    revision = case.msrs.get(_UCODE_REV)
    if revision is not None and vendor != "AuthenticAMD":
        revision >>= 32  # Intel SDM volume 4, IA32_BIOS_SIGN_ID; AMD has the patch level below
    return Cpu(
        vendor=vendor,
        family=family,
        model=model,
        stepping=stepping,
        core_type=0 if given.get("bits") is not None else None,
        microcode=revision,
        smt_active=_smt(given, where),
    )


def _smt(given: Mapping[str, Any], where: str) -> bool | None:
    smp = given.get("smp")
    if smp is None:
        return None
    match = _SMP.match(str(smp))
    if isinstance(smp, bool) or match is None:
        raise InputError(f"{smp!r} is no number of processors (expected as 1, or '2,threads=2')", f"{where}: smp")
    return match[1] is not None and int(match[1]) > 1


def _cpuid(given: Mapping[str, Any], where: str) -> Cpuid | None:
    bits: list[object] | None = _typed(given, "bits", list, "a list of names", where)
    virtual: bool | None = _typed(given, "hypervisor", bool, "true or false", where)
    shown = []
    for name in bits or ():
        if not isinstance(name, str):
            raise InputError(f"{name!r} is no name of a CPUID bit (expected text)", f"{where}: bits")
        check_cpuid_bit(name, f"{where}: bits")
        if name in shown:
            raise InputError(f"{name!r} is given twice (expected each bit once)", f"{where}: bits")
        shown.append(name)
    if virtual is False and "hypervisor" in shown:
        raise InputError("'hypervisor' is shown, and hypervisor is false", f"{where}: bits")
    if virtual and "hypervisor" not in shown:
        shown.append("hypervisor")
    hidden = ["hypervisor"] if virtual is False else []
    if bits is None:
        return Cpuid(shown=shown, hidden=hidden, complete=False) if virtual is not None else None
    if virtual is None and "hypervisor" not in shown:
        return Cpuid(shown=shown, hidden=_others(shown), complete=False)
    return Cpuid(shown=shown)


def _others(shown: list[str]) -> list[str]:
    """Return every CPUID bit that is not shown, but `hypervisor`."""
    from archcaps.tables.bits import BITS, REGISTERS  # noqa: PLC0415  # rare

    cpuid = [name for name, bit in BITS.items() if REGISTERS[bit.register].kind == "cpuid"]
    return [name for name in cpuid if name not in shown and name != "hypervisor"]


def _registers(case: Case) -> dict[str, Reading]:
    found = {name: Reading(value=case.msrs[index]) for index, name in _REGISTERS.items() if index in case.msrs}
    if "arch_caps" in case.given:
        value = case.given["arch_caps"]
        known = 0 if value is None else integer(value, 64, f"{case.where}: arch_caps")
        found["ia32_arch_capabilities"] = Reading(value=known)
    return found
