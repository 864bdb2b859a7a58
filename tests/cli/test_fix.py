"""archcaps fix, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tests.cli.running import ROOT, archcaps, assert_refused, on_terminal


def pair(folder: str, host: str = "host", guest: str = "guest") -> tuple[str, ...]:
    return ("--host", f"examples/{folder}/{host}.toml", "--guest", f"examples/{folder}/{guest}.toml")


THREAD = pair("thread")


def test_what_is_wrong_the_cure_its_owner_and_the_proof_stand_on_one_screen() -> None:
    result = archcaps("fix", *THREAD, COLUMNS="100")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "4 changes by the VM's owner mend all of it:"
    assert len(lines) <= 40
    flat = " ".join(result.stdout.split())
    assert "mds broken-promise safe Mitigation: Clear CPU buffers" in flat
    assert "* show mds_no (MSR 0x10a bit 5): VM's owner" in flat
    assert "ia32_arch_capabilities 0x0 -> 0xe020" in flat  # bits 5, 13, 14, 15
    assert "shut the VM down and start it again" in flat
    assert "clears buffers for nothing: show fb_clear" in flat
    assert "are cheaper, and none of these does as well" in flat


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (THREAD, 0),
        (pair("bits-without-msrs"), 0),
        (("--allow", "guest-flags", "--max-changes", "1", *THREAD), 1),
        (("--allow", "guest-flags", *pair("mmio-without-counted-device", "host-6.16")), 2),
        (("--allow", "guest-flags", *pair("rfds-bits-not-passed", "host-affected", "guest-on-affected")), 2),
        (pair("md-clear-hidden"), 3),
    ],
)
def test_exit_codes(arguments: tuple[str, ...], code: int) -> None:
    result = archcaps("fix", *arguments)
    assert (result.returncode, result.stderr) == (code, "")
    assert json.loads(archcaps("fix", "--json", *arguments).stdout)["exit_code"] == code


def test_json_is_one_object_of_the_schema() -> None:
    schema = json.loads((ROOT / "schemas" / "fix-1.json").read_text(encoding="utf-8"))
    for arguments in (THREAD, pair("mds-no-dropped-for-taa"), pair("bits-without-msrs"), pair("md-clear-hidden")):
        lines = archcaps("fix", "--json", *arguments).stdout.splitlines()
        assert len(lines) == 1
        jsonschema.validate(json.loads(lines[0]), schema)


def test_costs_turn_the_answer() -> None:
    dear = json.loads(archcaps("fix", "--json", "--cost", "model=1", *THREAD).stdout)
    (cure,) = dear["answers"][0]["cures"]
    assert [step["kind"] for step in cure["steps"]] == ["model"]
    assert cure["cost"] == 1


def test_what_is_written_is_the_cured_guest(tmp_path: Path) -> None:
    written = tmp_path / "guest.json"
    assert archcaps("fix", *THREAD, "--write", str(written)).returncode == 0
    host = "examples/thread/host.toml"
    assert archcaps("check", "--host", host, "--guest", str(written)).returncode == 0
    again = archcaps("fix", "--host", host, "--guest", str(written))
    assert again.returncode == 0
    assert again.stdout.startswith("NOTHING TO MEND")


def test_the_vmms_own_words_are_corrected(tmp_path: Path) -> None:
    words = "-cpu Skylake-Server,+md-clear,+flush-l1d,-rtm,+arch-capabilities"
    options = ("--guest-kernel", "6.12.117", "--vmm-version", "11.1", "--host", "examples/thread/host.toml")
    written = tmp_path / "cpu.txt"
    result = archcaps("fix", "--guest", words, *options, "--write", str(written))
    assert result.returncode == 0
    cured = written.read_text(encoding="utf-8").strip()
    assert cured == f"{words},+mds-no,+sbdr-ssdp-no,+fbsdp-no,+psdp-no"
    assert f"+{cured}" in result.stdout
    assert archcaps("fix", "--guest", cured, *options).stdout.startswith("NOTHING TO MEND")


def test_all_shows_every_cure_with_sources() -> None:
    few = archcaps("fix", *pair("old-model-on-ice-lake")).stdout
    every = archcaps("fix", "--all", *pair("old-model-on-ice-lake")).stdout
    assert every.count("or:") == few.count("or:") == 2
    assert "[1] source: " in every
    assert "tsa " in every


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ((), 64, "name a host and a guest"),
        (("--allow", "flags", *THREAD), 65, "unknown kind of change 'flags' (did you mean guest-flags?)"),
        (("--allow", ",", *THREAD), 64, "--allow names no kind of change"),
        (("--cost", "model", *THREAD), 65, "--cost: 'model' is no cost (expected KIND=N, as model=2)"),
        (("--cost", "model=0", *THREAD), 65, "the cost of model is 0 (expected 1 to 1000)"),
        (("--max-changes", "0", *THREAD), 65, "--max-changes: 0 changes (expected 1 to 20)"),
        (("--write", "/nowhere/x", *THREAD), 65, "/nowhere/x: cannot be written"),
        (("--write", "x", *pair("md-clear-hidden")), 65, "there is no cure, so nothing is written"),
        (("--guest", "-cpu Skylake-Server", "--flags", "avx", "--host", "examples/thread/host.toml"), 64, "--flags"),
    ],
)
def test_wrong_use_is_one_line(arguments: tuple[str, ...], code: int, line: str) -> None:
    assert_refused(archcaps("fix", *arguments), code, line)


def test_a_guest_that_is_no_linux_is_refused(tmp_path: Path) -> None:
    guest = tmp_path / "guest.toml"
    text = (ROOT / "examples/thread/guest.toml").read_text(encoding="utf-8")
    guest.write_text(text.replace('release = "6.12.117"', 'system = "freebsd"'), encoding="utf-8")
    result = archcaps("fix", "--host", "examples/thread/host.toml", "--guest", str(guest))
    assert_refused(result, 65, "the guest runs FreeBSD")


def test_colours_on_a_terminal_only() -> None:
    assert "\x1b[" in on_terminal("fix", *THREAD)
    assert "\x1b[" not in on_terminal("fix", *THREAD, NO_COLOR="1")
    assert "\x1b[" not in archcaps("fix", *THREAD).stdout


@pytest.mark.parametrize(
    ("guest", "written"),
    [
        # Cascade Lake's MMIO stale data needs FB_CLEAR (scenario S04); MDS_NO is what an immune part should say.
        ("libvirt/cascadelake.xml", "+    <feature policy='require' name='fb-clear'/>"),
        ("nova/nova.conf", "+cpu_model_extra_flags = pcid, MD-CLEAR, -pku, +arch-capabilities, +fb-clear"),
        ("kubevirt/vm.yaml", "name: fb-clear"),
        ("proxmox-100.conf", "+cpu: custom-from-x86-64-v2-AES"),
        ("firecracker-template.json", '"addr": "0x10a"'),
    ],
)
def test_the_cure_is_written_in_the_words_of_each_vmm(guest: str, written: str, tmp_path: Path) -> None:
    host = "examples/fb-clear-not-shown/host.toml"
    cured = tmp_path / Path(guest).name
    asked = ("fix", "--host", host, "--guest-kernel", "6.1.192")
    found = archcaps(*asked, "--guest", f"examples/guests/{guest}", "--write", str(cured))
    assert (found.returncode, written in found.stdout) == (0, True), found.stdout
    again = archcaps(*asked, "--guest", str(cured))
    assert (again.returncode, again.stdout.splitlines()[0]) == (0, "NOTHING TO MEND:"), again.stdout
