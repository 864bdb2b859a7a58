"""What IA32_ARCH_CAPABILITIES says beside the VERW family: S18, S22 to S24 and others, by hand from their sources."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

import archcaps
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.results import CheckResult
from tests.scenarios.running import ask, machine

MITIGATED = "Mitigation: Aligned branch/return thunks"


def said(result: CheckResult, subject: str) -> tuple[str, str]:
    verdict = next(each for each in result.further if each.subject == subject)
    return str(verdict.concludes), f"{verdict.truth} {verdict.safety} {verdict.responsible}"


def test_s23_gds_no_is_true_only_while_the_host_mitigates() -> None:
    """Firecracker pull request 4082; the guest can neither see nor control the mitigation."""
    assert said(ask("gds-no-made-up", "host", "guest"), "gather_data_sampling") == (
        "Not affected", "truthful safe nobody",
    )  # fmt: skip
    assert said(ask("gds-no-made-up", "host-off", "guest"), "gather_data_sampling") == (
        "Not affected", "false-immunity exposed userspace",
    )  # fmt: skip


def test_s24_without_its_no_a_guest_mitigates_for_nothing() -> None:
    """Before 6.15 KVM did not offer ITS_NO; Linux counts every Intel guest without it as affected."""
    assert said(ask("its-no-missing", "host", "guest"), "indirect_target_selection") == (
        MITIGATED, "needless-work safe KVM",
    )  # fmt: skip


def test_a_model_without_ssbd_leaves_the_guest_open() -> None:
    """QEMU's Skylake-Client shows no SSBD: Linux cannot disable speculative store bypass."""
    assert said(ask("old-model-on-ice-lake", "host", "guest"), "spec_store_bypass") == (
        "Vulnerable", "truthful exposed userspace",
    )  # fmt: skip


HOST = {"flags": "md_clear,flush_l1d,arch_capabilities,avx,spec_ctrl,ssbd,intel_stibp,vmx", "kernel": "6.12.117"}
GUEST = {"flags": "md_clear,flush_l1d,arch_capabilities,avx,spec_ctrl,ssbd,intel_stibp", "kernel": "6.12.117"}


def sapphire_rapids(value: int) -> CheckResult:
    """A guest that is shown `value` on a Sapphire Rapids host with RDCL_NO, IBRS_ALL and RRSBA."""
    host = archcaps.host(cpu="6/0x8f/8", arch_capabilities=0x8E1EB, **HOST)
    return archcaps.check(host, archcaps.guest(cpu="6/0x8f/8", arch_capabilities=value, **GUEST))


def test_bits_of_the_host_are_the_truth() -> None:
    result = sapphire_rapids(0x8E1EB)
    assert said(result, "meltdown") == ("Not affected", "truthful safe nobody")
    assert said(result, "l1tf") == ("Not affected", "truthful safe nobody")
    assert said(result, "spectre_v2")[1] == "truthful safe nobody"


def test_without_rdcl_no_page_tables_are_isolated_for_nothing_unless_the_part_is_listed() -> None:
    """Sapphire Rapids is on no white list of Linux for Meltdown: only RDCL_NO says that it is immune."""
    assert said(sapphire_rapids(0x8E1EA), "meltdown") == ("Mitigation: PTI", "needless-work safe userspace")


def test_retpolines_do_not_hold_where_rrsba_is_hidden() -> None:
    """Intel: with RRSBA, RET may take its prediction from elsewhere than the RSB; a guest has to be told so."""
    hidden = sapphire_rapids(0x8E1EB & ~(1 << 19 | 1 << 1))  # neither RRSBA nor IBRS_ALL
    texts, verdict = said(hidden, "spectre_v2")
    assert texts.startswith("Mitigation: Retpolines")
    assert verdict == "broken-promise exposed userspace"


def test_ibrs_all_that_the_host_has_not_is_a_broken_promise() -> None:
    host = archcaps.host(cpu="6/0x55/4", arch_capabilities=0, **HOST)
    guest = archcaps.guest(cpu="6/0x55/7", arch_capabilities=0xB, **GUEST)
    result = archcaps.check(host, guest)
    assert said(result, "spectre_v2")[1] == "broken-promise exposed userspace"
    assert said(result, "meltdown") == ("Not affected", "false-immunity exposed userspace")


def nested(flush: str) -> Snapshot:
    host = archcaps.host(cpu="6/0x55/4", arch_capabilities=0, cmdline="", **HOST)
    return replace(host, kvm=replace(host.kvm, parameters={"vmentry_l1d_flush": flush, "ept": "Y"}))


@pytest.mark.parametrize(("flush", "truth"), [("auto", "truthful"), ("never", "broken-promise")])
def test_s18_a_nested_hypervisor_that_is_told_not_to_flush_relies_on_its_host(flush: str, truth: str) -> None:
    """Chao Gao, kvm mailing list, 2023-05-19: nobody flushes for L2 where the host stops and L1 was told not to."""
    guest = archcaps.guest(cpu="6/0x55/4", arch_capabilities=1 << 3, **{**GUEST, "flags": GUEST["flags"] + ",vmx"})
    verdict = next(each for each in archcaps.check(nested(flush), guest).further if each.subject == "l1tf")
    assert verdict.truth.value == truth


def test_an_unknown_part_is_never_safe() -> None:
    host = Snapshot(format_version=1, role="host")
    guest = archcaps.guest(cpu="6/0x8f/8", arch_capabilities=0x8E1EB, **GUEST)
    result = archcaps.check(host, guest)
    for verdict in result.further:
        assert verdict.safety.value != "safe" or verdict.affected is False or verdict.claim.value == "mitigated"


def test_they_count_for_the_exit_code_only_where_asked_for() -> None:
    host, guest = machine("gds-no-made-up", "host-off"), machine("gds-no-made-up", "guest")
    assert archcaps.check(host, guest).exit_code == 0
    assert archcaps.check(host, guest, further=True).exit_code == 2
    assert archcaps.check(host, guest).headline.startswith(
        "TOLD THE TRUTH, AND SAFE. Beside these: exposed (gather_data_sampling). Assumed for that: "
    )
    assert archcaps.check(host, guest, further=True).headline.startswith("EXPOSED")


def test_what_was_read_in_the_guest_stands_beside_what_its_kernel_should_print() -> None:
    """Meltdown is no matter of its CPU, so "Vulnerable" contradicts that: either may be so."""
    texts = {
        "meltdown": "Vulnerable",
        "spectre_v2": "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional; PBRSB-eIBRS: Vulnerable; "
        "BHI: Vulnerable, KVM: SW loop",
    }
    guest = replace(machine("its-no-missing", "guest"), vulnerabilities=texts)
    result = archcaps.check(machine("its-no-missing", "host"), guest)
    found = {each.subject: each for each in result.further}
    assert found["meltdown"].concludes.possible[0] == "Vulnerable"
    assert found["meltdown"].truth.value is None
    assert {"vulnerable"} < set(found["meltdown"].claim.possible)
    assert found["spectre_v2"].claim.value == "mitigated"
    for subject in ("bhi", "pbrsb"):
        assert "vulnerable" in found[subject].claim.possible
