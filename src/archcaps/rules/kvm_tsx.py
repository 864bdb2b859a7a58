"""TSX in a guest: whether RTM executes there, whatever its CPUID says."""

from __future__ import annotations

from archcaps.logic.graph import Node, rule
from archcaps.rules.kvm_offer import Kvm
from archcaps.rules.linux_bugs import x86_feature_rtm
from archcaps.rules.views import Cpu, Kernel

__all__ = ["rtm_executes", "rtm_stopped"]

_URET = "Linux 6.1.192, 6.12.117, 6.18.9, 7.1.5 arch/x86/kvm/vmx/vmx.c vmx_setup_uret_msrs, vmx_vcpu_after_set_cpuid"


@rule(_URET)
def rtm_stopped(guest: Cpu, kernel: Kernel) -> Node:
    """TSX_CTRL holds RTM_DISABLE for this guest: its kernel wrote it, or KVM did and nobody undid it.

    KVM writes it where the guest's CPUID lacks RTM; a VMM that writes MSR 0x122 after the CPUID undoes it (QEMU does).
    """
    by_guest_kernel = guest.tsx_ctrl & ~x86_feature_rtm(guest, kernel)
    left_by_kvm = ~guest.tsx_ctrl & ~guest.rtm & guest.rtm_disable
    return by_guest_kernel | left_by_kvm


@rule(_URET)
def rtm_executes(guest: Cpu, kernel: Kernel, kvm: Kvm) -> Node:
    """RTM executes in this guest, shown or hidden: the host uses RTM, and TSX_CTRL does not stop it for the guest.

    A host without TSX_CTRL cannot stop it at all; a host with tsx=off never loads the guest's value.
    """
    host = kvm.host
    usable = x86_feature_rtm(host, kvm.kernel) & ~host.rtm_always_abort
    return usable & ~(host.tsx_ctrl & rtm_stopped(guest, kernel))
