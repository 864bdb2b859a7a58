"""What Firecracker shows a guest: KVM's CPUID and MSRs, the template's bits in them, then Firecracker's own changes.

Source: firecracker@81b38b9 src/vmm/src/arch/x86_64/mod.rs configure_vcpus_for_boot, src/vmm/src/cpu_config/x86_64
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace
from packaging.version import Version

from archcaps.guest_cpu.asked import Asked, MaskedWrite
from archcaps.guest_cpu.firecracker.read_order import lost_by_read_order, needs_cpuid
from archcaps.guest_cpu.firecracker.releases import HOSTS, behaviour, check_release, static_template
from archcaps.guest_cpu.firecracker.template import write_of
from archcaps.guest_cpu.shown import Difference, ShownGuest
from archcaps.guest_cpu.words import unknown_guest, with_bits, without_bits, word_of
from archcaps.machine.snapshot import Cpu, Snapshot, number
from archcaps.tables.bits import BITS, bits_of
from archcaps.tables.files import read_csv

__all__ = ["expand"]

_ARCH_CAP: Final = "ia32_arch_capabilities"
_ALL: Final = (1 << 64) - 1
_SIGNATURE: Final = "CPUID 0x1 subleaf 0x0 EAX"
#: The bits of CPUID.1:EAX that are the family, model and stepping; Firecracker's templates fix all of them.
_IDENTITY: Final = 0x0FFF0FFF
#: Leaves that every KVM's KVM_GET_SUPPORTED_CPUID has on the CPUs that Firecracker supports.
#: Source: firecracker@81b38b9 tests/data/cpu_template_helper/fingerprint_*.json
_EVERYWHERE: Final = (
    "CPUID 0x0 ",
    "CPUID 0x1 ",
    "CPUID 0x7 subleaf 0x0 ",
    "CPUID 0xd ",
    "CPUID 0x80000001 ",
    "CPUID 0x80000008 ",
)
_APPLY: Final = "firecracker@81b38b9 src/vmm/src/cpu_config/x86_64/mod.rs apply_template_to_msrs"


@dataclass
class _Expansion:
    """A guest on its way: what it is shown so far, and what there is to say of it."""

    asked: Asked
    release: Version | None
    host: Snapshot | None
    guest: Snapshot
    vendor: str | None
    certain: list[MaskedWrite] = field(default_factory=list)
    unsure: list[MaskedWrite] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    refused: str | None = None


def expand(asked: Asked, host: Snapshot | None, offered: Snapshot | None) -> ShownGuest:
    """Return what Firecracker shows the guest on `host`, whose KVM offers a guest `offered` by default.

    Raises:
        InputError: `asked.release` is no release of Firecracker.
    """
    release = check_release(asked.release)
    base = unknown_guest() if offered is None else offered
    if asked.lost_in_words:  # a template that nobody read may change anything but the vendor
        base = replace(unknown_guest(), cpu=Cpu(vendor=base.cpu.vendor), kernel=base.kernel)
    vendor = base.cpu.vendor or (host.cpu.vendor if host is not None else None)
    state = _Expansion(asked, release, host, base, vendor, certain=list(asked.writes))
    if offered is None:
        state.assumptions.append(
            "the host is not given: what the template keeps of KVM's is unknown, what it sets is taken as shown"
        )
    _static(state)
    _refusals(state)
    _read_order(state)
    for write in state.certain:
        _write(state, write)
    for write in state.unsure:
        if write.register is not None:
            state.guest = without_bits(state.guest, write.register, write.mask)
    _normalise(state)
    _not_offered(state, offered)
    guest = replace(state.guest, name=asked.name or "Firecracker guest", source=f"Firecracker, {_title(asked)}")
    return ShownGuest(
        asked, guest, tuple(state.differences), state.refused, tuple(state.assumptions), tuple(state.notices)
    )


def _title(asked: Asked) -> str:
    if asked.model is not None:
        return f"template {asked.model}"
    return "its custom template" if asked.mode == "template" else "no template"


def _static(state: _Expansion) -> None:
    """Add the modifiers of a static template, which stands alone: a custom one takes its place."""
    name = state.asked.model
    if name is None:
        return
    certain, unsure = static_template(name, state.release)
    state.certain[:0] = [write_of(modifier) for modifier in certain]
    state.unsure = [write_of(modifier) for modifier in unsure]
    for write in state.unsure:
        of = bits_of(write.register) if write.register is not None else {}
        bits = ", ".join(bit for bit, found in of.items() if found.mask & write.mask) or f"bits {write.mask:#x}"
        why = "its release is not known" if state.release is None else f"nobody looked at {state.release}"
        state.notices.append(f"Firecracker's releases differ in {name}, {write.leaf}: {bits} unknown, for {why}")


def _refusals(state: _Expansion) -> None:
    """Say why Firecracker does not start: a static template on a CPU that is not its own."""
    name = state.asked.model
    for write in state.certain:
        if write.leaf.startswith("CPUID") and not write.leaf.startswith(_EVERYWHERE):
            leaf = write.leaf.rpartition(" ")[0]
            state.notices.append(f"Firecracker does not start where KVM has no {leaf} (CpuidFeatureNotSupported)")
    if name is None or state.vendor is None or state.host is None:
        return
    hosts = HOSTS[name]
    if state.vendor != hosts.vendor:
        state.refused = (
            f"the static template {name} is for {hosts.vendor}, and the host is {state.vendor} (CpuVendorMismatched)"
        )
        return
    cpu = state.host.cpu
    if cpu.family is None or cpu.model is None or cpu.stepping is None:
        return
    part = tuple(number(value, 32, "cpu") for value in (cpu.family, cpu.model, cpu.stepping))
    if part in hosts.parts:
        return
    checks = behaviour("checks_host_part", state.release)
    shown = f"family {part[0]:#x}, model {part[1]:#x}, stepping {part[2]}"
    if checks:
        state.refused = f"the static template {name} is not for this CPU ({shown}; InvalidCpuModel)"
    elif checks is None:
        state.notices.append(
            f"Firecracker from 1.12.0 on does not start with {name} on this CPU ({shown}; InvalidCpuModel)"
        )


def _read_order(state: _Expansion) -> None:
    """Take from MSR 0x10a what Firecracker lost of it by reading it before CPUID was set."""
    fixed = 0
    changes = [write for write in (*state.certain, *state.unsure) if write.register == _ARCH_CAP]
    for write in changes:
        fixed |= write.mask
    if changes and state.vendor != "AuthenticAMD":
        lost = lost_by_read_order(state.guest, ~fixed & _ALL, state.release, state.host)
        state.guest = lost.guest
        state.differences += lost.differences
        state.notices += lost.notices


def _write(state: _Expansion, write: MaskedWrite) -> None:
    said = f"Firecracker, {_title(state.asked)}{' at ' + write.where if write.where else ''}"
    if write.leaf == _SIGNATURE:
        state.guest = replace(state.guest, cpu=_identity(state.guest.cpu, write, said))
    elif write.register is not None:
        state.guest = with_bits(state.guest, write.register, write.mask, write.value, said)


def _identity(cpu: Cpu, write: MaskedWrite, said: str) -> Cpu:
    """Return the CPU with the template's bits of CPUID.1:EAX; unknown where some of them are kept and not known."""
    signature = _signature(cpu)
    if signature is None:
        if write.mask & _IDENTITY != _IDENTITY:
            return replace(cpu, family=None, model=None, stepping=None)
        signature = 0
    signature = signature & ~write.mask | write.value
    family, model = signature >> 8 & 0xF, signature >> 4 & 0xF
    if family >= 6:
        model |= signature >> 12 & 0xF0
    if family == 0xF:
        family += signature >> 20 & 0xFF
    return replace(
        cpu, family=family, model=model, stepping=signature & 0xF, core_type=None, provenance="imported", source=said
    )


