"""The same guest later: on another kernel of its own, on a host with another kernel, or with a vCPU made later."""

from __future__ import annotations

from functools import cache

from archcaps.logic.graph import Node, choose, fact, rule
from archcaps.rules.kvm_entry import vcpu_arch_capabilities, vmx_update_fb_clear_dis
from archcaps.rules.kvm_msrs import host_arch_cap_read_anew
from archcaps.rules.kvm_offer import OFFERED_CPUID, Kvm, forced_off, forced_on, in_mask, kvm_get_arch_capabilities
from archcaps.rules.shown import SPOKEN_OF, Case, model
from archcaps.rules.verdict import exposed
from archcaps.rules.views import Cpu, Kernel, Vm

__all__ = [
    "LaterCpu",
    "after_changes",
    "after_guest_upgrade",
    "after_host_upgrade",
    "changed",
    "newly_exposed",
    "vcpu_bit_differs",
]

_TABLE = "archcaps: docs/architecture/verdict.md"
_VCPUS = (
    "Linux 5.10.223 to 7.3.4 arch/x86/kvm/x86.c kvm_arch_vcpu_create, kvm_get_arch_capabilities; vmx/vmx.c "
    "vmentry_l1d_flush_set: root may write the parameter while guests run"
)
#: Look-ups that depend on the kernel which asks.
_BY_KERNEL = ("listed_", "old_microcode")


class LaterCpu(Cpu):
    """A CPU that shows what `cpu` shows, to a kernel with lists of its own."""

    def __init__(self, scope: str, cpu: Cpu) -> None:
        super().__init__(scope)
        self._cpu = cpu

    def __getattr__(self, name: str) -> Node:
        return super().__getattr__(name) if name.startswith(_BY_KERNEL) else self._cpu.bit(name)

    def stored(self, name: str) -> Node:
        """Return bit `name` of IA32_ARCH_CAPABILITIES as the register holds it, whether CPUID shows it or not."""
        return self._cpu.stored(name)


class _MovedCpu(LaterCpu):
    """The same CPU under another name: rules about it are others, since its host is."""

    def __getattr__(self, name: str) -> Node:
        return self._cpu.bit(name)


@cache
def after_guest_upgrade() -> Case:
    """Return the guest with a later kernel of its own: all that it is shown stays."""
    before = model().guest
    cpu = LaterCpu("later", before.cpu)
    return Case("later", cpu, Kernel("later_kernel"), before.kvm, before.silicon, before.disable_fb_clear, before.vm)


@cache
def after_host_upgrade() -> Case:
    """Return the guest on a later kernel of its host: what the VMM writes stays, what KVM makes of it need not."""
    before = model().guest
    kvm = Kvm(LaterCpu("later_host", before.kvm.host), Kernel("later_host_kernel"), "later_kvm")
    cpu = _MovedCpu("moved", before.cpu)
    held = {bit: vcpu_arch_capabilities(cpu, kvm, bit) for bit in SPOKEN_OF}
    held |= {bit: cpu.bit(bit) for bit in OFFERED_CPUID}
    disabled = vmx_update_fb_clear_dis(Cpu("moved_vcpu", held), kvm)
    return Case("moved", cpu, before.kernel, kvm, before.silicon, disabled, Vm())


@rule(_TABLE)
def newly_exposed(case: Case, before: Case, vulnerability: str) -> Node:
    """Data can leak that could not before."""
    return exposed(case, vulnerability) & ~exposed(before, vulnerability)


class _ChangedCpu(Cpu):
    """A host's CPU after new microcode: each bit of its MSR 0x10a as before, or changed (a fact of its own)."""

    def __init__(self, cpu: Cpu) -> None:
        super().__init__("changed")
        self._cpu = cpu

    def __getattr__(self, name: str) -> Node:
        return changed(self._cpu.bit(name), name)


class _ChangedKernel(Kernel):
    """A host's kernel after root wrote vmentry_l1d_flush."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel.scope)

    def __getattr__(self, name: str) -> Node:
        before: Node = super().__getattr__(name)
        return changed(before, name) if name == "l1d_flush_never" else before


def changed(before: Node, name: str) -> Node:
    """Return a bit or an option after what root may change: as before, or not."""
    changes = fact(f"changed.{name}")
    return (before & ~changes) | (~before & changes)


def after_changes(kvm: Kvm) -> Kvm:
    """Return a KVM after root wrote vmentry_l1d_flush and loaded new microcode."""
    return Kvm(_ChangedCpu(kvm.host), _ChangedKernel(kvm.kernel), f"changed_{kvm.scope}")


@rule(_VCPUS)
def later_offer(after: Kvm, kvm: Kvm, bit: str) -> Node:
    """KVM offers this bit after vmentry_l1d_flush was written and new microcode loaded; its bugs are those of boot."""
    now = choose(host_arch_cap_read_anew(kvm), after.host.bit(bit), kvm.host.bit(bit))
    rewritten = Kvm(kvm.host, after.kernel, f"rewritten_{kvm.scope}")
    return ((now & in_mask(kvm, bit)) | forced_on(rewritten, bit)) & ~forced_off(kvm, bit)


@rule(_VCPUS)
def vcpu_bit_differs(kvm: Kvm, bit: str) -> Node:
    """Two vCPUs of one VM hold this bit differently, if one is made after what root may change while they run."""
    first, second = kvm_get_arch_capabilities(kvm, bit), later_offer(after_changes(kvm), kvm, bit)
    return (first & ~second) | (~first & second)
