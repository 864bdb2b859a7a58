"""Kernel profiles against those that were published for 27 releases (kvm_profiles.csv), and since when things are so.

The table's short names: D1 FB_CLEAR_DIS decided at load, D2 each time, D3 not while the host runs VERW itself; E0 to E4
the orders of VERW, L1D flush and FB_CLEAR_DIS on VMX entry, oldest first; S1 VERW before VMRUN; T_BUG TSA NO bits on
every host, T_OK and T_STABLE as the host has them, _FILL with TSA_FILL_NO; A1 to A4 the interface of MSR 0x10a.
"""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import pytest

from archcaps.errors import InputError
from archcaps.questions.kernel import kernel
from archcaps.questions.kernel_results import BehaviourLine, KernelProfile
from archcaps.tables.files import read_csv, read_toml
from archcaps.tables.kernels import BEHAVIOURS

#: The behaviours that are files below /sys/devices/system/cpu/vulnerabilities.
FILES = frozenset(
    ("has_earliest_files", "has_mds", "has_taa", "has_srbds", "has_mmio_stale_data", "has_retbleed", "has_gds",
     "has_srso", "has_rfds", "has_its", "has_tsa", "has_vmscape", "has_old_microcode", "has_ghostwrite")
)  # fmt: skip

WITH_NAMES = {
    "read-at-load": "at load", "read-each-time": "each time",
    "never": "none", "decided-at-load": "D1", "evaluated-each-time": "D2", "spares-clearing-host": "D3",
    "spares-clearing-host-decided-at-load": "D3",
    "early-verw-without-mmio": "E0", "early-verw": "E1", "late-verw-mmio-by-device": "E2",
    "late-verw-mmio-by-host-mmio": "E3", "every-verw-late": "E4",
    "no-verw": "none", "verw-before-vmrun": "S1",
    "none": "none", "no-bits-always": "T_BUG", "as-host": "T_OK", "as-host-with-fill-no": "T_OK_FILL",
    "always-writable": "A1", "fixed-after-run": "A2", "fixed-after-run-with-quirk": "A3", "needs-cpuid": "A4",
}  # fmt: skip
PUBLISHED = list(csv.DictReader((Path(__file__).parent / "kvm_profiles.csv").read_text(encoding="utf-8").splitlines()))


def profile(release: str) -> KernelProfile:
    return kernel([release]).kernels[0]


def answers(release: str) -> dict[str, list[str]]:
    return {item.question: item.answers for item in profile(release).profile}


def line(release: str, name: str) -> BehaviourLine:
    return next(item for item in profile(release).behaviours if item.name == name)


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row["release"])
def test_the_profile_is_the_published_one(row: dict[str, str]) -> None:
    found = answers(row["release"])
    expected = {question: row[question].replace("STABLE", "OK") for question in found}
    assert {question: [WITH_NAMES[name] for name in names] for question, names in found.items()} == {
        question: [name] for question, name in expected.items()
    }


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row["release"])
def test_the_mask_is_the_published_one(row: dict[str, str]) -> None:
    mask = profile(row["release"]).mask
    assert mask.unknown == "0x0"
    if row["mask"] == "none":  # from 5.15.55 and 5.19 on without FB_CLEAR_CTRL, bit 18
        assert mask.masked is False
        hidden = 0 if row["release"] == "5.17-rc5" else 1 << 18
        assert int(mask.passes, 16) == (1 << 64) - 1 & ~hidden
    else:
        assert (mask.masked, mask.passes) == (True, row["mask"])


def test_there_are_27_published_profiles() -> None:
    assert len({row["release"] for row in PUBLISHED}) == len(PUBLISHED) == 27


def test_5_4_hides_tsx_ctrl() -> None:
    """Linux 5.4.301 kvm_get_arch_capabilities takes TSX_CTRL (bit 7) and FB_CLEAR_CTRL (bit 18) away; no mask."""
    mask = profile("5.4.301").mask
    assert (mask.masked, int(mask.passes, 16)) == (False, (1 << 64) - 1 & ~(1 << 7) & ~(1 << 18))


@pytest.mark.parametrize("release", ["5.10.223", "5.10.265", "5.15.215", "6.1.192"])
def test_the_older_lines_still_decide_at_load(release: str) -> None:
    """vmx_fb_clear_ctrl_available is there in every one of their releases since June 2022; 6.6 dropped it."""
    assert answers(release)["fb_clear_dis"] == ["spares-clearing-host-decided-at-load"]
    assert answers("6.6.21")["fb_clear_dis"] == ["spares-clearing-host"]


