"""One configuration of a space as snapshots of its host and guest, as `check` takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from archcaps.machine.given_options import ASSUMED_CONFIG, config_items
from archcaps.machine.snapshot import FORMAT_VERSION, Cpu, Cpuid, Kernel, Kvm, Reading, Snapshot, Vm
from archcaps.space.bounds import Bounds
from archcaps.space.cells import Cell
from archcaps.space.lookups import Kernels, PartClass
from archcaps.space.names import DEVIATES, LATER, UNKNOWN
from archcaps.space.parts import ATOM, Box
from archcaps.space.releases import MODULE_PARAMETERS, releases
from archcaps.space.space import Space
from archcaps.tables.bits import BITS, REGISTERS
from archcaps.tables.files import read_csv
from archcaps.tables.linux_lists import Part
from archcaps.tables.silicon import tsa_microcode_needed

__all__ = ["Configuration", "configuration_of"]

_SOURCE = "a configuration that archcaps made up"


@dataclass(frozen=True)
class Configuration:
    """One host with its KVM, and one guest; `later` are the releases that one of them gets later, by kernel.

    `assumptions` are those of `check`; `changed` what root changes before a later vCPU; `supposed` what nobody knows
    and was supposed, by fact; `deviations` what is not as by default, in words.
    """

    host: Snapshot
    guest: Snapshot
    later: Mapping[str, str] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    changed: Mapping[str, bool] = field(default_factory=dict)
    supposed: Mapping[str, bool] = field(default_factory=dict)
    deviations: tuple[str, ...] = ()


def configuration_of(space: Space, cell: Cell, values: Mapping[str, bool]) -> Configuration:
    """Return the configuration that an assignment of a cell's variables is, with the newest kernels that it allows."""
    owning = {part for part, _ in cell.guest.own_members}
    members = [(part, each) for part, each in cell.host.members if cell.other_part or part in owning]
    part, host_kernels = _newest(members)
    own = [(each, kernels) for each, kernels in cell.guest.own_members if each is part]
    shown, guest_kernels = _newest(cell.guest.members if cell.other_part else own)
    host_box = _familiar(part, space.bounds, host=True)
    # Of the host's own part KVM shows neither hybrid nor a core's type.
    plain = replace(host_box, hybrid=False, atom=False)
    guest_box = _familiar(shown, space.bounds, host=False) if cell.other_part else plain
    bits = space.bits_of(cell, values)
    unknown = space.unknown_of("host", part, host_kernels, own=False)
    unknown += space.unknown_of("guest", shown, guest_kernels, own=not cell.other_part)
    places = {**host_kernels.places, **guest_kernels.places}
    chosen = {scope: _release(scope, places) for scope in places}
    host = _host(host_box, bits, chosen.get("host_kernel"), values, space.bounds)
    guest = _guest(guest_box, bits, chosen.get("guest_kernel"), guest_kernels.built, values, space.bounds)
    return Configuration(
        host,
        guest,
        {scope: chosen[scope] for scope in chosen if scope in LATER},
        ("user-mmio",) if values.get("assume.user_mmio") else (),
        {name: value for name, value in values.items() if name.startswith("changed.")},
        {name: values[UNKNOWN + name] for name in sorted(unknown)},
        deviations_of(frozenset(name for name in space.deviations if values[name]), bits),
    )


def deviations_of(chosen: frozenset[str], bits: Mapping[str, bool]) -> tuple[str, ...]:
    """Return deviations in words: bits that are hidden from the guest or added for it, and its situation."""
    words = []
    for name in sorted(chosen):
        what = name.removeprefix(DEVIATES)
        if not name.startswith(DEVIATES):
            words.append(name)
        elif what == "part":
            words.append("another part")
        else:
            words.append(f"{what}={int(bits[f'guest.{what}'])}")
    return tuple(words)


def _newest(members: list[tuple[PartClass, Kernels]]) -> tuple[PartClass, Kernels]:
    """Return the member with the newest releases, of a part that lists name if there is one."""
    return max(members, key=lambda each: ([places[0] for places in each[1].places.values()], _known(each[0])))


def _known(part: PartClass) -> bool:
    return any(box.named for box in part.boxes)


