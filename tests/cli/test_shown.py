"""archcaps shown, and guests that options, files and running QEMUs name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from tests.cli.running import ROOT, archcaps, assert_refused
from tests.guest_cpu.qemus import needs_qemu, running

HOST = ("--host", "examples/thread/host.toml")
CLX = "-cpu Cascadelake-Server-v6,-fb-clear"


def test_one_screen() -> None:
    result = archcaps("shown", *HOST, "--guest", CLX, "--vmm-version", "10.2.1")
    assert result.returncode == 65  # the first release with that version is 11.1
    assert "QEMU 10.2.1 has no CPU model Cascadelake-Server-v6 (11.1 has it)" in result.stderr
    result = archcaps("shown", *HOST, "--guest", CLX, "--vmm-version", "11.1")
    # What KVM offers of AVX-512 and the like, the snapshot of this host does not say.
    assert re.match(r"STARTS: 2 features dropped, not known of \d\d features\.\n", result.stdout)
    assert "MSR 0x10a: 0xc00a028\n" in result.stdout
    assert "rdctl-no, ibrs-all: dropped by KVM: KVM on this host does not offer it [1]" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert len(result.stdout.splitlines()) < 40


def test_json_is_as_its_schema_says() -> None:
    schema = json.loads((ROOT / "schemas" / "shown-1.json").read_text(encoding="utf-8"))
    for options in (
        (*HOST, "--guest", CLX),
        ("--guest", "qemu:host,migratable=off"),
        (*HOST, "--guest", "qemu:host,+mds-no"),
    ):
        answer = json.loads(archcaps("shown", *options, "--json").stdout)
        jsonschema.validate(answer, schema)
        assert answer["vmm"] == "qemu"
        assert answer["format_version"] == 1
    assert answer["asked"] == [{"name": "mds-no", "policy": "require"}]


def test_exit_codes() -> None:
    assert archcaps("shown", *HOST, "--guest", "qemu:host,-rtm").returncode == 0
    older = ("--host", "examples/fb-clear-not-shown/host.toml", "--vmm-version", "7.2")
    assert archcaps("shown", *older, "--guest", "qemu:host").returncode == 1  # QEMU 7.2 drops FB_CLEAR
    assert archcaps("shown", *HOST, "--guest", "qemu:kvm64,-rtm").returncode == 3  # what of SSE3 and the like?
    assert archcaps("shown", *HOST, "--guest", "qemu:Haswell,enforce").returncode == 2
    assert archcaps("shown", "--guest", "qemu:Haswell").returncode == 3
    assert archcaps("shown", *HOST).returncode == 64


@pytest.mark.parametrize(
    ("guest", "code", "said"),
    [
        ("-cpu Haswell,+fb_clear", 65, "after + a name takes dashes (+fb-clear)"),
        ("qemu:Hasswell", 65, "did you mean Haswell?"),
        ("none.sh", 65, "none.sh: cannot be read"),
        ("README.md", 65, "README.md"),
        ("qemu-system-x86_64 -cpu 'host", 65, "is not closed"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(guest: str, code: int, said: str) -> None:
    for command in ("shown", "check"):
        assert_refused(archcaps(command, *HOST, "--guest", guest), code, said)


def test_options_that_do_not_go_together() -> None:
    assert_refused(archcaps("shown", *HOST, "--guest", "qemu:host", "--pid", "1"), 64, "either --guest or --pid")
    assert_refused(archcaps("check", *HOST, "--guest", "default", "--machine", "q35"), 64, "--guest names none")
    assert_refused(archcaps("shown", *HOST, "--guest", "qemu:host", "--vmm-version", "x"), 65, "is no release of QEMU")
    assert_refused(archcaps("shown", "--qmp", "/nowhere"), 65, "/nowhere: cannot be connected to")


def test_check_takes_a_command_line_from_a_file(tmp_path: Path) -> None:
    """The file says what the option would; what was supposed on the way is said."""
    file = tmp_path / "vm.sh"
    file.write_text(
        "#!/bin/sh\nexec qemu-system-x86_64 -enable-kvm -name db -cpu Cascadelake-Server-v5 -m 2G\n", "utf-8"
    )
    result = archcaps("check", *HOST, "--guest", str(file), "--guest-kernel", "6.12.117", "--json")
    answer = json.loads(result.stdout)
    assert answer["guest"] == "db"
    mmio = next(each for each in answer["vulnerabilities"] if each["vulnerability"] == "mmio_stale_data")
    assert mmio["concludes"]["value"].startswith("Vulnerable: Clear CPU buffers attempted, no microcode")
    assert any("QEMU's release is not given" in each["text"] for each in answer["assumptions"])
    assert any(each["kind"] == "configuration" for each in answer["notices"])


def test_a_guest_that_does_not_start_is_the_first_notice() -> None:
    answer = json.loads(
        archcaps("check", *HOST, "--guest", "qemu:host,+fb-clear", "--vmm-version", "7.2", "--json").stdout
    )
    assert answer["notices"][0]["kind"] == "refused"
    assert "QEMU 7.2 has no property 'fb-clear'" in answer["notices"][0]["text"]


@needs_qemu
def test_a_running_qemu_is_asked(tmp_path: Path) -> None:
    """Without root or a host's file: over its socket, and what it answers is observed."""
    with running("qemu64,-hypervisor,model=0x6a", tmp_path) as socket:
        answer = json.loads(archcaps("shown", "--qmp", socket, "--json").stdout)
        text = archcaps("shown", "--qmp", socket).stdout
    assert (answer["live"], answer["starts"], answer["cpu_model"], answer["arch_capabilities"]) == (
        True,
        True,
        0x6A,
        "0x0",
    )
    assert text.startswith("RUNS, read from the VMM itself")
    assert "MSR 0x10a: not there" in text


def test_standard_input_holds_a_configuration_or_a_snapshot() -> None:
    words = b"qemu-system-x86_64 -enable-kvm -cpu kvm64,-rtm\n"
    assert archcaps("shown", *HOST, "--guest", "-", stdin=words).stdout.startswith("STARTS")
    snapshot = (ROOT / "examples" / "thread" / "guest.toml").read_bytes()
    assert archcaps("check", *HOST, "--guest", "-", stdin=snapshot).returncode == 1
    assert_refused(archcaps("shown", *HOST, "--guest", "-", stdin=snapshot), 64, "names no VMM's configuration")
    assert_refused(
        archcaps("check", *HOST, "--guest", "-", stdin=b"hello\n"), 65, "standard input: no guest configuration"
    )


def test_a_headline_names_no_host_where_none_is_given_and_counts_one_bit_as_one() -> None:
    result = archcaps("shown", "--guest", "-cpu Cascadelake-Server-v5,+fb-clear", "--vmm-version", "7.2")
    assert (result.stdout.splitlines()[0], result.returncode) == ("DOES NOT START.", 2)
    result = archcaps(
        "shown", "--host", "examples/md-clear-hidden/host.toml", "--guest", "-cpu Westmere,+md-clear,enforce"
    )
    assert result.stdout.splitlines()[0] == "Whether it STARTS is not known: not known of 20 features."


def test_what_a_guest_without_arch_capabilities_did_not_ask_for_is_no_difference() -> None:
    host = ("--host", "examples/questions/nested-amd.json", "--vmm-version", "7.2", "--machine", "pc-q35-7.2")
    result = archcaps("shown", *host, "--guest", "-cpu host,-arch-capabilities")
    assert (result.returncode, "Otherwise than asked" in result.stdout) == (0, False)
    assert result.stdout.startswith("STARTS: with all that is asked for")