@pytest.mark.parametrize(
    ("last", "first", "question", "before", "after"),
    [
        ("5.4.198", "5.4.199", "fb_clear_dis", "none", "D1"),
        ("5.10.122", "5.10.123", "vmx_entry", "E0", "E1"),
        ("5.10.214", "5.10.215", "vmx_entry", "E1", "E2"),
        ("5.10.214", "5.10.215", "fb_clear_dis", "D1", "D3"),
        ("5.10.239", "5.10.240", "svm_entry", "none", "S1"),
        ("5.15.47", "5.15.48", "fb_clear_dis", "none", "D1"),
        ("5.15.153", "5.15.154", "vmx_entry", "E1", "E2"),
        ("5.15.186", "5.15.187", "svm_entry", "none", "S1"),
        ("6.1.80", "6.1.81", "vmx_entry", "E1", "E2"),
        ("6.1.143", "6.1.144", "svm_entry", "none", "S1"),
        ("6.6.20", "6.6.21", "fb_clear_dis", "D2", "D3"),
        ("6.6.96", "6.6.97", "svm_entry", "none", "S1"),
        ("6.12.36", "6.12.37", "svm_entry", "none", "S1"),
        ("6.12.77", "6.12.78", "interface", "A2", "A3"),
    ],
)
def test_the_point_release_of_a_change(last: str, first: str, question: str, before: str, after: str) -> None:
    assert [WITH_NAMES[name] for name in answers(last)[question]] == [before]
    assert [WITH_NAMES[name] for name in answers(first)[question]] == [after]


@pytest.mark.parametrize(
    "release", ["5.4.200", "5.4.301", "5.10.35", "5.10.200", "5.15.1", "5.15.160", "6.1.17", "6.1.166", "6.1.180",
                "6.6.120", "6.12.80", "6.12.110", "6.18.0", "6.18.30"],
)  # fmt: skip
def test_every_point_release_between_readings_is_known(release: str) -> None:
    """What KVM does, and what Linux does about the VERW family."""
    tables = ("kernels/readings/kvm.csv", "kernels/readings/verw_family.csv")
    named = {name for table in tables for name in read_csv(table)[0]}
    unknown = [item.name for item in profile(release).behaviours if item.value is None]
    not_established = {"notes_host_mmio_for_any_root"}  # from 6.17 on nobody has shown it of the entry itself
    assert set(unknown) & named <= not_established


def test_what_the_tsa_backports_got_wrong() -> None:
    assert answers("5.10.240")["tsa"] == ["verw-clear-only"]
    assert answers("6.1.152")["tsa"] == ["hardware-only"]
    assert answers("6.1.153")["tsa"] == ["as-host"]


def test_a_point_release_may_hold_what_came_after_the_next_release() -> None:
    """6.7.10 took RFDS (March 2024), which 6.8.0 has not; 6.19.y may have taken the fix of 7.0-rc3."""
    assert line("6.7.12", "has_rfds").value is None
    assert line("6.7.0", "has_rfds").value is False
    assert line("6.19.9", "offers_tsa_no_always").value is True
    assert line("6.19.12", "offers_tsa_no_always").value is None
    assert line("6.19.12", "offers_its_no").value is True  # all agree, to the last


@pytest.mark.parametrize(
    ("release", "name", "first", "not_in", "exact"),
    [
        ("6.1.160", "offers_synthesised_tsa_bits", "6.1.153", "6.1.152", True),
        ("6.8.0", "verw_in_entry_asm", "6.8-rc7", "6.8-rc6", True),
        ("6.1.192", "toggles_fb_clear", "5.19-rc3", "5.17-rc5", False),
        ("6.6.50", "snapshots_host_arch_cap", "6.6.0", "6.5.0", False),
        ("6.12.117", "has_mds", "5.4-rc8", None, False),
    ],
)
def test_since_when(release: str, name: str, first: str, not_in: str | None, exact: bool) -> None:
    item = line(release, name)
    assert (item.since, item.not_in, item.exact) == (first, not_in, exact)


def test_until_when() -> None:
    item = line("6.1.100", "offers_its_no")
    assert (item.value, item.until, item.until_exact) == (False, "6.1.139", True)
    assert line("6.1.192", "offers_its_no").until is None


