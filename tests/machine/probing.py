"""Machines for the probe: trees of /proc, /sys and /dev, CPUs that answer by CPUID and MSR, and KVMs that answer."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from archcaps.machine import probe_script, read
from archcaps.machine.snapshot import Snapshot

SCRIPT = Path(probe_script.__file__)
ARCH_CAPS = 1 << 29
OFFERED = 0x400000000C000069
HOST_FLAGS = "fpu vmx avx avx2 md_clear flush_l1d arch_capabilities ibrs ibpb"

CPUINFO = """processor\t: 0
vendor_id\t: {vendor}
cpu family\t: 6
model\t\t: 106
model name\t: a CPU
stepping\t: 6
microcode\t: 0xd000421
flags\t\t: {flags}

processor\t: 1
vendor_id\t: SecondOfTwo
"""


def tree(root: Path, files: Mapping[str, str | bytes] | None = None, **cpuinfo: str) -> Path:
    """Make a bare-metal machine's files below `root`; `files` are more of them, or other texts."""
    texts: dict[str, str | bytes] = {
        "proc/cpuinfo": CPUINFO.format(**{"vendor": "GenuineIntel", "flags": HOST_FLAGS, **cpuinfo}),
        "proc/cmdline": "root=/dev/sda quiet mitigations=auto\n",
        "sys/devices/system/cpu/smt/active": "1\n",
        "sys/devices/system/cpu/cpu0/microcode/version": "0xd000422\n",
        "sys/devices/system/cpu/vulnerabilities/mds": "Not affected\n",
        "sys/devices/system/cpu/vulnerabilities/l1tf": "Not affected\n",
        "sys/module/kvm/parameters/ignore_msrs": "N\n",
        "sys/module/kvm_intel/parameters/ept": "Y\n",
        "dev/cpu/0/cpuid": "",
        "dev/cpu/0/msr": "",
        "dev/kvm": "",
    }
    for name, text in {**texts, **(files or {})}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return root


