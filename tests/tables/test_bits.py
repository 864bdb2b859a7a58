"""Bits against published numbers: Intel's manuals and Linux's headers, not our own table."""

from __future__ import annotations

import pytest

from archcaps.tables.bits import ARCH_CAPABILITIES, BITS, REGISTERS, bits_of

#: Linux 7.1 arch/x86/include/asm/msr-index.h ARCH_CAP_*
ARCH_CAP = {
    0: "rdcl_no", 1: "ibrs_all", 2: "rsba", 3: "skip_l1dfl_vmentry", 4: "ssb_no", 5: "mds_no", 6: "pschange_mc_no",
    7: "tsx_ctrl", 8: "taa_no", 13: "sbdr_ssdp_no", 14: "fbsdp_no", 15: "psdp_no", 17: "fb_clear",
    18: "fb_clear_ctrl", 19: "rrsba", 20: "bhi_no", 21: "xapic_disable_status", 24: "pbrsb_no", 25: "gds_ctrl",
    26: "gds_no", 27: "rfds_no", 28: "rfds_clear", 62: "its_no",
}  # fmt: skip
#: Linux 7.1 arch/x86/include/asm/cpufeatures.h, scattered.c
CPUID = {
    "cpuid_1_ecx": {28: "avx", 30: "rdrand", 31: "hypervisor", 5: "vmx"},
    "cpuid_7_0_ebx": {4: "hle", 5: "avx2", 11: "rtm", 18: "rdseed"},
    "cpuid_7_0_edx": {
        9: "srbds_ctrl", 10: "md_clear", 11: "rtm_always_abort", 13: "tsx_force_abort", 15: "hybrid", 26: "spec_ctrl",
        27: "intel_stibp", 28: "flush_l1d", 29: "arch_capabilities", 30: "core_capabilities", 31: "ssbd",
    },
    "cpuid_7_2_edx": {2: "rrsba_ctrl", 4: "bhi_ctrl"},
    "cpuid_80000021_eax": {5: "verw_clear", 8: "auto_ibrs", 28: "ibpb_brtype", 29: "srso_no"},
    "cpuid_80000021_ecx": {1: "tsa_sq_no", 2: "tsa_l1_no", 7: "tsa_fill_no"},
}  # fmt: skip


def test_all_64_bits_of_ia32_arch_capabilities_are_there() -> None:
    assert [bit.bit for bit in ARCH_CAPABILITIES.values()] == list(range(64))
    assert REGISTERS["ia32_arch_capabilities"].address == 0x10A


@pytest.mark.parametrize(("number", "name"), ARCH_CAP.items())
def test_arch_capabilities_bits_have_their_published_numbers(number: int, name: str) -> None:
    assert BITS[name].bit == number
    assert BITS[name].register == "ia32_arch_capabilities"


@pytest.mark.parametrize("register", CPUID)
def test_cpuid_bits_have_their_published_numbers(register: str) -> None:
    found = {bit.bit: name for name, bit in bits_of(register).items()}
    assert CPUID[register].items() <= found.items()


def test_bhi_ctrl_is_not_rrsba_ctrl() -> None:
    """A checker in the field reads CPUID 7.2 EDX bit 2 for both."""
    assert BITS["bhi_ctrl"].bit != BITS["rrsba_ctrl"].bit


def test_bits_that_are_in_intel_s_table_are_documented() -> None:
    """SDM volume 4, Table 2-2: MCU_EXT_SERVICE, IGN_UMONITOR, MON_UMON_MITG, PBOPT, MSR_VIRTUAL_ENUMERATION."""
    documented = {BITS[name].status for name in ARCH_CAPABILITIES if BITS[name].bit in (22, 29, 30, 32, 63)}
    assert documented == {"documented"}
    assert all(bit.status == "reserved" for name, bit in ARCH_CAPABILITIES.items() if name.startswith("reserved_"))


def test_bits_of_an_unknown_register() -> None:
    with pytest.raises(KeyError):
        bits_of("ia32_nothing")
