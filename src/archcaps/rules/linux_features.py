"""The kernel's own feature flags that branch prediction mitigations read: CPUID's bits, joined, and some taken back.

Linux folds Intel's and AMD's bits into common flags (IBRS, IBPB, STIBP, SSBD), and on old Intel microcode takes all of
them back. On AMD it finds some features by trying an MSR. The same rules serve the host and the guest.
"""

from __future__ import annotations

from archcaps.logic.graph import Node, any_of, rule
from archcaps.rules.views import Cpu, Kernel

_COMMON = "Linux 5.10.218 to 7.1.5 arch/x86/kernel/cpu/common.c init_speculation_control (the same in all)"
_INTEL = "Linux 5.10.218 to 7.1.5 arch/x86/kernel/cpu/intel.c bad_spectre_microcode, early_init_intel"
_LS_CFG = "Linux 5.10.218 to 7.1.5 arch/x86/kernel/cpu/amd.c bsp_init_amd; hygon.c bsp_init_hygon"
_EARLY_AMD = "Linux 6.6.150, 6.12.117, 6.16.1, 7.1.5 arch/x86/kernel/cpu/amd.c early_init_amd"
_IBRS_ALL = "Linux 5.10.265 to 7.1.5 arch/x86/kernel/cpu/common.c cpu_set_bug_bits"


@rule(_INTEL)
def spectre_microcode_is_bad(cpu: Cpu, kernel: Kernel) -> Node:
    """Speculation control is taken back: Intel bare metal, microcode from the list, and a bit of it shown."""
    shown = any_of((cpu.spec_ctrl, cpu.intel_stibp, cpu.amd_ibrs, cpu.amd_ibpb, cpu.amd_stibp))
    return cpu.vendor_intel & ~cpu.hypervisor & cpu.bad_spectre_microcode & shown


@rule(_COMMON)
def x86_feature_ibrs(cpu: Cpu, kernel: Kernel) -> Node:
    """IBRS: Intel's SPEC_CTRL or AMD's IBRS is shown, and not taken back, nor by clearcpuid=."""
    return (cpu.spec_ctrl | cpu.amd_ibrs) & ~spectre_microcode_is_bad(cpu, kernel) & ~kernel.ibrs_cleared


@rule(_COMMON)
def x86_feature_ibpb(cpu: Cpu, kernel: Kernel) -> Node:
    """IBPB: Intel's SPEC_CTRL or AMD's IBPB is shown, and not taken back, nor by clearcpuid=."""
    return (cpu.spec_ctrl | cpu.amd_ibpb) & ~spectre_microcode_is_bad(cpu, kernel) & ~kernel.ibpb_cleared


@rule(_COMMON)
def x86_feature_stibp(cpu: Cpu, kernel: Kernel) -> Node:
    """STIBP: Intel's or AMD's STIBP is shown, and not taken back, nor by clearcpuid=."""
    return (cpu.intel_stibp | cpu.amd_stibp) & ~spectre_microcode_is_bad(cpu, kernel) & ~kernel.stibp_cleared


@rule(_LS_CFG)
def x86_feature_ls_cfg_ssbd(cpu: Cpu, kernel: Kernel) -> Node:
    """LS_CFG_SSBD: old AMD families and Hygon without a bit for SSBD, where MSR 0xC0011020 can be read; guests too."""
    family = (cpu.vendor_amd & cpu.family_0x15_to_0x17) | cpu.vendor_hygon
    return family & ~cpu.amd_ssbd & ~cpu.virt_ssbd & cpu.ls_cfg_readable


@rule(_COMMON + "; " + _LS_CFG)
def x86_feature_ssbd(cpu: Cpu, kernel: Kernel) -> Node:
    """SSBD: Intel's, AMD's or the virtual one is shown and not taken back, or LS_CFG has it."""
    shown = (cpu.ssbd | cpu.amd_ssbd | cpu.virt_ssbd) & ~spectre_microcode_is_bad(cpu, kernel)
    return (shown & ~kernel.ssbd_cleared) | x86_feature_ls_cfg_ssbd(cpu, kernel)


@rule(_COMMON)
def x86_feature_msr_spec_ctrl(cpu: Cpu, kernel: Kernel) -> Node:
    """MSR_SPEC_CTRL: a bit that needs MSR 0x48 is shown, and not taken back."""
    shown = cpu.spec_ctrl | cpu.amd_ibrs | cpu.amd_stibp | cpu.amd_ssbd
    return shown & ~spectre_microcode_is_bad(cpu, kernel)


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


@rule(_IBRS_ALL)
def x86_feature_ibrs_enhanced(cpu: Cpu, kernel: Kernel) -> Node:
    """IBRS_ENHANCED: IBRS_ALL, or AMD's Automatic IBRS where Linux uses it (later not on an SEV-SNP host)."""
    # bsp_determine_snp keeps SEV-SNP on AMD's family 0x19 and above alone
    snp = cpu.sev_snp & cpu.vendor_amd & cpu.family_from_0x19 & ~cpu.hypervisor & cpu.snp_host
    spared = kernel.spares_snp_host_auto_ibrs & snp
    shown = cpu.ibrs_all | (kernel.uses_auto_ibrs & cpu.auto_ibrs & ~spared)
    # cpu_set_bug_bits has left before it looks on a part that does not speculate
    return ~cpu.listed_no_speculation & shown


@rule(_EARLY_AMD)
def sbpb_found(cpu: Cpu, kernel: Kernel) -> Node:
    """The early AMD init finds SBPB: bare metal from family 0x19 without IBPB_BRTYPE, and its write does not fault."""
    tried = cpu.vendor_amd & ~cpu.hypervisor & ~cpu.ibpb_brtype & cpu.family_from_0x19
    return kernel.probes_ibpb_brtype & tried & cpu.sbpb_write_succeeds


@rule(_EARLY_AMD)
def x86_feature_ibpb_brtype(cpu: Cpu, kernel: Kernel) -> Node:
    """IBPB_BRTYPE: shown, or the early AMD init finds it (family 0x17 with IBPB, or SBPB); SRSO may force it later."""
    zen2 = kernel.probes_ibpb_brtype & cpu.vendor_amd & ~cpu.hypervisor & cpu.family_0x17 & cpu.amd_ibpb
    return cpu.ibpb_brtype | zen2 | sbpb_found(cpu, kernel)


@rule(_EARLY_AMD)
def x86_feature_sbpb(cpu: Cpu, kernel: Kernel) -> Node:
    """SBPB: shown, or the early AMD init finds it; SRSO can force it later."""
    return cpu.sbpb | sbpb_found(cpu, kernel)
