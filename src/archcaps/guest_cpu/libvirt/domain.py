"""A libvirt domain's CPU as its XML says it: <domain>, <domstatus>, <domainsnapshot>, or a <cpu> alone.

Source: libvirt docs/formatdomain.rst, CPU model and topology; schemas/cputypes.rng of 9.0.0 and 12.8.0.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Final, Literal, cast

from archcaps.errors import InputError, nearest
from archcaps.guest_cpu.asked import HostDevice, Policy, Switch
from archcaps.guest_cpu.libvirt.devices import devices_of
from archcaps.guest_cpu.libvirt.xml_tree import Element, parse_documents
from archcaps.guest_cpu.qemu.words import is_other_qemu

__all__ = [
    "QEMU_NAMESPACE", "CpuElement", "Domain", "Override", "chosen_root", "domain_of", "read_cpu", "read_domain",
    "refuse_foreign_guest",
]  # fmt: skip

Check = Literal["none", "partial", "full"]
Match = Literal["minimum", "exact", "strict"]
CpuMode = Literal["custom", "host-model", "host-passthrough", "maximum"]

QEMU_NAMESPACE: Final = "http://libvirt.org/schemas/domain/qemu/1.0"
_MODES: Final = ("custom", "host-model", "host-passthrough", "maximum")
_MATCHES: Final = ("minimum", "exact", "strict")
_CHECKS: Final = ("none", "partial", "full")
_POLICIES: Final = ("force", "require", "optional", "disable", "forbid")
_X86: Final = ("x86_64", "i686")


@dataclass(frozen=True, slots=True)
class CpuElement:
    """A <cpu>: what its attributes and children say; None where they say nothing. `line` counts from 1.

    `threads` are those of one package, by its <topology>.
    """

    mode: CpuMode
    match: Match | None = None
    check: Check | None = None
    migratable: bool | None = None
    model: str | None = None
    fallback: Literal["allow", "forbid"] | None = None
    vendor_id: str | None = None
    vendor: str | None = None
    features: tuple[Switch, ...] = ()
    line: int = 0
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """A -cpu among <qemu:commandline>'s arguments: the text of it, and the line."""

    cpu: str
    line: int


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain as far as its CPU goes. `kind` is its type (kvm, qemu), None for a <cpu> alone."""

    cpu: CpuElement | None
    kind: str | None = None
    name: str = ""
    machine: str | None = None
    live: bool = False
    override: Override | None = None
    devices: tuple[HostDevice, ...] = ()


#: What a guest of each other kind of domain is; kvm and qemu are ours (test is libvirt's own), of xen little is known.
_OF_OTHERS: Final = {
    "bhyve": "FreeBSD's bhyve", "vmware": "VMware", "hvf": "macOS's Hypervisor.framework", "lxc": "LXC, a container",
    "openvz": "OpenVZ, a container", "vz": "Virtuozzo", "parallels": "Parallels", "hyperv": "Hyper-V",
    "vbox": "VirtualBox", "uml": "User Mode Linux", "kqemu": "kqemu",
}  # fmt: skip
_OURS: Final = ("kvm", "qemu", "xen", "test")
#: Machine types that no QEMU for x86 has.
_OF_OTHER_CPUS: Final = ("virt", "virt-", "raspi", "pseries", "s390-ccw-virtio", "sbsa-ref")


def read_domain(text: str, where: str, name: str | None = None) -> Domain:
    """Return a domain from XML as virsh prints and libvirt stores it; `name` says which, where there are several.

    Raises:
        InputError: it is not XML, not a domain, of another architecture, or has a value that libvirt has not.
    """
    return domain_of(chosen_root(text, where, name), where)


def chosen_root(text: str, where: str, name: str | None = None) -> Element:
    """Return the root element that counts: of several documents of one domain the last.

    virt-install prints first the domain that installs, and then the one that is left.

    Raises:
        InputError: it is not XML, or holds domains of several names and none is chosen.
    """
    roots = parse_documents(text, where)
    by_name: dict[str, Element] = {}
    for root in roots:
        domain = root if root.name == "domain" else root.first("domain") or root
        title = domain.first("name")
        by_name["" if title is None else title.text.strip()] = root
    names = ", ".join(by_name)
    if name is not None and name not in by_name:
        raise InputError(f"no domain {name[:80]!r} (there is {names or 'one without a name'})", where)
    if name is None and len(by_name) > 1:
        raise InputError(f"{len(by_name)} domains ({names[:200]}): say which with --domain NAME", where)
    return by_name[name] if name is not None else roots[-1]


def refuse_foreign_guest(kind: str | None, arch: str | None, machine: str | None, emulator: str, here: str) -> None:
    """Refuse a guest that is none of KVM's on x86, by what a domain says of its kind.

    Raises:
        InputError: it is one.
    """
    if kind is not None and kind not in _OURS:
        whose = _OF_OTHERS.get(kind)
        expected = f"{nearest(kind, (*_OURS, *_OF_OTHERS))} (expected kvm)" if whose is None else f" ({whose})"
        raise InputError(f"a guest of type={kind!r}{expected}: archcaps knows guests of Linux's KVM", here)
    if arch not in (None, *_X86):
        raise InputError(f"a guest of {arch}: archcaps knows x86 alone", here)
    if arch is None and machine is not None and machine.startswith(_OF_OTHER_CPUS) and not machine.startswith("virtu"):
        raise InputError(f"the machine type {machine} is of another CPU: archcaps knows x86 alone", here)
    if arch is None and is_other_qemu(emulator):
        raise InputError(f"a guest of {emulator}: archcaps knows x86 alone", here)


def domain_of(root: Element, where: str) -> Domain:
    """Return a domain from parsed XML.

    Raises:
        InputError: as `read_domain`.
    """
    if root.name == "cpu":
        return Domain(read_cpu(root, where))
    domain = root if root.name == "domain" else root.first("domain") if root.name in _WRAPPERS else None
    if domain is None:
        raise InputError(
            f"<{root.name.rpartition(' ')[2]}> is no libvirt domain (expected <domain>, <domstatus>, "
            "<domainsnapshot> or <cpu>)",
            f"{where}:{root.line}",
        )
    system = domain.first("os")
    kind = None if system is None else system.first("type")
    arch = None if kind is None else kind.attributes.get("arch")
    machine = None if kind is None else kind.attributes.get("machine")
    here = f"{where}:{domain.line if kind is None or arch in (None, *_X86) else kind.line}"
    refuse_foreign_guest(domain.attributes.get("type"), arch, machine, _emulator(domain), here)
    cpus = domain.all("cpu")
    if len(cpus) > 1:
        raise InputError("a second <cpu> (expected one at most)", f"{where}:{cpus[1].line}")
    name = domain.first("name")
    return Domain(
        read_cpu(cpus[0], where) if cpus else None,
        domain.attributes.get("type"),
        "" if name is None else name.text.strip(),
        machine,
        "id" in domain.attributes or root.name == "domstatus",
        _override(domain),
        devices_of(domain, [each.attributes.get("value", "") for each in _arguments(domain)], where),
    )


#: Elements that libvirt puts round a domain: of a running one (/run/libvirt/qemu), of a snapshot and a checkpoint.
_WRAPPERS: Final = ("domstatus", "domainsnapshot", "domaincheckpoint")


def _emulator(domain: Element) -> str:
    devices = domain.first("devices")
    emulator = None if devices is None else devices.first("emulator")
    return "" if emulator is None else emulator.text.strip()


def read_cpu(cpu: Element, where: str) -> CpuElement:
    """Return what a <cpu> says.

    Raises:
        InputError: it has a value that libvirt has not, or a feature twice.
    """
    here = f"{where}:{cpu.line}"
    given = cpu.attributes
    mode = _one_of("mode", given.get("mode", "custom"), _MODES, here)
    migratable = given.get("migratable")
    if migratable is not None:
        _one_of("migratable", migratable, ("on", "off"), here)
    model, vendor = cpu.first("model"), cpu.first("vendor")
    attributes = {} if model is None else model.attributes
    if "fallback" in attributes:
        _one_of("fallback", attributes["fallback"], ("allow", "forbid"), here)
    vendor_id = attributes.get("vendor_id")
    if vendor_id is not None and (len(vendor_id) != 12 or "," in vendor_id):
        raise InputError(f"vendor_id {vendor_id[:80]!r} (expected 12 characters, none of them a comma)", here)
    name = None if model is None else model.text.strip() or None
    features = _features(cpu, where)
    if mode == "custom" and name is None and features:
        raise InputError("features without a CPU model (expected <model>NAME</model>, or another mode)", here)
    return CpuElement(
        cast(CpuMode, mode),
        cast("Match | None", _optional("match", given, _MATCHES, here)),
        cast("Check | None", _optional("check", given, _CHECKS, here)),
        None if migratable is None else migratable == "on",
        name,
        cast("Literal['allow', 'forbid'] | None", attributes.get("fallback")),
        vendor_id,
        None if vendor is None else vendor.text.strip() or None,
        features,
        cpu.line,
        _threads(cpu),
    )


def _threads(cpu: Element) -> int | None:
    """Return how many threads a package has; None: there is no topology, or no numbers in it."""
    topology = cpu.first("topology")
    if topology is None:
        return None
    numbers = [topology.attributes.get(part, "1") for part in ("dies", "clusters", "cores", "threads")]
    return prod(map(int, numbers)) if all(re.fullmatch("[0-9]{1,4}", each) for each in numbers) else None


def _features(cpu: Element, where: str) -> tuple[Switch, ...]:
    """Return the features in the order they stand; without a policy, libvirt requires them (since 0.8.5)."""
    found: dict[str, Switch] = {}
    for feature in cpu.all("feature"):
        here = f"{where}:{feature.line}"
        name = feature.attributes.get("name", "")
        if not name:
            raise InputError("a <feature> without a name", here)
        if name in found:
            raise InputError(f"feature {name[:80]!r} stands twice (the first at {found[name].where})", here)
        policy = _one_of("policy", feature.attributes.get("policy", "require"), _POLICIES, here)
        found[name] = Switch(name, cast(Policy, policy), here)
    return tuple(found.values())


def _override(domain: Element) -> Override | None:
    """Return the last -cpu among the arguments that the domain passes to QEMU itself."""
    found = None
    for option, value in pairwise(_arguments(domain)):
        if option.attributes.get("value") in ("-cpu", "--cpu"):
            found = Override(value.attributes.get("value", ""), value.line)
    return found


def _arguments(domain: Element) -> list[Element]:
    """Return the arguments that the domain passes to QEMU itself."""
    command = domain.first(f"{QEMU_NAMESPACE} commandline")
    return [] if command is None else command.all(f"{QEMU_NAMESPACE} arg")


def _optional(name: str, given: dict[str, str], known: Collection[str], here: str) -> str | None:
    return _one_of(name, given[name], known, here) if name in given else None


def _one_of(name: str, value: str, known: Collection[str], here: str) -> str:
    if value not in known:
        raise InputError(f"{name}={value[:80]!r}{nearest(value, known)} (expected one of {', '.join(known)})", here)
    return value
