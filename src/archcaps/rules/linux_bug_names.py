"""Every bug that /proc/cpuinfo of a 64-bit kernel can list, by the name and in the order in which it lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from archcaps.logic.graph import Node
from archcaps.rules import linux_bugs, linux_bugs_branch, linux_errata
from archcaps.rules.views import Cpu, Kernel

__all__ = ["BUGS"]

#: Source: Linux 7.1.5, 6.12.117, 5.10.265 arch/x86/include/asm/cpufeatures.h X86_BUG_*
BUGS: Final[Mapping[str, Callable[[Cpu, Kernel], Node]]] = MappingProxyType(
    {
        "tlb_mmatch": linux_errata.x86_bug_tlb_mmatch,
        "fxsave_leak": linux_errata.x86_bug_fxsave_leak,
        "clflush_monitor": linux_errata.x86_bug_clflush_monitor,
        "sysret_ss_attrs": linux_errata.x86_bug_sysret_ss_attrs,
        "null_seg": linux_errata.x86_bug_null_seg,
        "swapgs_fence": linux_errata.x86_bug_swapgs_fence,
        "monitor": linux_errata.x86_bug_monitor,
        "amd_e400": linux_errata.x86_bug_amd_e400,
        "cpu_meltdown": linux_bugs.x86_bug_cpu_meltdown,
        "spectre_v1": linux_bugs_branch.x86_bug_spectre_v1,
        "spectre_v2": linux_bugs_branch.x86_bug_spectre_v2,
        "spec_store_bypass": linux_bugs_branch.x86_bug_spec_store_bypass,
        "l1tf": linux_bugs.x86_bug_l1tf,
        "mds": linux_bugs.x86_bug_mds,
        "msbds_only": linux_bugs.x86_bug_msbds_only,
        "swapgs": linux_bugs_branch.x86_bug_swapgs,
        "taa": linux_bugs.x86_bug_taa,
        "itlb_multihit": linux_bugs.x86_bug_itlb_multihit,
        "srbds": linux_bugs.x86_bug_srbds,
        "mmio_stale_data": linux_bugs.x86_bug_mmio_stale_data,
        "mmio_unknown": linux_bugs.x86_bug_mmio_unknown,
        "retbleed": linux_bugs_branch.x86_bug_retbleed,
        "eibrs_pbrsb": linux_bugs_branch.x86_bug_eibrs_pbrsb,
        "smt_rsb": linux_bugs_branch.x86_bug_smt_rsb,
        "gds": linux_bugs.x86_bug_gds,
        "tdx_pw_mce": linux_errata.x86_bug_tdx_pw_mce,
        "srso": linux_bugs_branch.x86_bug_srso,
        "div0": linux_errata.x86_bug_div0,
        "rfds": linux_bugs.x86_bug_rfds,
        "bhi": linux_bugs_branch.x86_bug_bhi,
        "ibpb_no_ret": linux_bugs_branch.x86_bug_ibpb_no_ret,
        "spectre_v2_user": linux_bugs_branch.x86_bug_spectre_v2_user,
        "old_microcode": linux_bugs.x86_bug_old_microcode,
        "its": linux_bugs_branch.x86_bug_its,
        "its_native_only": linux_bugs_branch.x86_bug_its_native_only,
        "tsa": linux_bugs.x86_bug_tsa,
        "vmscape": linux_bugs_branch.x86_bug_vmscape,
    }
)
