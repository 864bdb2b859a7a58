"""A release that is newer than the newest of its line that was read.

What no kernel ever took away stays known; the rest is unknown, and beside it stands, marked as an assumption, what the
newest reading says. Which release that is the tables say; the tests ask with releases that stay beyond it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import archcaps
from tests.cli.running import archcaps as run

#: Skylake-SP in a virtual machine that shows neither RTM nor MSR 0x10a.
SKYLAKE: dict[str, Any] = {
    "vendor": "GenuineIntel", "family": 6, "model": 0x55, "stepping": 4, "hypervisor": True, "arch_caps": None,
    "bits": ["avx", "avx2", "md_clear", "spec_ctrl", "intel_stibp", "ssbd", "flush_l1d", "rdrand", "rdseed"],
    "msrs": {"0x8b": "0x0", "0x17": "0x0"}, "cmdline": "", "config": "debian-cloud", "smp": 1,
}  # fmt: skip
#: Releases of long-term lines and of the newest line, more than any that will be read soon.
NEWER = ("5.4.4000", "5.10.4000", "5.15.4000", "6.1.4000", "6.6.4000", "6.12.4000", "6.18.4000", "7.3.4000")
#: Files that each of these lines has since its x.y.0. Source: Linux 5.4 drivers/base/cpu.c
EARLIEST = ("meltdown", "spectre_v1", "spectre_v2", "spec_store_bypass", "l1tf", "mds", "tsx_async_abort")
#: What 5.19 to 6.5 brought, which 6.12, 6.18 and 7.3 have since their x.y.0.
LATER = ("mmio_stale_data", "retbleed", "gather_data_sampling", "spec_rstack_overflow", "reg_file_data_sampling")


def predict(*cases: dict[str, Any], strict: bool = False) -> list[dict[str, Any]]:
    lines = "\n".join(map(json.dumps, cases)).encode()
    result = run("predict", *(["--strict"] if strict else []), stdin=lines)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def texts(answer: dict[str, Any], file: str) -> list[str | None]:
    found = answer["vuln"].get(file)
    return found if isinstance(found, list) else [found]


@cache
def newest_readings() -> dict[str, str]:
    """Return the newest release that was read of the line of each of `NEWER`, as `archcaps kernel` says it."""
    profiles = json.loads(run("kernel", "--json", *NEWER).stdout)["kernels"]
    for profile in profiles:
        assert [each["name"] for each in profile["assumptions"]] == ["newest-reading"]
        assert profile["upstream"].split(".")[:2] == profile["asked"].split(".")[:2]
    return {profile["asked"]: profile["upstream"] for profile in profiles}


@cache
def predicted() -> dict[str, dict[str, Any]]:
    """Return the answers for `NEWER` and for the newest readings of their lines, asked at once."""
    releases = [*NEWER, *newest_readings().values()]
    return dict(zip(releases, predict(*(SKYLAKE | {"kernel": release} for release in releases)), strict=True))


@pytest.mark.parametrize("release", NEWER)
def test_files_that_no_kernel_lost_are_there(release: str) -> None:
    files = EARLIEST + (LATER if release.startswith(("6.12.", "6.18.", "7.3.")) else ())
    assert [file for file in files if None in texts(predicted()[release], file)] == []


@pytest.mark.parametrize("release", NEWER)
def test_what_the_newest_reading_says_stands_beside_it(release: str) -> None:
    like = newest_readings()[release]
    beyond, read = predicted()[release], predicted()[like]
    assumed = beyond["assumed"]
    assert [each["name"] for each in assumed["assumptions"]] == ["newest-reading"]
    assert f"{release} behaves as {like}" in assumed["assumptions"][0]["supposes"]
    for key in ("vuln", "bugs", "verw"):
        assert assumed[key] == read[key]
    for file in {*beyond["vuln"], *assumed["vuln"]}:
        assert set(texts(assumed, file)) <= set(texts(beyond, file)), file
    assert f"newer than {like}" in beyond["notes"][0]
    assert "assumed" not in read
    assert "notes" not in read


def test_strict_leaves_the_assumption_out() -> None:
    case = SKYLAKE | {"kernel": "6.12.4000"}
    loose, strict = predict(case)[0], predict(case, strict=True)[0]
    assert "assumed" not in strict
    assert strict == {key: value for key, value in loose.items() if key != "assumed"}


def test_the_table_shows_both_marked() -> None:
    shown = run("predict", "--kernel", "6.12.4000", "--cpu", "6/0x55/4", "--flags", "md_clear,avx").stdout
    exact, mark, assumed = shown.partition("Assumed: ")
    assert "Note: 6.12.4000 is newer than" in exact
    assert "(newest-reading)" in assumed
    assert mark and "or" in exact
    assert "no such file" not in assumed


def test_what_is_assumed_is_what_linux_says() -> None:
    """MD_CLEAR without a NO bit: every Linux since 5.2 says so (bugs.c mds_strings, mds_show_state)."""
    for release in NEWER:
        assumed = predicted()[release]["assumed"]
        assert assumed["vuln"]["mds"] == "Mitigation: Clear CPU buffers; SMT Host state unknown"


def test_between_two_readings_nothing_is_assumed() -> None:
    """6.8.5 may have what 6.9 has: 6.8.0 is no better guess (6.8.2 took RFDS over)."""
    answer = predict(SKYLAKE | {"kernel": "6.8.5"})[0]
    assert "assumed" not in answer


def test_a_line_that_nobody_read_has_no_newest_reading() -> None:
    for answer in predict(*(SKYLAKE | {"kernel": release} for release in ("7.99.1", "8.0", "9.3.1"))):
        assert "assumed" not in answer
        assert set(answer["vuln_cut"]) == set(answer["vuln"])  # any text is possible
        assert "any text is possible" in answer["notes"][0]
        assert [file for file in EARLIEST + LATER if None in texts(answer, file)] == []


HOST = {"cpu": "6/0x55/4", "flags": "md_clear,flush_l1d,avx", "arch_capabilities": "none"}


def pair(host_kernel: str, guest_kernel: str) -> tuple[archcaps.Snapshot, archcaps.Snapshot]:
    return archcaps.host(**HOST, kernel=host_kernel), archcaps.guest(**HOST, kernel=guest_kernel)


def test_check_names_what_it_rests_on_and_strict_does_without() -> None:
    """The TSX file of a guest without RTM: only the kernel's release could change the answer."""
    like = newest_readings()["6.12.4000"]
    as_read = archcaps.check(*pair(like, like))
    beyond = archcaps.check(*pair("6.12.4000", "6.12.4000"))
    assert [one.truth.value for one in beyond.vulnerabilities] == [one.truth.value for one in as_read.vulnerabilities]
    named = [each for each in beyond.assumptions if each.name == "newest-reading"]
    assert [each.text.split(" behaves")[0] for each in named] == [
        "the host's kernel 6.12.4000", "the guest's kernel 6.12.4000",
    ]  # fmt: skip
    assert any(each.inputs for each in named)
    strict = archcaps.check(*pair("6.12.4000", "6.12.4000"), strict=True)
    assert {each.name for each in strict.assumptions} == {""}
    assert strict.exit_code == 3


