"""What the probe reads on this machine is what this machine says; its tables are those of archcaps."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

import msgspec

import archcaps
from archcaps.machine import probe_script, read
from archcaps.machine.snapshot import Snapshot
from archcaps.machine.this import this_machine
from archcaps.tables.bits import BITS, REGISTERS, feature_words
from archcaps.tables.names import VULNERABILITIES
from tests.machine.probing import open_kvm

SYSFS = Path("/sys/devices/system/cpu")


def text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


# --- this machine --------------------------------------------------------------------------


def test_this_machine_says_what_its_files_say() -> None:
    found = this_machine()
    files = sorted((SYSFS / "vulnerabilities").glob("*"))
    assert found.vulnerabilities == {
        path.name: text_of(path) for path in files if f"vulnerabilities {path.name}" not in found.unreadable
    }
    assert bool(files) != ("vulnerabilities" in found.unreadable)
    assert found.kernel.release == os.uname().release
    words = (text_of(Path("/proc/cmdline")) or "").split()
    kept = (found.kernel.cmdline or "").split()
    assert set(kept) <= set(words)
    assert len(kept) + (found.kernel.options_left_out or 0) == len(words)
    assert found.cpu.smt_active == {"1": True, "0": False, None: None}[text_of(SYSFS / "smt/active")]
    assert found.name == os.uname().nodename
    for name, value in found.kvm.parameters.items():
        assert value in [text_of(path) for path in Path("/sys/module").glob(f"kvm*/parameters/{name}")]


def test_its_cpuid_agrees_with_proc_cpuinfo() -> None:
    found = this_machine()
    lines = (text_of(Path("/proc/cpuinfo")) or "").partition("\n\n")[0].splitlines()
    info = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if not found.registers:
        assert "cpuid" in found.unreadable
        return
    assert found.cpu.vendor is not None
    assert found.cpu.vendor.strip() == info["vendor_id"]
    assert [found.cpu.family, found.cpu.model, found.cpu.stepping] == [
        int(info[name]) for name in ("cpu family", "model", "stepping")
    ]
    for flag in set(probe_script.HONEST_FLAGS) & set(info["flags"].split()):
        value = int(str(found.registers[BITS[flag].register].value), 16)
        assert value & BITS[flag].mask, flag
    hypervisor = "hypervisor" in info["flags"].split()
    assert found.role == ("guest" if hypervisor else "host")
    assert (found.cpu.microcode is None) == hypervisor or "cpu.microcode" in found.unreadable


def test_both_ways_to_cpuid_agree() -> None:
    probe = probe_script._Probe("")
    answers = []
    for way in (probe.cpuid_device, probe.cpuid_instruction):
        try:
            answers.append(probe_script._words(way))
        except (OSError, probe_script._UnusableError):
            continue
    if not answers:
        assert "cpuid" in this_machine().unreadable
    assert all(answer == answers[0] for answer in answers)


def test_its_kvm_is_asked_as_anybody_would() -> None:
    found = this_machine()
    try:
        fd = open_kvm()
    except OSError:
        assert found.unreadable["kvm"].startswith("/dev/kvm: ")
        assert found.kvm.offered == {}
        assert found.kvm.accepts == []
        return
    try:
        data = bytearray(struct.pack("=IIIIQ", 1, 0, 0x10A, 0, 0))
        known = fcntl.ioctl(fd, 0xC008AE88, data)
    finally:
        os.close(fd)
    if known:
        value = struct.unpack_from("=Q", data, 16)[0]
        assert found.kvm.offered["ia32_arch_capabilities"].value == hex(value)
    else:
        assert "kvm.offered msr 0x10a" in found.unreadable
    assert "kvm" not in found.unreadable
    assert {(tried.set, tried.cpuid_arch_capabilities) for tried in found.kvm.accepts} >= {
        (hex(value), shown) for value in (0, (1 << 64) - 1) for shown in (False, True)
    }
    for tried in found.kvm.accepts:
        if tried.accepted and tried.cpuid_arch_capabilities:
            assert tried.get == tried.set


def test_a_kernels_own_texts_are_among_the_modelled_ones() -> None:
    guest = this_machine("guest")
    bare = msgspec.structs.replace(guest, vulnerabilities={})
    nothing = Snapshot(format_version=1, role="host")
    observed, modelled = archcaps.check(nothing, guest), archcaps.check(nothing, bare)
    for name in VULNERABILITIES:
        # A kernel older than the vulnerability has no file for it.
        text = guest.vulnerabilities.get(name, "no such file")
        if name in guest.vulnerabilities:
            assert observed[name].concludes.value == text
        concludes = modelled[name].concludes
        assert text in concludes.possible, name
        # Else the kernel's release is one that nobody read, or a fact is not to be had here.
        assert concludes.decided or [fact for fact in modelled[name].missing if fact.startswith("guest")], name


# --- what the script knows is what the tables know -----------------------------------------


def test_the_scripts_tables_are_archcaps_own() -> None:
    words = {
        (register.id, register.address, register.subleaf, register.output)
        for register in (*REGISTERS.values(), *feature_words().values())
        if register.kind == "cpuid" and register.id != "cpuid_1a_eax"  # cpu.core_type stands for it
    }
    outputs = ("eax", "ebx", "ecx", "edx")
    assert {(name, leaf, sub, outputs[output]) for name, leaf, sub, output in probe_script.WORDS} == words
    assert set(probe_script.VULNERABILITIES) == read._SYSFS
    for flag in probe_script.HONEST_FLAGS:
        assert BITS[flag].names["linux"] == flag
    assert BITS["hypervisor"].mask == probe_script.HYPERVISOR
    for name in ("SRBDS_CTRL", "RTM_ALWAYS_ABORT", "HYBRID", "TSX_CTRL", "FB_CLEAR_CTRL", "GDS_CTRL"):
        assert BITS[name.lower()].mask == getattr(probe_script, name)
    assert BITS["arch_capabilities"].mask == probe_script.ARCH_CAPABILITIES_BIT
    for register, name in (("ia32_arch_capabilities", "ARCH_CAPABILITIES"), ("ia32_tsx_ctrl", "TSX_CTRL_MSR"),
                           ("ia32_mcu_opt_ctrl", "MCU_OPT_CTRL_MSR")):  # fmt: skip
        assert REGISTERS[register].address == getattr(probe_script, name)
