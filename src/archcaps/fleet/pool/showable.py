"""Which bits a guest can be shown on each class of hosts: what KVM offers there, and what the VMM takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from archcaps.fleet.pool.hosts import HostClass
from archcaps.guest_cpu.qemu.models import Setting
from archcaps.guest_cpu.qemu.supported import Supported
from archcaps.machine.facts import known_bits
from archcaps.machine.snapshot import FORMAT_VERSION, Snapshot
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS, REGISTERS

__all__ = ["POOLED", "WORSE", "Showable", "Vmm", "offered_bits", "showable"]

#: libvirt and KubeVirt start QEMU.
Vmm = Literal["qemu", "firecracker"]

#: The bits that a pool's CPU is made of: those with a rule for pools, in the order of the table.
POOLED: Final = tuple(
    name for name, bit in BITS.items()
    if bit.pool in ("AND", "OR") and (name in ARCH_CAPABILITIES or REGISTERS[bit.register].kind == "cpuid")
)  # fmt: skip
#: Bits that are bad news when 1, so that a guest that may come to such a host has to see them.
WORSE: Final = tuple(name for name in POOLED if BITS[name].pool == "OR" and BITS[name].kind != "clears")
_ANY_VALUE: Final = tuple(name for name in ARCH_CAPABILITIES if BITS[name].pool == "OR")


@dataclass(frozen=True)
class Showable:
    """What one class of hosts can show: `value` False with `why` not; None: not known, which is never shown."""

    value: bool | None
    why: str = ""


def offered_bits(host: HostClass) -> dict[str, bool]:
    """Return the bits of which it is known whether KVM offers them on a host, by name."""
    seen = Snapshot(format_version=FORMAT_VERSION, role="host", registers=dict(host.snapshot.kvm.offered))
    known = {**known_bits(seen), **known_bits(host.offered)}
    return {name: datum.value for name, datum in known.items()}


def showable(hosts: Sequence[HostClass], vmm: Vmm, where: Setting) -> dict[str, list[Showable]]:
    """Return for each bit what each class of hosts can show of it.

    Under QEMU (`where`: its release and machine type) a bit needs a name, and QEMU takes what KVM offers as its own
    rules change it. Firecracker's templates write any bit, and KVM takes any value of MSR 0x10a: there a bit that says
    something bad or that VERW clears needs no offer. Immunities always do.
    """
    if vmm == "qemu":
        answers = [_under_qemu(host, where) for host in hosts]
    else:
        answers = [_under_firecracker(offered_bits(host)) for host in hosts]
    return {name: [answer[name] for answer in answers] for name in POOLED}


def _under_qemu(host: HostClass, where: Setting) -> dict[str, Showable]:
    supported = Supported(host.snapshot, host.offered, where, host.snapshot.cpu.vendor)
    found = {}
    for name in POOLED:
        qemu = BITS[name].names.get("qemu")
        if qemu is None:
            found[name] = Showable(False, "QEMU has no name for it")
        elif where.has_property(qemu) is not True:
            found[name] = Showable(False, f"QEMU {where.text} has no property {qemu}")
        else:
            answer = supported.of(name)
            found[name] = Showable(answer.value, answer.reason if answer.value is False else "")
    return found


def _under_firecracker(offered: Mapping[str, bool]) -> dict[str, Showable]:
    found = {}
    for name in POOLED:
        value = offered.get(name)
        if name in _ANY_VALUE and offered.get("arch_capabilities"):
            value = True
        if name == "hypervisor":
            value = True
        found[name] = Showable(value, "KVM on this host does not offer it" if value is False else "")
    return found
