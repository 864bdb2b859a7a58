"""What came and went while a short line lived is read there, or left open: never taken from the readings around it.

Expected values: 6921ed9049bc (6.3, 6.1.16, 6.2.3), the stable releases of April 2024 (6.6.26 to 6.6.28, 6.8.5 to 6.8.7)
and of October 2023 (6.1.56, 6.5.6); 6.17.7-rc1 review of 31 October 2025; torvalds/linux@556c1ad666ad for v6.17.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from archcaps.questions.predict_case import parse_case
from archcaps.questions.predict_linux import predict_linux
from archcaps.tables.kernels import Release, Track, behaviour

SKYLAKE = {
    "vendor": "GenuineIntel", "family": 6, "model": 94, "stepping": 3, "arch_caps": None,
    "bits": ["spec_ctrl", "intel_stibp", "ssbd", "md_clear", "avx"], "smp": "2,threads=2", "cmdline": "",
    "hypervisor": False, "config": "debian-cloud", "msrs": {"0x8b": "0xf000000000"}, "other_msrs": "0x0",
}  # fmt: skip


def vuln(kernel: str, file: str, **more: Any) -> Any:  # noqa: ANN401  # whatever a case has
    case = {**SKYLAKE, "kernel": kernel, **more}
    return predict_linux([parse_case(json.dumps(case).encode(), "")])[0].vuln[file]


@pytest.mark.parametrize(
    ("kernel", "field"),
    [("6.0.12", ""), ("6.1.15", ""), ("6.1.16", ", STIBP: conditional"), ("6.2.2", ""),
     ("6.2.3", ", STIBP: conditional"), ("6.2.16", ", STIBP: conditional")],
)  # fmt: skip
def test_stibp_with_legacy_ibrs(kernel: str, field: str) -> None:
    text = f"Mitigation: IBRS, IBPB: conditional{field}, RSB filling, PBRSB-eIBRS: Not affected"
    assert vuln(kernel, "spectre_v2") == text


@pytest.mark.parametrize(
    ("kernel", "ending"),
    [("6.8.4", ""), ("6.8.5", "; BHI: Vulnerable (Syscall hardening enabled)"),
     ("6.8.6", "; BHI: Vulnerable (Syscall hardening enabled)"), ("6.8.7", "; BHI: Vulnerable")],
)  # fmt: skip
def test_bhi_on_6_8(kernel: str, ending: str) -> None:
    text = vuln(kernel, "spectre_v2", cmdline="mitigations=off", hypervisor=True)
    sign = "; " if ending else ", "
    fields = sign.join(("Vulnerable", "IBPB: disabled", "STIBP: disabled", "PBRSB-eIBRS: Not affected"))
    assert text == fields + ending


@pytest.mark.parametrize("kernel", ["6.5.0", "6.5.3", "6.5.5"])
def test_srso_is_probed_again_when_its_text_is_read(kernel: str) -> None:
    """srso_show_state calls cpu_has_ibpb_brtype_microcode: family 0x19 finds it by writing SBPB."""
    zen3 = {
        "vendor": "AuthenticAMD", "family": 25, "model": 1, "stepping": 1, "bits": ["amd_ibpb", "ibpb_brtype"],
    }  # fmt: skip
    missing, there = "Mitigation: safe RET, no microcode", "Mitigation: safe RET"
    assert vuln(kernel, "spec_rstack_overflow", **zen3, msr_writes_succeed=False) == missing
    assert vuln(kernel, "spec_rstack_overflow", **zen3, msr_writes_succeed=True) == there


def test_a_reading_that_is_passed_over_and_differs_leaves_it_open() -> None:
    """6.4.10 lies before 6.5.0, and only readings from 6.6 on stand above it."""
    found = behaviour("srso_text_probes_again", Release.parse("6.4.10"))
    assert found.value is None
    assert "between them" in found.source
    versions = [Release.parse(text).version for text in ("6.4.6", "6.5.0", "6.6.1")]
    track = Track.of(versions)
    assert track.passed_over(Release.parse("6.4.10").version, versions[2]) == (versions[1],)
    assert track.passed_over(Release.parse("6.4").version, versions[1]) == ()
    assert track.passed_over(Release.parse("6.6.9").version, versions[2]) == ()


@pytest.mark.parametrize(
    ("kernel", "cmdline", "file", "text"),
    [
        # 5799d5d8a6c8: VMSCAPE by vectors
        ("6.17.0", "mitigations=auto;no_guest_host", "vmscape", "Mitigation: IBPB before exit to userspace"),
        ("6.17.7", "mitigations=auto,no_guest_host", "vmscape", "Vulnerable"),
        ("6.17.0", "mitigations=auto,no_guest_host", "vmscape", "Mitigation: IBPB before exit to userspace"),
        # 440d20154add (6.18): mitigations=off no longer beats mmio_stale_data= and vmscape=
        ("6.17.13", "mitigations=off vmscape=ibpb", "vmscape", "Vulnerable"),
        ("6.18.15", "mitigations=off vmscape=ibpb", "vmscape", "Mitigation: IBPB before exit to userspace"),
        ("6.17.13", "mitigations=off mmio_stale_data=full", "mmio_stale_data", "Vulnerable"),
        ("6.18.15", "mitigations=off mmio_stale_data=full", "mmio_stale_data",
         "Vulnerable: Clear CPU buffers attempted, no microcode; SMT vulnerable"),
        # 9a9f8147ae7f (6.18): the last value counts, known or not, until then
        ("6.17.13", "spectre_v2=off spectre_v2=bogus", "retbleed", "Mitigation: IBRS"),
        ("6.18.15", "spectre_v2=off spectre_v2=bogus", "retbleed", "Vulnerable"),
        # 930f2361fe54 (6.17.7)
        ("6.17.6", "spectre_v2=retpoline", "retbleed", "Mitigation: IBRS"),
        ("6.17.7", "spectre_v2=retpoline", "retbleed", "Vulnerable"),
    ],
)  # fmt: skip
def test_what_6_17_was(kernel: str, cmdline: str, file: str, text: str) -> None:
    bits = ["spec_ctrl", "intel_stibp", "ssbd", "avx"]
    assert vuln(kernel, file, cmdline=cmdline, bits=bits) == text
