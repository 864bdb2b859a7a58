"""The facts of a case, by look-ups that are made once for each kernel, part and microcode revision."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from typing import Final

import msgspec

from archcaps.machine.cmdline import parse
from archcaps.machine.facts import LIST_FLAGS
from archcaps.machine.forced_flags import WAYS, forced_flags
from archcaps.machine.given_options import Options, config_items
from archcaps.machine.identity import identity_lookups
from archcaps.machine.l1tf import kvm_lookups
from archcaps.machine.options import option_values
from archcaps.machine.snapshot import Kernel
from archcaps.questions.predict_case import Case, number_of
from archcaps.tables.bits import ARCH_CAPABILITIES, bits_of
from archcaps.tables.kernels import BEHAVIOURS, Release, behaviour
from archcaps.tables.linux_lists import Part, bad_spectre_microcode, list_flag
from archcaps.tables.old_microcode import old_microcode
from archcaps.tables.silicon import tsa_microcode
from archcaps.tables.suppositions import supposed

__all__ = ["CPU", "KERNEL", "parts_of_facts"]

#: Scopes of the graph that a case's facts are given for.
CPU: Final = "guest"
KERNEL: Final = "guest_kernel"

Values = Mapping[str, bool | None]

_UCODE_REV, _PLATFORM_ID, _FEAT_CTL, _MCU_OPT_CTRL, _LS_CFG = 0x8B, 0x17, 0x3A, 0x123, 0xC0011020
_OSVW_LENGTH, _OSVW_STATUS, _RMP_END = 0xC0010140, 0xC0010141, 0xC0010133
#: The numbers that OSVW has for two errata. Source: Linux 5.10.265 arch/x86/kernel/cpu/amd.c amd_erratum_383, _400
_OSVW_383, _OSVW_400 = 3, 1
_GDS_LOCKED: Final = bits_of("ia32_mcu_opt_ctrl")["gds_mitg_locked"].mask


def parts_of_facts(case: Case, *, strict: bool = True) -> Iterator[tuple[str, Values]]:
    """Yield the facts of a case in parts, each with its scope; parts that cases have in common are the same object.

    Unless `strict`, what the tables leave open of its release is what is supposed of it.
    """
    forced = _forced(case.cmdline, case.kernel, strict)
    bits = _overridden(case.bit_values(), forced)
    part = Part(
        case.vendor, case.number("family"), case.number("model"), case.number("stepping"), bits["hybrid"],
        case.number("core_type"),
    )  # fmt: skip
    intel = case.vendor == "GenuineIntel"
    yield KERNEL, _kernel(
        case.kernel, case.cmdline,
        json.dumps(case.config, sort_keys=True), case.xen_pv,
        tuple(sorted(case.kvm_parameters.items())), strict,
    )  # fmt: skip
    yield CPU, _overridden(_part(part, case.kernel, strict), forced)
    yield CPU, _overridden(_microcode(part, _revision(case, intel=intel), _platform(case), case.kernel, strict), forced)
    yield CPU, bits
    yield CPU, _overridden(_arch_capabilities(case), forced)
    yield CPU, _rest(case)
    yield CPU, _osvw(part, case.msr(_OSVW_LENGTH), case.msr(_OSVW_STATUS))


def _forced(cmdline: str | None, release: str | None, strict: bool) -> Values:
    behaviours = _behaviours(release, strict)
    first, by_name, sets = (behaviours[name] for name in WAYS)
    return forced_flags(cmdline, (first, by_name, sets))


def _overridden(shown: Values, forced: Values) -> Values:
    """Return what the kernel sees of the bits of `shown`: the same object where no option changes one."""
    changed = {name: value for name, value in forced.items() if name in shown}
    return {**shown, **changed} if changed else shown


def _revision(case: Case, *, intel: bool) -> int | None:
    """The revision: MSR 0x8b has it in its upper half on Intel, in its lower one on AMD."""
    value = case.msr(_UCODE_REV)
    if value is None or case.vendor is None:
        return None
    return value >> 32 if intel else value & 0xFFFFFFFF


def _platform(case: Case) -> int | None:
    value = case.msr(_PLATFORM_ID)
    return None if value is None else value >> 50 & 7


@lru_cache(maxsize=1 << 10)
def _kernel(
    release: str | None, cmdline: str | None, config: str, xen_pv: bool | None,
    parameters: tuple[tuple[str, str], ...], strict: bool,
) -> Values:  # fmt: skip
    behaviours = _behaviours(release, strict)
    items = config_items(Kernel(config=json.loads(config)), "config")
    values: dict[str, bool | None] = dict(behaviours)
    values |= option_values(cmdline, items, behaviours)
    values["xen_pv"] = xen_pv
    options = None if cmdline is None else Options(parse(cmdline), items, behaviours)
    values |= kvm_lookups(dict(parameters), options)
    return values


@lru_cache(maxsize=1 << 10)
def _behaviours(release: str | None, strict: bool) -> Values:
    if release is None:
        return dict.fromkeys(BEHAVIOURS)
    parsed = Release.parse(release)
    return {name: supposed(partial(behaviour, name), parsed, strict=strict).value for name in BEHAVIOURS}


@lru_cache(maxsize=1 << 13)
def _part(part: Part, release: str | None, strict: bool) -> Values:
    values = dict(identity_lookups(part))
    parsed = None if release is None else Release.parse(release)
    for name, (which, flag) in LIST_FLAGS.items():
        look_up = partial(list_flag, which, flag, part)
        values[name] = None if parsed is None else supposed(look_up, parsed, strict=strict).value
    return values


@lru_cache(maxsize=1 << 14)
def _microcode(part: Part, revision: int | None, platform: int | None, release: str | None, strict: bool) -> Values:
    look_up = partial(old_microcode, part, platform, revision)
    old = None if release is None else supposed(look_up, Release.parse(release), strict=strict).value
    return {
        "tsa_microcode": tsa_microcode(part, revision, unlisted=False),
        "bad_spectre_microcode": bad_spectre_microcode(part, revision).value,
        "old_microcode": old,
    }


@lru_cache(maxsize=1 << 11)
def _arch_capabilities_bits(value: int | None) -> Values:
    return {name: None if value is None else bool(value & bit.mask) for name, bit in ARCH_CAPABILITIES.items()}


def _arch_capabilities(case: Case) -> Values:
    """MSR 0x10a: an MSR that is not there reads as 0 to the kernel (rdmsrl survives the fault)."""
    if isinstance(case.arch_caps, msgspec.UnsetType):
        return _arch_capabilities_bits(None)
    return _arch_capabilities_bits(number_of(case.arch_caps) or 0)


def _rest(case: Case) -> Values:
    """What MSRs answer, threads and memory."""
    options, control, rmp_end = case.msr(_MCU_OPT_CTRL), case.msr(_FEAT_CTL), case.msr(_RMP_END)
    return _rest_values(
        None if options is None else bool(options & _GDS_LOCKED),
        *case.smt,
        True if case.msr(_LS_CFG) is not None else None,
        case.msr_writes_succeed,
        case.ram_above_half,
        # locked without VMX outside SMX: the kernel takes VMX away (feat_ctl.c); unlocked it enables VMX itself
        None if control is None else not control & 1 or bool(control & 4),
        # snp_probe_rmptable_info: no table, no host of SEV-SNP
        False if rmp_end == 0 else None,
    )


@lru_cache(maxsize=1 << 10)
def _osvw(part: Part, length: int | None, status: int | None) -> Values:
    """What AMD's OSVW registers say of two errata; of an erratum beyond their length the model decides.

    Source: Linux 5.10.265, 6.1.192 arch/x86/kernel/cpu/amd.c cpu_has_amd_erratum.
    """
    models = {_OSVW_383: True, _OSVW_400: identity_lookups(part)["erratum_400_part"]}
    said: dict[int, bool | None] = dict.fromkeys(models)
    for number, of_model in models.items():
        if length is not None and number >= length:
            said[number] = of_model
        elif length is not None and status is not None:
            said[number] = bool(status >> number & 1)
    return {"osvw_erratum_383": said[_OSVW_383], "osvw_erratum_400": said[_OSVW_400]}


@lru_cache(maxsize=1 << 10)
def _rest_values(*answers: bool | None) -> Values:
    names = (
        "gds_mitg_locked", "smt_active", "smt_supported", "ls_cfg_readable", "sbpb_write_succeeds", "ram_above_half",
        "vmx_enabled", "snp_host",
    )  # fmt: skip
    return dict(zip(names, answers, strict=True))
