"""TSA: S10, S11, S12, S25, S28."""

from __future__ import annotations

import pytest

from tests.scenarios.running import FINE, Case, Name, ask, holds, kvm

WITHOUT = "Vulnerable: Clear CPU buffers attempted, no microcode"

CASES: dict[Name, Case] = {
    # S11. AMD Milan with the microcode (0xa0011de, 0x0a0011d7 is the first), KVM 6.18 sets the NO bits on every host.
    ("tsa-no-always", "host", "guest"): Case(
        2,
        False,
        {
            "mds": ("Not affected", "not-affected A0 R0 K?", FINE),
            "tsx_async_abort": ("Not affected", "not-affected A0 R0 K?", FINE),
            "mmio_stale_data": ("Not affected", "not-affected A0 R0 K?", FINE),
            "reg_file_data_sampling": ("Not affected", "not-affected A0 R0 K0", FINE),
            "tsa": ("Not affected", "not-affected A1 R0 K1", "false-immunity exposed KVM"),
        },
    ),
    # S10. The same part under KVM 6.1.152, which drops VERW_CLEAR: a 6.12 guest runs VERW all the same, a 6.18 guest
    # stops.
    ("tsa-verw-clear-dropped", "host", "guest-6.12"): Case(
        1, False, {"tsa": (WITHOUT, "no-microcode A1 R1 K1", "false-alarm safe KVM")}
    ),
    ("tsa-verw-clear-dropped", "host", "guest-6.18"): Case(
        2, False, {"tsa": ("Vulnerable: No microcode", "no-microcode A1 R0 K1", "withheld exposed KVM")}
    ),
    # S12. Bits 13 and 14 of ECX say nothing; VERW_CLEAR (EAX 0x65, bit 5) does.
    ("tsa-bits-misplaced", "host", "guest"): Case(
        0, False, {"tsa": ("Mitigation: Clear CPU buffers", "mitigated A1 R1 K1", FINE)}
    ),
    # S25. Zen 2 is on no kernel's list: without TSA_FILL_NO too it is not affected. Recorded of Linux 6.12.117 for
    # 0x17/0x31 with TSA_SQ_NO alone: "Not affected".
    ("tsa-fill-no-missing", "host", "guest"): Case(0, False, {"tsa": ("Not affected", "not-affected A0 R0 K?", FINE)}),
    # Zen 5 is on the list of the kernels that ask for TSA_FILL_NO. Whether it is affected, nobody but them says.
    ("tsa-fill-no-missing", "host-turin", "guest-turin"): Case(
        2,
        False,
        {
            "tsa": (
                WITHOUT,
                "no-microcode A1 R1 K?",
                "truthful or false-alarm exposed or safe nobody or userspace or KVM or microcode or guest kernel",
            )
        },
        decided=False,
    ),
}


@pytest.mark.parametrize("name", CASES, ids="/".join)
def test_a_case(name: Name) -> None:
    holds(name, CASES[name])


def test_s11_the_contradiction_of_the_tsa_bits_is_noticed() -> None:
    texts = [notice.text for notice in ask("tsa-no-always", "host", "guest").notices]
    assert texts == ["the guest is shown VERW_CLEAR together with a TSA NO bit"]


@pytest.mark.parametrize(
    ("kernel", "offered"),
    [("6.16.1", True), ("6.17.0", True), ("6.18.2", True), ("6.18.35", True), ("6.19.9", True), ("7.1.3", False),
     ("6.1.192", False), ("6.12.117", False)],
)  # fmt: skip
def test_s11_s28_where_kvm_offers_the_no_bits_on_an_affected_host(kernel: str, offered: bool) -> None:
    """4b3b8a8b0df1: the CPUID page with them is what SNP firmware rejects."""
    cpuid = kvm("tsa-verw-clear-dropped", kernel=kernel).get_supported_cpuid()
    assert (cpuid["tsa_sq_no"], cpuid["tsa_l1_no"]) == (offered, offered)


@pytest.mark.parametrize(("kernel", "offered"), [("6.1.152", False), ("6.1.153", True), ("6.1.192", True)])
def test_s10_verw_clear_is_back_with_6_1_153(kernel: str, offered: bool) -> None:
    assert kvm("tsa-verw-clear-dropped", kernel=kernel).get_supported_cpuid()["verw_clear"] is offered


@pytest.mark.parametrize(("kernel", "offered"), [("7.2.13", False), ("6.12.117", True), ("7.3.4", True)])
def test_s25_where_kvm_offers_tsa_fill_no_on_a_host_without_tsa(kernel: str, offered: bool) -> None:
    assert kvm("tsa-fill-no-missing", kernel=kernel).get_supported_cpuid()["tsa_fill_no"] is offered


def test_s25_that_zen_5_is_affected_is_marked_as_unverified() -> None:
    texts = [notice.text for notice in ask("tsa-fill-no-missing", "host-turin", "guest-turin").notices]
    assert len(texts) == 1
    assert "UNVERIFIED" in texts[0]