def open_kvm() -> int:
    """Open this machine's KVM.

    Raises:
        OSError: there is none, it may not be opened, or what has its name is something else.
    """
    fd = os.open("/dev/kvm", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        version = fcntl.ioctl(fd, 0xAE00)  # KVM_GET_API_VERSION, which has been 12 ever since
        if version != 12:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    except OSError:
        os.close(fd)
        raise
    return fd


def look(root: Path, role: str | None = None, *, kvm: bool = False) -> dict[str, Any]:
    return probe_script.probe(role, kvm, True, str(root))


@dataclass
class Cpu:
    """What /dev/cpu/0/cpuid and msr answer: `leaves` by (leaf, subleaf), `msrs` by number; any other MSR faults.

    As on an Intel part, a leaf past the highest is answered with the highest one's values.
    """

    leaves: dict[tuple[int, int], tuple[int, int, int, int]]
    msrs: dict[int, int] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        if size == 8:
            self.asked.append(offset)
            if offset not in self.msrs:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return struct.pack("=Q", self.msrs[offset])
        leaf, subleaf = offset & 0xFFFFFFFF, offset >> 32
        highest = self.leaves[0x80000000 & leaf, 0][0]
        return struct.pack("=4I", *self.leaves.get((min(leaf, highest), subleaf), (0, 0, 0, 0)))


def cpu(*, ecx: int = 0, edx: int = ARCH_CAPS, highest: int = 0x1F, msrs: dict[int, int] | None = None) -> Cpu:
    """Return an Intel-like CPU. `ecx` is of leaf 1, `edx` of leaf 7; its last leaf and 0x80000008 are 31 ones."""
    ones = (0x7FFFFFFF,) * 4
    leaves = {
        (0, 0): (highest, 0, 0, 0),
        (1, 0): (0, 0, ecx, 0),
        (7, 0): (0, 0x20, 0, edx),
        (7, 2): ones,
        (0x1A, 0): (0x40000001, 0, 0, 0),
        (0x80000000, 0): (0x80000008, 0, 0, 0),
        (0x80000008, 0): ones,
    }
    return Cpu({**leaves, (highest, 0): leaves.get((highest, 0), ones)}, msrs or {})


#: Which values of MSR 0x10a a vCPU takes, by what its CPUID shows: every one; with the CPUID bit every one and
#: without it 0; only 0, whatever the list of MSRs says.
RULES: dict[str, Callable[[int, bool], bool]] = {
    "any": lambda value, shown: True,
    "with the CPUID bit": lambda value, shown: shown or value == 0,
    "zero": lambda value, shown: value == 0,
}


@dataclass
class FakeKvm:
    """A KVM that answers ioctls on real file descriptors; after `lives` of them its device has gone."""

    rule: str = "any"
    listed: bool = True
    lives: int = 1000
    error: int = errno.ENODEV
    version: int = 12
    leaf: int = 7
    calls: list[int] = field(default_factory=list)
    stored: dict[int, int] = field(default_factory=dict)
    shown: dict[int, bool] = field(default_factory=dict)

    def ioctl(self, fd: int, request: int, argument: int | bytearray = 0) -> int:
        if len(self.calls) >= self.lives:
            raise OSError(self.error, os.strerror(self.error))
        self.calls.append(request)
        if isinstance(argument, bytearray):
            return self._filled(fd, request, argument)
        if request == 0xAE00:
            return self.version
        assert request in (0xAE01, 0xAE41), hex(request)
        new = os.open(os.devnull, os.O_RDONLY)
        if request == 0xAE41:
            self.stored[new], self.shown[new] = (OFFERED if self.rule == "any" else 0), False
        return new

    def _filled(self, fd: int, request: int, data: bytearray) -> int:
        match request:
            case 0xC008AE05:
                struct.pack_into("=I", data, 0, 2)
                struct.pack_into("=7I", data, 8, self.leaf, 0, 1, 0, 0x20, 0, ARCH_CAPS | 0x400)
                struct.pack_into("=7I", data, 48, 0x80000021, 0, 0, 0x24, 0, 0x6, 0)
            case 0x4008AE90:
                count = struct.unpack_from("=I", data)[0]
                entries = {struct.unpack_from("=2I", data, 8 + 40 * at): 8 + 40 * at for at in range(count)}
                self.shown[fd] = bool(struct.unpack_from("=I", data, entries[7, 0] + 24)[0] & ARCH_CAPS)
            case 0xC004AE0A:
                struct.pack_into("=3I", data, 0, 2, 0x8B, 0x10A if self.listed else 0x345)
            case 0xC008AE88:
                struct.pack_into("=Q", data, 16, self.stored.get(fd, OFFERED))
                return 1
            case 0x4008AE89:
                value = struct.unpack_from("=Q", data, 16)[0]
                if not RULES[self.rule](value, self.shown[fd]):
                    return 0
                self.stored[fd] = value
                return 1
            case _:
                raise AssertionError(hex(request))
        return 0


def install(monkeypatch: pytest.MonkeyPatch, device: Cpu | FakeKvm) -> None:
    """Let this CPU or this KVM answer on an x86 machine in place of the real one."""
    named = os.uname_result(("Linux", "tester", "6.12.117", "#1", "x86_64"))
    monkeypatch.setattr(os, "uname", lambda: named)
    if isinstance(device, Cpu):
        monkeypatch.setattr(os, "pread", device.pread)
    else:
        monkeypatch.setattr(fcntl, "ioctl", device.ioctl)


_SCHEMA_FILE = Path(__file__).parents[2] / "schemas" / "snapshot-1.json"
SCHEMA = jsonschema.Draft202012Validator(json.loads(_SCHEMA_FILE.read_text(encoding="utf-8")))


def valid(found: dict[str, Any]) -> Snapshot:
    """Return what archcaps reads from a snapshot, and that it fits the schema."""
    SCHEMA.validate(found)
    assert all("\n" not in why for why in found["unreadable"].values())
    return read.parse_snapshot(json.dumps(found).encode(), "probe")
