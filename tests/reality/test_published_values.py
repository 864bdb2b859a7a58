"""What KVM was really seen to offer, published by others, against the value computed from the hardware's own."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

import archcaps
from archcaps.machine.snapshot import BitReading, Reading

#: Raw values: bits 0 to 8 from bare-metal dumps (InstLatx64; libvirt cputestdata for Cascade Lake), the bits that KVM
#: passes on unchanged from Firecracker's fingerprints (commit bd0ebf3b1); `known` masks the others.
KNOWN = 0x111AE1FF
HOSTS = {
    "Cascade Lake 0x50657": ("6/0x55/7", 0xAA0AB, 0xC0AA0EB),
    "Ice Lake SP 0x606a6": ("6/0x6a/6", 0x2A1EB, 0xC02A0EB),
    "Sapphire Rapids 0x806f8": ("6/0x8f/8", 0x8E1EB, 0x400000000C08E0EB),
    "Granite Rapids 0xa06d1": ("6/0xad/1", 0x108E1EB, 0x400000000D08E0EB),
}
#: Bits of the offer that follow from raw bits which the dumps do not tell: GDS_NO, RFDS_NO, ITS_NO.
NOT_TOLD = 1 << 26 | 1 << 27 | 1 << 62


@pytest.mark.parametrize("kernel", ["6.1.172", "6.18.30"])
@pytest.mark.parametrize("name", HOSTS)
def test_firecracker_fingerprints_of_intel_hosts_without_tsx(name: str, kernel: str) -> None:
    cpu, raw, offered = HOSTS[name]
    host = archcaps.host(cpu=cpu, flags="md_clear,flush_l1d,avx,arch_capabilities", kernel=kernel)
    reading = Reading(value=raw, known=KNOWN, bits={"bhi_no": BitReading(value=False)})
    host = replace(host, registers={"ia32_arch_capabilities": reading})
    word = archcaps.Kvm(host).supported_arch_cap
    assert word.value & ~NOT_TOLD == offered & ~NOT_TOLD & word.known
    told = ~NOT_TOLD & (1 << 64) - 1
    assert word.known & told == told


@pytest.mark.parametrize(("kernel", "offered"), [("6.2.1", 0x69), ("6.9.0", 0xC000069), ("7.1.3", 0x400000000C000069)])
def test_amd_hosts_are_offered_what_their_kernel_finds_absent(kernel: str, offered: int) -> None:
    """0x69 is the value in QEMU's well-known error; the newest was seen on a real KVM."""
    host = archcaps.host(cpu="amd:0x19/1/1", flags="avx", kernel=kernel)
    word = archcaps.Kvm(host).supported_arch_cap
    assert word.known == (1 << 64) - 1
    assert word == offered


def test_a_host_register_of_all_ones_is_cut_to_the_mask() -> None:
    """Recorded of the real kvm-intel.ko of 6.12.117, on a host that runs with TSX off."""
    host = archcaps.host(
        cpu="6/0x8f/8", flags="arch_capabilities,avx", arch_capabilities=(1 << 64) - 1, kernel="6.12.117"
    )
    assert archcaps.Kvm(host).supported_arch_cap == 0x400000001D1AE0FF


@pytest.mark.parametrize(
    ("cpu", "raw", "kernel", "cmdline", "offered"),
    [
        ("6/0x55/7", 0xAA0AB, "6.12.60", "", 0xC0AA0EB),
        ("6/0x8f/8", 0x8E1EB, "6.18.33", "tsx=on", 0x400000000C08E1EB),
        ("6/0xad/1", 0x108E1EB, "6.12.91", "tsx=on", 0x400000000D08E1EB),
    ],
)
def test_cloud_hypervisor_s_hosts(cpu: str, raw: int, kernel: str, cmdline: str, offered: int) -> None:
    """Cloud Hypervisor's tests (repository at ae44c2971): the last two ran with RTM, so TAA_NO stays."""
    flags = "md_clear,flush_l1d,avx,arch_capabilities" + (",rtm,hle" if cmdline else "")
    host = archcaps.host(cpu=cpu, flags=flags, kernel=kernel, cmdline=cmdline)
    # GDS_NO, RFDS_NO and ITS_NO of the offer follow from bits that the dumps do not tell.
    not_told = 1 << 20 | 1 << 26 | 1 << 27 | 1 << 62
    reading = Reading(value=raw, known=0x111AE1FF)
    word = archcaps.Kvm(replace(host, registers={"ia32_arch_capabilities": reading})).supported_arch_cap
    told = ~not_told & (1 << 64) - 1
    assert word.known & told == told
    assert word.value & told == offered & told
    assert word.value & ~offered & (1 << 64) - 1 == 0