def test_a_headline_that_says_safe_names_the_assumptions() -> None:
    result = archcaps.check(*pair("6.12.4000", "6.12.4000"))
    assert result.exit_code in (0, 1)
    said = result.headline.partition("Assumed for that: ")[2]
    assert "newest-reading" in said
    assert "no-user-mmio" in said or "no-host-mmio" in said or "default-options" in said


@pytest.mark.parametrize("command", ["check", "trace", "fix"])
def test_commands_print_the_assumption_and_take_strict(command: str) -> None:
    options = ("--cpu", "6/0x55/4", "--flags", "md_clear,flush_l1d", "--arch-capabilities", "none", "--guest-kernel",
               "6.12.4000", "--host-cpu", "6/0x55/4", "--host-flags", "md_clear,flush_l1d", "--host-arch-capabilities",
               "none", "--host-kernel", "6.12.4000")  # fmt: skip
    said = " ".join(run(command, *options).stdout.split())
    assert "the host's kernel 6.12.4000 behaves as 6.12." in said
    answer = json.loads(run(command, *options, "--json").stdout)
    assert "newest-reading" in {each["name"] for each in answer["assumptions"]}
    strict = json.loads(run(command, *options, "--json", "--strict").stdout)
    assert {each["name"] for each in strict["assumptions"]} <= {""}


def test_upgrade_to_a_release_nobody_read() -> None:
    result = run("upgrade", "--from", "6.12.78", "--to", "6.12.4000", "--guest", "examples/thread/guest.toml", "--json")
    answer = json.loads(result.stdout)
    assert "newest-reading" in {each["name"] for each in answer["assumptions"]}


def test_kernel_marks_each_line_that_is_assumed() -> None:
    profile = json.loads(run("kernel", "--json", "6.12.4000").stdout)["kernels"][0]
    assert all(line["assumed"] for line in profile["behaviours"] if not line["name"].startswith("has_"))
    files = {line["name"]: line for line in profile["behaviours"]}
    assert (files["has_mds"]["value"], files["has_mds"]["assumed"]) == (True, False)
    strict = json.loads(run("kernel", "--json", "--strict", "6.12.4000").stdout)["kernels"][0]
    assert strict["assumptions"] == []
    assert not any(line["assumed"] for line in strict["behaviours"])
    assert {line["value"] for line in strict["behaviours"] if not line["name"].startswith("has_")} == {None}


def test_audit_says_what_it_supposes_of_a_release(tmp_path: Path) -> None:
    host = {"host_id": "h", "vendor": "GenuineIntel", "family": 6, "model": 85, "stepping": 4, "kernel": "6.12.4000"}
    guest = {"guest_id": "g", "host_id": "h", "kernel": "6.12.4000"}
    (tmp_path / "hosts.ndjson").write_text(json.dumps(host) + "\n", encoding="utf-8")
    (tmp_path / "guests.ndjson").write_text(json.dumps(guest) + "\n", encoding="utf-8")
    loose = json.loads(run("audit", str(tmp_path), "--json", "--quiet").stdout)
    strict = json.loads(run("audit", str(tmp_path), "--json", "--quiet", "--strict").stdout)
    assert any("newest-reading (6.12.4000 behaves as 6.12." in each for each in loose["assumptions"])
    assert strict["assumptions"] == []
