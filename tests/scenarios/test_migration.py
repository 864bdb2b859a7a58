"""Guests that move, or cannot: S03, S03b, S08, S14, S15."""

from __future__ import annotations

import pytest

from tests.scenarios.running import ATTEMPTED, CLEAR, FINE, Case, Name, holds, kvm

FB_CLEAR, TAA_NO = 1 << 17, 1 << 8
#: MDS_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO: what QEMU 10.1.2 and 10.2 take for FB_CLEAR (00001a22d183)
FIVE = 1 << 5 | TAA_NO | 1 << 13 | 1 << 14 | 1 << 15

CASES: dict[Name, Case] = {
    # S03. At home the guest is told the truth.
    ("fb-clear-to-sapphire-rapids", "host-cascade-lake", "guest"): Case(
        0, False, {"mmio_stale_data": (CLEAR, "mitigated A1 R0 K1", FINE)}
    ),
    # Where it wants to go VERW is not required to clear (MDS_NO, TAA_NO, no FB_CLEAR), and nothing is there to leak.
    ("fb-clear-to-sapphire-rapids", "host-tsx-on", "guest"): Case(
        1, False, {"mmio_stale_data": (CLEAR, "mitigated A0 R0 K0", "broken-promise safe userspace")}
    ),
    ("fb-clear-to-sapphire-rapids", "host-tsx-off", "guest"): Case(
        1, False, {"mmio_stale_data": (CLEAR, "mitigated A0 R0 K0", "broken-promise safe userspace")}
    ),
    # S08. The bit comes and goes; what the guest says of the VERW family stays. Client Haswell is on no list for MMIO,
    # the host is: 6.12.117 says that it does not know, and clears for MDS.
    ("qemu-10.1-hides-the-bit", "host", "guest-10.0"): Case(
        0,
        False,
        {
            "mds": (CLEAR, "mitigated A1 R1 K1", FINE),
            "mmio_stale_data": ("Unknown: No mitigations", "says-unknown A1 R1 K1", "unsaid safe nobody"),
        },
    ),
    ("qemu-10.1-hides-the-bit", "host", "guest-10.1"): Case(
        0,
        False,
        {
            "mds": (CLEAR, "mitigated A1 R1 K1", FINE),
            "mmio_stale_data": ("Unknown: No mitigations", "says-unknown A1 R1 K1", "unsaid safe nobody"),
        },
    ),
    # S14, S15. The model without TAA_NO; the text as a real 6.1.192 gives it for Icelake-Server-v6. Whether VERW works
    # for it depends on FB_CLEAR_CTRL, which no dump tells.
    ("taa-no-hidden", "host", "guest-icelake-v6"): Case(
        3,
        None,
        {
            "mmio_stale_data": (
                ATTEMPTED,
                "no-microcode A1 R0 K?",
                "truthful or withheld safe nobody or userspace or guest kernel",
            )
        },
        decided=False,
    ),
}


@pytest.mark.parametrize("name", CASES, ids="/".join)
def test_a_case(name: Name) -> None:
    holds(name, CASES[name])


@pytest.mark.parametrize(("host", "five"), [("host-tsx-on", True), ("host-tsx-off", False)])
def test_s03_s03b_what_qemu_asks_for_in_place_of_fb_clear(host: str, five: bool) -> None:
    offered = int(kvm("fb-clear-to-sapphire-rapids", host).supported_arch_cap)
    assert not offered & FB_CLEAR
    assert (offered & FIVE == FIVE) is five
    assert bool(offered & TAA_NO) is five


def test_s08_kvm_makes_a_register_that_the_host_does_not_have() -> None:
    """Bits 3 and 6 always (L1TF is flushed for), 26 and 27: a Haswell has neither GDS nor RFDS. Linux 6.14.0."""
    host = kvm("qemu-10.1-hides-the-bit")
    assert host.supported_arch_cap == 0xC000048
    assert host.get_supported_cpuid()["arch_capabilities"] is True


def test_s14_s15_the_host_has_taa_no_and_kvm_does_not_offer_it() -> None:
    offered = int(kvm("taa-no-hidden").supported_arch_cap)
    assert offered == 0xC02A0EB
    assert 0x16B & ~offered == TAA_NO  # what Icelake-Server-v3 to v7 ask for and do not get
