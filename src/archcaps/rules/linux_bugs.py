"""What a Linux kernel finds about its CPU: the bug bits of data sampling, Meltdown and page tables, and old microcode.

Named as the kernel names them; `linux_bugs_branch` has those of speculation past branches, `linux_errata` the vendors'
errata. The same rules serve the host (on what the hardware shows) and the guest (on what it is shown).
"""

from __future__ import annotations

from archcaps.logic.graph import Node, choose, rule
from archcaps.rules.views import Cpu, Kernel

_BUGS = "Linux 6.1.192, 6.12.117, 7.1.5 arch/x86/kernel/cpu/common.c cpu_set_bug_bits"
_TSX = "Linux 6.1.192, 6.12.117 arch/x86/kernel/cpu/tsx.c tsx_init"
_TSA = "Linux 6.1.192, 6.12.117, 7.1.5 arch/x86/kernel/cpu/amd.c tsa_init"


@rule(_BUGS)
def x86_bug_mds(cpu: Cpu, kernel: Kernel) -> Node:
    """MDS: not on the white list, and no MDS_NO."""
    return ~cpu.listed_no_speculation & ~cpu.listed_no_mds & ~cpu.mds_no


@rule(_BUGS)
def x86_bug_msbds_only(cpu: Cpu, kernel: Kernel) -> Node:
    """MDS of the store-buffer kind only: MDS, and so marked in the white list."""
    return x86_bug_mds(cpu, kernel) & cpu.listed_msbds_only


@rule(_BUGS)
def x86_bug_taa(cpu: Cpu, kernel: Kernel) -> Node:
    """TAA: no TAA_NO, and RTM or TSX_CTRL is shown; no list of parts is asked."""
    return ~cpu.listed_no_speculation & ~cpu.taa_no & (cpu.rtm | cpu.tsx_ctrl)


@rule(_BUGS)
def arch_cap_mmio_immune(cpu: Cpu) -> Node:
    """All three of FBSDP_NO, PSDP_NO and SBDR_SSDP_NO are shown."""
    return cpu.fbsdp_no & cpu.psdp_no & cpu.sbdr_ssdp_no


@rule(_BUGS)
def x86_bug_mmio_stale_data(cpu: Cpu, kernel: Kernel) -> Node:
    """MMIO stale data: on the black list, and not all three NO bits."""
    immune = arch_cap_mmio_immune(cpu)
    return kernel.has_mmio_stale_data & ~cpu.listed_no_speculation & cpu.listed_mmio & ~immune


@rule(_BUGS)
def x86_bug_mmio_unknown(cpu: Cpu, kernel: Kernel) -> Node:
    """MMIO unknown: on neither list, and not all three NO bits; kernels before 6.15 or 6.16 only."""
    neither = ~cpu.listed_mmio & ~cpu.listed_no_mmio
    return kernel.has_mmio_unknown & ~cpu.listed_no_speculation & neither & ~arch_cap_mmio_immune(cpu)


@rule("Linux 6.1.192, 6.12.117, 7.1.5 arch/x86/kernel/cpu/common.c vulnerable_to_rfds")
def x86_bug_rfds(cpu: Cpu, kernel: Kernel) -> Node:
    """RFDS: no RFDS_NO, and RFDS_CLEAR is shown or the part is on the black list."""
    return kernel.has_rfds & ~cpu.listed_no_speculation & ~cpu.rfds_no & (cpu.rfds_clear | cpu.listed_rfds)


@rule(_TSA)
def tsa_init_runs(cpu: Cpu, kernel: Kernel) -> Node:
    """The kernel fills in TSA bits by family and microcode: on AMD hardware, never under a hypervisor."""
    return kernel.has_tsa & cpu.vendor_amd & ~cpu.hypervisor


@rule(_TSA)
def x86_feature_verw_clear(cpu: Cpu, kernel: Kernel) -> Node:
    """The kernel counts on VERW_CLEAR: CPUID shows it, or on bare metal the microcode is recent enough."""
    shown = kernel.reads_verw_clear & cpu.verw_clear
    return kernel.has_tsa & (shown | synthesised_verw_clear(cpu, kernel))


@rule(_TSA)
def synthesised_verw_clear(cpu: Cpu, kernel: Kernel) -> Node:
    """The kernel sets VERW_CLEAR by itself: bare-metal Zen 3 or Zen 4 with microcode from its table."""
    return tsa_init_runs(cpu, kernel) & cpu.family_0x19 & cpu.tsa_microcode & kernel.tests_tsa_microcode


@rule("Debian Linux 6.12.118, 7.3.4 arch/x86/kernel/cpu/amd.c: what they record on each model of family 0x1a")
def zen6_is_known(cpu: Cpu, kernel: Kernel) -> Node:
    """The part is a Zen 6, and the kernel knows it as one; a model that it does not know counts as affected."""
    return kernel.knows_zen6 & cpu.zen6_part


