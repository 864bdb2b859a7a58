"""archcaps migrate, as a user runs it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import jsonschema
import pytest

from tests.cli.running import ROOT, archcaps, assert_refused

FOLDER = "examples/fb-clear-to-sapphire-rapids"
HOSTS = ("--from", f"{FOLDER}/host-cascade-lake.toml", "--to", f"{FOLDER}/host-tsx-on.toml")
SPR = (*HOSTS, "--guest", f"{FOLDER}/guest.toml")
REFUSED = (*SPR, "--vmm", "libvirt", "--to-vmm-version", "10.1.1")
UPGRADE = "examples/upgrade-across-6.13"
ACROSS = (
    "--from", f"{UPGRADE}/host-6.12.toml", "--to", f"{UPGRADE}/host-6.13.toml", "--guest", f"{UPGRADE}/guest.toml",
    "--vmm", "kvm",
)  # fmt: skip


def test_one_screen_says_who_refuses_for_which_bit_and_what_helps() -> None:
    result = archcaps("migrate", *REFUSED)
    assert (result.returncode, result.stderr) == (4, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "REFUSED by libvirt (fb_clear)."
    assert len(lines) <= 60
    flat = " ".join(result.stdout.split())
    assert "guest CPU doesn't match specification: missing features: fb-clear" in flat
    assert "fb_clear 1 0 untrue costs harmless QEMU, libvirt" in flat
    assert "mmio_stale_data: truthful, safe -> broken-promise, safe (this part is not affected)" in flat
    assert "destination: QEMU 10.1.2, or 10.2 and later:" in flat
    assert "FB_CLEAR_DIS: 0 -> ?" in flat


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (REFUSED, 4),
        ((*SPR, "--vmm", "libvirt", "--to-vmm-version", "10.1.2"), 1),
        ((*SPR, "--vmm", "libvirt"), 3),
        (ACROSS, 1),
        (("--from", HOSTS[1], "--to", HOSTS[1], "--guest", "default"), 0),
    ],
)
def test_exit_codes(arguments: tuple[str, ...], code: int) -> None:
    result = archcaps("migrate", *arguments, "--json")
    assert (result.returncode, json.loads(result.stdout)["exit_code"]) == (code, code)


def test_exit_code_of_a_guest_that_is_newly_exposed(tmp_path: Path) -> None:
    """From Sapphire Rapids to a Skylake server with MDS, by -cpu host."""
    skylake = tmp_path / "skylake.toml"
    skylake.write_text(
        'format_version = 1\nrole = "host"\n[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = "0x55"\nstepping = 4\n'
        '[cpuid]\nshown = ["avx", "md_clear", "flush_l1d", "spec_ctrl", "ssbd"]\n'
        '[kernel]\nrelease = "6.12.117"\ncmdline = ""\nconfig = "upstream-defaults"\n'
    )
    result = archcaps(
        "migrate", "--from", HOSTS[3], "--to", str(skylake), "--guest", "default", "--passthrough",
        "--to-vmm-version", "10.2", "--guest-kernel", "6.12.117",
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stdout.startswith("ACCEPTED, but the guest is shown something else there")
    flat = " ".join(result.stdout.split())
    assert "Newly exposed: mds" in flat
    assert "mds: truthful, safe -> false-immunity, exposed" in flat
    assert 'it says "Not affected"' in flat
    assert "guest: reboot the guest there" in flat


@pytest.mark.parametrize("arguments", [REFUSED, ACROSS, (*SPR, "--vmm", "firecracker")])
def test_json_follows_its_committed_schema(arguments: tuple[str, ...]) -> None:
    schema = json.loads((ROOT / "schemas" / "migrate-1.json").read_text())
    answer = json.loads(archcaps("migrate", *arguments, "--json").stdout)
    jsonschema.validate(answer, schema)
    assert answer["format_version"] == 1


def test_the_guest_can_be_qemus_own_words() -> None:
    words = "qemu-system-x86_64 -accel kvm -machine pc-q35-9.0 -cpu Cascadelake-Server-v7,+md-clear,enforce"
    result = archcaps(
        "migrate", *HOSTS, "--guest", words, "--from-vmm-version", "11.1", "--to-vmm-version", "10.1.1",
        "--guest-kernel", "6.12.117", "--json",
    )  # fmt: skip
    answer = json.loads(result.stdout)
    assert (result.returncode, answer["vmm"], answer["machine"]) == (4, "qemu", "pc-q35-9.0")
    assert [bit["name"] for bit in answer["bits"] if bit["blocks"]] == ["fb_clear"]


def test_help_teaches_with_examples_that_run() -> None:
    result = archcaps("migrate", "--help")
    assert result.returncode == 0
    examples = result.stdout.partition("Examples:")[2].partition("Exit codes:")[0]
    for code in range(5):
        assert f"  {code}  " in result.stdout
    text = examples.replace("\\\n", " ")

    commands = [shlex.split(line) for line in text.splitlines() if line.strip().startswith("archcaps migrate")]
    assert len(commands) == 3
    assert [archcaps(*command[1:]).returncode for command in commands] == [4, 1, 4]


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (HOSTS, 64, "Missing option '--guest'"),
        ((*HOSTS, "--guest", "none.toml"), 65, "none.toml: cannot be read"),
        ((*SPR, "--vmm", "banana"), 64, "Invalid value for '--vmm'"),
        ((*SPR, "--to-vmm-version", "new"), 65, "--to-vmm-version: 'new' is no release of QEMU"),
        ((*SPR, "--saves-msr"), 64, "--saves-msr is about snapshots of Firecracker"),
        (("--from", "-", "--to", "-", "--guest", "default"), 64, "standard input can hold one"),
        (("--from", f"{FOLDER}/guest.toml", "--to", HOSTS[3], "--guest", "default"), 65, "guest"),
        ((*SPR, "--guest-kernel", "banana"), 65, "'banana' is not a kernel release"),
    ],
)
def test_wrong_usage_is_one_clear_line(arguments: tuple[str, ...], code: int, line: str) -> None:
    assert_refused(archcaps("migrate", *arguments), code, line)


@pytest.mark.parametrize("columns", ["66", "100", "300"])
def test_every_line_fits_the_page(columns: str) -> None:
    result = archcaps("migrate", *REFUSED, "--all", COLUMNS=columns)
    assert max(map(len, result.stdout.splitlines())) <= min(int(columns), 100)


def test_colour_is_for_terminals() -> None:
    assert "\x1b[" not in archcaps("migrate", *ACROSS).stdout
    assert "\x1b[1m" in archcaps("migrate", *ACROSS, "--color").stdout


def test_data_of_the_host_and_machines_are_named_once() -> None:
    folder = "examples/flush-in-place-of-verw"
    result = archcaps(
        "migrate", "--from", "examples/fb-clear-to-sapphire-rapids/host-cascade-lake.toml", "--vmm", "kubevirt",
        "--to", f"{folder}/host-mds.toml", "--guest", "default", "--guest-kernel", "6.12.117",
    )  # fmt: skip
    headline = " ".join(result.stdout.partition("\n\n")[0].split())
    assert "Would be newly exposed: mds, mmio_stale_data. " in headline
    assert "Data of the host could leak to the guest there: mds, mmio_stale_data." in headline
    assert "\nto:    Skylake server, Linux 6.6.9\n" in result.stdout
    # The five NO bits of QEMU's rule on FB_CLEAR, of which this host has none.
    assert "here mds_no, taa_no, sbdr_ssdp_no, fbsdp_no and psdp_no are missing" in " ".join(result.stdout.split())
