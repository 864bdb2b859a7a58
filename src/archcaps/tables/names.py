"""Names of the booleans that are looked up before the graph is read: list rows, options, vendor lists.

Each entry says what the boolean means; `archcaps.machine.facts` computes it from a snapshot and the tables.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ASSUMPTIONS", "CPU_LOOKUPS", "KERNEL_LOOKUPS", "SILICON_LOOKUPS", "VM_LOOKUPS", "VULNERABILITIES"]

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
    "vmx_enabled": "the firmware and the kernel let VMX be used (IA32_FEAT_CTL)",
    "ram_above_half": "RAM lies above half of the physical addresses, where L1TF's PTE inversion does not reach",
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
    "listed_no_swapgs": "the kernel's white list has the part as immune to speculation past SWAPGS",
    "listed_no_itlb_multihit": "the kernel's white list has the part as immune to ITLB multihit",
    "listed_no_spectre_v2": "the kernel's white list has the part as immune to Spectre v2",
    "listed_no_eibrs_pbrsb": "the kernel's white list has the part as immune to PBRSB",
    "listed_no_bhi": "the kernel's white list has the part as immune to BHI",
    "listed_srbds": "the kernel's black list has the part as affected by SRBDS",
    "listed_mmio_sbds": "the kernel's black list has the part as affected by the shared-buffer form of MMIO stale data",
    "listed_retbleed": "the kernel's black list has the part as affected by Retbleed",
    "listed_smt_rsb": "the kernel's black list has the part as affected by return predictions across threads",
    "listed_srso": "the kernel's black list has the part as affected by SRSO",
    "listed_its_native_only": "the kernel's black list has the part as affected by ITS within a context only",
    "listed_vmscape": "the kernel's black list has the part as affected by VMSCAPE",
    "old_microcode": "the kernel's table has a newer microcode for the part, or the revision is one for debugging",
    "family_0x0f": "the CPU family is 0x0f (AMD K8)",
    "family_0x10": "the CPU family is 0x10 (AMD K10)",
    "zen1_part": "family 0x17 and a model of Zen 1",
    "erratum_400_part": "a model of family 0x0f or 0x10 that has AMD's erratum 400",
    "osvw_erratum_383": "AMD's OSVW registers say that the CPU has erratum 383",
    "osvw_erratum_400": "AMD's OSVW registers say that the CPU has erratum 400",
    "null_clears_base": "loading a null selector was seen to clear the base of FS",
    "clflush_monitor_part": "Intel's Dunnington, Nehalem-EX or Westmere-EX",
    "goldmont_part": "Intel's Goldmont (family 6, model 0x5c)",
    "lunar_lake_part": "Intel's Lunar Lake (family 6, model 0xbd)",
    "tdx_erratum_part": "Intel's Sapphire Rapids or Emerald Rapids",
    "tdx_host": "the firmware set the CPU up as a TDX host, and the kernel is built for that",
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
    "xen_pv": "the kernel runs as a Xen PV guest, dom0 included",
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
    "vector_user_kernel": "the attack vector from user to kernel is mitigated (from 6.17)",
    "vector_user_user": "the attack vector from user to user is mitigated (from 6.17)",
    "vector_guest_host": "the attack vector from guest to host is mitigated (from 6.17; not without CONFIG_KVM)",
    "vector_guest_guest": "the attack vector from guest to guest is mitigated (from 6.17; not without CONFIG_KVM)",
    "vector_cross_thread": "attacks across threads are not left out of mitigations= (from 6.17)",
    "mitigations_nosmt": "mitigations= asks for SMT to go where a mitigation needs that",
    "nosmt": "booted with nosmt",
    "pti_off": "page table isolation is off: by pti=off, nopti or mitigations=, or compiled out",
    "l1tf_nosmt": "the kernel's choice against L1TF takes SMT away, by l1tf= or mitigations=auto,nosmt",
    "srbds_off": "srbds=off",
    "srbds_compiled_off": "compiled without the mitigation of SRBDS",
    "gds_force": "gather_data_sampling=force, or compiled so and no option",
    "kvm_intel_built": "the kernel is built with KVM for Intel",
    "kvm_intel_loaded": "kvm_intel is loaded",
    "kvm_splits_huge_pages": "KVM splits huge pages against ITLB multihit (kvm.nx_huge_pages)",
    "vmx_on": "VMX is switched on in CR4 of the CPU that reads the file",
    "tsx_on": "tsx=on, or CONFIG_X86_INTEL_TSX_MODE_ON and no option",
    "tsx_auto": "tsx=auto, or CONFIG_X86_INTEL_TSX_MODE_AUTO and no option",
    "gds_off": "gather_data_sampling=off, or compiled off and no option",
    "l1d_flush_never": "kvm_intel's vmentry_l1d_flush is never, or auto with l1tf=off or mitigations=off",
    "l1d_flush_always": "kvm_intel's vmentry_l1d_flush is always, or auto with l1tf=full, or l1tf=full,force is given",
    "ept_off": "kvm_intel runs with ept=0",
}

VM_LOOKUPS: Final = {
    "has_assigned_device": "KVM counts a device assigned to the guest (KVM_DEV_VFIO_FILE_ADD)",
    "has_mapped_host_mmio": "host MMIO is mapped into the guest's memory",
}

#: Assumptions by name: what holds if it is made, and what is supposed otherwise.
ASSUMPTIONS: Final = {
    "user_mmio": (
        "guest user code maps MMIO (a device given to guest user space, as by VFIO or UIO)",
        "no guest user maps MMIO (else: --assume user-mmio)",
    ),
    "host_mmio": (
        "the guest has host MMIO mapped, by a device that is assigned to it",
        "the guest has no host MMIO mapped and no device assigned (else: --assume host-mmio)",
    ),
}
