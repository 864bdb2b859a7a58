"""archcaps check as a user runs it: the real command, its output, its exit codes, its errors."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest

from archcaps.report.json import check_schema
from tests.cli.running import COMMAND, ROOT, assert_refused
from tests.cli.running import archcaps as run

THREAD = ("--host", "examples/thread/host.toml", "--guest", "examples/thread/guest.toml")
INLINE = (
    "--cpu", "6/0x55/4", "--arch-capabilities", "0x0", "--flags", "md_clear,flush_l1d", "--guest-kernel", "6.12.117",
    "--host-cpu", "6/0x8f/8", "--host-arch-capabilities", "0x6e120", "--host-flags", "md_clear,flush_l1d",
    "--host-kernel", "6.12.117",
)  # fmt: skip


def test_the_headline_comes_first() -> None:
    result = run("check", *THREAD)
    lines = result.stdout.splitlines()
    assert lines[0] == "NOT TOLD THE TRUTH, but nothing leaks (mds, mmio_stale_data)."
    assert "KVM sets FB_CLEAR_DIS while it runs. Responsible: userspace." in " ".join(lines[1:3])
    assert result.returncode == 1
    assert result.stderr == ""
    assert max(map(len, lines)) <= 100


def test_every_verdict_shows_the_exact_text() -> None:
    output = run("check", *THREAD).stdout
    assert output.count('"Mitigation: Clear CPU buffers; SMT Host state unknown"') == 2
    assert output.count('"Not affected"') == 3


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (THREAD, 1),
        (("--host", "examples/tsa-no-always/host.toml", "--guest", "examples/tsa-no-always/guest.toml"), 2),
        (("--guest", "examples/thread/guest.toml"), 3),
        (
            (
                "--host-cpu", "6/0x8f/8", "--host-arch-capabilities", "0xe1eb", "--host-flags", "md_clear,flush_l1d",
                "--host-kernel", "6.12.117", "--cpu", "6/0x8f/8", "--arch-capabilities", "0xe0eb", "--flags",
                "md_clear,flush_l1d", "--guest-kernel", "6.12.117",
            ),
            0,
        ),
    ],
)  # fmt: skip
def test_exit_codes(arguments: tuple[str, ...], code: int) -> None:
    assert run("check", *arguments).returncode == code


def test_inline_and_files_give_one_answer() -> None:
    inline = json.loads(run("check", *INLINE, "--json").stdout)
    files = json.loads(run("check", *THREAD, "--json").stdout)
    for one, other in zip(inline["vulnerabilities"], files["vulnerabilities"], strict=True):
        for field in ("concludes", "claim", "truth", "safety", "responsible", "runs_verw", "verw_works"):
            assert one[field] == other[field]


def test_json_follows_its_committed_schema() -> None:
    committed = json.loads((ROOT / "schemas" / "check-1.json").read_text(encoding="utf-8"))
    answer = json.loads(run("check", *THREAD, "--json").stdout)
    jsonschema.validate(answer, committed)
    assert answer["format_version"] == 1
    assert answer["exit_code"] == 1
    generated = json.loads(json.dumps(check_schema()))
    assert generated.items() <= committed.items()


def test_an_undecided_answer_follows_the_schema_too() -> None:
    committed = json.loads((ROOT / "schemas" / "check-1.json").read_text(encoding="utf-8"))
    result = run("check", "--guest", "examples/thread/guest.toml", "--json")
    answer = json.loads(result.stdout)
    jsonschema.validate(answer, committed)
    assert answer["vulnerabilities"][0]["truth"]["value"] is None
    assert len(answer["vulnerabilities"][0]["truth"]["possible"]) > 1


def test_options_replace_values_of_a_file() -> None:
    cured = run("check", *THREAD, "--arch-capabilities", "0x20000", "--json")
    answer = json.loads(cured.stdout)
    assert answer["disable_fb_clear"] is False
    newer = json.loads(run("check", *THREAD, "--guest-kernel", "6.1.192", "--json").stdout)
    assert newer["guest_kernel"] == "6.1.192"


def test_options_set_aside_what_was_observed_of_the_guest_as_it_is() -> None:
    files = (
        "--host",
        "examples/old-model-on-ice-lake/host.toml",
        "--guest",
        "examples/old-model-on-ice-lake/guest.toml",
    )
    cured = json.loads(
        run("check", *files, "--flags", "md_clear,flush_l1d", "--arch-capabilities", "0x20020", "--json").stdout
    )
    mds = next(each for each in cured["vulnerabilities"] if each["vulnerability"] == "mds")
    assert mds["concludes"]["value"] == "Not affected"
    assert [notice for notice in cured["notices"] if notice["kind"] == "difference"] == []


def test_options_that_only_add_what_is_missing_keep_what_was_observed(tmp_path: Path) -> None:
    text = (ROOT / "examples" / "old-model-on-ice-lake" / "guest.toml").read_text(encoding="utf-8")
    path = tmp_path / "guest.toml"
    path.write_text(text.replace('release = "6.1.192"\n', ""), encoding="utf-8")
    files = ("--host", "examples/old-model-on-ice-lake/host.toml", "--guest", str(path))
    answer = json.loads(run("check", *files, "--guest-kernel", "6.1.192", "--json").stdout)
    used = {item["name"] for verdict in answer["vulnerabilities"] for item in verdict["decided_by"]}
    assert "guest.concludes[mds,no-microcode]" in used


def test_a_snapshot_comes_from_standard_input() -> None:
    guest = (ROOT / "examples" / "thread" / "guest.toml").read_bytes()
    assert run("check", "--host", "examples/thread/host.toml", "--guest", "-", stdin=guest).returncode == 1


def test_an_undecided_answer_says_what_to_ask_for() -> None:
    output = run("check", "--cpu", "6/0x55/4", "--flags", "md_clear", "--guest-kernel", "6.12.117").stdout
    assert output.startswith("UNDECIDED: facts are missing for ")
    for request in ("host: kernel release", "host: microcode revision", "host: MSR 0x10a, IA32_ARCH_CAPABILITIES: "):
        assert request in output


def test_all_names_every_deciding_input() -> None:
    answer = json.loads(run("check", *THREAD, "--json").stdout)
    text = " ".join(run("check", *THREAD, "--all").stdout.split())
    for verdict in answer["vulnerabilities"]:
        for item in verdict["decided_by"]:
            name = item["name"].partition(".")[2]
            assert f"{name}={int(item['value'])}" in text


@pytest.mark.parametrize("columns", [66, 80, 100, 200])
def test_lines_fit_the_screen(columns: int) -> None:
    output = run("check", *THREAD, COLUMNS=str(columns)).stdout
    assert max(map(len, output.splitlines())) <= min(columns, 100)
    assert " ".join(output.split()).startswith(
        "NOT TOLD THE TRUTH, but nothing leaks (mds, mmio_stale_data). The guest"
    )


def test_a_dumb_terminal_has_no_colours() -> None:
    command = f"script -qec '{COMMAND} check {' '.join(THREAD)}' /dev/null"
    for term, coloured in (("xterm", True), ("dumb", False)):
        shown = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            capture_output=True,
            check=False,
            env={"PATH": os.environ["PATH"], "TERM": term},
        )
        assert (b"\x1b[1m" in shown.stdout) is coloured


def test_no_colour_where_nobody_looks_or_wants_it() -> None:
    assert "\x1b[" not in run("check", *THREAD).stdout
    assert "\x1b[" in run("check", *THREAD, "--color").stdout
    assert "\x1b[" not in run("check", *THREAD, "--no-color").stdout
    assert "\x1b[" not in run("check", *THREAD, NO_COLOR="1").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("chekc",), 64, "No such command 'chekc'"),
        (("check", "--hots", "x"), 64, "No such option '--hots'"),
        (("check", "--host", "-", "--guest", "-"), 64, "standard input can hold one of --host and --guest, not both"),
        (
            ("check", "--assume", "luck", *THREAD),
            64,
            "'luck' is not one of 'user-mmio', 'host-mmio', 'default-options'",
        ),
        (("check", "--host", "none.toml"), 65, "none.toml: cannot be read: No such file or directory"),
        (
            ("check", "--host", "examples/thread/guest.toml"),
            65,
            "this is the snapshot of a guest, a host is wanted here",
        ),
        (("check", "--flags", "md_claer"), 65, "--flags: unknown bit 'md_claer' (did you mean md_clear?)"),
        (("check", "--flags", "mds_no"), 65, "--flags: 'mds_no' is a bit of an MSR"),
        (("check", "--arch-capabilities", "0x10000000000000000"), 65, "does not fit in 64 bits"),
        (("check", "--arch-capabilities", "-1"), 65, "'-1' is not a number"),
        (("check", "--cpu", "centaur:6/15/1"), 65, "on CentaurHauls CPUs MSR 0x10a is another register"),
        (("check", "--guest-kernel", "latest"), 65, "--guest-kernel: 'latest' is not a kernel release"),
    ],
)
def test_wrong_usage_is_one_clear_line(arguments: tuple[str, ...], code: int, line: str) -> None:
    assert_refused(run(*arguments), code, line)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("broken.toml", 'format_version = 1\nrole = "guest"\n[cpu\n', "broken.toml:3: broken TOML"),
        (
            "type.toml",
            'format_version = 1\nrole = "guest"\n[cpu]\nfamily = true\n',
            "type.toml:4: cpu.family: expected",
        ),
        ("arm.toml", 'format_version = 1\nrole = "guest"\n[cpu]\nvendor = "ARM"\n', "'ARM' is no x86 vendor"),
    ],
)
def test_a_broken_snapshot_is_one_clear_line(tmp_path: Path, name: str, text: str, line: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    result = run("check", "--guest", str(tmp_path / name))
    assert result.returncode == 65
    assert len(result.stderr.splitlines()) == 1
    assert line in result.stderr


def test_an_internal_error_is_no_traceback(tmp_path: Path) -> None:
    # A package that fails on import stands in for a bug.
    broken = tmp_path / "msgspec"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise RuntimeError('boom')", encoding="utf-8")
    result = run("check", *THREAD, PYTHONPATH=str(tmp_path))
    assert result.returncode == 70
    assert "internal error in archcaps" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in run("check", *THREAD, PYTHONPATH=str(tmp_path), ARCHCAPS_DEBUG="1").stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"'{COMMAND}' check {' '.join(THREAD)} --all | true; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, check=False)
    assert result.returncode in (1, 141)
    assert result.stderr == b""


def test_a_shell_can_complete() -> None:
    assert "complete" in run(_ARCHCAPS_COMPLETE="bash_source").stdout
    words = run(_ARCHCAPS_COMPLETE="bash_complete", COMP_WORDS="archcaps ch", COMP_CWORD="1").stdout
    assert words == "plain,check\n"


def test_help_teaches() -> None:
    output = run("check", "--help").stdout
    assert "Examples:" in output
    assert "Exit codes:" in output
    assert "archcaps check --host examples/thread/host.toml" in output
    top = run("--help").stdout
    assert "check" in top
    assert run("--version").stdout.startswith("archcaps ")
