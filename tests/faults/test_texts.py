"""Texts of /sys/devices/system/cpu/vulnerabilities that no kernel writes, or not this one on this CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

import archcaps

EXAMPLES = Path(__file__).parents[2] / "examples"
VERW = EXAMPLES / "verw-after-fb-clear-dis"
HOST = archcaps.read_snapshot(VERW / "host-7.2.toml")
GUEST = archcaps.read_snapshot(VERW / "guest.toml")
NOBODY_S = [
    "",
    "not affected",
    "Mitigation: Foo",
    "Vulnerable: foo",
    "Mitigation: PTI",
    "KVM: Vulnerable",
    "Mitigation;",
]


@pytest.mark.parametrize("text", NOBODY_S)
@pytest.mark.parametrize("role", ["host", "guest"])
def test_what_no_kernel_writes_changes_no_verdict(role: str, text: str) -> None:
    """Each shows nothing of MDS: mds_show_state (Linux bugs.c) has none of them."""
    host = replace(HOST, vulnerabilities={"mds": text}) if role == "host" else HOST
    guest = replace(GUEST, vulnerabilities={"mds": text}) if role == "guest" else GUEST
    before, after = archcaps.check(HOST, GUEST), archcaps.check(host, guest)
    assert after.vulnerabilities == before.vulnerabilities
    assert any(notice.text.startswith(f"mds: the {role} says {text!r}") for notice in after.notices)


@pytest.mark.parametrize(
    ("file", "shown", "written"),
    [
        ("mds", "Mitigation; Clear CPU buffers; SMT vulnerable", "Mitigation: Clear CPU buffers; SMT vulnerable"),
        ("l1tf", "Mitigation; PTE Inversion; VMX conditional cache flushes, SMT vulnerable",
         "Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable"),
        ("spectre_v2", "Mitigation; Enhanced / Automatic IBRS; IBPB conditional; RSB filling; PBRSB-eIBRS SW sequence; "
         "BHI SW loop, KVM SW loop", "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional; RSB filling; "
         "PBRSB-eIBRS: SW sequence; BHI: SW loop, KVM: SW loop"),
    ],
)  # fmt: skip
def test_lscpu_s_form_is_undone_and_said(file: str, shown: str, written: str) -> None:
    """util-linux 2.38 sys-utils/lscpu.c: the first colon of a mitigation is a semicolon there, the others are gone."""
    guest = archcaps.guest(cpu="6/0x55/7", kernel="6.12.117")
    by_lscpu = archcaps.check(HOST, replace(guest, vulnerabilities={file: shown}))
    by_file = archcaps.check(HOST, replace(guest, vulnerabilities={file: written}))
    assert by_lscpu.vulnerabilities == by_file.vulnerabilities
    assert any("lscpu's form" in notice.text and repr(written) in notice.text for notice in by_lscpu.notices)


def test_a_text_that_this_kernel_would_not_print_leaves_no_verdict_safe() -> None:
    """The guest shows no MD_CLEAR, so its kernel says "attempted" (mds_show_state); "Clear" contradicts that."""
    thread = EXAMPLES / "md-clear-hidden"
    host, guest = (archcaps.read_snapshot(thread / f"{name}.toml") for name in ("host-updated", "guest"))
    seen = replace(guest, vulnerabilities={"mds": "Mitigation: Clear CPU buffers; SMT Host state unknown"})
    verdict = archcaps.check(host, seen)["mds"]
    assert set(verdict.claim.possible) == {"mitigated", "no-microcode"}
    assert verdict.truth.value is None
