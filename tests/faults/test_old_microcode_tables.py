"""Which kernel has which table of the newest microcode, and rows that fit any model.

Expected values: Linux 6.16.1, 6.18.35 and 7.1.5 arch/x86/kernel/cpu/microcode/intel-ucode-defs.h; x86_match_cpu takes
model 0 for any; what Debian's 6.17.13, 7.0.13 and 7.3.4 recorded.
"""

from __future__ import annotations

import json

import pytest

from archcaps.questions.predict_case import parse_case
from archcaps.questions.predict_linux import predict_linux


def text(kernel: str, part: tuple[int, int, int], revision: int, platform: int = 0) -> object:
    family, model, stepping = part
    case = {
        "kernel": kernel, "vendor": "GenuineIntel", "family": family, "model": model, "stepping": stepping,
        "hypervisor": False, "bits": [], "arch_caps": None, "cmdline": "", "smp": 1, "config": "debian-cloud",
        "msrs": {"0x8b": revision << 32, "0x17": platform << 50}, "other_msrs": "0x0",
    }  # fmt: skip
    return predict_linux([parse_case(json.dumps(case).encode(), "")])[0].vuln["old_microcode"]


GRANITE_RAPIDS = (6, 0xAD, 1)


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [("6.16.12", "Not affected"), ("6.17.0", "Not affected"), ("6.17.13", "Not affected"), ("6.18.15", "Vulnerable"),
     ("6.19.14", "Vulnerable"), ("7.0.13", "Vulnerable")],
)  # fmt: skip
def test_granite_rapids_came_with_6_18(kernel: str, expected: str) -> None:
    assert text(kernel, GRANITE_RAPIDS, 0) == expected


@pytest.mark.parametrize("kernel", ["6.16.12", "6.18.15", "7.0.13"])
@pytest.mark.parametrize("model", [0x00, 0x01, 0x05, 0x09])
def test_a_row_of_model_0_fits_every_model_of_its_family(kernel: str, model: int) -> None:
    """Family 0xf, stepping 10 stands in such a row."""
    assert text(kernel, (15, model, 10), 0) == "Vulnerable"
    assert text(kernel, (6, 0x02, 10), 0) == "Not affected"


def test_a_table_that_was_not_read_has_bounds() -> None:
    """7.3.4: below what 7.1.5 has it is old, above nobody knows; parts without updates since 2021 are as they were."""
    ice_lake = (6, 0x6A, 6)
    assert text("7.3.4", ice_lake, 0x1, platform=0) == "Vulnerable"
    assert text("7.3.4", ice_lake, 0xD000500, platform=0) == ["Not affected", "Vulnerable"]
    assert text("7.1.13", ice_lake, 0xD000500, platform=0) == "Not affected"
    assert text("7.3.4", (6, 0x1E, 5), 0xA) == "Not affected"
    assert text("7.3.4", ice_lake, 0x80000000 | 0xD000500) == "Vulnerable"
