"""The kernel's own feature flags for speculation control: CPUID's bits, joined, and some taken back.

Linux folds Intel's and AMD's bits into common flags (IBRS, IBPB, STIBP), and on old Intel microcode takes all of them
back. The same rules serve the host and the guest.
"""

from __future__ import annotations

from archcaps.logic.graph import Node, any_of, rule
from archcaps.rules.views import Cpu, Kernel

_COMMON = "Linux 5.10.218 to 7.1.5 arch/x86/kernel/cpu/common.c init_speculation_control (the same in all)"
_INTEL = "Linux 5.10.218 to 7.1.5 arch/x86/kernel/cpu/intel.c bad_spectre_microcode, early_init_intel"


@rule(_INTEL)
def spectre_microcode_is_bad(cpu: Cpu, kernel: Kernel) -> Node:
    """Speculation control is taken back: Intel bare metal, microcode from the list, and a bit of it shown."""
    shown = any_of((cpu.spec_ctrl, cpu.intel_stibp, cpu.amd_ibrs, cpu.amd_ibpb, cpu.amd_stibp))
    return cpu.vendor_intel & ~cpu.hypervisor & cpu.bad_spectre_microcode & shown


@rule(_COMMON)
def x86_feature_ibrs(cpu: Cpu, kernel: Kernel) -> Node:
    """IBRS: Intel's SPEC_CTRL or AMD's IBRS is shown, and not taken back."""
    return (cpu.spec_ctrl | cpu.amd_ibrs) & ~spectre_microcode_is_bad(cpu, kernel)


@rule(_COMMON)
def x86_feature_ibpb(cpu: Cpu, kernel: Kernel) -> Node:
    """IBPB: Intel's SPEC_CTRL or AMD's IBPB is shown, and not taken back."""
    return (cpu.spec_ctrl | cpu.amd_ibpb) & ~spectre_microcode_is_bad(cpu, kernel)


@rule(_COMMON)
def x86_feature_stibp(cpu: Cpu, kernel: Kernel) -> Node:
    """STIBP: Intel's or AMD's STIBP is shown, and not taken back."""
    return (cpu.intel_stibp | cpu.amd_stibp) & ~spectre_microcode_is_bad(cpu, kernel)


@rule(_INTEL)
def x86_feature_spec_ctrl(cpu: Cpu, kernel: Kernel) -> Node:
    """SPEC_CTRL, Intel's CPUID bit itself: shown, and not taken back."""
    return cpu.spec_ctrl & ~spectre_microcode_is_bad(cpu, kernel)


@rule(_INTEL)
def x86_feature_intel_stibp(cpu: Cpu, kernel: Kernel) -> Node:
    """INTEL_STIBP, Intel's CPUID bit itself: shown, and not taken back."""
    return cpu.intel_stibp & ~spectre_microcode_is_bad(cpu, kernel)


@rule(_INTEL)
def x86_feature_spec_ctrl_ssbd(cpu: Cpu, kernel: Kernel) -> Node:
    """SPEC_CTRL_SSBD, Intel's CPUID bit itself: shown, and not taken back."""
    return cpu.ssbd & ~spectre_microcode_is_bad(cpu, kernel)