def _familiar(part: PartClass, bounds: Bounds, *, host: bool) -> Box:
    """Return a box of the class: for a host one that may be a host, of a part that Intel's list of servers names."""
    servers = {
        text
        for row in read_csv("silicon/intel_affected.csv")
        if "Server" in row["segment"]
        for text in row["signature"].split()
    }
    models = {(int(text, 16) >> 12 & 0xF0 | int(text, 16) >> 4 & 0xF) for text in servers}
    allowed = [box for box in part.boxes if not host or bounds.count_hosts(box)]
    return max(
        allowed, key=lambda box: (box.vendor == "GenuineIntel" and box.models[0] in models, box.named, box.plain)
    )


def _release(scope: str, places: Mapping[str, tuple[int, ...]]) -> str:
    """Return the newest release of a kernel's class; of one that has to come first, the newest before the other's."""
    later = next((other for other, first in LATER.items() if first == scope and other in places), None)
    newest = max(places[scope])
    if later is not None:
        # Two that are compared need not come one after the other.
        newest = max((place for place in places[scope] if place < max(places[later])), default=newest)
    return releases()[newest].text


def _host(
    box: Box, bits: Mapping[str, bool], release: str | None, values: Mapping[str, bool], bounds: Bounds
) -> Snapshot:
    signature = next(each for each in box.signatures() if _takes(bounds, each))
    return Snapshot(
        format_version=FORMAT_VERSION,
        role="host",
        name="host of a counter-example",
        provenance="assumed",
        source=_SOURCE,
        cpu=_cpu(box, signature, recent=values.get("host.recent_microcode", False)),
        cpuid=Cpuid(shown=_shown(bits, "host", hybrid=box.hybrid)),
        registers=_registers(bits, "host"),
        kernel=Kernel(release=release or releases()[-1].text, cmdline=bounds.host_cmdline, config=ASSUMED_CONFIG),
        kvm=Kvm(parameters=dict(MODULE_PARAMETERS)),
    )


def _guest(
    box: Box, bits: Mapping[str, bool], release: str | None, built: bool, values: Mapping[str, bool], bounds: Bounds
) -> Snapshot:
    config = {**(config_items(Kernel(config=ASSUMED_CONFIG), "") or {}), "KVM": "y" if built else "n"}
    signature = next(each for each in box.signatures() if _takes(bounds, each) or not bounds.count_hosts(box))
    return Snapshot(
        format_version=FORMAT_VERSION,
        role="guest",
        name="guest of a counter-example",
        provenance="assumed",
        source=_SOURCE,
        cpu=_cpu(box, signature, recent=values.get("guest.recent_microcode", False)),
        cpuid=Cpuid(shown=_shown(bits, "guest", hybrid=box.hybrid)),
        registers=_registers(bits, "guest"),
        kernel=Kernel(release=release or releases()[-1].text, cmdline=bounds.guest_cmdline, config=config),
        vm=Vm(
            has_assigned_device=values.get("vm.has_assigned_device", False),
            has_mapped_host_mmio=values.get("vm.has_mapped_host_mmio", False),
        ),
    )


def _takes(bounds: Bounds, signature: tuple[str, int, int, int]) -> bool:
    return not bounds.host_parts or any(part.fits(*signature) for part in bounds.host_parts)


def _cpu(box: Box, signature: tuple[str, int, int, int], *, recent: bool) -> Cpu:
    vendor, family, model, stepping = signature
    # A revision's upper bytes name its part. 0xffffffff is what hypervisors show that hide theirs.
    enough = tsa_microcode_needed(Part(vendor, family, model, stepping)) or 0xFFFF_FF00
    return Cpu(
        vendor=vendor,
        family=hex(family),
        model=hex(model),
        stepping=stepping,
        core_type=ATOM if box.atom else 0,
        microcode=hex(enough | 0xFF) if recent else hex(enough & ~0xFF),
        smt_active=False,
    )


def _shown(bits: Mapping[str, bool], scope: str, *, hybrid: bool) -> list[str]:
    names = [
        name
        for name, bit in BITS.items()
        if REGISTERS[bit.register].kind == "cpuid" and bits.get(f"{scope}.{name}", False)
    ]
    return [*names, "hybrid"] if hybrid and "hybrid" not in names else names


def _registers(bits: Mapping[str, bool], scope: str) -> dict[str, Reading]:
    """Return the MSRs with a bit that is known here; the others of a register are 0."""
    words: dict[str, int] = {}
    for name, bit in BITS.items():
        if REGISTERS[bit.register].kind == "msr" and f"{scope}.{name}" in bits:
            words[bit.register] = words.get(bit.register, 0) | (bit.mask if bits[f"{scope}.{name}"] else 0)
    words.setdefault("ia32_arch_capabilities", 0)
    return {register: Reading(value=hex(word)) for register, word in words.items()}
