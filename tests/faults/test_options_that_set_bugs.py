"""Options that set a bug on a CPU that has it not: /proc/cpuinfo lists it, and KVM no longer offers immunity to it.

Expected values: Linux 6.17 arch/x86/kernel/cpu/bugs.c its_parse_cmdline, retbleed_parse_cmdline, vmscape_parse_cmdline;
6.18 spectre_v2_parse_cmdline; what Debian's 6.18.15 and 7.3.4 said under kvm-intel.
"""

from __future__ import annotations

import json

import pytest

from archcaps.questions.predict_case import parse_case
from archcaps.questions.predict_kvm import predict_kvm
from archcaps.questions.predict_linux import LinuxPrediction, predict_linux

SIERRA_FOREST = {
    "vendor": "GenuineIntel", "family": 6, "model": 175, "stepping": 3, "hypervisor": False, "arch_caps": "0x0",
    "bits": ["arch_capabilities", "avx", "avx2", "intel_stibp", "spec_ctrl", "ssbd", "vmx"], "smp": 1,
    "config": "debian-cloud", "other_msrs": "0x0",
}  # fmt: skip
ZHAOXIN = {
    "vendor": "  Shanghai  ", "family": 7, "model": 59, "stepping": 8, "hypervisor": True, "arch_caps": "0x4",
    "bits": ["arch_capabilities", "avx", "spec_ctrl"], "smp": 1, "config": "debian-cloud", "other_msrs": "0x0",
}  # fmt: skip
#: On Linux's white list as not speculating at all: NO_SPECULATION.
SALTWELL = {**ZHAOXIN, "vendor": "GenuineIntel", "family": 6, "model": 38, "stepping": 1, "arch_caps": "0x2"}


def predicted(case: dict[str, object], **more: object) -> LinuxPrediction:
    return predict_linux([parse_case(json.dumps({**case, **more}).encode(), "")])[0]


@pytest.mark.parametrize(
    ("kernel", "cmdline", "bug"),
    [
        ("6.12.117", "vmscape=force", "vmscape"),
        ("6.12.117", "indirect_target_selection=force", "its"),
        ("6.1.190", "indirect_target_selection=force indirect_target_selection=off", "its"),
        ("6.16.12", "retbleed=unret,force retbleed=off", "retbleed"),
        ("6.18.15", "spectre_v2=on", "spectre_v2_user"),
    ],
)
def test_cpuinfo_lists_what_an_option_sets(kernel: str, cmdline: str, bug: str) -> None:
    case = {**SALTWELL, "kernel": kernel}
    assert bug not in predicted(case, cmdline="").bugs
    assert bug in predicted(case, cmdline=cmdline).bugs


def test_spectre_v2_on_sets_its_bug_from_6_18_and_before_any_nospectre_v2_alone() -> None:
    case = {**SALTWELL, "cmdline": "spectre_v2=on"}
    assert predicted(case, kernel="6.17.13").vuln["spectre_v2"] == "Not affected"
    assert "spectre_v2" in predicted(case, kernel="7.0.13").bugs
    assert "spectre_v2" not in predicted(case, kernel="7.0.13", cmdline="nospectre_v2 spectre_v2=on").bugs


def test_a_part_that_does_not_speculate_has_no_enhanced_ibrs() -> None:
    """cpu_set_bug_bits returns before it sets X86_FEATURE_IBRS_ENHANCED (IBRS_ALL is shown here)."""
    text = predicted(SALTWELL, kernel="7.0.13", cmdline="spectre_v2=on").vuln["spectre_v2"]
    assert str(text).startswith("Mitigation: Retpolines; ")


@pytest.mark.parametrize(
    ("kernel", "cmdline", "text"),
    [
        # 30ef245c6f5a (6.18) asks for the bug first
        ("6.17.13", "retbleed=force", "Mitigation: IBRS"),
        ("6.18.15", "retbleed=force", "Vulnerable"),
        # one pass: an option that counts goes on without the bug
        ("6.12.90", "retbleed=force", "Vulnerable"),
        ("6.12.90", "retbleed=force spectre_v2=ibrs", "Mitigation: IBRS"),
    ],
)
def test_ibrs_on_a_part_without_spectre_v2(kernel: str, cmdline: str, text: str) -> None:
    assert predicted(SALTWELL, kernel=kernel, cmdline=cmdline).vuln["retbleed"] == text


@pytest.mark.parametrize(
    ("kernel", "cmdline", "text"),
    [
        ("6.16.12", "", "(null)"), ("7.3.4", "retbleed=auto,nosmt", "(null)"), ("6.12.118", "", "Vulnerable"),
        ("6.1.190", "", "Vulnerable"), ("7.3.4", "retbleed=off", "Vulnerable"),
        ("7.3.4", "retbleed=unret", "Vulnerable: untrained return thunk / IBPB on non-AMD based uarch"),
    ],
)  # fmt: skip
def test_a_state_without_a_text(kernel: str, cmdline: str, text: str) -> None:
    """Zhaoxin with RSBA: retbleed_strings has no RETBLEED_MITIGATION_AUTO, and %s of NULL is "(null)"."""
    assert predicted(ZHAOXIN, kernel=kernel, cmdline=cmdline).vuln["retbleed"] == text


@pytest.mark.parametrize("kernel", ["6.18.15", "7.3.4"])
def test_kvm_offers_no_immunity_to_a_bug_that_an_option_sets(kernel: str) -> None:
    """The real kvm-intel of both: 0xc000069 instead of 0x400000000c000069."""
    offered = {}
    for cmdline in ("", "indirect_target_selection=force"):
        case = {**SIERRA_FOREST, "kernel": kernel, "cmdline": cmdline}
        found = predict_kvm(parse_case(json.dumps(case).encode(), ""), "").offered
        assert isinstance(found, str)
        offered[cmdline] = int(found, 16)
    assert offered[""] >> 62 & 1
    assert not offered["indirect_target_selection=force"] >> 62 & 1
