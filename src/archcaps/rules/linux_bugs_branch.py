"""What a Linux kernel finds about its CPU: the bug bits of speculation past branches, stores and returns.

Named as the kernel names them. The same rules serve the host and the guest.
"""

from __future__ import annotations

from archcaps.logic.graph import Node, rule
from archcaps.rules.linux_features import x86_feature_ibrs_enhanced
from archcaps.rules.views import Cpu, Kernel

_BUGS = "Linux 5.4.301, 5.10.265, 6.1.192, 6.12.117, 6.16.1, 7.1.5 arch/x86/kernel/cpu/common.c cpu_set_bug_bits"
_ITS = "Linux 5.10.265, 6.1.192, 6.12.117, 7.1.5 arch/x86/kernel/cpu/common.c vulnerable_to_its"


@rule(_BUGS)
def x86_bug_spectre_v1(cpu: Cpu, kernel: Kernel) -> Node:
    """Spectre v1: every part that speculates."""
    return ~cpu.listed_no_speculation


@rule(f"{_BUGS}; 6.18.35 bugs.c spectre_v2_parse_cmdline")
def x86_bug_spectre_v2(cpu: Cpu, kernel: Kernel) -> Node:
    """Spectre v2: not on the white list, and no bit clears it; or spectre_v2=on sets it (from 6.18)."""
    found = ~cpu.listed_no_speculation & ~cpu.listed_no_spectre_v2
    return found | kernel.spectre_v2_forced


@rule(_BUGS)
def x86_bug_spectre_v2_user(cpu: Cpu, kernel: Kernel) -> Node:
    """Spectre v2 between user tasks: Spectre v2, in kernels that tell the two apart."""
    return kernel.has_spectre_v2_user & x86_bug_spectre_v2(cpu, kernel)


@rule(_BUGS)
def x86_bug_spec_store_bypass(cpu: Cpu, kernel: Kernel) -> Node:
    """SSB: not on the white list, and neither SSB_NO nor AMD's SSB_NO."""
    return ~cpu.listed_no_speculation & ~cpu.listed_no_ssb & ~cpu.ssb_no & ~cpu.amd_ssb_no


@rule(_BUGS)
def x86_bug_eibrs_pbrsb(cpu: Cpu, kernel: Kernel) -> Node:
    """PBRSB: enhanced IBRS, not on the white list, and no PBRSB_NO."""
    enhanced = x86_feature_ibrs_enhanced(cpu, kernel)
    listed = cpu.listed_no_speculation | cpu.listed_no_eibrs_pbrsb
    return kernel.has_eibrs_pbrsb & enhanced & ~listed & ~cpu.pbrsb_no


@rule(_BUGS)
def x86_bug_swapgs(cpu: Cpu, kernel: Kernel) -> Node:
    """Speculation past SWAPGS: not on the white list; no bit clears it."""
    return ~cpu.listed_no_speculation & ~cpu.listed_no_swapgs


@rule(f"{_BUGS}; bugs.c retbleed_parse_cmdline")
def x86_bug_retbleed(cpu: Cpu, kernel: Kernel) -> Node:
    """Retbleed: no BTC_NO, and on the black list or RSBA is shown; or retbleed=force sets it."""
    named = cpu.listed_retbleed | cpu.rsba
    found = ~cpu.listed_no_speculation & ~cpu.btc_no & named
    return kernel.has_retbleed & (found | kernel.retbleed_forced)


@rule(_BUGS)
def x86_bug_smt_rsb(cpu: Cpu, kernel: Kernel) -> Node:
    """Return predictions across threads: on the black list."""
    return kernel.has_smt_rsb & ~cpu.listed_no_speculation & cpu.listed_smt_rsb


@rule(_BUGS)
def x86_bug_srso(cpu: Cpu, kernel: Kernel) -> Node:
    """SRSO: on the black list, and no SRSO_NO."""
    return kernel.has_srso & ~cpu.listed_no_speculation & cpu.listed_srso & ~cpu.srso_no


@rule(_BUGS)
def x86_bug_bhi(cpu: Cpu, kernel: Kernel) -> Node:
    """BHI: not on the white list, and enhanced IBRS or under a hypervisor; the first versions spare BHI_NO."""
    reachable = x86_feature_ibrs_enhanced(cpu, kernel) | cpu.hypervisor
    spared = cpu.listed_no_speculation | cpu.listed_no_bhi | (kernel.bhi_no_counts & cpu.bhi_no)
    return kernel.has_bhi & ~spared & reachable


@rule(_BUGS)
def x86_bug_ibpb_no_ret(cpu: Cpu, kernel: Kernel) -> Node:
    """IBPB leaves return predictions: AMD's IBPB is shown, and IBPB_RET is not."""
    return kernel.has_ibpb_no_ret & ~cpu.listed_no_speculation & cpu.amd_ibpb & ~cpu.amd_ibpb_ret


@rule(_ITS)
def vulnerable_to_its(cpu: Cpu, kernel: Kernel) -> Node:
    """ITS is found: Intel without ITS_NO and BHI_CTRL, on the black list or under a hypervisor."""
    named = cpu.listed_its | cpu.hypervisor
    spared = cpu.listed_no_speculation | cpu.its_no | cpu.bhi_ctrl
    return kernel.has_its & cpu.vendor_intel & ~spared & named


@rule(f"{_ITS}; bugs.c its_parse_cmdline")
def x86_bug_its(cpu: Cpu, kernel: Kernel) -> Node:
    """ITS: found, or indirect_target_selection=force sets it."""
    return vulnerable_to_its(cpu, kernel) | (kernel.has_its & kernel.its_forced)


@rule(_BUGS)
def x86_bug_its_native_only(cpu: Cpu, kernel: Kernel) -> Node:
    """ITS that does not reach the host: found, and so marked in the black list."""
    return vulnerable_to_its(cpu, kernel) & cpu.listed_its_native_only


@rule(f"{_BUGS}; bugs.c vmscape_parse_cmdline")
def x86_bug_vmscape(cpu: Cpu, kernel: Kernel) -> Node:
    """VMSCAPE: on the black list and not under a hypervisor, or vmscape=force sets it, in a guest too."""
    found = ~cpu.listed_no_speculation & cpu.listed_vmscape & ~cpu.hypervisor
    return kernel.has_vmscape & (found | kernel.vmscape_forced)
