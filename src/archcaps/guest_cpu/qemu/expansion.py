"""What a guest is really shown: QEMU's model, the words after it, and what is filtered on the host.

Source: QEMU target/i386/cpu.c x86_cpu_expand_features, x86_cpu_filter_features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from archcaps.guest_cpu.asked import Asked, Identity
from archcaps.guest_cpu.qemu.live import of_live_guest
from archcaps.guest_cpu.qemu.models import Definition, Setting, definition, setting
from archcaps.guest_cpu.qemu.other_features import others_of
from archcaps.guest_cpu.qemu.refusals import refusal
from archcaps.guest_cpu.qemu.supported import Answer, Supported
from archcaps.guest_cpu.qemu.warnings import warnings
from archcaps.guest_cpu.shown import Difference, ShownGuest
from archcaps.machine.snapshot import FORMAT_VERSION, Cpu, Cpuid, Kernel, Reading, Snapshot
from archcaps.tables import qemu as tables
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS, REGISTERS

__all__ = ["expand"]

_EXPANDS = "QEMU target/i386/cpu.c x86_cpu_expand_features"
_FILTERS = "QEMU target/i386/cpu.c x86_cpu_filter_features"
_MIGRATABLE = "QEMU target/i386/cpu.c x86_cpu_get_migratable_flags"
#: Our bits that QEMU has a name for, and the CPUID words in which it has any.
_NAMES: Mapping[str, str] = {bit: row.names["qemu"] for bit, row in BITS.items() if "qemu" in row.names}
_WORDS = frozenset(BITS[bit].register for bit in _NAMES)
#: Bits that change while a guest runs, whatever its VMM says.
_AT_RUN_TIME = frozenset(("ospke",))
_FOLLOWED = tuple(bit for bit, row in BITS.items() if row.register in _WORDS and bit not in _AT_RUN_TIME)
_CPUID = frozenset(bit for bit in _FOLLOWED if REGISTERS[BITS[bit].register].kind == "cpuid")


@dataclass
class _Expansion:
    """The work on one guest: what is asked, what comes of each bit, and what there is to say."""

    asked: Asked
    setting: Setting
    supported: Supported
    model: Definition | None
    bits: dict[str, bool | None] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)
    features: dict[str, bool | None] = field(default_factory=dict)
    undecided: list[str] = field(default_factory=list)


def expand(asked: Asked, host: Snapshot | None, offered: Snapshot | None) -> ShownGuest:
    """Return what the guest is shown on `host`, whose KVM offers a guest `offered` by default.

    Raises:
        InputError: this release has no such model, or whether it has is not known.
    """
    if asked.live:
        return of_live_guest(asked, Kernel() if offered is None else offered.kernel)
    where = setting(asked.release, asked.machine, asked.where)
    assumptions = list(where.assumptions)
    kvm = asked.accelerator != "tcg"
    if asked.accelerator is None:
        assumptions.append("the accelerator is not given: taken as KVM")
    model = None
    if asked.mode in ("named", "default"):
        model = definition(asked.model or "qemu64", where, asked.where)
    vendor = _vendor(asked, model, host, kvm=kvm)
    supported = Supported(host, offered, where, vendor)
    if not supported.known and kvm:
        assumptions.append("the host is not given: all that is asked for is taken as offered by its KVM")
    work = _Expansion(asked, where, supported, model)
    wanted = _wanted(work, kvm=kvm)
    for bit in _FOLLOWED:
        forced = asked.force_features
        work.bits[bit] = _tcg(bit, wanted.get(bit, False), forced=forced) if not kvm else _kvm(work, bit, wanted)
    _hide_without_cpuid_bit(work)
    _name_features(work, wanted)
    snapshot = _snapshot(work, host, offered, vendor)
    notices = _notices(work, kvm=kvm)
    warns = warnings(work.unsupported, where.release) if kvm and not asked.force_features else []
    return ShownGuest(
        asked, snapshot, tuple(work.differences), refusal(asked, where, host, snapshot, work.unsupported, kvm=kvm),
        tuple(assumptions), tuple(notices), work.features,
        _undecided(work.undecided) if work.undecided and kvm else "", _not_followed(work), tuple(warns),
        _hangs_on(work) if kvm and asked.check == "enforce" else (),
    )  # fmt: skip


def _hangs_on(work: _Expansion) -> tuple[str, ...]:
    """Return the features of which QEMU would have to know with enforce."""
    more = _not_followed(work)
    return (*(name for name, value in work.features.items() if value is None), *([more] if more else []))


def _name_features(work: _Expansion, wanted: Mapping[str, bool | None]) -> None:
    """Gather every feature that is asked for by its name, those of our bits and the others."""
    unsure = _machine_decides(work)
    for bit, name in _NAMES.items():
        if wanted.get(bit) or name in unsure:
            work.features[name] = work.bits[bit]
    others = others_of(work.asked, work.model, work.supported, work.bits, _NAMES.keys())
    work.features |= others.features
    for name, answer in others.lacking.items():
        work.unsupported.append(name)
        source = f"{answer.source}; {_FILTERS}"
        work.differences.append(Difference(name, None, answer.by, False, answer.reason, source))
    for name, needs in others.lost_with.items():
        work.unsupported.append(name)
        why = f"it depends on {needs}, which the guest does not have"
        work.differences.append(Difference(name, None, "qemu", False, why, _EXPANDS))


def _not_followed(work: _Expansion) -> str:
    """Return what is asked for besides: with VMX a model brings the controls of nested virtualisation."""
    vmx = work.model is not None and work.model.name != "base" and work.bits["vmx"] is not False
    return "the model's vmx-* controls" if vmx and work.asked.accelerator != "tcg" else ""


def _vendor(asked: Asked, model: Definition | None, host: Snapshot | None, *, kvm: bool) -> str | None:
    """Return the guest's vendor: the user's word, else under KVM the host's, also for named models."""
    if asked.identity.vendor is not None:
        return asked.identity.vendor
    if model is not None and model.name == "base":
        return None
    if kvm and (host is not None or model is None):
        return None if host is None else host.cpu.vendor
    return model.vendor if model is not None else None


