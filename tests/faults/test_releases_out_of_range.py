"""Releases that no table speaks for: refused where their texts are not known, else bounded."""

from __future__ import annotations

import json

import pytest

import archcaps
from tests.cli.running import archcaps as run
from tests.cli.running import assert_refused

TOO_OLD = (
    "3.10.0-1160.el7.x86_64", "4.15.0-36-generic", "2.6.32", "5.3", "5.3.18-150300.59-default", "4.19.0-27-amd64",
    "4.12.14-122.231-default", "4.14.355-275.572.amzn2.x86_64", "4.18.0-25-generic", "5.4-rc1",
)  # fmt: skip


def test_a_release_older_than_all_that_was_read_is_refused_in_a_line() -> None:
    lines = "\n".join(json.dumps({"kernel": release}) for release in (*TOO_OLD, "5.4")).encode()
    result = run("predict", stdin=lines)
    assert result.returncode == 65
    *refused, answered = map(json.loads, result.stdout.splitlines())
    for number, (release, answer) in enumerate(zip(TOO_OLD, refused, strict=True), start=1):
        said = f"line {number}: kernel: {release} is older than Linux 5.4, the oldest that was read: "
        assert answer == {"error": f"{said}archcaps does not know its texts (expected a release from 5.4 on)"}
    assert "vuln" in answered


def test_the_case_from_options_is_refused_likewise() -> None:
    result = run("predict", "--kernel", "4.15.0-36-generic", "--cpu", "6/0x55/4")
    assert_refused(result, 65, "archcaps: --kernel: 4.15.0-36-generic is older than Linux 5.4")


def test_a_host_for_its_kvm_is_refused_likewise() -> None:
    result = run("predict", "--kvm", stdin=b'{"kernel": "4.15.0-36-generic"}')
    assert result.returncode == 65
    assert "is older than Linux 5.4" in json.loads(result.stdout)["error"]


def test_red_hat_s_4_18_is_bounded_with_its_own_words() -> None:
    """AlmaLinux 4.18.0-80.el8 to 4.18.0-553.66.1.el8_10, arch/x86/kernel/cpu/bugs.c spectre_v2_strings."""
    case = {"vendor": "GenuineIntel", "family": 6, "model": 85, "stepping": 4, "hypervisor": True,
            "bits": ["md_clear", "avx", "spec_ctrl", "intel_stibp", "ssbd"], "arch_caps": None}  # fmt: skip
    releases = ("4.18.0-240.el8.x86_64", "4.18.0-553.47.1.1toss.t4.x86_64")
    result = run("predict", stdin="\n".join(json.dumps(case | {"kernel": each}) for each in releases).encode())
    assert result.returncode == 0
    for answer in map(json.loads, result.stdout.splitlines()):
        texts = answer["vuln"]["spectre_v2"]
        assert "vuln_cut" not in answer
        for mode in ("IBRS (kernel)", "IBRS (kernel and user space)", "Full retpoline and IBRS (user space)", "IBRS",
                     "Retpolines", "Full generic retpoline"):  # fmt: skip
            assert any(text and text.startswith(f"Mitigation: {mode}, IBPB: conditional") for text in texts), mode
        assert "Red Hat" in answer["notes"][0]


@pytest.mark.parametrize("release", ["4.15.0-36-generic", "3.10.0-1160.el7.x86_64", "8.0"])
def test_check_says_that_what_such_a_kernel_does_is_unknown(release: str) -> None:
    values = {"cpu": "6/0x55/4", "flags": "md_clear,flush_l1d,avx", "arch_capabilities": "none"}
    result = archcaps.check(archcaps.host(**values, kernel="6.12.57"), archcaps.guest(**values, kernel=release))
    assert result.exit_code in (2, 3)
    why = " ".join(each for verdict in result.vulnerabilities for each in verdict.missing.values())
    assert release in why
    assert not any("behaves as" in each.text for each in result.assumptions)
