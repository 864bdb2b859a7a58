"""What was read on a machine counts where the model leaves it open; where they differ that is a notice."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from archcaps.machine.observations import observations_of, runs_verw
from archcaps.machine.read import read_snapshot
from archcaps.machine.snapshot import Kvm, Reading, Snapshot
from archcaps.questions.check import check

EXAMPLES = Path(__file__).parents[2] / "examples"
HOST = read_snapshot(EXAMPLES / "thread" / "host.toml")
GUEST = read_snapshot(EXAMPLES / "thread" / "guest.toml")
CLEAR = "Mitigation: Clear CPU buffers; SMT Host state unknown"
ATTEMPTED = "Vulnerable: Clear CPU buffers attempted, no microcode"


def test_a_text_that_the_guest_s_kernel_would_not_print_there_leaves_open_which_is_so() -> None:
    seen = "Vulnerable; SMT Host state unknown"
    result = check(HOST, replace(GUEST, vulnerabilities={"mds": seen}))
    assert result["mds"].concludes.possible == [seen, CLEAR]
    assert set(result["mds"].claim.possible) == {"vulnerable", "mitigated"}
    assert set(result["mds"].truth.possible) == {"false-alarm", "broken-promise"}
    assert [notice.text for notice in result.notices] == [f"mds: the guest says {seen!r}, modelled: {CLEAR!r}"]


def test_a_text_that_agrees_is_no_notice() -> None:
    result = check(HOST, replace(GUEST, vulnerabilities={"mds": CLEAR}))
    assert result.notices == []
    assert result["mds"].truth.value == "broken-promise"


def test_a_guest_whose_kernel_is_unknown_is_judged_by_its_texts() -> None:
    texts = dict.fromkeys(("tsx_async_abort", "mmio_stale_data", "reg_file_data_sampling", "tsa"), "Not affected")
    guest = replace(
        GUEST, kernel=Snapshot(format_version=1, role="guest").kernel, vulnerabilities={"mds": CLEAR, **texts}
    )
    result = check(HOST, guest)
    assert result["mds"].truth.value == "broken-promise"
    assert result["mds"].runs_verw is True
    assert result["mds"].safety.value == "safe"


def test_what_kvm_was_seen_to_offer_beats_the_model() -> None:
    offered = {"ia32_arch_capabilities": Reading(value="0x0")}
    result = check(replace(HOST, kvm=Kvm(offered=offered)), GUEST)
    # Now the guest's 0 is what KVM offers: the lie is no longer userspace's, it is KVM's.
    assert result["mds"].responsible.value == "KVM"
    assert any("[mds_no]: observed 0" in notice.text for notice in result.notices)


def test_a_bit_that_kvm_does_not_offer_is_userspace_s_doing() -> None:
    offered = {"cpuid_7_0_edx": Reading(value="0x20000000")}  # no MD_CLEAR, no FLUSH_L1D
    result = check(replace(HOST, kvm=Kvm(offered=offered)), GUEST)
    assert result["mds"].responsible.value == "userspace"
    assert any("[md_clear]: observed 0" in notice.text for notice in result.notices)


def test_the_host_s_texts_give_its_bug_bits() -> None:
    texts = {"mds": "Mitigation: Clear CPU buffers; SMT vulnerable", "tsa": "Not affected"}
    host = replace(HOST, registers={}, vulnerabilities=texts)
    observed = observations_of(host, GUEST)
    assert observed["host.x86_bug_mds"].value is True
    assert observed["host.x86_bug_tsa"].value is False
    assert observed["host.clear_cpu_buf"].value is True
    # A host that is affected by MDS does not switch VERW off.
    assert check(host, GUEST).disable_fb_clear is False


def test_a_host_s_text_against_its_registers_shows_nothing() -> None:
    """The host says MDS_NO, so its kernel cannot say "Mitigation" (Linux 6.12.117 common.c cpu_set_bug_bits)."""
    host = replace(HOST, vulnerabilities={"mds": "Mitigation: Clear CPU buffers; SMT vulnerable"})
    result = check(host, GUEST)
    assert result.disable_fb_clear is None
    assert any("mds: the host says" in notice.text for notice in result.notices)


def test_gds_texts_give_the_state_that_gds_no_rests_on() -> None:
    for text, mitigated in (("Mitigation: Microcode (locked)", True), ("Vulnerable: No microcode", False)):
        observed = observations_of(replace(HOST, vulnerabilities={"gather_data_sampling": text}), GUEST)
        assert observed["kvm.gds_mitigated"].value is mitigated


@pytest.mark.parametrize(
    ("texts", "guest", "runs"),
    [
        ({"mds": CLEAR}, True, True),
        ({"tsx_async_abort": ATTEMPTED + "; SMT vulnerable"}, False, True),
        ({"reg_file_data_sampling": "Mitigation: Clear Register File"}, True, True),
        ({"tsa": "Mitigation: Clear CPU buffers"}, True, True),
        ({"tsa": "Mitigation: Clear CPU buffers: user/kernel boundary"}, True, True),
        ({"tsa": "Mitigation: Clear CPU buffers: VM"}, True, None),
        ({"tsa": ATTEMPTED}, True, True),  # stable kernels force it in a virtual machine
        ({"tsa": ATTEMPTED}, False, None),  # on bare metal nothing is attempted
        ({"mmio_stale_data": CLEAR}, True, None),  # MMIO alone never runs it on exit to user
        ({}, True, None),
        (
            dict.fromkeys(
                ("mds", "tsx_async_abort", "mmio_stale_data", "reg_file_data_sampling", "tsa"), "Not affected"
            ),
            True,
            False,
        ),
    ],
)
def test_what_texts_tell_of_verw(texts: dict[str, str], guest: bool, runs: bool | None) -> None:
    assert runs_verw(texts, guest=guest) is runs
