"""archcaps explain as a user runs it: the real command, its output, its exit codes, its errors."""

from __future__ import annotations

import json
import shlex
import subprocess

import jsonschema
import pytest

from archcaps.report.explain import explain_schema
from tests.cli.running import ROOT, archcaps, assert_refused, on_terminal

ATTEMPTED = "Vulnerable: Clear CPU buffers attempted, no microcode"
NAMES = (
    "fb_clear", "mcu_extended_service", "ia32_mcu_opt_ctrl", "mds", "tsa", "noverw", "verw_works", "concludes",
    "same_verdict", "vmx_update_fb_clear_dis", "has_tsa", "withheld", "exposed", "userspace", "no-microcode",
    "observed", ATTEMPTED, "Not affected", "SMT mitigated", "listed_no_mds", "core_type",
)  # fmt: skip


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return archcaps("explain", *arguments, stdin=b"", **environment)


def test_a_bit() -> None:
    result = run("FB-CLEAR")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("fb_clear (bit)\nVERW overwrites the fill buffers")
    assert "bit 17 of IA32_ARCH_CAPABILITIES (MSR 0x10a), mask 0x20000" in result.stdout


def test_several_words_are_one_name() -> None:
    assert run(*ATTEMPTED.split()).stdout == run(ATTEMPTED).stdout
    assert run("guest", "kernel").stdout.startswith("guest kernel (responsible)\n")


def test_an_unverified_bit_says_so_first() -> None:
    assert run("key_locker").stdout.splitlines()[1].startswith("UNVERIFIED: ")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_the_text_fits_the_width(name: str, columns: str) -> None:
    for line in run(name, COLUMNS=columns).stdout.splitlines():
        longest = max(map(len, line.split()), default=0)
        assert len(line) <= max(int(columns), longest + 14) or "  " in line.strip()  # only a table is never broken
        assert line == line.rstrip()


def test_what_is_no_terminal_has_100_columns() -> None:
    assert run("mds").stdout == run("mds", COLUMNS="100").stdout != run("mds", COLUMNS="120").stdout


def test_no_three_blank_lines() -> None:
    for name in NAMES:
        assert "\n\n\n" not in run(name).stdout


def test_colours_on_a_terminal_only() -> None:
    assert "\x1b[" not in run("noverw").stdout
    assert "\x1b[" in run("noverw", "--color").stdout
    assert "\x1b[" in on_terminal("explain", "noverw")
    assert "\x1b[" not in on_terminal("explain", "noverw", TERM="dumb")
    assert "\x1b[" not in on_terminal("explain", "noverw", NO_COLOR="1")
    assert "\x1b[" not in on_terminal("explain", "noverw", "--no-color")
    assert on_terminal("explain", "noverw", NO_COLOR="1") == run("noverw", COLUMNS="80").stdout


@pytest.mark.parametrize("name", NAMES)
def test_json_follows_its_committed_schema(name: str) -> None:
    committed = json.loads((ROOT / "schemas" / "explain-1.json").read_text(encoding="utf-8"))
    answer = json.loads(run(name, "--json").stdout)
    jsonschema.validate(answer, committed)
    assert answer["format_version"] == 1
    assert answer["asked"] == name
    assert answer["explanations"]
    generated = json.loads(json.dumps(explain_schema()))
    assert generated.items() <= committed.items()


def test_the_list_names_everything() -> None:
    committed = json.loads((ROOT / "schemas" / "explain-1.json").read_text(encoding="utf-8"))
    answer = json.loads(run("--list", "--json").stdout)
    jsonschema.validate(answer, committed)
    text = " ".join(run("--list").stdout.split())
    for names in answer["names"].values():
        assert all(name in text for name in names)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ((), 64, "nothing to explain: give a name (see archcaps explain --help)"),
        (("mds", "--list"), 64, "give a name or --list, not both"),
        (("--lits",), 64, "No such option '--lits'"),
        (("fb_claer",), 65, "nothing is called 'fb_claer' (did you mean fb_clear"),
        (("Not affected; SMT vulnerable",), 65, "no file says"),
        (("x" * 5000,), 65, "nothing is called"),
        (("in_mask[",), 65, "nothing is called"),
    ],
)
def test_wrong_usage_is_one_clear_line(arguments: tuple[str, ...], code: int, line: str) -> None:
    assert_refused(run(*arguments), code, line)


def test_every_example_of_the_help_runs() -> None:
    lines = [line.strip() for line in run("--help").stdout.splitlines() if line.startswith("    archcaps explain ")]
    assert len(lines) >= 5
    for line in lines:
        assert run(*shlex.split(line)[2:]).returncode == 0