def _wanted(work: _Expansion, *, kvm: bool) -> dict[str, bool | None]:
    """Return which bits are asked for by name; None: the model takes what the host has (host, max)."""
    asked, model = work.asked, work.model
    features: dict[str, bool | None] = {}
    if model is not None:
        features = dict.fromkeys(model.features, True)
        features |= tables.accelerator_defaults("kvm" if kvm else "tcg")
    own = {switch.name: switch.on for switch in asked.switches}
    default = None if model is None else False
    return {bit: own.get(name, features.get(name, default)) for bit, name in _NAMES.items()}


def _tcg(bit: str, wanted: bool | None, *, forced: bool) -> bool | None:
    """Return a bit of a guest without KVM: what is not asked for is not there, and ARCH_CAPABILITIES never is offered.

    Forced, its CPUID bit is shown all the same; MSR 0x10a reads 0 even then (seen with QEMU 7.2 and 11.1).
    """
    if bit in ARCH_CAPABILITIES:
        return False
    if bit == "arch_capabilities":
        return bool(wanted and forced)
    return False if wanted is False else True if bit == "hypervisor" else None


def _kvm(work: _Expansion, bit: str, wanted: Mapping[str, bool | None]) -> bool | None:
    if work.model is not None and _NAMES.get(bit) in _machine_decides(work):
        return _perhaps_asked_for(work, bit)
    if work.model is not None and not wanted.get(bit):
        return False
    named = work.setting.has_property(_NAMES[bit]) if bit in _NAMES else False
    asked = wanted.get(bit)
    if work.model is None and asked is None:
        return _from_host(work, bit, named)
    if named is False or not asked:
        return False
    return _asked_for(work, bit, named)


def _machine_decides(work: _Expansion) -> frozenset[str]:
    """Return the features that a machine type of unknown version may change, and no word of the user's sets."""
    unsure = frozenset() if work.model is None else work.model.unsure
    return unsure - {switch.name for switch in work.asked.switches}


def _perhaps_asked_for(work: _Expansion, bit: str) -> bool | None:
    """Return a bit of which it is not known whether it is asked for: not there where it is not supported."""
    if work.supported.known and work.supported.of(bit).value is False:
        return False
    work.undecided.append(_NAMES[bit])
    return None


def _from_host(work: _Expansion, bit: str, named: bool | None) -> bool | None:
    """Return a bit that nobody names of a guest that gets the host's CPU."""
    answer = work.supported.of(bit)
    if answer.value is False:
        if answer.by == "qemu":
            _differ(work, bit, answer)
        return False
    if work.asked.migratable is False:
        return answer.value
    if named is False:
        if answer.value and BITS[bit].vulnerabilities:  # of the others nobody asks
            reason = f"QEMU {work.setting.text} has no name for it, and drops what it cannot name (migratable=on)"
            _differ(work, bit, Answer(False, "qemu", reason, _MIGRATABLE))
        return False
    if answer.value and answer.by == "qemu" and BITS[bit].vulnerabilities:
        _differ(work, bit, answer)
    return answer.value if named else None


def _asked_for(work: _Expansion, bit: str, named: bool | None) -> bool | None:
    """Return a bit that the model or the user's words ask for."""
    if work.asked.force_features or not work.supported.known:
        return True
    answer = work.supported.of(bit)
    if answer.value is False:
        work.unsupported.append(_NAMES[bit])
        _differ(work, bit, answer)
    elif answer.value is None or named is None:
        work.undecided.append(_NAMES[bit])
        return None
    elif answer.by == "qemu" and BITS[bit].vulnerabilities:
        _differ(work, bit, answer)
    return answer.value


