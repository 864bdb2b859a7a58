"""archcaps upgrade, as a user runs it."""

from __future__ import annotations

import json

import jsonschema
import pytest

from tests.cli.running import ROOT, archcaps, assert_refused, on_terminal

FOLDER = "examples/tsa-verw-clear-dropped"
TSA = ("--host", f"{FOLDER}/host.toml", "--guest", f"{FOLDER}/guest-6.12.toml")
GUEST = ("--guest", "examples/thread/guest.toml")
FILES = 19


def test_only_what_changes_is_shown_and_the_headline_comes_first() -> None:
    result = archcaps("upgrade", "--to", "6.18.9", *TSA)
    assert (result.returncode, result.stderr) == (2, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "NEWLY EXPOSED: data can leak in this guest that could not before (tsa)."
    assert "The guest stops running VERW on exit to user. Responsible: KVM." in lines[1]
    flat = " ".join(result.stdout.split())
    assert "tsa Vulnerable: Clear CPU buffers Vulnerable: No microcode attempted, no microcode" in flat
    assert "VERW on exit to user runs does not run" in flat
    assert "tsa: false-alarm, safe -> withheld, exposed; responsible: KVM" in flat
    assert "tsa_forces_verw_in_vm" in flat
    assert not any(line.startswith(("mds", "retbleed")) for line in lines)


def test_all_shows_every_file() -> None:
    lines = archcaps("upgrade", "--to", "6.18.9", "--all", *TSA).stdout.splitlines()
    directory = json.loads(archcaps("upgrade", "--to", "6.18.9", "--json", *TSA).stdout)["files"]
    assert len(directory) == FILES
    for change in directory:
        assert any(line.startswith(change["file"] + " ") for line in lines), change["file"]


def test_unknown_no_mitigations_becomes_not_affected() -> None:
    cpu = ("--cpu", "6/0x2a/7", "--arch-capabilities", "none", "--flags", "avx")
    result = archcaps("upgrade", "--from", "6.12.43", "--to", "6.18.9", *cpu)
    assert result.returncode == 3  # no host: nobody knows whether that is the truth
    flat = " ".join(result.stdout.split())
    assert "mmio_stale_data Unknown: No mitigations Not affected" in flat
    assert "What would decide it:" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--to", "6.18.9", *TSA), 2),
        (("--to", "6.12.117", *TSA), 0),
        (("--from", "6.18.9", "--to", "6.12.117", *TSA), 0),
        (("--guest-kernel", "6.18.9", "--to", "6.12.117", *TSA), 0),
        (("--to", "6.18.9", *GUEST, "--host", "examples/thread/host.toml"), 0),
        (("--to", "6.1.0-49-amd64", *TSA), 3),
    ],
)
def test_exit_codes(arguments: tuple[str, ...], code: int) -> None:
    result = archcaps("upgrade", *arguments, "--json")
    assert (result.returncode, json.loads(result.stdout)["exit_code"]) == (code, code)


def test_further_verdicts_are_named_and_count_if_asked() -> None:
    """6.1.43 has no GDS yet; 6.1.192 believes the GDS_NO that the VMM shows on a host that does not mitigate it."""
    machines = ("--host", "examples/gds-no-made-up/host-off.toml", "--guest", "examples/gds-no-made-up/guest.toml")
    release = ("--from", "6.1.43", "--to", "6.1.192")
    plain, counted = (archcaps("upgrade", *release, *machines, *more) for more in ((), ("--further",)))
    flat = " ".join(plain.stdout.split())
    assert "gather_data_sampling: unsaid, exposed -> false-immunity, exposed; responsible: userspace" in flat
    assert "further (--further counts them too): worse (gather_data_sampling)" in flat
    assert (plain.returncode, counted.returncode) == (0, 1)
    assert counted.stdout.startswith("WORSE, but nothing leaks that did not before (gather_data_sampling")


@pytest.mark.parametrize("to", ["6.18.9", "6.12.117", "6.1.0-49-amd64", "7.9"])
def test_json_follows_its_committed_schema(to: str) -> None:
    schema = json.loads((ROOT / "schemas" / "upgrade-1.json").read_text())
    answer = json.loads(archcaps("upgrade", "--to", to, *TSA, "--json").stdout)
    jsonschema.validate(answer, schema)
    assert (answer["from_kernel"], answer["to_kernel"]) == ("6.12.117", to)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (GUEST, 64, "Missing option '--to'"),
        (("--to", "6.18"), 64, "name a guest"),
        (("--to", "6.18", "--cpu", "6/0x55/4"), 64, "--from is missing"),
        (("--to", "6.18", "--from", "6.12", "--guest-kernel", "6.12", *GUEST), 64, "give one of them"),
        (("--to", "banana", *GUEST), 65, "--to: 'banana' is not a kernel release"),
        (("--to", "6.18", "--from", "6.", *GUEST), 65, "--from: '6.' is not a kernel release"),
        (("--to", "6." + "1" * 90, *GUEST), 65, "--to: "),
        (("--to", "6.18", "--guest", "none.toml"), 65, "none.toml: cannot be read"),
    ],
)
def test_wrong_usage_is_one_clear_line(arguments: tuple[str, ...], code: int, line: str) -> None:
    assert_refused(archcaps("upgrade", *arguments), code, line)


@pytest.mark.parametrize("columns", ["66", "100", "300"])
@pytest.mark.parametrize("to", ["6.18.9", "7.9", "6.18.30-" + "x" * 50])
def test_every_line_fits_the_page(columns: str, to: str) -> None:
    result = archcaps("upgrade", "--to", to, "--all", *TSA, COLUMNS=columns)
    assert max(map(len, result.stdout.splitlines())) <= min(int(columns), 100)


def test_colour_is_for_terminals() -> None:
    assert "\x1b[" not in archcaps("upgrade", "--to", "6.18.9", *TSA).stdout
    assert "\x1b[1m" in archcaps("upgrade", "--to", "6.18.9", "--color", *TSA).stdout
    same = ("upgrade", "--to", "6.12.117", *TSA)
    assert "\x1b[1m" in on_terminal(*same)
    assert "\x1b[" not in on_terminal(*same, NO_COLOR="1")
