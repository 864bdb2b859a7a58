"""An MSR that a case does not name is unknown: 0 only where the case says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from archcaps.questions.predict_case import parse_case
from archcaps.questions.predict_linux import predict_linux
from tests.cli.running import archcaps

LOCKED, UNLOCKED = "Mitigation: Microcode (locked)", "Mitigation: Microcode"
#: Bare-metal Ice Lake server; GDS_CTRL is shown. IA32_MCU_OPT_CTRL (0x123) bit 5 is GDS_MITG_LOCK.
ICE_LAKE = {
    "kernel": "6.12.66", "vendor": "GenuineIntel", "family": 6, "model": 106, "stepping": 6, "hypervisor": False,
    "bits": ["spec_ctrl", "intel_stibp", "ssbd", "arch_capabilities", "avx", "md_clear"], "arch_caps": "0x200002b",
    "cmdline": "", "smp": 1, "config": "debian-cloud",
}  # fmt: skip


def gds(**given: Any) -> Any:  # noqa: ANN401  # whatever a case has
    case = parse_case(json.dumps({**ICE_LAKE, **given}).encode(), "")
    found = predict_linux([case])[0].vuln["gather_data_sampling"]
    return sorted(str(text) for text in found) if isinstance(found, list) else found


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, [UNLOCKED, LOCKED]),
        ({"msrs": {"0x8b": "0xd00041000000000"}}, [UNLOCKED, LOCKED]),
        ({"msrs": {"0x123": None}, "other_msrs": "0x0"}, [UNLOCKED, LOCKED]),
        ({"msrs": {}, "other_msrs": 0}, UNLOCKED),
        ({"msrs": {"0x123": "0x0"}}, UNLOCKED),
        ({"msrs": {"0x123": "0x20"}, "other_msrs": "0x0"}, LOCKED),
    ],
)
def test_whether_gds_is_locked(given: dict[str, Any], text: object) -> None:
    assert gds(**given) == text


def test_naming_the_microcode_alone() -> None:
    result = archcaps(
        "predict", "--kernel", "6.12.66", "--cpu", "6/0x6a/6", "--flags",
        "spec_ctrl,intel_stibp,ssbd,arch_capabilities,avx,md_clear", "--arch-capabilities", "0x200002b",
        "--microcode", "0xd000410", "--bare-metal", "--json",
    )  # fmt: skip
    assert result.returncode == 0
    assert sorted(json.loads(result.stdout)["vuln"]["gather_data_sampling"]) == [UNLOCKED, LOCKED]


def test_what_amd_s_osvw_registers_say() -> None:
    """cpu_has_amd_erratum (6.1): the bit of an erratum within the length, else the model; 383 in family 0x10 alone."""
    case = {
        "kernel": "6.1.190", "vendor": "AuthenticAMD", "family": 25, "model": 1, "stepping": 1, "hypervisor": False,
        "bits": ["osvw", "avx"], "arch_caps": None, "cmdline": "", "smp": 1, "config": "debian-cloud",
    }  # fmt: skip

    def bugs(**given: Any) -> tuple[set[str], set[str]]:  # noqa: ANN401  # whatever a case has
        found = predict_linux([parse_case(json.dumps({**case, **given}).encode(), "")])[0]
        names = {"amd_e400", "tlb_mmatch"}
        return names & set(found.bugs), names & set(found.bugs_possible)

    assert bugs(msrs={"0xc0010140": "0x5", "0xc0010141": "0xf"}) == ({"amd_e400"}, set())
    assert bugs(msrs={"0xc0010140": "0x1", "0xc0010141": "0xf"}) == (set(), set())
    assert bugs(msrs={"0xc0010140": "0x0"}, family=16, model=6) == ({"amd_e400", "tlb_mmatch"}, set())
    assert bugs(msrs={"0xc0010140": "0x5", "0xc0010141": "0x0"}, family=16, model=6) == (set(), set())
    assert bugs() == (set(), {"amd_e400"})
