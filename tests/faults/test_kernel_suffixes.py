"""Kernels that somebody made of an upstream release: what they may have taken back later is unknown, and said to be.

Each release and text was read on a real machine or in a distribution's changelog; the comment names which.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

import archcaps
from tests.cli.running import archcaps as run

#: An Ice Lake server in a virtual machine: eIBRS, so that PBRSB is spoken of.
ICE_LAKE: dict[str, Any] = {
    "vendor": "GenuineIntel", "family": 6, "model": 0x6A, "stepping": 6, "hypervisor": True, "arch_caps": "0x2b",
    "bits": ["avx", "avx2", "md_clear", "spec_ctrl", "intel_stibp", "ssbd", "arch_capabilities", "rdrand", "rdseed"],
    "msrs": {"0x8b": "0x0", "0x17": "0x0"}, "cmdline": "", "config": "upstream-defaults", "smp": 1,
}  # fmt: skip
#: What nobody is known to call kernels, or whose version is only where it was forked.
OF_NOBODY = (
    "6.12.57-acme1", "6.12.57-dirty", "6.12.57-00003-g0123456789ab", "6.12.57+", "6.12-rc7-dirty", "6.12.57-x86",
    "6.1.92-4", "6.6.41-amd64", "6.17.9-76061709-generic",
)  # fmt: skip
FORKS = {
    "6.8.12-43-pve": "Proxmox VE",
    "5.10.134-16.3.al8.x86_64": "Alibaba Cloud Linux",
    "5.10.112-005.kangaroo.al8.x86_64": "Alibaba Cloud Linux",
    "5.10.134-16.1.an8.x86_64": "Anolis OS",
    "6.4.3-0_fbk14_hardened_2601_gcd42476b84e9": "Meta",
    "5.10.135.bsk.6-amd64": "ByteDance",
    "5.4.119-1-tlinux4-0010": "TencentOS",
    "5.4.241-19-0017.tl3": "TencentOS",
    "4.18.0-553.47.1.1toss.t4.x86_64": "Red Hat",
    "5.14.0-427.el9.x86_64": "Red Hat",
    "5.14.21-150500.55.88-default": "SUSE",
    "5.10.0-136.12.0.86.oe2203sp1.x86_64": "openEuler",
    "5.15.0-300.163.18.el9uek.x86_64": "Oracle",
}
#: Distributions that follow upstream's point releases.
FOLLOWERS = {
    "6.18.30-61.116.amzn2023.x86_64": "6.18.30",
    "6.13.8-200.fc41.x86_64": "6.13.8",
    "5.15.167.4-microsoft-standard-WSL2": "5.15.167",
    "6.16.9-zen1": "6.16.9",
    "6.6.54-flatcar": "6.6.54",
}


@cache
def answers() -> dict[str, dict[str, Any]]:
    releases = [*OF_NOBODY, *FORKS, *FOLLOWERS, *FOLLOWERS.values(), "6.12.57", "6.12.57+deb13-amd64", "5.10.134",
                "6.4.3", "6.8.12", "6.1.0-54-rt-amd64", "6.8.0-117-generic"]  # fmt: skip
    lines = "\n".join(json.dumps(ICE_LAKE | {"kernel": release}) for release in releases).encode()
    result = run("predict", stdin=lines)
    assert result.returncode == 0, result.stderr
    return dict(zip(releases, map(json.loads, result.stdout.splitlines()), strict=True))


def texts(answer: dict[str, Any], file: str) -> list[str | None]:
    found = answer["vuln"].get(file)
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize(
    ("release", "file", "text"),
    [
        # PBRSB's field, upstream 5.10 from 5.10.136 on: a machine with 5.10.134-16.3.al8 shows it
        ("5.10.134-16.3.al8.x86_64", "spectre_v2", "PBRSB-eIBRS: SW sequence"),
        # upstream from 6.4.9 on: two machines of Meta's with 6.4.3 have the file
        ("6.4.3-0_fbk14_hardened_2601_gcd42476b84e9", "gather_data_sampling", ""),
        # no 6.8.y of upstream has it: Proxmox took the fixes with 6.8.12-15
        ("6.8.12-43-pve", "vmscape", ""),
        ("6.8.12-43-pve", "indirect_target_selection", ""),
    ],
)
def test_what_a_fork_took_back_is_possible(release: str, file: str, text: str) -> None:
    found = texts(answers()[release], file)
    assert any(each is not None and text in each for each in found)
    assert len(found) > 1
    upstream = texts(answers()[release.partition("-")[0]], file)
    assert not any(each is not None and text in each for each in upstream)  # which is why it matters


@pytest.mark.parametrize("release", [*OF_NOBODY, *FORKS])
def test_a_suffix_is_named_and_nothing_is_supposed_of_it(release: str) -> None:
    answer = answers()[release]
    (note,) = answer["notes"]
    assert release in note
    assert FORKS.get(release, "") in note
    assert "is unknown" in note
    assert "assumed" not in answer


@pytest.mark.parametrize("release", [each for each in OF_NOBODY if each.startswith("6.12.57")])
def test_what_the_base_has_stays(release: str) -> None:
    """The files of 6.12.57; VMSCAPE's is of 6.12.47 and later (6.12.57 has it)."""
    answer, base = answers()[release], answers()["6.12.57"]
    assert [file for file in base["vuln"] if None in texts(answer, file)] == []
    for file in base["vuln"]:
        assert set(texts(base, file)) <= set(texts(answer, file)), file