def test_an_unknown_behaviour_has_its_reason_and_what_would_show_it() -> None:
    item = line("6.8.5", "offers_rfds_bits")
    assert (item.value, item.since, item.until) == (None, None, None)
    assert item.source == "no in 6.8.0, yes in 6.10.0"
    assert "the value that KVM offers" in item.observation


@pytest.mark.parametrize("question", read_toml("kernels/profile.toml")["question"], ids=lambda item: item["name"])
def test_every_kernel_has_an_answer_to_every_question(question: dict[str, list[dict[str, list[str]]]]) -> None:
    needs = [set(answer["needs"]) for answer in question["answer"]]
    assert needs[-1] == set()
    assert set().union(*needs) <= set(BEHAVIOURS)
    for one, other in itertools.combinations(needs, 2):
        assert not one <= other  # else the later one could never be the answer


def test_an_unknown_behaviour_leaves_every_answer_it_allows() -> None:
    """6.5.10 stands between 6.5.0, which decides at load, and 6.7 and later, which do not."""
    assert answers("6.5.10")["fb_clear_dis"] == ["decided-at-load", "evaluated-each-time"]
    assert set(answers("99.1")["interface"]) == {
        "needs-cpuid", "fixed-after-run-with-quirk", "fixed-after-run", "always-writable",
    }  # fmt: skip
    assert profile("99.1").unknown_because.startswith("99.1 is newer than every release")
    assert {line.name for line in profile("99.1").behaviours if line.value is not None} <= FILES


class TestDistributions:
    def test_a_hidden_point_release_is_told_by_the_version_text(self) -> None:
        text = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1 (2026-11-10)"
        found = kernel(["6.1.0-49-amd64"], text).kernels[0]
        assert (found.upstream, found.mask.passes) == ("6.1.192", "0x400000001d1ae1ff")
        signature = "Ubuntu 5.15.0-105.115-generic 5.15.148\n"
        found = kernel(["5.15.0-105-generic"], signature).kernels[0]
        assert (found.upstream, found.mask.passes) == ("5.15.148", "0x50ae1ff")

    @pytest.mark.parametrize(
        ("release", "text"),
        [
            ("6.1.0-49-amd64", "#1 SMP"),
            ("6.1.0-49-amd64", "#1 SMP Debian 5.10.223-1 (2026-11-10)"),  # another line
            ("6.1.0-49-amd64", "#1 SMP Debian 6.1.99999999-1"),
            ("5.14.0-427.el9.x86_64", "#1 SMP PREEMPT_DYNAMIC Fri Feb 23 2024"),
            ("6.1.192", "#1 SMP Debian 6.1.192-1"),
        ],
    )
    def test_a_version_text_that_tells_nothing_is_refused(self, release: str, text: str) -> None:
        with pytest.raises(InputError, match="--version-text"):
            kernel([release], text)

    def test_a_visible_point_release_is_an_assumption(self) -> None:
        found = profile("6.1.172-216.329.amzn2023.x86_64")
        assert found.upstream == "6.1.172"
        assert "(Amazon Linux) behaves as upstream 6.1.172" in found.assumption
        upstream = profile("6.1.172")
        assert upstream.assumption == ""
        assert [item.value for item in found.behaviours] == [item.value for item in upstream.behaviours]

    @pytest.mark.parametrize(
        "release", ["5.14.0-427.el9.x86_64", "4.18.0-553.el8_10.x86_64", "5.14.21-150500.55-default"]
    )
    def test_a_base_version_says_only_what_nothing_later_changed(self, release: str) -> None:
        found = profile(release)
        assert found.upstream is None
        known = {item.name for item in found.behaviours if item.value is not None}
        assert ("has_mds" in known) is release.startswith("5.14")  # 4.18 is older than all that was read
        assert not known & {"offers_rfds_bits", "has_retbleed", "toggles_fb_clear"}
        assert "backported" in found.unknown_because
        assert "older than" not in found.unknown_because

    def test_an_unknown_suffix_is_said_to_be_unknown(self) -> None:
        found = profile("6.12.80-acme1")
        assert found.distribution is None
        assert "nobody is known to call kernels -acme1" in found.unknown_because
        assert (found.upstream, found.assumption) == (None, "")


def test_several_releases_have_their_differences() -> None:
    assert kernel(["6.1.152", "6.1.153"]).differences == ["tsa", "offers_verw_clear", "offers_synthesised_tsa_bits"]
    assert kernel(["6.1.154", "6.1.155"]).differences == []
    assert "mask" in kernel(["6.8.0", "6.9.0", "6.10.0"]).differences
