"""The silicon: what the part really is affected by, and what VERW really does on it.

Raw registers and published lists only; never a value that KVM made up.
"""

from __future__ import annotations

from archcaps.logic.graph import Node, choose, rule
from archcaps.rules.views import Cpu, Silicon

_GUIDANCE = "Intel, Processor MMIO Stale Data Vulnerabilities; Linux Documentation/admin-guide/hw-vuln"
_MDS = "Intel, Microarchitectural Data Sampling deep dive (MDS_NO, MD_CLEAR); INTEL-SA-00233"
_TAA = "Intel, TSX Asynchronous Abort (TAA_NO, TSX_CTRL); INTEL-SA-00270"
_RFDS = "Intel, Register File Data Sampling (RFDS_NO, RFDS_CLEAR); INTEL-SA-00898"
_TSA = "AMD-SB-7029 Transient Scheduler Attacks; Linux arch/x86/kernel/cpu/amd.c tsa_init"


@rule(_MDS)
def affected_by_mds(silicon: Silicon) -> Node:
    """The part is affected by MDS: the hardware does not say MDS_NO, and published lists name it."""
    return ~silicon.mds_no & silicon.mds_published


@rule(_TAA)
def affected_by_taa(guest: Cpu, silicon: Silicon, rtm_executes: Node) -> Node:
    """TAA can happen in this guest: the hardware does not say TAA_NO, and RTM executes here, shown or hidden."""
    return ~silicon.taa_no & rtm_executes


@rule(_GUIDANCE)
def affected_by_mmio(silicon: Silicon) -> Node:
    """The part is affected by MMIO stale data: listed, and the hardware does not say all three NO bits."""
    return silicon.mmio_published & ~(silicon.sbdr_ssdp_no & silicon.fbsdp_no & silicon.psdp_no)


@rule(_RFDS)
def affected_by_rfds(silicon: Silicon) -> Node:
    """The part is affected by RFDS: the hardware does not say RFDS_NO, and it says RFDS_CLEAR or is listed."""
    return ~silicon.rfds_no & (silicon.rfds_clear | silicon.rfds_published)


@rule(_TSA)
def affected_by_tsa(silicon: Silicon) -> Node:
    """The part is affected by TSA: published lists name it, and the hardware does not say every TSA NO bit."""
    return silicon.tsa_published & ~(silicon.tsa_sq_no & silicon.tsa_l1_no & silicon.tsa_fill_no)


@rule(_MDS)
def verw_overwrites_mds_buffers(silicon: Silicon) -> Node:
    """VERW overwrites what MDS samples: MD_CLEAR on a part without MDS_NO (with MDS_NO it is no guarantee)."""
    return silicon.md_clear & ~silicon.mds_no


@rule("Linux 7.1.5 Documentation/admin-guide/hw-vuln/mds.rst, virtualization mitigation; Intel SDM (L1D_FLUSH)")
def l1d_flush_overwrites_mds_buffers(silicon: Silicon) -> Node:
    """The L1D_FLUSH command overwrites what MDS samples: on a part with MDS and its microcode, not on later ones."""
    return silicon.flush_l1d & silicon.md_clear & ~silicon.mds_no


@rule(_TAA)
def verw_overwrites_taa_buffers(silicon: Silicon) -> Node:
    """VERW overwrites what TAA samples: MD_CLEAR, and no MDS_NO or else the TAA microcode (TSX_CTRL, no TAA_NO)."""
    return silicon.md_clear & (~silicon.mds_no | (~silicon.taa_no & silicon.tsx_ctrl))


@rule(_GUIDANCE)
def verw_overwrites_fill_buffers(silicon: Silicon) -> Node:
    """VERW overwrites the fill buffers: FB_CLEAR says so, or MD_CLEAR implies it (MDS with L1D_FLUSH, or TAA)."""
    implied_by_mds = silicon.md_clear & ~silicon.mds_no & silicon.flush_l1d
    implied_by_taa = silicon.md_clear & silicon.mds_no & ~silicon.taa_no & silicon.tsx_ctrl
    return silicon.fb_clear | implied_by_mds | implied_by_taa


@rule(_TSA)
def verw_clears_tsa_buffers(silicon: Silicon) -> Node:
    """VERW clears what TSA samples: CPUID says VERW_CLEAR, or the microcode is recent enough."""
    return silicon.verw_clear | silicon.tsa_microcode


def verw_reaches(vulnerability: str, silicon: Silicon, affected: Node, disabled: Node) -> Node:
    """Return whether VERW is guaranteed to overwrite what `vulnerability` samples, with FB_CLEAR_DIS = `disabled`.

    On silicon immune to MDS or TAA the promise is about the fill buffers.
    """
    fill = verw_overwrites_fill_buffers(silicon)
    match vulnerability:
        case "mds":
            return ~disabled & choose(affected, verw_overwrites_mds_buffers(silicon), fill)
        case "tsx_async_abort":
            return ~disabled & choose(affected, verw_overwrites_taa_buffers(silicon), fill)
        case "mmio_stale_data":
            return ~disabled & fill
        case "reg_file_data_sampling":
            return silicon.rfds_clear & (~disabled | silicon.register_file_spared)
        case "tsa":
            return verw_clears_tsa_buffers(silicon)
        case _:
            raise ValueError(f"VERW has nothing to do with {vulnerability!r}")
