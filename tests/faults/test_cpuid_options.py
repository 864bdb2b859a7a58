"""clearcpuid= and setcpuid=: the kernel takes flags from itself, or adds them, before it looks for bugs.

Expected values: Linux v6.17 arch/x86/kernel/cpu/common.c parse_set_clear_cpuid; 1ef5423a55c2 (5.10), 1625c833db93
(5.19); recorded: Debian 6.12.118 booted with clearcpuid=md_clear on 6/0x55/4, 7.3.4's kvm-intel with clearcpuid=rtm.
"""

from __future__ import annotations

import json

import pytest

from archcaps.questions.predict_case import parse_case
from archcaps.questions.predict_kvm import predict_kvm
from archcaps.questions.predict_linux import predict_linux

ATTEMPTED = "Vulnerable: Clear CPU buffers attempted, no microcode; SMT disabled"
CLEAR = "Mitigation: Clear CPU buffers; SMT disabled"
SKYLAKE = {
    "vendor": "GenuineIntel", "family": 6, "model": 85, "stepping": 4, "hypervisor": False, "arch_caps": None,
    "bits": ["avx", "avx2", "flush_l1d", "intel_stibp", "md_clear", "spec_ctrl", "ssbd"], "smp": 1,
    "msrs": {"0x8b": "0x200700600000000"}, "other_msrs": "0x0", "config": "debian-cloud",
}  # fmt: skip


def vuln(kernel: str, cmdline: str, **more: object) -> dict[str, object]:
    case = {**SKYLAKE, "kernel": kernel, "cmdline": cmdline, **more}
    return dict(predict_linux([parse_case(json.dumps(case).encode(), "")])[0].vuln)


@pytest.mark.parametrize(
    ("kernel", "cmdline", "mds"),
    [
        ("6.12.118", "clearcpuid=md_clear", ATTEMPTED),
        ("6.18.15", "clearcpuid=umip,md_clear,smap", ATTEMPTED),
        ("6.12.118", "clearcpuid=md_clear clearcpuid=umip", CLEAR),  # the last one counts
        ("5.10.218", "clearcpuid=586", ATTEMPTED),  # 18*32+10
        ("5.10.218", "clearcpuid=514,586", ATTEMPTED),
        ("5.10.218", "clearcpuid=md_clear", CLEAR),  # names from 5.19 on
        ("6.12.118", "clearcpuid=514", CLEAR),  # UMIP, a word that no rule reads
        ("6.12.118", "clearcpuid=nonsense", CLEAR),
        ("6.12.118", "setcpuid=md_clear", CLEAR),
        ("6.18.15", "clearcpuid=md_clear setcpuid=md_clear", CLEAR),  # what is set stands above what is cleared
        ("6.12.118", "clearcpuid=md_clear setcpuid=md_clear", ATTEMPTED),  # 6.12 has no setcpuid=
    ],
)
def test_what_a_kernel_says_of_mds(kernel: str, cmdline: str, mds: str) -> None:
    assert vuln(kernel, cmdline)["mds"] == mds


def test_flags_that_linux_puts_together() -> None:
    plain, cleared = vuln("6.18.15", ""), vuln("6.18.15", "clearcpuid=ssbd,ibpb")
    assert plain["spec_store_bypass"] == "Mitigation: Speculative Store Bypass disabled via prctl"
    assert cleared["spec_store_bypass"] == "Vulnerable"
    assert "; IBPB: conditional" in str(plain["spectre_v2"])
    assert "IBPB" not in str(cleared["spectre_v2"])
    assert str(vuln("6.12.118", "")["retbleed"]) == "Mitigation: IBRS"
    assert str(vuln("6.12.118", "clearcpuid=ibrs")["retbleed"]) == "Vulnerable"


def test_msr_0x10a_is_not_read_without_its_flag() -> None:
    """x86_read_arch_cap_msr: without the flag every bit is 0."""
    shown = {"bits": ["avx", "arch_capabilities", "md_clear"], "arch_caps": "0x20", "model": 0x8F}
    assert vuln("6.12.118", "", **shown)["mds"] == "Not affected"
    assert vuln("6.12.118", "clearcpuid=arch_capabilities", **shown)["mds"] == CLEAR


@pytest.mark.parametrize(
    ("kernel", "cmdline", "file"),
    [
        ("5.4.301", "clearcpuid=586", "mds"),  # 5.4 clears after it has looked for bugs
        ("6.18.15", "setcpuid=srso", "spec_rstack_overflow"),  # the name of a bug
        ("6.12.118", "clearcpuid=hypervisor", "old_microcode"),
    ],
)
def test_what_is_not_known_of_these_options_is_open(kernel: str, cmdline: str, file: str) -> None:
    before = vuln(kernel, "").get(file)
    after = vuln(kernel, cmdline).get(file)
    if file == "old_microcode":  # no such file in 6.12
        assert before is after is None
        assert isinstance(vuln(kernel, cmdline)["mds"], list)
    else:
        assert isinstance(after, list)
        assert before in after


def test_what_kvm_offers() -> None:
    """Recorded on 7.3.4: without RTM KVM hides TAA_NO, 0x400000000c02006b instead of ...02016b."""
    host = {
        "vendor": "GenuineIntel", "family": 6, "model": 85, "stepping": 7, "hypervisor": False,
        "bits": ["arch_capabilities", "avx", "flush_l1d", "intel_stibp", "md_clear", "rtm", "spec_ctrl", "ssbd", "vmx"],
        "arch_caps": "0x400000000c02012b", "smp": 1, "config": "debian-cloud",
    }  # fmt: skip
    for kernel in ("6.18.15", "7.3.4"):
        for cmdline, offered in (("", "0x400000000c02016b"), ("clearcpuid=rtm", "0x400000000c02006b")):
            case = json.dumps({**host, "kernel": kernel, "cmdline": cmdline}).encode()
            assert predict_kvm(parse_case(case, ""), "").offered == offered
