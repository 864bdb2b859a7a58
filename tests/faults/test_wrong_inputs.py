"""What people give by mistake in the place of a snapshot: one line that says what it is, and the next step.

The texts are shortened outputs of the programs that are named; file magics are those of file(1)'s database.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from archcaps.errors import InputError
from archcaps.machine.read import parse_snapshot, read_snapshot
from tests.cli.running import ROOT, archcaps, assert_refused

THREAD = ROOT / "examples" / "thread"
SNAPSHOT = b'{"format_version": 1, "role": "host", "name": "h"}\n'
TOML = b'format_version = 1\nrole = "host"\n'
PROBE = "run archcaps probe --output FILE on that machine"

WRONG: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "the file is empty", PROBE),
    "blank": (b" \n\n", "the file is empty", PROBE),
    "lscpu": (b"Architecture:            x86_64\n  CPU op-mode(s):        32-bit, 64-bit\n", "lscpu", PROBE),
    "lscpu vulnerabilities": (b"Vulnerability Mds:       Not affected\n", "lscpu", PROBE),
    "lscpu --json": (b'{\n   "lscpu": [\n {"field": "Architecture:", "data": "x86_64"}]}\n', "lscpu --json", PROBE),
    "cpuid": (b'CPU 0:\n   vendor_id = "GenuineIntel"\n', "cpuid", PROBE),
    "cpuid -r": (b"CPU:\n   0x00000000 0x00: eax=0x00000016 ebx=0x756e6547\n", "cpuid", PROBE),
    "cpuinfo": (b"processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu vme\n", "/proc/cpuinfo", PROBE),
    "dmesg": (b"[    0.1] MDS: Vulnerable: Clear CPU buffers attempted, no microcode\n", "dmesg", PROBE),
    "dmesg raw": (b"<6>[    0.148231] MDS: Mitigation: Clear CPU buffers\n", "dmesg", PROBE),
    "journal": (b"Nov 30 18:02:11 db1 kernel: MDS: Mitigation: Clear CPU buffers\n", "journalctl", PROBE),
    "config": (b"#\n# Linux/x86 6.1.0 Kernel Configuration\n#\nCONFIG_X86_64=y\n", "kernel's configuration", PROBE),
    "config off": (b"# CONFIG_MITIGATION_MDS is not set\n", "kernel's configuration", PROBE),
    "sysfs grep": (b"/sys/devices/system/cpu/vulnerabilities/mds:Not affected\n", "listing of /sys", PROBE),
    "sysfs grep .": (b"mds:Mitigation: Clear CPU buffers\n", "listing of /sys", PROBE),
    "capabilities": (b"<capabilities>\n  <host><cpu/></host></capabilities>\n", "virsh capabilities", PROBE),
    "domcapabilities": (b"<?xml version='1.0'?>\n<domainCapabilities>\n", "virsh domcapabilities", PROBE),
    "domain": (b"<domain type='kvm'><name>db1</name></domain>", "a libvirt domain", "--guest"),
    "qemu": (b"/usr/bin/kvm -id 100 -cpu host\n", "a QEMU command line", "--guest"),
    "kubernetes": (b"apiVersion: kubevirt.io/v1\nkind: VirtualMachine\n", "a Kubernetes object", "--guest"),
    "html": (b"<!DOCTYPE html><html></html>", "a web page", PROBE),
    "number": (b"400000000c08e0eb\n", "a single number", "archcaps decode"),
    "answer": (b'{"format_version":1,"headline":"x","exit_code":0}', "an answer of archcaps", PROBE),
    "messages": (
        b"archcaps probe: msr 0x10a: /dev/cpu/0/msr: no such file\n" + SNAPSHOT,
        "standard error",
        "2>/dev/null",
    ),
    "warning": (b"warning: could not open x\n" + SNAPSHOT, "standard error", "2>/dev/null"),
    "several": (SNAPSHOT + SNAPSHOT, "2 snapshots", "archcaps audit"),
    "gzip": (gzip.compress(SNAPSHOT, mtime=0), "a gzip file", "gunzip"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3", "a PDF", "expected plain text"),
    "UTF-16": (SNAPSHOT.decode().encode("utf-16"), "UTF-16", "save it as UTF-8"),
    "UTF-16, no mark": (SNAPSHOT.decode().encode("utf-16-le"), "UTF-16", "expected UTF-8"),
    "parquet": (b"PAR1\x15\x00", "a Parquet file", "archcaps audit"),
    "other text": (b"hello world\n", "broken TOML", "as archcaps probe writes it"),
    "other role": (SNAPSHOT.replace(b"host", b"guest", 1), "the snapshot of a guest", "exchanged"),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_line_says_what_it_is_and_the_next_step(name: str) -> None:
    data, what, step = WRONG[name]
    with pytest.raises(InputError) as error:
        parse_snapshot(data, "x", "host")
    line = str(error.value)
    assert line.startswith("x:")
    assert what in line
    assert step in line
    assert "\n" not in line


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Is a directory \(expected one file: a snapshot\)"):
        read_snapshot(tmp_path)


@pytest.mark.parametrize("data", [SNAPSHOT, TOML])
def test_a_byte_order_mark_does_not_count(data: bytes) -> None:
    assert parse_snapshot(b"\xef\xbb\xbf" + data, "x") == parse_snapshot(data, "x")


@pytest.mark.parametrize("name", ["lscpu", "cpuid", "dmesg", "cpuinfo", "config", "sysfs grep .", "capabilities"])
def test_neither_is_it_a_guests_configuration(name: str, tmp_path: Path) -> None:
    path = tmp_path / "guest.txt"
    path.write_bytes(WRONG[name][0])
    done = archcaps("check", "--host", str(THREAD / "host.toml"), "--guest", str(path))
    assert_refused(done, 65, PROBE)
    assert WRONG[name][1] in done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("prove", "no-broken-promise", "--about", "MDS"), "did you mean mds?"),
        (("prove", "NO-BROKEN-PROMISE"), "did you mean no-broken-promise?"),
        (("migrate", "--host", "x"), "--from"),
        (("kernel", "v6.12.117"), "6.12.117"),
        (("check", "--guest-kernel", "v6.12.117"), "6.12.117"),
        (("check", "--guest-kernel", "Linux 6.12.117"), "6.12.117"),
    ],
)
def test_what_is_nearly_right_is_named(arguments: tuple[str, ...], line: str) -> None:
    done = archcaps(*arguments)
    assert done.returncode in (64, 65)
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"format_version": 1,\n "role": "host",\n "role": "guest"}', "x:3: the key 'role' is given twice"),
        ('{"format_version": 1, "role": "host", "cpu": {"model": 1,\n"model": 2}}', "x:2: the key 'model'"),
        ('{"format_version": 1, "role": "host", "cpu": {"m\\u006fdel": 1,\n\n"model": 2}}', "x:3: the key 'model'"),
        ('{"format_version": 1, "role": "host", "name": "{\\"a\\": 1, \\"a\\": 2}"}', ""),
        ('format_version = 1\nrole = "host"\nrole = "host"\n', "x:3: broken TOML"),
        ('{"format_version": 1, "role": "host", "cpu": {"model": ' + "1" * 5000 + "}}", "more than 80 digits"),
        ('{"format_version": 1, "role": "host", "cpu": {"model": "' + "1" * 5000 + '"}}', "expected a number"),
        ('format_version = 1\nrole = "host"\n[cpu]\nmodel = ' + "1" * 5000, "x: a number of thousands of digits"),
        ('format_version = 1\nrole = "host"\n[cpu]\nmodel = "' + "1" * 5000 + '"', "expected a number"),
        ('{"format_version": ' + "[" * 5000 + "]" * 5000 + "}", "x: nested more than 64 deep"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested more than 64 deep"),
        ("a." * 5000 + "a = 1", "x:1: a key of more than 32 parts"),
        ("x = {" + "a." * 5000 + "a = 1}", "x:1: a key of more than 32 parts"),
        ("[" + '"a".' * 5000 + "a]", "x:1: a key of more than 32 parts"),
        ("a = '" + "b" * 200_000 + "'", "x:1: longer than 131,072 characters"),
    ],
)  # fmt: skip
def test_what_is_out_of_bounds_is_refused_with_its_line(text: str, line: str) -> None:
    if not line:
        assert parse_snapshot(text.encode(), "x").role == "host"
        return
    with pytest.raises(InputError) as error:
        parse_snapshot(text.encode(), "x")
    assert line in str(error.value)


@pytest.mark.parametrize("key", ["010", "0x8b", "139", "0X8B"])
def test_an_msr_may_be_named_in_any_way_that_is_a_number(key: str) -> None:
    case = {"kernel": "6.12.117", "vendor": "GenuineIntel", "family": 6, "model": 106, "msrs": {key: "0x1"}}
    done = archcaps("predict", stdin=json.dumps(case).encode() + b"\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "vuln" in json.loads(done.stdout)


@pytest.mark.parametrize(
    "line",
    [
        '{"family": ' + "1" * 5000 + "}", '{"family": "' + "1" * 5000 + '"}', '{"msrs": {"' + "1" * 5000 + '": 1}}',
        '{"msrs": {"1": "' + "1" * 5000 + '"}}', '{"a": ' * 5000 + "1" + "}" * 5000,
        '{"arch_caps": "' + "9" * 5000 + '"}',
        '{"guest_values": [' + "1" * 5000 + "]}",
    ],
)  # fmt: skip
def test_a_case_out_of_bounds_is_answered_with_an_error(line: str) -> None:
    for arguments in (("predict",), ("predict", "--kvm")):
        done = archcaps(*arguments, stdin=line.encode() + b"\n")
        assert done.returncode == 65
        assert "error" in json.loads(done.stdout)
        assert "internal error" not in done.stderr
