"""Names of the booleans that are looked up before the graph is read: list rows, options, vendor lists.

Each entry says what the boolean means; `archcaps.machine.facts` computes it from a snapshot and the tables.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ASSUMPTIONS", "CPU_LOOKUPS", "KERNEL_LOOKUPS", "SILICON_LOOKUPS", "VULNERABILITIES"]

#: The vulnerabilities of the VERW family, by the names of their sysfs files, in the order they are reported.
VULNERABILITIES: Final = ("mds", "tsx_async_abort", "mmio_stale_data", "reg_file_data_sampling", "tsa")

CPU_LOOKUPS: Final = {
    "vendor_intel": "the vendor string is GenuineIntel",
    "vendor_amd": "the vendor string is AuthenticAMD",
    "vendor_hygon": "the vendor string is HygonGenuine",
    "family_0x19": "the CPU family is 0x19 (Zen 3 and Zen 4)",
    "family_0x1a": "the CPU family is 0x1a (Zen 5)",
    "unknown_zen_model": "family 0x17, 0x19 or 0x1a with a model that the kernel has no Zen generation for",
    "smt_active": "more than one thread of a core is online",
    "tsa_microcode": "the microcode revision is at least the one from which the kernel sets VERW_CLEAR",
    "listed_no_speculation": "the kernel's white list has the part as not speculating at all",
    "listed_no_meltdown": "the kernel's white list has the part as immune to Meltdown",
    "listed_no_ssb": "the kernel's white list has the part as immune to Speculative Store Bypass",
    "listed_no_l1tf": "the kernel's white list has the part as immune to L1TF",
    "listed_no_mds": "the kernel's white list has the part as immune to MDS",
    "listed_msbds_only": "the kernel's white list has the part as affected by the store-buffer kind of MDS only",
    "listed_no_mmio": "the kernel's white list has the part as immune to MMIO stale data",
    "listed_mmio": "the kernel's black list has the part as affected by MMIO stale data",
    "listed_gds": "the kernel's black list has the part as affected by GDS",
    "listed_rfds": "the kernel's black list has the part as affected by RFDS",
    "listed_its": "the kernel's black list has the part as affected by ITS",
    "listed_tsa": "the kernel's black list has the part as affected by TSA",
    # What the branch prediction mitigations ask besides (rules/linux_features.py and those that follow it).
    "family_0x17": "the CPU family is 0x17 (Zen 1 and Zen 2)",
    "family_0x15_to_0x17": "the CPU family is 0x15, 0x16 or 0x17",
    "family_from_0x19": "the CPU family is 0x19 or above",
    "bad_spectre_microcode": "the microcode revision is on the kernel's list of bad Spectre microcode",
    "sbpb_write_succeeds": "writing SBPB (bit 7) to MSR 0x49 does not fault",
    "ls_cfg_readable": "reading MSR 0xC0011020 (LS_CFG) does not fault",
    "snp_host": "the firmware enabled SEV-SNP for a host (an RMP table is there, SYSCFG has memory encryption on)",
}

SILICON_LOOKUPS: Final = {
    "mds_published": "published lists have the part as affected by MDS",
    "mmio_published": "published lists have the part as affected by MMIO stale data",
    "rfds_published": "published lists have the part as affected by RFDS",
    "tsa_published": "published lists have the part as affected by TSA",
    "register_file_spared": "FB_CLEAR_DIS leaves VERW's clearing of the register file alone",
}

KERNEL_LOOKUPS: Final = {
    "mitigations_off": "booted with mitigations=off",
    "mds_off": "mds=off, or compiled off and no option",
    "mds_on": "mds= given and not off",
    "mds_nosmt": "mds=full,nosmt",
    "taa_off": "tsx_async_abort=off, or compiled off and no option",
    "taa_on": "tsx_async_abort= given and not off",
    "taa_nosmt": "tsx_async_abort=full,nosmt",
    "mmio_off": "mmio_stale_data=off, or compiled off and no option",
    "mmio_on": "mmio_stale_data= given and not off",
    "mmio_nosmt": "mmio_stale_data=full,nosmt",
    "rfds_off": "reg_file_data_sampling=off, or compiled off and no option",
    "rfds_on": "reg_file_data_sampling=on given",
    "tsa_off": "tsa=off, or compiled off and no option",
    "tsa_on": "tsa=on given",
    "tsa_user": "tsa=user given",
    "tsa_vm": "tsa=vm given",
    "no_user_vector": "neither user attack vector is mitigated (from 6.17)",
    "no_guest_vector": "neither guest attack vector is mitigated (from 6.17; so without CONFIG_KVM)",
    "tsx_on": "tsx=on, or CONFIG_X86_INTEL_TSX_MODE_ON and no option",
    "tsx_auto": "tsx=auto, or CONFIG_X86_INTEL_TSX_MODE_AUTO and no option",
    "gds_off": "gather_data_sampling=off or mitigations=off, or compiled off and no option",
    "l1d_flush_never": "kvm_intel's vmentry_l1d_flush is never, or auto with l1tf=off or mitigations=off",
    "ept_off": "kvm_intel runs with ept=0",
}

#: Assumptions by name: what holds if it is made, and what is supposed otherwise.
ASSUMPTIONS: Final = {
    "user_mmio": (
        "guest user code maps MMIO (a device given to guest user space, as by VFIO or UIO)",
        "no guest user maps MMIO (--assume user-mmio judges the other case)",
    ),
}
