"""What libvirt says of a host: domain capabilities (virsh domcapabilities) and host capabilities (virsh capabilities).

Source: libvirt docs/formatdomaincaps.rst and formatcaps.rst; schemas domaincaps.rng and cputypes.rng of 12.8.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from archcaps.errors import InputError
from archcaps.guest_cpu.libvirt.domain import CpuElement, read_cpu
from archcaps.guest_cpu.libvirt.xml_tree import Element, parse_xml
from archcaps.machine.snapshot import FORMAT_VERSION, BitReading, Cpu, Cpuid, Reading, Snapshot
from archcaps.tables.bits import BITS, REGISTERS
from archcaps.tables.libvirt_cpu_map import knows_feature, model_has

__all__ = ["DomainCapabilities", "HostCpu", "read_domain_capabilities", "read_host_cpu", "snapshot_of_host"]


@dataclass(frozen=True, slots=True)
class DomainCapabilities:
    """What libvirt and QEMU can give a guest of one kind on a host.

    `host_model` is the CPU that mode='host-model' gives; None: not supported. `usable` says of each named model whether
    it starts here (None: libvirt does not know); `blockers` name the features that it lacks, where libvirt says so.
    """

    machine: str | None
    kind: str | None
    host_model: CpuElement | None
    usable: Mapping[str, bool | None]
    blockers: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class HostCpu:
    """The host's CPU as libvirt sees it: the model nearest to it and the features beyond that model's."""

    model: str | None
    vendor: str | None
    signature: tuple[int, int, int] | None
    microcode: int | None
    features: tuple[str, ...]


def read_domain_capabilities(text: str, where: str) -> DomainCapabilities:
    """Return what <domainCapabilities> says of CPUs.

    Raises:
        InputError: it is not XML, or not that.
    """
    return domain_capabilities(parse_xml(text, where), where)


def domain_capabilities(root: Element, where: str) -> DomainCapabilities:
    """Return what a parsed <domainCapabilities> says of CPUs.

    Raises:
        InputError: it is something else.
    """
    _expect(root, "domainCapabilities", where)
    cpu = root.first("cpu")
    modes = {} if cpu is None else {mode.attributes.get("name"): mode for mode in cpu.all("mode")}
    model = modes.get("host-model")
    supported = model is not None and model.attributes.get("supported") == "yes"
    custom = modes.get("custom")
    usable: dict[str, bool | None] = {}
    blockers: dict[str, tuple[str, ...]] = {}
    for element in [] if custom is None else custom.children:
        if element.name == "model":
            word = element.attributes.get("usable", "unknown")
            usable[element.text.strip()] = {"yes": True, "no": False}.get(word)
        elif element.name == "blockers":
            names = tuple(feature.attributes.get("name", "") for feature in element.all("feature"))
            blockers[element.attributes.get("model", "")] = names
    machine, kind = root.first("machine"), root.first("domain")
    return DomainCapabilities(
        None if machine is None else machine.text.strip(),
        None if kind is None else kind.text.strip(),
        read_cpu(model, where) if model is not None and supported else None,
        MappingProxyType(usable),
        MappingProxyType(blockers),
    )


def read_host_cpu(text: str, where: str) -> HostCpu:
    """Return the host's CPU from <capabilities>.

    Raises:
        InputError: it is not XML, not that, or names no CPU of x86.
    """
    return host_cpu(parse_xml(text, where), where)


def host_cpu(root: Element, where: str) -> HostCpu:
    """Return the host's CPU from a parsed <capabilities>.

    Raises:
        InputError: it is something else, or names no CPU of x86.
    """
    _expect(root, "capabilities", where)
    host = root.first("host")
    cpu = None if host is None else host.first("cpu")
    if cpu is None:
        raise InputError("no <cpu> in <host>", f"{where}:{root.line}")
    arch = cpu.first("arch")
    if arch is not None and arch.text.strip() not in ("x86_64", "i686"):
        raise InputError(f"a host of {arch.text.strip()}: archcaps knows x86 alone", f"{where}:{arch.line}")
    signature, microcode = cpu.first("signature"), cpu.first("microcode")
    return HostCpu(
        _text(cpu, "model"),
        _text(cpu, "vendor"),
        None if signature is None else _signature(signature, where),
        None if microcode is None else _number(microcode, "version", where),
        tuple(feature.attributes.get("name", "") for feature in cpu.all("feature")),
    )


def snapshot_of_host(host: HostCpu, release: str | None, where: str) -> Snapshot:
    """Return the host as a snapshot: its identity, and the bits that libvirt's model and list of features settle.

    `release` is libvirt's. A feature that is neither listed nor in the model is absent, if that release knows it.
    """
    named = {
        names["libvirt"]: bit for bit, names in ((bit.name, bit.names) for bit in BITS.values()) if "libvirt" in names
    }
    shown: list[str] = []
    hidden: list[str] = []
    registers: dict[str, dict[str, BitReading]] = {}
    for feature, bit in named.items():
        has = _has(host, feature, release)
        if has is None:
            continue
        if REGISTERS[BITS[bit].register].kind == "cpuid":
            (shown if has else hidden).append(bit)
        elif has:  # that libvirt does not list an MSR's bit may be because it could not read the MSR
            registers.setdefault(BITS[bit].register, {})[bit] = BitReading(value=True)
    family, model, stepping = host.signature or (None, None, None)
    vendor = {"Intel": "GenuineIntel", "AMD": "AuthenticAMD", "Hygon": "HygonGenuine"}.get(host.vendor or "")
    return Snapshot(
        format_version=FORMAT_VERSION,
        role="host",
        provenance="imported",
        source=f"libvirt's capabilities ({where})",
        cpu=Cpu(vendor=vendor, family=family, model=model, stepping=stepping, microcode=host.microcode),
        cpuid=Cpuid(shown=shown, hidden=hidden, complete=False),
        registers={name: Reading(bits=bits) for name, bits in registers.items()},
    )


def _has(host: HostCpu, feature: str, release: str | None) -> bool | None:
    if feature in host.features:
        return True
    by_model = model_has(host.model, feature, release) if host.model else None
    return by_model if by_model or knows_feature(feature, release) else None


def _expect(root: Element, name: str, where: str) -> None:
    if root.name != name:
        raise InputError(f"<{root.name}> (expected <{name}>)", f"{where}:{root.line}")


def _text(element: Element, name: str) -> str | None:
    child = element.first(name)
    return None if child is None else child.text.strip() or None


def _signature(element: Element, where: str) -> tuple[int, int, int]:
    family, model, stepping = (_number(element, name, where) for name in ("family", "model", "stepping"))
    return family, model, stepping


def _number(element: Element, name: str, where: str) -> int:
    text = element.attributes.get(name, "")
    if not text.isdecimal() or len(text) > 20:
        raise InputError(f"{name}={text[:80]!r} (expected a decimal number)", f"{where}:{element.line}")
    return int(text)
