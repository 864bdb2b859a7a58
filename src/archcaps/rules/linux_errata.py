"""What a Linux kernel finds about its CPU: vendors' errata that /proc/cpuinfo lists among the bugs.

No file speaks of them. 32-bit kernels and CPUs that can run nothing else have more of them, which are left out.
"""

from __future__ import annotations

from archcaps.logic.graph import Node, choose, rule
from archcaps.rules.views import Cpu, Kernel

_AMD = "Linux 5.10.265, 6.1.166, 7.1.5 arch/x86/kernel/cpu/amd.c"
_INTEL = "Linux 5.10.265, 6.1.166, 7.1.5 arch/x86/kernel/cpu/intel.c init_intel"


@rule(f"{_AMD} init_amd; hygon.c init_hygon")
def x86_bug_sysret_ss_attrs(cpu: Cpu, kernel: Kernel) -> Node:
    """SYSRET leaves the attributes of SS: AMD and Hygon, but not in a Xen PV guest."""
    return (cpu.vendor_amd | cpu.vendor_hygon) & ~kernel.xen_pv


@rule(f"{_AMD} init_amd")
def x86_bug_fxsave_leak(cpu: Cpu, kernel: Kernel) -> Node:
    """FXSAVE leaks the last error's pointers: AMD that does not show XSAVEERPTR."""
    return cpu.vendor_amd & ~cpu.xsaveerptr


@rule(f"{_AMD} init_amd_k8")
def x86_bug_swapgs_fence(cpu: Cpu, kernel: Kernel) -> Node:
    """SWAPGS needs a fence: AMD family 0x0f."""
    return cpu.vendor_amd & cpu.family_0x0f


@rule(f"{_AMD} init_amd_gh, amd_erratum_383; 6.12.11 and later: init_amd_gh")
def x86_bug_tlb_mmatch(cpu: Cpu, kernel: Kernel) -> Node:
    """Erratum 383: AMD family 0x10; older kernels ask OSVW there where CPUID shows it."""
    spared = kernel.erratum_400_asks_osvw & cpu.osvw & ~cpu.osvw_erratum_383
    return cpu.vendor_amd & cpu.family_0x10 & ~spared


@rule(f"{_AMD} early_init_amd, amd_erratum_400; 6.12.11 and later: init_amd_k8, init_amd_gh")
def x86_bug_amd_e400(cpu: Cpu, kernel: Kernel) -> Node:
    """Erratum 400: some models of AMD families 0x0f and 0x10; older kernels ask OSVW where CPUID shows it."""
    asked = kernel.erratum_400_asks_osvw & cpu.osvw
    return cpu.vendor_amd & choose(asked, cpu.osvw_erratum_400, cpu.erratum_400_part)


@rule(f"{_AMD} init_amd_zen1, amd_div0")
def x86_bug_div0(cpu: Cpu, kernel: Kernel) -> Node:
    """A division by zero leaks the last quotient: AMD's Zen 1."""
    return kernel.has_div0 & cpu.vendor_amd & cpu.zen1_part


@rule("Linux 5.10.265, 7.1.5 arch/x86/kernel/cpu/common.c check_null_seg_clears_base; before: detect_null_seg_behavior")
def x86_bug_null_seg(cpu: Cpu, kernel: Kernel) -> Node:
    """A null selector keeps the base: AMD and Hygon without NULL_SEL_CLR_BASE, in a guest or where the try shows it."""
    tried = cpu.family_0x17 | cpu.vendor_hygon
    spared = cpu.null_sel_clr_base | (~cpu.hypervisor & tried & cpu.null_clears_base)
    by_cpuid = (cpu.vendor_amd | cpu.vendor_hygon) & ~spared
    return choose(kernel.null_seg_by_cpuid, by_cpuid, ~cpu.null_clears_base)


@rule(_INTEL)
def x86_bug_clflush_monitor(cpu: Cpu, kernel: Kernel) -> Node:
    """CLFLUSH is needed before MONITOR: Dunnington, Nehalem-EX and Westmere-EX (all show CLFLUSH)."""
    return cpu.vendor_intel & cpu.clflush_monitor_part


@rule(_INTEL)
def x86_bug_monitor(cpu: Cpu, kernel: Kernel) -> Node:
    """MONITOR misses writes: Goldmont, later also Lunar Lake, where MONITOR is shown."""
    lunar_lake = kernel.monitor_bug_on_lunar_lake & cpu.lunar_lake_part
    return cpu.vendor_intel & cpu.monitor & (cpu.goldmont_part | lunar_lake)


@rule("Linux 6.12.117 arch/x86/virt/vmx/tdx/tdx.c check_tdx_erratum")
def x86_bug_tdx_pw_mce(cpu: Cpu, kernel: Kernel) -> Node:
    """A partial write to TDX memory ends in a machine check: Sapphire and Emerald Rapids set up as TDX hosts."""
    return kernel.has_tdx_pw_mce & cpu.vendor_intel & ~cpu.hypervisor & cpu.tdx_erratum_part & cpu.tdx_host