@rule(_TSA)
def synthesised_tsa_no(cpu: Cpu, kernel: Kernel) -> Node:
    """The kernel sets TSA_SQ_NO and TSA_L1_NO by itself: bare-metal AMD that is not Zen 3, 4 (or 5, where listed)."""
    spared = choose(kernel.asks_tsa_fill_no & cpu.family_0x1a, zen6_is_known(cpu, kernel), ~cpu.unknown_zen_model)
    return tsa_init_runs(cpu, kernel) & ~cpu.family_0x19 & spared


@rule(_TSA)
def synthesised_tsa_fill_no(cpu: Cpu, kernel: Kernel) -> Node:
    """The kernel sets TSA_FILL_NO by itself: bare-metal AMD that is not Zen 5."""
    spared = choose(cpu.family_0x1a, zen6_is_known(cpu, kernel), ~cpu.unknown_zen_model)
    return tsa_init_runs(cpu, kernel) & kernel.asks_tsa_fill_no & spared


@rule(_TSA)
def x86_feature_tsa_no(cpu: Cpu, kernel: Kernel) -> Node:
    """The kernel counts on immunity to TSA: every NO bit it asks for is shown, or it set it by itself."""
    synthesised = synthesised_tsa_no(cpu, kernel)
    sq_no = (kernel.reads_tsa_no & cpu.tsa_sq_no) | synthesised
    l1_no = (kernel.reads_tsa_no & cpu.tsa_l1_no) | synthesised
    fill_no = cpu.tsa_fill_no | synthesised_tsa_fill_no(cpu, kernel) | ~kernel.asks_tsa_fill_no
    return sq_no & l1_no & fill_no


@rule(_BUGS)
def x86_bug_tsa(cpu: Cpu, kernel: Kernel) -> Node:
    """TSA: an AMD part on the black list without the NO bits (the clause on Zen guests can never fire)."""
    return kernel.has_tsa & cpu.vendor_amd & cpu.listed_tsa & ~x86_feature_tsa_no(cpu, kernel)


@rule(_TSX)
def x86_feature_rtm(cpu: Cpu, kernel: Kernel) -> Node:
    """RTM is usable after tsx=: with TSX_CTRL the option decides (auto: on without the TAA bug), else CPUID does."""
    switched = kernel.tsx_on | (kernel.tsx_auto & ~x86_bug_taa(cpu, kernel))
    aborts = kernel.tsx_init_reads_rtm_always_abort & cpu.rtm_always_abort
    return ~aborts & choose(cpu.tsx_ctrl, switched, cpu.rtm)


@rule(_BUGS)
def x86_bug_cpu_meltdown(cpu: Cpu, kernel: Kernel) -> Node:
    """Meltdown: not on the white list, and no RDCL_NO."""
    return ~cpu.listed_no_speculation & ~cpu.listed_no_meltdown & ~cpu.rdcl_no


@rule(_BUGS)
def x86_bug_l1tf(cpu: Cpu, kernel: Kernel) -> Node:
    """L1TF: Meltdown, and not on the white list for L1TF."""
    return x86_bug_cpu_meltdown(cpu, kernel) & ~cpu.listed_no_l1tf


@rule(_BUGS)
def x86_bug_gds(cpu: Cpu, kernel: Kernel) -> Node:
    """GDS: on the black list, no GDS_NO, and AVX is shown."""
    return kernel.has_gds & ~cpu.listed_no_speculation & cpu.listed_gds & ~cpu.gds_no & cpu.avx


@rule(_BUGS)
def x86_bug_srbds(cpu: Cpu, kernel: Kernel) -> Node:
    """SRBDS: on the black list for it or for its MMIO form, and RDRAND or RDSEED is shown; no NO bit clears it."""
    listed = cpu.listed_srbds | cpu.listed_mmio_sbds
    return kernel.has_srbds & ~cpu.listed_no_speculation & listed & (cpu.rdrand | cpu.rdseed)


@rule(_BUGS)
def x86_bug_itlb_multihit(cpu: Cpu, kernel: Kernel) -> Node:
    """ITLB multihit: not on the white list, and no PSCHANGE_MC_NO; asked of parts that do not speculate too."""
    return ~cpu.listed_no_itlb_multihit & ~cpu.pschange_mc_no


@rule("Linux 6.16.1, 6.17.0, 6.18.35, 7.1.5 arch/x86/kernel/cpu/common.c cpu_has_old_microcode")
def x86_bug_old_microcode(cpu: Cpu, kernel: Kernel) -> Node:
    """Old microcode: on bare metal, and older than the newest that the kernel's table has for the part."""
    return kernel.has_old_microcode & ~cpu.hypervisor & cpu.old_microcode