def _differ(work: _Expansion, bit: str, answer: Answer) -> None:
    name = _NAMES.get(bit, bit)
    source = answer.source if answer.by == "qemu" else f"{answer.source}; {_FILTERS}"
    work.differences.append(Difference(name, bit, answer.by, answer.value, answer.reason, source))


def _hide_without_cpuid_bit(work: _Expansion) -> None:
    """Clear MSR 0x10a where arch-capabilities is off: QEMU's table of dependencies."""
    shown = work.bits["arch_capabilities"]
    if shown is False and work.model is None:  # the host's bits, which nobody named, go with the register
        named = {switch.name for switch in work.asked.switches}
        kept = [one for one in work.differences if one.bit not in ARCH_CAPABILITIES or one.name in named]
        work.differences = kept
    for bit in ARCH_CAPABILITIES:
        if shown is False and work.bits[bit] is not False:
            asked = any(switch.name == _NAMES.get(bit) and switch.on for switch in work.asked.switches)
            if work.bits[bit] and (asked or work.model is not None):
                reason = "without arch-capabilities QEMU clears the whole of MSR 0x10a"
                _differ(work, bit, Answer(False, "qemu", reason, _EXPANDS))
                if asked:
                    work.unsupported.append(_NAMES[bit])
            work.bits[bit] = False
        elif shown is None and work.bits[bit]:
            work.bits[bit] = None


def _snapshot(work: _Expansion, host: Snapshot | None, offered: Snapshot | None, vendor: str | None) -> Snapshot:
    asked, model, bits = work.asked, work.model, work.bits
    # Without KVM, -cpu max is QEMU's own CPU, and nothing of the host's.
    of_host = Cpu() if host is None or asked.accelerator == "tcg" else host.cpu
    identity, base = asked.identity, model or of_host
    what = f"QEMU {work.setting.text}, -cpu {asked.model}"
    word = sum(ARCH_CAPABILITIES[bit].mask for bit in ARCH_CAPABILITIES if bits[bit])
    known = sum(ARCH_CAPABILITIES[bit].mask for bit in ARCH_CAPABILITIES if bits[bit] is not None)
    cpuid = {bit: value for bit, value in bits.items() if bit in _CPUID}
    return Snapshot(
        format_version=FORMAT_VERSION,
        role="guest",
        name=asked.name or f"-cpu {asked.model}",
        provenance="imported",
        source=what if offered is None else f"{what}, on what KVM offers on this host",
        cpu=Cpu(
            vendor=vendor,
            family=_part(base, identity, "family"),
            model=_part(base, identity, "model"),
            stepping=_part(base, identity, "stepping"),
            core_type=of_host.core_type if model is None else None,
        ),
        cpuid=Cpuid(
            shown=[bit for bit, value in cpuid.items() if value],
            hidden=[bit for bit, value in cpuid.items() if value is False],
            complete=False,
        ),
        registers={"ia32_arch_capabilities": Reading(value=f"{word:#x}", known=f"{known:#x}")},
        kernel=Kernel() if offered is None else offered.kernel,
    )


def _part(base: Definition | Cpu, identity: Identity, part: str) -> int | str | None:
    """Return family, model or stepping: the user's, else the model's or the host's; None: a machine type decides."""
    own: int | None = getattr(identity, part)
    unsure = isinstance(base, Definition) and part in base.unsure
    of_base: int | str | None = None if unsure else getattr(base, part)
    return of_base if own is None else own


def _notices(work: _Expansion, *, kvm: bool) -> list[str]:
    asked, found = work.asked, []
    if not kvm:
        found.append("the guest runs without KVM (TCG): it never has MSR 0x10a, and what KVM offers does not matter")
    if asked.force_features:
        found.append("x-force-features shows the guest what the host may not have: instructions may fault in it")
    if _not_followed(work):
        said = "an older QEMU may warn of some (as MSR(48DH).vmx-posted-intr [bit 7])"
        found.append(f"{_not_followed(work)} of nested virtualisation are not followed: {said}")
    if work.unsupported and asked.check != "enforce" and kvm and not asked.force_features:
        names = ", ".join(sorted(set(work.unsupported)))
        found.append(f"QEMU warns and starts without: {names} (with enforce it would not start)")
    if asked.model == "base":
        found.append("-cpu base is for tools to build on: it has no vendor, and a KVM may refuse its MSRs")
    found += [f"QEMU {work.setting.text}: {text}" for text in asked.lost_in_words]
    return found


def _undecided(names: list[str]) -> str:
    """Return which features nobody can tell of: by name those that speak of a vulnerability."""
    speak = {name for bit, name in _NAMES.items() if BITS[bit].vulnerabilities}
    named, others = sorted(speak & set(names)), len(set(names) - speak)
    said = [", ".join(named)] if named else []
    said += [f"{others} features that speak of no vulnerability"] if others else []
    return f"not known whether the guest gets them, as what KVM offers of them is not: {' and '.join(said)}"
