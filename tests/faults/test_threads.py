"""SMT that is possible and not active: fewer CPUs than a core has threads, or as the case says.

Expected values: Linux 6.12.117 arch/x86/kernel/cpu/bugs.c stibp_state: STIBP by prctl prints "conditional" only while
the key switch_to_cond_stibp is on (sched_smt_active), "disabled" where SMT is not possible (cpu_smt_possible).
"""

from __future__ import annotations

import json

import pytest

from archcaps.questions.predict_case import parse_case
from archcaps.questions.predict_linux import predict_linux

GUEST = {
    "kernel": "6.12.117", "vendor": "AuthenticAMD", "family": 25, "model": 1, "stepping": 1, "hypervisor": True,
    "bits": ["amd_ibpb", "amd_ibrs", "amd_stibp", "amd_ssbd", "avx"], "arch_caps": None, "cmdline": "",
    "config": "debian-cloud", "other_msrs": "0x0", "msr_writes_succeed": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"smp": 1}, "; STIBP: disabled"),
        ({"smp": "2,threads=2"}, "; STIBP: conditional"),
        ({"smp": "4,threads=2"}, "; STIBP: conditional"),
        ({"smp": "1,threads=2"}, ""),
        ({"smp": 1, "smt_supported": True}, ""),
        ({"smt_active": False, "smt_supported": True}, ""),
        ({"smt_active": True}, "; STIBP: conditional"),
        ({"smt_supported": False}, "; STIBP: disabled"),
        ({"smp": "2,threads=2", "smt_active": False}, ""),
    ],
)
def test_the_field_of_stibp(given: dict[str, object], field: str) -> None:
    text = predict_linux([parse_case(json.dumps({**GUEST, **given}).encode(), "")])[0].vuln["spectre_v2"]
    assert text == f"Mitigation: Retpolines; IBPB: conditional; IBRS_FW{field}; RSB filling; " + (
        "PBRSB-eIBRS: Not affected; BHI: Not affected"
    )


def test_which_of_more_cpus_share_a_core_is_not_known() -> None:
    text = predict_linux([parse_case(json.dumps({**GUEST, "smp": "2,threads=4"}).encode(), "")])[0].vuln["spectre_v2"]
    assert isinstance(text, list)
    assert len(text) == 2
