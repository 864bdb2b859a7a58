"""What probe writes of a kernel's command line: the options that rules read, and which it looked for.

The expected words are picked by hand from the command lines; which options Linux has is said in its
Documentation/admin-guide/kernel-parameters.txt.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from archcaps import check
from archcaps.machine.cmdline import OPTIONS
from archcaps.machine.probe_script import probe
from archcaps.machine.read import parse_snapshot
from tests.cli.running import ROOT

SCRIPT = ROOT / "src" / "archcaps" / "machine" / "probe_script.py"
SECRET = "BOOT_IMAGE=/vmlinuz root=UUID=6f1c luks.key=hunter2 ip=10.1.2.3::gw:db1.corp.example token=abc"


def root(folder: Path, cmdline: str, **files: str) -> str:
    """A root below which /proc and /sys are as given."""
    (folder / "proc").mkdir()
    (folder / "proc" / "cmdline").write_text(cmdline + "\n")
    vulnerabilities = folder / "sys/devices/system/cpu/vulnerabilities"
    vulnerabilities.mkdir(parents=True)
    for name, text in files.items():
        (vulnerabilities / name).write_text(text)
    return str(folder)


def kernel(found: dict[str, Any]) -> dict[str, Any]:
    value = found["kernel"]
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    ("cmdline", "kept", "left_out"),
    [
        (SECRET, "", 5),
        (f"{SECRET} mds=off quiet", "mds=off", 6),
        ("nosmt mitigations=auto,nosmt ro", "nosmt mitigations=auto,nosmt", 1),
        # names with - and _ are alike to the kernel (kernel/params.c dash2underscore); quotes may be anywhere
        ('gather-data-sampling=off "mds=full" foo="a b"', 'gather-data-sampling=off "mds=full"', 1),
        # behind -- the early parameters end, but cmdline_find_option looks there for tsx=
        ("quiet -- tsx=on init", "-- tsx=on", 2),
        ("quiet -- single", "", 3),
        ("kvm_intel.vmentry_l1d_flush=never kvm.nx_huge_pages=off kvm.secret=1",
         "kvm_intel.vmentry_l1d_flush=never kvm.nx_huge_pages=off", 1),
        ("clearcpuid=arch_capabilities setcpuid=fb_clear", "clearcpuid=arch_capabilities setcpuid=fb_clear", 0),
        # not an option that only begins like one
        ("mdsx=off xmds=off mds.debug=1", "", 3),
    ],
)  # fmt: skip
def test_only_options_that_rules_read_are_kept(tmp_path: Path, cmdline: str, kept: str, left_out: int) -> None:
    found = kernel(probe("guest", kvm=False, name=False, root=root(tmp_path, cmdline)))
    assert (found["cmdline"], found["options_left_out"]) == (kept, left_out)
    assert found["options_sought"] == sorted(OPTIONS)


def test_nothing_else_of_it_leaves_the_machine(tmp_path: Path) -> None:
    where = root(tmp_path, f"{SECRET} mds=off")
    command = [sys.executable, "-I", str(SCRIPT), "--root", where, "--no-kvm", "--no-name"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert not re.search("hunter2|6f1c|10.1.2.3|corp|token", text)
    whole = subprocess.run([*command, "--full-cmdline"], capture_output=True, text=True, check=True).stdout
    assert kernel(json.loads(whole))["cmdline"] == f"{SECRET} mds=off"
    assert "options_sought" not in kernel(json.loads(whole))


def test_an_option_that_was_not_looked_for_is_unknown_not_absent() -> None:
    lines = {"format_version": 1, "role": "guest", "kernel": {"release": "6.12.117", "cmdline": "mds=off"}}
    for sought, known in (
        (None, "mds=off"),
        (sorted(OPTIONS), "mds=off"),
        (sorted(OPTIONS | {"an_option_of_later"}), "mds=off"),
        (sorted(OPTIONS - {"mds"}), None),
        ([], None),
    ):
        machine = {**lines, "kernel": {**lines["kernel"], "options_sought": sought}}  # type: ignore[dict-item]
        snapshot = parse_snapshot(json.dumps(machine).encode(), "x")
        assert snapshot.kernel.cmdline == known
        assert ("kernel.cmdline" in snapshot.unreadable) is (known is None)


def test_old_snapshots_with_a_whole_command_line_are_read() -> None:
    old = {"format_version": 1, "role": "guest", "kernel": {"cmdline": f"{SECRET} mds=off"}}
    new = {"format_version": 1, "role": "guest", "kernel": {"cmdline": "mds=off", "options_sought": sorted(OPTIONS)}}
    host = parse_snapshot(b'{"format_version": 1, "role": "host"}', "h")
    answers = [check(host, parse_snapshot(json.dumps(each).encode(), "g")).vulnerabilities for each in (old, new)]
    assert [each.truth for each in answers[0]] == [each.truth for each in answers[1]]


def test_an_empty_file_is_null_with_its_reason(tmp_path: Path) -> None:
    where = root(tmp_path, "", mds="\n", tsa="", l1tf="Not affected\n")
    found = probe("guest", kvm=False, name=False, root=where)
    assert found["vulnerabilities"] == {"l1tf": "Not affected", "mds": None, "tsa": None}
    for name in ("mds", "tsa"):
        assert "empty" in found["unreadable"][f"vulnerabilities {name}"]
    schema = json.loads((ROOT / "schemas" / "snapshot-1.json").read_text(encoding="utf-8"))
    jsonschema.validate(found, schema)
    assert parse_snapshot(json.dumps(found).encode(), "x").vulnerabilities == {"l1tf": "Not affected"}