@pytest.mark.parametrize(("release", "upstream"), FOLLOWERS.items())
def test_a_follower_of_upstream_is_supposed_to_do_what_upstream_does(release: str, upstream: str) -> None:
    answer, plain = answers()[release], answers()[upstream]
    (assumption,) = answer["assumed"]["assumptions"]
    assert assumption["name"] == "as-upstream"
    assert f"behaves as upstream {upstream}" in assumption["supposes"]
    assert answer["assumed"]["vuln"] == plain["vuln"]
    for file in {*answer["vuln"], *plain["vuln"]}:
        assert set(texts(plain, file)) <= set(texts(answer, file)), file


def test_debian_s_point_release_is_upstream_s() -> None:
    """linux 6.12.57-1 (trixie): its readings are those of the table."""
    assert answers()["6.12.57+deb13-amd64"] == answers()["6.12.57"]


@pytest.mark.parametrize("release", ["6.1.0-54-rt-amd64", "6.8.0-117-generic"])
def test_a_hidden_point_release_keeps_what_its_line_began_with(release: str) -> None:
    answer = answers()[release]
    files = ("meltdown", "spectre_v1", "spectre_v2", "l1tf", "mds", "tsx_async_abort", "mmio_stale_data", "retbleed")
    assert [file for file in files if None in texts(answer, file)] == []


HOST = {"cpu": "6/0x55/4", "flags": "md_clear,flush_l1d,avx", "arch_capabilities": "none"}


def test_check_names_a_follower_and_strict_does_without_it() -> None:
    release = "6.18.30-61.116.amzn2023.x86_64"
    host, guest = archcaps.host(**HOST, kernel=release), archcaps.guest(**HOST, kernel="6.12.57")
    loose = {each.name: each for each in archcaps.check(host, guest).assumptions}
    assert "behaves as upstream 6.18.30" in loose["as-upstream"].text
    strict = archcaps.check(host, guest, strict=True)
    assert "as-upstream" not in {each.name for each in strict.assumptions}
    assert not any("behaves as upstream" in each.text for each in strict.assumptions)


def test_check_takes_nobody_s_kernel_for_no_other() -> None:
    guest = archcaps.guest(**HOST, kernel="6.8.12-43-pve")
    result = archcaps.check(archcaps.host(**HOST, kernel="6.12.57"), guest)
    assert not any("behaves as upstream" in each.text for each in result.assumptions)
    assert "no such file" in result["tsa"].concludes.possible  # or there is one
    assert len(result["tsa"].concludes.possible) > 1


@pytest.mark.parametrize("release", ["6.8.12-43-pve", "6.12.57-acme1"])
def test_kernel_says_what_is_not_known_and_of_whom(release: str) -> None:
    text = " ".join(run("kernel", release).stdout.split())
    assert f"What changed later is not known: {release}" in text
    profile = json.loads(run("kernel", "--json", release).stdout)["kernels"][0]
    values = {line["name"]: line["value"] for line in profile["behaviours"]}
    assert (profile["upstream"], profile["assumptions"]) == (None, [])
    assert (values["has_mds"], values["has_retbleed"]) == (True, True)
    assert values["offers_tsa_fill_no"] is None
