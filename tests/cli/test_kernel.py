"""archcaps kernel as a user runs it: the real command, its output, its exit codes, its errors."""

from __future__ import annotations

import json
import os
import shlex
import subprocess

import jsonschema
import pytest

from archcaps.report.kernel import kernel_schema
from archcaps.tables.kernels import BEHAVIOURS
from tests.cli.running import ROOT, archcaps, assert_refused, on_terminal

RELEASES = (
    "5.10.223",
    "5.17-rc5",
    "6.1.153",
    "6.7.12",
    "6.18.30-61.116.amzn2023.x86_64",
    "6.1.0-49-amd64",
    "99.0",
    "2.6.32",
)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return archcaps("kernel", *arguments, stdin=b"", **environment)


def flat(text: str) -> str:
    return " ".join(text.split())


def test_one_release() -> None:
    result = run("6.1.153")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("Linux 6.1.153\n\nIn short\n")
    assert "0x400000001d1ae1ff" in result.stdout
    assert "(offers_synthesised_tsa_bits); since 6.1.153" in flat(result.stdout)
    assert "since before 5.4-rc8, the oldest read" in flat(result.stdout)


def test_the_themes_come_in_a_reader_s_order() -> None:
    headings = [line for line in run("6.1.153").stdout.splitlines() if line and not line.startswith(" ")]
    assert headings[1:-1] == [
        "In short", "What KVM offers in IA32_ARCH_CAPABILITIES", "What KVM offers in CPUID", "FB_CLEAR_DIS",
        "VERW on entry to a guest", "The MSR interface", "What Linux prints and reads",
        "How Linux guards branch prediction",
    ]  # fmt: skip


def test_two_releases_show_only_what_differs() -> None:
    text = run("6.1.152", "6.1.153").stdout
    assert "offers_synthesised_tsa_bits" in text
    assert "offers_its_no" not in text
    assert "6.1.152  no; from 6.1.153 on: yes" in text
    assert "No difference" in run("6.1.154", "6.1.155").stdout


def test_all_adds_sources_and_commits() -> None:
    assert "every point release scanned" not in run("6.1.153").stdout
    assert "31272abd5974" in run("--all", "6.1.153").stdout
    assert "every point release scanned" in flat(run("--all", "6.1.153").stdout)


def test_without_a_release_it_is_this_machine_s() -> None:
    result = run()
    assert result.returncode == 0
    assert result.stdout.startswith(f"Linux {os.uname().release} (running here)\n")


def test_a_hidden_point_release_names_where_it_stands() -> None:
    text = flat(run("6.1.0-49-amd64").stdout)
    assert "does not say which point release it is made from (Debian; uname -v: " in text
    assert "--version-text" in text
    told = run("6.1.0-49-amd64", "--version-text", "#1 SMP Debian 6.1.192-1 (2026-11-10)").stdout
    assert "0x400000001d1ae1ff" in told
    assert "made from 6.1.192" in flat(told)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_the_text_fits_the_width(release: str, columns: str) -> None:
    for line in run("--all", release, COLUMNS=columns).stdout.splitlines():
        longest = max(map(len, line.split()), default=0)
        assert len(line) <= max(int(columns), longest + 28)
        assert line == line.rstrip()


@pytest.mark.parametrize("releases", [*((release,) for release in RELEASES), RELEASES], ids=" ".join)
def test_json_follows_its_committed_schema(releases: tuple[str, ...]) -> None:
    committed = json.loads((ROOT / "schemas" / "kernel-1.json").read_text(encoding="utf-8"))
    answer = json.loads(run("--json", *releases).stdout)
    jsonschema.validate(answer, committed)
    assert answer["format_version"] == 1
    assert [item["asked"] for item in answer["kernels"]] == list(releases)
    for item in answer["kernels"]:
        assert {line["name"] for line in item["behaviours"]} == set(BEHAVIOURS)
        assert all(line["observation"] and line["source"] and line["commit"] for line in item["behaviours"])
    assert json.loads(json.dumps(kernel_schema())).items() <= committed.items()


def test_colours_on_a_terminal_only() -> None:
    assert "\x1b[" not in run("6.1.153").stdout
    assert "\x1b[" in run("6.1.153", "--color").stdout
    assert "\x1b[" in on_terminal("kernel", "6.1.153")
    assert "\x1b[" not in on_terminal("kernel", "6.1.153", NO_COLOR="1")


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("banana",), 65, "'banana' is not a kernel release (expected something like 6.12.117)"),
        (("",), 65, "'' is not a kernel release"),
        (("6.99999999999.1",), 65, "'6.99999999999.1' is not a kernel release"),
        (("6.1.2.3.4",), 65, "is not a kernel release"),
        (("x" * 10_000,), 65, "10000 characters"),
        (("6.1.153", "banana"), 65, "'banana' is not a kernel release"),
        (("6.1-\x1b[31m",), 65, r"\x1b[31m"),
        (("--lal",), 64, "No such option '--lal'"),
        (("--version-text", "x"), 64, "name it"),
        (("6.1.1", "6.1.2", "--version-text", "x"), 65, "belongs to one release"),
        (("6.1.0-49-amd64", "--version-text", "x" * 10_000), 65, "does not name the upstream release"),
    ],
)
def test_wrong_input_is_one_clear_line(arguments: tuple[str, ...], code: int, line: str) -> None:
    result = run(*arguments)
    assert_refused(result, code, line)
    assert len(result.stderr) < 300


def test_every_example_of_the_help_runs() -> None:
    lines = [
        line.strip()
        for line in run("--help", COLUMNS="200").stdout.splitlines()
        if line.startswith("    archcaps kernel")
    ]
    assert len(lines) == 5
    for line in lines:
        assert run(*shlex.split(line)[2:]).returncode == 0