def _signature(cpu: Cpu) -> int | None:
    """Return CPUID.1:EAX of a CPU, as far as it is the family, model and stepping."""
    if cpu.family is None or cpu.model is None or cpu.stepping is None:
        return None
    family, model, stepping = (number(value, 32, "cpu") for value in (cpu.family, cpu.model, cpu.stepping))
    base, extended = (family, 0) if family < 0xF else (0xF, family - 0xF)
    return extended << 20 | (model >> 4 & 0xF) << 16 | base << 8 | (model & 0xF) << 4 | stepping & 0xF


def _normalise(state: _Expansion) -> None:
    """Change what Firecracker changes after any template."""
    for row in read_csv("firecracker/normalisation.csv"):
        if row["vendor"] and state.vendor is None and _asks(state, row["bit"]) is not None:
            state.notices.append(
                f"Firecracker sets {row['bit']} to {row['value']} on {row['vendor']}; the vendor is not known"
            )
        if row["vendor"] not in ("", state.vendor):
            continue
        does = behaviour(row["behaviour"], state.release) if row["behaviour"] else True
        if does is False:
            continue
        bit, on = BITS[row["bit"]], row["value"] == "1"
        asked = _asks(state, row["bit"])
        shown = on if does else None
        if asked is not None and asked is not on:
            reason = "Firecracker changes it after the template"
            state.differences.append(Difference(row["bit"], row["bit"], "firecracker", shown, reason, row["source"]))
        value, known = word_of(state.guest, bit.register)
        if does:
            state.guest = with_bits(
                state.guest,
                bit.register,
                bit.mask,
                bit.mask if on else 0,
                f"Firecracker's normalisation [{row['source']}]",
            )
        elif not (known & bit.mask and bool(value & bit.mask) is on):
            state.guest = without_bits(state.guest, bit.register, bit.mask)


def _asks(state: _Expansion, name: str) -> bool | None:
    """Return what the template sets a bit to; None: it keeps KVM's."""
    bit = BITS[name]
    found: bool | None = None
    for write in state.certain:
        if write.register == bit.register and write.mask & bit.mask:
            found = bool(write.value & bit.mask)
    return found


def _not_offered(state: _Expansion, offered: Snapshot | None) -> None:
    """Tell which bits the guest is shown that KVM does not offer: KVM takes them, and nobody vouches for them."""
    arch_cap, known = word_of(state.guest, "cpuid_7_0_edx")
    mask = BITS["arch_capabilities"].mask
    sets = [write for write in state.certain if write.register == _ARCH_CAP and write.value]
    if sets and known & mask and not arch_cap & mask:
        needs, _ = needs_cpuid(state.host)
        if needs:
            state.refused = state.refused or (
                "KVM takes no value but 0 for MSR 0x10a, which this guest's CPUID does not show (SetMsrsIncomplete)"
            )
        state.notices.append("the template sets MSR 0x10a, and the guest's CPUID does not show it: no guest reads it")
    if offered is None:
        return
    extra = []
    for register in dict.fromkeys(write.register for write in state.certain if write.register is not None):
        (value, known), (offer, told) = word_of(state.guest, register), word_of(offered, register)
        more = value & known & ~offer & told
        extra += [name for name, bit in bits_of(register).items() if more & bit.mask and name != "hypervisor"]
    if extra:
        state.notices.append(f"set by the template and not offered by this host's KVM: {', '.join(extra)} [{_APPLY}]")
