"""The tables pass their lint, and the lint finds what is planted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools.check_tables import TABLES, faults


def test_the_tables_have_no_fault() -> None:
    assert faults() == []


@pytest.mark.parametrize(
    ("table", "old", "new", "fault"),
    [
        ("bits.csv", "ia32_arch_capabilities,5,mds_no", "ia32_arch_capabilities,8,mds_no", "[8] stands twice"),
        ("bits.csv", "ia32_arch_capabilities,5,mds_no", "ia32_arch_capabilities,5,taa_no", "name taa_no stands twice"),
        ("bits.csv", "ia32_arch_capabilities,61,", "ia32_arch_capabilities,64,", "does not fit"),
        ("bits.csv", "ia32_arch_capabilities,61,", "ia32_arch_capabilities,64,", "[61] is missing"),
        ("bits.csv", "cpuid_7_2_edx,4,bhi_ctrl", "cpuid_7_2_edx,2,bhi_ctrl", "cpuid_7_2_edx[2] stands twice"),
        ("kernels/behaviours.csv", "offers_gds_no,", "offers_gds_yes,", "column offers_gds_no is no behaviour"),
        ("libvirt/features.csv", ",msr,0x10a,,,0x20000,,", ",msr,0x10a,,,0x10000,,", "libvirt 12.9.0 has fb-clear at"),
        ("libvirt/features.csv", "\nfb-clear,11.3.0", "\nfb-clear,11.4.0", "unknown release 11.4.0"),
        ("libvirt/features.csv", "\nmds-no,7.0.0 9.0.0", "\nmds-no,7.0.0", "mds-no of 7.0.0 is gone in 9.0.0"),
        ("libvirt/models.csv", ",fpu pse vme,", ",fpu pse vmee,", "486: vmee is no feature of 7.0.0"),
        ("libvirt/models.csv", "Intel,6/61 6/71", "Intel,6-61 6/71", "signature '6-61'"),
        ("libvirt/qemu_names.csv", "tsc_adjust,tsc-adjust", "tsc_adjusted,tsc-adjust", "unknown feature tsc_adjusted"),
        ("silicon/axioms.csv", "mds_no_true,mds_no,", "mds_no_true,mds_now,", "unknown name 'mds_now'"),
        ("silicon/axioms.csv", "\nhle_has_rtm,", "\nrtm_has_avx2,", "rtm_has_avx2 stands twice"),
        ("silicon/axioms.csv", "hle_has_rtm,hle,rtm,", "hle_has_rtm,hle,~hle,", "hle stands twice"),
        ("silicon/axioms.csv", "hle_has_rtm,hle,rtm,", "hle_has_rtm,hle,,", "nothing follows"),
        ("silicon/axioms.csv", "hle_has_rtm,hle,rtm,derived", "hle_has_rtm,hle,rtm,guessed", "status 'guessed'"),
        ("silicon/axioms.csv", "hle_has_rtm,hle,", "hle_has_rtm,,", "no host with vendor_amd"),
        (
            "silicon/axioms.csv",
            "taa_no_has_mds_no,taa_no,mds_no",
            "taa_no_has_mds_no,mds_no,~rdcl_no",
            "mds_no_has_rdcl_no: the others leave no host",
        ),
        (
            "firecracker/static_templates.csv",
            ",0x0fff3fff,0x000306f2,",
            ",0x0fff3fff,0xf00306f2,",
            "is not within mask",
        ),
        ("firecracker/static_templates.csv", "C3,1.4.0,,0x1,0x0,eax,0,", "C3,1.4.0,,0x1,,eax,0,", "a CPUID word has"),
        ("firecracker/template_hosts.csv", "T2A,AuthenticAMD", "T2B,AuthenticAMD", "T2A has no hosts"),
        ("firecracker/normalisation.csv", "waitpkg,0,clears", "waitpkg,0,cleans", "unknown behaviour cleans_waitpkg"),
        ("xen/levelling.csv", "\nmd_clear,", "\nmd_cleaner,", "unknown bit md_cleaner"),
        (
            "xen/levelling.csv",
            "\nfb_clear,GenuineIntel,always",
            "\nfb_clear,GenuineIntel,mostly",
            "max_policy 'mostly'",
        ),
        ("proxmox/vendors.csv", "\nKnightsMill,GenuineIntel", "\nKnightsMill,Intel", "vendor 'Intel'"),
        ("proxmox/builtin_models.csv", "x86-64-v2,qemu64", "x86-64-v2,qemu65", "unknown model qemu65"),
        ("qemu/models.csv", "+fb-clear +gds-no", "+fb-claer +gds-no", "unknown feature fb-claer"),
        ("qemu/models.csv", "Haswell,2,", "Haswell,5,", "Haswell-v5: no version before it"),
        (
            "qemu/properties.csv",
            "fb-clear,feature",
            "fb-clear,option",
            "fb-clear, QEMU's name of fb_clear, is no feature",
        ),
        ("qemu/aliases.csv", "Haswell-v2", "Haswell-v9", "Haswell-v9 is no model"),
        ("qemu/machine_changes.csv", "Cascadelake-Server,,3.1", "Cascadelake,,3.1", "Cascadelake is no model"),
        ("silicon/vendors.csv", '"AMD-SB-7029: the bulletin speaks of AMD processors only"', "", "no source"),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, table: str, old: str, new: str, fault: str) -> None:
    copy = tmp_path / "tables"
    shutil.copytree(TABLES, copy)
    text = (copy / table).read_text(encoding="utf-8")
    assert old in text
    (copy / table).write_text(text.replace(old, new, 1), encoding="utf-8")
    assert any(fault in line for line in faults(copy))
