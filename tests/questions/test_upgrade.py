"""What a new kernel changes for a guest: the traps that sources of both kernels show, and what must stay unsaid."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

import archcaps
from archcaps.machine.snapshot import Kernel
from archcaps.questions.upgrade_results import UpgradeResult
from tests.questions.machines import RELEASES, guests, hosts
from tests.scenarios.running import machine

THREAD = "thread"
#: How Linux 6.16 to 7.1.5 and the stable kernels before them word TSA. Source: arch/x86/kernel/cpu/bugs.c tsa_strings
ATTEMPTED = "Vulnerable: Clear CPU buffers attempted, no microcode"
NO_MICROCODE = "Vulnerable: No microcode"


def texts(result: UpgradeResult, file: str) -> tuple[str | None, str | None]:
    return result[file].before.value, result[file].after.value


def runs_verw(result: UpgradeResult) -> list[tuple[bool | None, bool | None]]:
    return [(change.before, change.after) for change in result.verw]


def test_a_kernel_that_no_longer_forces_verw_exposes_a_guest_without_verw_clear() -> None:
    """The stable kernels run VERW for TSA in any virtual machine, 6.16 and later only with VERW_CLEAR."""
    folder = "tsa-verw-clear-dropped"
    result = archcaps.upgrade(machine(folder, "host"), machine(folder, "guest-6.12"), "6.18.9")
    assert texts(result, "tsa") == (ATTEMPTED, NO_MICROCODE)
    assert runs_verw(result) == [(True, False), (True, False)]
    verdict = result.verdict("tsa")
    assert (str(verdict.before.truth), str(verdict.before.safety)) == ("false-alarm", "safe")
    assert (str(verdict.after.truth), str(verdict.after.safety)) == ("withheld", "exposed")
    assert (str(verdict.after.responsible), verdict.worse, verdict.newly_exposed) == ("KVM", True, True)
    assert result.exit_code == 2
    assert result.headline.startswith("NEWLY EXPOSED: data can leak in this guest that could not before (tsa).")
    assert [each.name for each in result["tsa"].because] == ["guest_kernel.tsa_forces_verw_in_vm"]
    assert [each.subject for each in result.vulnerabilities if each.changes is not False] == ["tsa"]


def test_the_way_back_is_no_worse() -> None:
    folder = "tsa-verw-clear-dropped"
    result = archcaps.upgrade(machine(folder, "host"), machine(folder, "guest-6.18"), "6.12.117")
    assert texts(result, "tsa") == (NO_MICROCODE, ATTEMPTED)
    assert (result.exit_code, result.verdict("tsa").worse) == (0, False)


@pytest.mark.parametrize(("release", "to_text"), [("7.1.5", "Not affected"), ("6.12.117", ATTEMPTED)])
def test_one_kernel_asks_for_a_third_no_bit(release: str, to_text: str) -> None:
    """6.12.117 wants TSA_FILL_NO too and lists family 0x1a; 6.12.85 and 7.1.5 do neither."""
    folder = "tsa-fill-no-missing"
    guest = machine(folder, "guest-turin")
    result = archcaps.upgrade(machine(folder, "host-turin"), guest, release, "6.12.85")
    assert texts(result, "tsa") == ("Not affected", to_text)
    assert result.verw[0].after is (to_text == ATTEMPTED)
    tsa = [bug for bug in result.bugs if bug.name == "tsa"]
    assert [(bug.before, bug.after) for bug in tsa] == ([(False, True)] if to_text == ATTEMPTED else [])


def test_verw_that_stops_leaves_open_whether_it_ever_worked() -> None:
    """Without the host's microcode revision nobody knows whether the old kernel's VERW helped."""
    folder = "tsa-fill-no-missing"
    result = archcaps.upgrade(machine(folder, "host-turin"), machine(folder, "guest-turin"), "7.1.5")
    verdict = result.verdict("tsa")
    assert str(verdict.after.truth) == "false-immunity"
    assert (verdict.worse, verdict.newly_exposed, result.exit_code) == (True, None, 3)
    assert result.headline.startswith("WORSE (tsa). Facts are missing to tell whether data can leak")


SANDY_BRIDGE = {"cpu": "6/0x2a/7", "flags": "avx", "arch_capabilities": "none"}


def test_unknown_becomes_not_affected_without_any_other_change() -> None:
    """6.16 dropped MMIO_UNKNOWN: a model on neither list reads "Not affected" from then on."""
    host = archcaps.host(cpu="6/0x2a/7", flags="avx", arch_capabilities="none", kernel="6.12.117")
    guest = archcaps.guest(**SANDY_BRIDGE, kernel="6.12.43")
    result = archcaps.upgrade(host, guest, "6.18.9")
    assert texts(result, "mmio_stale_data") == ("Unknown: No mitigations", "Not affected")
    assert texts(result, "mds") == (ATTEMPTED + "; SMT Host state unknown",) * 2
    bug = next(bug for bug in result.bugs if bug.name == "mmio_unknown")
    assert (bug.before, bug.after) == (True, False)
    assert [each.name for each in result["mmio_stale_data"].because] == ["guest_kernel.has_mmio_unknown"]


def test_what_was_observed_counts_for_its_own_kernel_only() -> None:
    host, guest = machine(THREAD, "host"), machine(THREAD, "guest")
    seen = replace(guest, vulnerabilities={"mds": ATTEMPTED + "; SMT Host state unknown", "retbleed": "Not affected"})
    result = archcaps.upgrade(host, seen, "6.18.9")
    # Neither is what this kernel prints on this CPU: which of the two is so is not known.
    assert texts(result, "mds") == (None, "Mitigation: Clear CPU buffers; SMT Host state unknown")
    assert (result["mds"].before.observed, result["mds"].after.observed) == (True, False)
    assert texts(result, "retbleed") == (None, "Mitigation: IBRS")
    notes = [notice.text for notice in result.notices]
    assert any(
        note.startswith("retbleed: the guest says 'Not affected', modelled: 'Mitigation: IBRS'") for note in notes
    )
    other = archcaps.upgrade(host, seen, "6.18.9", from_="6.12.43")
    assert texts(other, "mds") == ("Mitigation: Clear CPU buffers; SMT Host state unknown",) * 2


def test_behaviours_observed_under_the_old_kernel_do_not_hold_for_the_new_one() -> None:
    folder = "tsa-verw-clear-dropped"
    guest = machine(folder, "guest-6.12")
    kernel = replace(guest.kernel, release="6.12.0-55-generic", behaviours={"tsa_forces_verw_in_vm": True})
    result = archcaps.upgrade(machine(folder, "host"), replace(guest, kernel=kernel), "6.18.9")
    assert runs_verw(result)[0][1] is False
    assert texts(result, "tsa")[1] == NO_MICROCODE


def test_mitigations_off_means_less_from_6_17_on() -> None:
    """From 6.17 on mitigations=off is only the default of options that are not given."""
    guest = archcaps.guest(
        cpu="6/0x55/4", flags="md_clear", arch_capabilities="none", kernel="6.12.117",
        cmdline="mitigations=off mds=full",
    )  # fmt: skip
    result = archcaps.upgrade(machine(THREAD, "host"), guest, "6.18.9")
    assert texts(result, "mds")[0] == "Vulnerable; SMT Host state unknown"
    assert texts(result, "mds")[1] == "Mitigation: Clear CPU buffers; SMT Host state unknown"
    assert runs_verw(result)[0] == (False, True)


@pytest.mark.parametrize("release", ["6.1.0-49-amd64", "9.9.9"])
def test_of_a_kernel_nobody_knows_nothing_is_guessed(release: str) -> None:
    folder = "tsa-verw-clear-dropped"
    result = archcaps.upgrade(machine(folder, "host"), machine(folder, "guest-6.12"), release)
    change = result["tsa"]
    assert (change.after.value, change.changes) == (None, None)
    assert {"Not affected", ATTEMPTED} & set(change.after.possible)
    assert result.exit_code == 3
    assert result.missing


def test_what_is_unknown_of_the_host_does_not_make_anything_change() -> None:
    result = archcaps.upgrade(archcaps.host(), machine(THREAD, "guest"), "6.12.117")
    assert (result.headline, result.exit_code) == ("NOTHING CHANGES: it is the same kernel.", 0)
    result = archcaps.upgrade(archcaps.host(), machine(THREAD, "guest"), "6.18.9")
    assert not result.verdict("mds").before.truth.decided
    assert (result.verdict("mds").worse, result.verdict("mds").newly_exposed) == (False, False)


@pytest.mark.parametrize("to", ["6.12.117", " 6.12.117 "])
def test_the_same_release_twice_changes_nothing(to: str) -> None:
    result = archcaps.upgrade(machine(THREAD, "host"), machine(THREAD, "guest"), to)
    assert result.exit_code == 0
    assert result.headline == "NOTHING CHANGES: it is the same kernel."
    assert not any(change.changes for change in result.files)
    assert not any(change.changes for change in result.verw)
    assert not any(change.changes for change in result.bugs)
    assert not any(change.changes for change in (*result.vulnerabilities, *result.further))


@pytest.mark.parametrize(
    ("to", "from_", "line"),
    [
        ("banana", None, "--to: 'banana' is not a kernel release"),
        ("6.18", "six", "--from: 'six' is not a kernel release"),
    ],
)
def test_a_release_that_is_none_is_refused(to: str, from_: str | None, line: str) -> None:
    with pytest.raises(archcaps.InputError, match=line):
        archcaps.upgrade(machine(THREAD, "host"), machine(THREAD, "guest"), to, from_)


def test_the_present_kernel_has_to_be_known() -> None:
    guest = replace(machine(THREAD, "guest"), kernel=Kernel())
    with pytest.raises(archcaps.InputError, match="present kernel release is not known"):
        archcaps.upgrade(machine(THREAD, "host"), guest, "6.18.9")
    with pytest.raises(archcaps.InputError, match="0x10a is another register"):
        archcaps.upgrade(archcaps.host(cpu="centaur:6/10/0"), machine(THREAD, "guest"), "6.18.9")
    with pytest.raises(KeyError):
        archcaps.upgrade(machine(THREAD, "host"), machine(THREAD, "guest"), "6.18.9").verdict("spectre_v7")


@settings(max_examples=25, deadline=None)
@given(host=hosts, guest=guests)
def test_each_side_is_what_check_says_of_that_kernel(host: archcaps.Snapshot, guest: archcaps.Snapshot) -> None:
    to = RELEASES[len(str(guest)) % len(RELEASES)]
    result = archcaps.upgrade(host, guest, to)
    before = archcaps.check(host, guest)
    after = archcaps.check(host, replace(guest, kernel=replace(guest.kernel, release=to)))
    for each, old, new in zip(result.further, before.further, after.further, strict=True):
        assert (each.before.truth, each.after.truth) == (old.truth, new.truth)
        assert (each.before.safety, each.after.safety) == (old.safety, new.safety)
        if each.worse is False:
            assert not (old.safety.value == "safe" and new.exposed)
    for change, was, now in zip(result.vulnerabilities, before.vulnerabilities, after.vulnerabilities, strict=True):
        assert (change.before.truth, change.before.safety) == (was.truth, was.safety)
        assert (change.after.truth, change.after.safety) == (now.truth, now.safety)
        assert result[was.vulnerability].before.possible == was.concludes.possible
        if change.newly_exposed:
            assert now.exposed
        if now.exposed and not was.exposed and was.safety.decided:
            assert result.exit_code == 2
