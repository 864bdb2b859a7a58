"""Which bits a VMM can show a guest on a host: what KVM offers there, and what QEMU makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from archcaps.logic.graph import FALSE, Node, fact, rule
from archcaps.questions.reader import Reader
from archcaps.rules.kvm_entry import FIVE_NO
from archcaps.rules.kvm_offer import OFFERED_CPUID, Kvm, kvm_get_arch_capabilities, kvm_get_supported_cpuid
from archcaps.rules.views import Cpu
from archcaps.tables.bits import ARCH_CAPABILITIES
from archcaps.tables.qemu_releases import (
    QEMU_BEHAVIOURS,
    QemuRelease,
    always_shows_arch_capabilities,
    knows_name,
    qemu_does,
)

__all__ = ["COMPARED", "QEMU_FAMILY", "Place"]

#: The bits that are compared: those whose offer by KVM is modelled.
COMPARED: Final = (*OFFERED_CPUID, *(name for name, bit in ARCH_CAPABILITIES.items() if bit.status != "reserved"))
#: The VMMs under which QEMU runs the guest.
QEMU_FAMILY: Final = ("qemu", "libvirt", "proxmox", "nova", "kubevirt", "ovirt")

_ALWAYS_ON: Final = "arch_cap_always_on"
_FEATURES: Final = "QEMU target/i386/kvm/kvm.c kvm_arch_get_supported_cpuid, kvm_arch_get_supported_msr_feature"


class Qemu:
    """What a QEMU release and a machine type decide."""

    scope = "qemu"

    def does(self, name: str) -> Node:
        """Return a behaviour of the release, or of the machine type, as a fact."""
        return fact(f"{self.scope}.{name}")


QEMU: Final = Qemu()


@rule("QEMU d3a24134e37d, e9efa4a77168")
def qemu_hides_arch_capabilities(qemu: Qemu, kvm: Kvm, guest: Cpu) -> Node:
    """QEMU hides ARCH_CAPABILITIES: the host's CPUID lacks it, or the guest is an AMD and its machine new."""
    lacking = qemu.does("hides_where_host_lacks") & ~kvm.host.arch_capabilities
    amd = qemu.does("hides_from_amd") & guest.vendor_amd & ~qemu.does(_ALWAYS_ON)
    return lacking | amd


@rule("QEMU 00001a22d183")
def qemu_adds_fb_clear(qemu: Qemu, kvm: Kvm) -> Node:
    """QEMU holds FB_CLEAR for supported though KVM does not offer it: KVM offers the five NO bits."""
    found = qemu.does("fb_clear_by_five_no")
    for bit in FIVE_NO:
        found = found & kvm_get_arch_capabilities(kvm, bit)
    return found


@rule(_FEATURES)
def qemu_supports(qemu: Qemu, kvm: Kvm, guest: Cpu, bit: str) -> Node:
    """QEMU can give the guest this bit: KVM offers it, or QEMU adds it; it hides ARCH_CAPABILITIES by its own rule.

    A bit of MSR 0x10a is given to the vCPU whether CPUID shows the register or not.
    """
    if bit == "arch_capabilities":
        return kvm_get_supported_cpuid(kvm, bit) & ~qemu_hides_arch_capabilities(qemu, kvm, guest)
    if bit not in ARCH_CAPABILITIES:
        return kvm_get_supported_cpuid(kvm, bit)
    added = qemu_adds_fb_clear(qemu, kvm) if bit == "fb_clear" else FALSE
    return kvm_get_arch_capabilities(kvm, bit) | added


@dataclass(frozen=True)
class Place:
    """A host with the VMM that runs the guest there: `reader` has read the host and the guest.

    `vmm` is one of `archcaps.guest_cpu.asked.VMMS` or kvm; `release` and `machine` are QEMU's.
    """

    reader: Reader
    vmm: str
    release: QemuRelease | None
    machine: str | None

    def offered(self, bit: str) -> bool | None:
        """Return whether KVM offers a bit here; None: unknown."""
        kvm = self.reader.model.kvm
        rule_ = kvm_get_arch_capabilities if bit in ARCH_CAPABILITIES else kvm_get_supported_cpuid
        return self.reader.ternary.value(rule_(kvm, bit))

    def named(self, bit: str) -> bool | None:
        """Return whether the VMM has a name for a bit; only QEMU shows bits by name."""
        return knows_name(bit, self.release) if self.vmm in QEMU_FAMILY else True

    def supports(self, bit: str) -> bool | None:
        """Return whether the VMM can show the guest a bit here, where KVM offers it and by its own rules."""
        if self.vmm not in QEMU_FAMILY:
            return self.offered(bit)
        model = self.reader.model
        return self._qemu(qemu_supports(QEMU, model.kvm, model.guest.cpu, bit))

    @cached_property
    def hides_arch_capabilities(self) -> bool | None:
        """Whether QEMU hides ARCH_CAPABILITIES from this guest here, though KVM offers it."""
        if self.vmm not in QEMU_FAMILY:
            return False
        model = self.reader.model
        return self._qemu(qemu_hides_arch_capabilities(QEMU, model.kvm, model.guest.cpu))

    @cached_property
    def adds_fb_clear(self) -> bool | None:
        """Whether QEMU holds FB_CLEAR for supported by the five NO bits."""
        return self.vmm in QEMU_FAMILY and self._qemu(qemu_adds_fb_clear(QEMU, self.reader.model.kvm))

    def _qemu(self, node: Node) -> bool | None:
        facts = {f"{QEMU.scope}.{name}": qemu_does(name, self.release) for name in QEMU_BEHAVIOURS}
        facts[f"{QEMU.scope}.{_ALWAYS_ON}"] = always_shows_arch_capabilities(self.machine)
        return self.reader.ternary.value_with(node, facts)
