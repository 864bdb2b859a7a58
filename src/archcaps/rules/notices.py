"""Notices: what is shown contradicts itself, or speaks of registers that this guest cannot reach."""

from __future__ import annotations

from archcaps.logic.graph import Node, rule
from archcaps.rules.kvm_offer import Kvm
from archcaps.rules.views import Cpu
from archcaps.tables.bits import ARCH_CAPABILITIES

__all__ = ["contradicts_rfds", "contradicts_tsa", "promised_msrs", "unreachable_msr"]

_MSRS = "Linux 7.3.4 arch/x86/kvm/x86.c, msr.c: MSRs that KVM emulates (0204750bd4c6); MSR 0x123 never"


@rule("AMD-SB-7029; 4b3b8a8b0df1 (the pair was seen on affected Milan and Genoa hosts)")
def contradicts_tsa(guest: Cpu) -> Node:
    """VERW_CLEAR together with a TSA NO bit: the microcode cures what the NO bit says is not there."""
    return guest.verw_clear & (guest.tsa_sq_no | guest.tsa_l1_no)


@rule("Intel, Register File Data Sampling (RFDS_NO, RFDS_CLEAR)")
def contradicts_rfds(guest: Cpu) -> Node:
    """RFDS_CLEAR together with RFDS_NO: the part is immune and needs clearing."""
    return guest.rfds_clear & guest.rfds_no


def promised_msrs() -> tuple[str, ...]:
    """Return the IA32_ARCH_CAPABILITIES bits that tell of another MSR."""
    return tuple(name for name, bit in ARCH_CAPABILITIES.items() if bit.kind == "control")


@rule(_MSRS)
def unreachable_msr(guest: Cpu, kvm: Kvm, bit: str) -> Node:
    """The guest is told of an MSR that faults: KVM emulates only TSX_CTRL, and only where the host has it."""
    shown = guest.bit(bit)
    return shown & ~kvm.host.tsx_ctrl if bit == "tsx_ctrl" else shown
