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
    "smt_supported": "the CPU shows more than one thread of a core, online or not",
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
    # Branch prediction (machine/branch_options.py): what the command line chooses, and what is built in.
    "spectre_v1_off": "nospectre_v1, or compiled off",
    "spectre_v2_off": "nospectre_v2 or spectre_v2=off, or compiled off and no option",
    "spectre_v2_on": "spectre_v2=on",
    "spectre_v2_retpoline": "spectre_v2=retpoline",
    "spectre_v2_retpoline_generic": "spectre_v2=retpoline,generic",
    "spectre_v2_retpoline_lfence": "spectre_v2=retpoline,lfence or retpoline,amd",
    "spectre_v2_eibrs": "spectre_v2=eibrs",
    "spectre_v2_eibrs_lfence": "spectre_v2=eibrs,lfence",
    "spectre_v2_eibrs_retpoline": "spectre_v2=eibrs,retpoline",
    "spectre_v2_ibrs": "spectre_v2=ibrs",
    "spectre_v2_forced": "spectre_v2=on where that sets the bug as well (from 6.17)",
    "spectre_v2_user_off": "spectre_v2_user=off, or off by default",
    "spectre_v2_user_on": "spectre_v2_user=on",
    "spectre_v2_user_prctl": "spectre_v2_user=prctl or seccomp",
    "spectre_v2_user_ibpb": "spectre_v2_user=prctl,ibpb or seccomp,ibpb",
    "bhi_off": "spectre_bhi=off, or compiled off and no option",
    "bhi_on": "spectre_bhi=on",
    "bhi_vmexit": "spectre_bhi=vmexit, where the kernel knows it",
    "ssb_off": "nospec_store_bypass_disable or spec_store_bypass_disable=off, or compiled off and no option",
    "ssb_on": "spec_store_bypass_disable=on",
    "ssb_prctl": "spec_store_bypass_disable=prctl",
    "ssb_seccomp": "spec_store_bypass_disable=seccomp",
    "retbleed_off": "retbleed=off, or compiled off and no option",
    "retbleed_unret": "retbleed=unret",
    "retbleed_ibpb": "retbleed=ibpb",
    "retbleed_stuff": "retbleed=stuff, where the kernel knows it",
    "retbleed_nosmt": "retbleed= with the word nosmt",
    "retbleed_forced": "retbleed= with the word force, where the kernel knows it",
    "its_off": "indirect_target_selection=off, or compiled off",
    "its_on": "indirect_target_selection=on or force",
    "its_vmexit": "indirect_target_selection=vmexit",
    "its_stuff": "indirect_target_selection=stuff, where the kernel knows it",
    "its_forced": "indirect_target_selection=force, which sets the bug",
    "srso_off": "spec_rstack_overflow=off",
    "srso_microcode": "spec_rstack_overflow=microcode",
    "srso_safe_ret": "spec_rstack_overflow=safe-ret",
    "srso_ibpb": "spec_rstack_overflow=ibpb",
    "srso_ibpb_vmexit": "spec_rstack_overflow=ibpb-vmexit",
    "vmscape_off": "vmscape=off, or compiled off and no option",
    "vmscape_ibpb": "vmscape=ibpb",
    "vmscape_forced": "vmscape=force, which sets the bug, in a guest too",
    "nosmt": "nosmt",
    "nosmt_force": "nosmt=force",
    "mitigations_nosmt": "mitigations=auto,nosmt",
    "smt_mitigations_off": "mitigations=off or no_cross_thread (from 6.17)",
    "mitigates_user_kernel": "attacks of user code on the kernel are to be mitigated (from 6.17)",
    "mitigates_user_user": "attacks of user tasks on each other are to be mitigated (from 6.17)",
    "mitigates_guest_host": "attacks of guests on their host are to be mitigated (from 6.17; not without CONFIG_KVM)",
    "mitigates_guest_guest": "attacks of guests on each other are to be mitigated (from 6.17; not without CONFIG_KVM)",
    "built_retpoline": "built with retpolines",
    "built_rethunk": "built with return thunks",
    "built_ibrs_entry": "built with IBRS at kernel entry",
    "built_unret_entry": "built with return untraining at kernel entry",
    "built_ibpb_entry": "built with IBPB at kernel entry",
    "built_srso": "built with the mitigation of SRSO",
    "built_call_depth_tracking": "built with call depth tracking",
    "built_seccomp": "built with seccomp",
    "built_aligned_functions": "built with functions aligned to 64 bytes for debugging",
    "unprivileged_bpf": "unprivileged users may load eBPF programs",
}

#: Assumptions by name: what holds if it is made, and what is supposed otherwise.
ASSUMPTIONS: Final = {
    "user_mmio": (
        "guest user code maps MMIO (a device given to guest user space, as by VFIO or UIO)",
        "no guest user maps MMIO (--assume user-mmio judges the other case)",
    ),
}
