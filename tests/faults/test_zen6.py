"""Zen 6 and Zen 5 by TSA: on bare metal of family 0x1a the kernel knows the models, or counts them as affected.

Expected values: what Debian's 7.3.4 and 6.12.118 said on each of the 256 models (booted on 0x50 and 0x90).
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from archcaps.questions.predict_case import parse_case
from archcaps.questions.predict_linux import predict_linux

ZEN6 = [range(0x50, 0x60), range(0x80, 0xB0), range(0xC0, 0xD0), range(0xD8, 0xF0)]


def all_of_tsa(kernel: str, models: Iterable[int], *, hypervisor: bool = False) -> list[object]:
    """Return what the kernel says of each of these models."""
    case = {
        "kernel": kernel, "vendor": "AuthenticAMD", "family": 0x1A, "stepping": 0,
        "hypervisor": hypervisor, "bits": ["verw_clear", "ibpb_brtype", "amd_ibpb"], "arch_caps": None, "cmdline": "",
        "smp": 1, "config": "debian-cloud", "other_msrs": "0x0",
    }  # fmt: skip
    cases = [parse_case(json.dumps({**case, "model": model}).encode(), "") for model in models]
    return [found.vuln["tsa"] for found in predict_linux(cases)]


def tsa(kernel: str, model: int, *, hypervisor: bool = False) -> object:
    return all_of_tsa(kernel, [model], hypervisor=hypervisor)[0]


@pytest.mark.parametrize("kernel", ["6.12.118", "7.3.4"])
def test_each_model(kernel: str) -> None:
    spared = [any(model in models for models in ZEN6) for model in range(0x100)]
    expected = ["Not affected" if each else "Mitigation: Clear CPU buffers" for each in spared]
    assert all_of_tsa(kernel, range(0x100)) == expected
    assert set(all_of_tsa(kernel, range(0x100), hypervisor=True)) == {"Mitigation: Clear CPU buffers"}


def test_kernels_that_do_not_know_zen_6() -> None:
    assert tsa("6.12.117", 0x90) == "Mitigation: Clear CPU buffers"
    assert tsa("7.2.13", 0x90) == "Not affected"  # family 0x1a has no TSA there
