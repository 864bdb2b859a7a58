"""What the probe reads on machines made of files, and where little or nothing can be read."""

from __future__ import annotations

import gzip
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcaps.machine import probe_script
from archcaps.tables.bits import REGISTERS
from tests.machine.probing import ARCH_CAPS, HOST_FLAGS, cpu, install, look, tree, valid

# --- machines made of files ----------------------------------------------------------------


def test_a_bare_metal_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = cpu(msrs={0x10A: 0x40080, 0x122: 0x3, 0x123: 0x8})
    install(monkeypatch, device)
    found = valid(look(tree(tmp_path)))
    assert found.role == "host"
    assert (found.cpu.vendor, found.cpu.family, found.cpu.model, found.cpu.stepping) == ("GenuineIntel", 6, 106, 6)
    assert (found.cpu.microcode, found.cpu.smt_active) == ("0xd000422", True)
    assert {name: reading.value for name, reading in found.registers.items() if name in REGISTERS} == {
        "cpuid_1_ecx": "0x0", "cpuid_7_0_ebx": "0x20", "cpuid_7_0_ecx": "0x0", "cpuid_7_0_edx": "0x20000000",
        "cpuid_7_2_edx": "0x0", "cpuid_80000001_ecx": "0x0", "cpuid_80000008_ebx": "0x7fffffff",
        "cpuid_8000001f_eax": "0x0", "cpuid_8000001f_ebx": "0x0",
        "cpuid_80000021_eax": "0x0", "cpuid_80000021_ecx": "0x0",
        "ia32_arch_capabilities": "0x40080", "ia32_tsx_ctrl": "0x3", "ia32_mcu_opt_ctrl": "0x8",
    }  # fmt: skip
    assert found.cpuid is None
    assert found.kvm.parameters == {"ignore_msrs": "N", "ept": "Y"}
    assert (found.kernel.cmdline, found.kernel.options_left_out) == ("mitigations=auto", 2)
    assert set(found.unreadable) == {"kernel.config", "kvm"}


def test_leaves_past_the_highest_are_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, cpu(highest=0x5))
    found = look(tree(tmp_path))["registers"]
    assert {found[name]["value"] for name in ("cpuid_7_0_ebx", "cpuid_7_0_edx", "cpuid_7_2_edx")} == {"0x0"}


def test_a_virtual_machines_microcode_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, cpu(ecx=1 << 31, msrs={0x10A: 0}))
    found = valid(look(tree(tmp_path, flags=HOST_FLAGS + " hypervisor")))
    assert found.role == "guest"
    assert found.cpu.microcode is None
    assert "in a virtual machine" in found.unreadable["cpu.microcode"]


def test_cpuid_that_is_not_the_kernels_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, cpu(ecx=0))
    found = valid(look(tree(tmp_path, flags="hypervisor avx")))
    assert not [name for name in found.registers if name.startswith("cpuid")]
    assert "not what the kernel sees" in found.unreadable["cpuid"]
    assert found.role == "guest"
    assert found.cpu.microcode is None


def test_without_cpuid_the_flags_are_an_incomplete_list(tmp_path: Path) -> None:
    # The plain file in the device's place answers nothing.
    found = valid(look(tree(tmp_path)))
    assert found.cpuid is not None
    assert not found.cpuid.complete
    assert found.cpuid.shown == ["vmx", "avx", "avx2", "md_clear", "flush_l1d", "arch_capabilities"]
    assert found.cpuid.hidden == []
    assert found.unreadable["cpuid"].startswith("no raw CPUID: /dev/cpu/0/cpuid: gives 0 bytes in place of 16")
    assert found.cpu.microcode == "0xd000422"


@pytest.mark.parametrize(
    ("vendor", "edx", "asked"),
    [
        ("GenuineIntel", ARCH_CAPS, [0x10A]),
        ("GenuineIntel", 0, []),
        ("CentaurHauls", ARCH_CAPS, []),
        ("  Shanghai  ", ARCH_CAPS, [0x10A]),
        ("GenuineIntel", 1 << 9, [0x123]),
        ("GenuineIntel", 1 << 11, [0x123]),
    ],
)
def test_only_msrs_that_are_announced_are_read(
    vendor: str, edx: int, asked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = cpu(edx=edx, msrs={0x10A: 0, 0x122: 0, 0x123: 0})
    install(monkeypatch, device)
    found = valid(look(tree(tmp_path, vendor=vendor)))
    assert device.asked == asked
    assert found.cpu.vendor == vendor
    assert ("ia32_arch_capabilities" in found.registers) == (0x10A in asked)
    assert not [what for what in found.unreadable if what.startswith("msr")]


def test_an_msr_that_faults_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, cpu(edx=1 << 9))
    found = look(tree(tmp_path))
    assert "ia32_mcu_opt_ctrl" not in found["registers"]
    assert "msr 0x123" not in found["unreadable"]


def test_an_announced_msr_0x10a_that_faults_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, cpu())
    found = look(tree(tmp_path))
    assert "ia32_arch_capabilities" not in found["registers"]
    assert "faults although CPUID announces it" in found["unreadable"]["msr 0x10a"]


def test_an_unreadable_msr_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, cpu())
    (tree(tmp_path) / "dev/cpu/0/msr").unlink()
    found = valid(look(tmp_path))
    why = "/dev/cpu/0/msr: no such file or directory; root with the msr module loaded would read it"
    assert {what: text for what, text in found.unreadable.items() if what.startswith("msr")} == {
        "msr 0x10a": why, "msr 0x122": why, "msr 0x123": why
    }  # fmt: skip


@pytest.mark.parametrize("device", [True, False])
def test_the_core_type_of_a_hybrid_part(device: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, cpu(edx=1 << 15))
    tree(tmp_path)
    if not device:  # the instruction answers, the device does not
        answers = probe_script._Probe.cpuid_device

        def gone(*_: object) -> tuple[int, ...]:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(probe_script._Probe, "cpuid_instruction", answers)
        monkeypatch.setattr(probe_script._Probe, "cpuid_device", gone)
    found = valid(look(tmp_path))
    assert found.cpu.core_type == (0x40 if device else None)
    assert ("cpu.core_type" in found.unreadable) != device


CONFIG = """# CONFIG_MITIGATION_MDS is not set
CONFIG_MITIGATION_TAA=y
CONFIG_KVM=m
# CONFIG_KVM_INTEL is not set
CONFIG_KVM_MAX_NR_VCPUS=1024
CONFIG_X86_INTEL_TSX_MODE_OFF=y
CONFIG_LOCALVERSION="-x"
"""
ITEMS = {"MITIGATION_MDS": "n", "MITIGATION_TAA": "y", "KVM": "m", "KVM_INTEL": "n", "X86_INTEL_TSX_MODE_OFF": "y"}


@pytest.mark.parametrize(
    "files",
    [
        {"proc/config.gz": gzip.compress(CONFIG.encode())},
        {f"boot/config-{os.uname().release}": CONFIG},
        {"proc/config.gz": b"no gzip", f"boot/config-{os.uname().release}": CONFIG},
        {"proc/config.gz": gzip.compress(b""), f"lib/modules/{os.uname().release}/config": CONFIG},
    ],
)
def test_the_kernels_configuration(files: dict[str, str | bytes], tmp_path: Path) -> None:
    found = valid(look(tree(tmp_path, files)))
    assert found.kernel.config == ITEMS
    assert "kernel.config" not in found.unreadable


def test_a_vulnerability_that_nobody_knows_yet(tmp_path: Path) -> None:
    folder = "sys/devices/system/cpu/vulnerabilities"
    tree(tmp_path, {f"{folder}/tomorrow": "Vulnerable\n"})
    (tmp_path / folder / "mds").unlink()
    (tmp_path / folder / "mds").mkdir()
    found = valid(look(tmp_path))
    assert found.vulnerabilities == {"l1tf": "Not affected"}
    assert "a newer one" in found.unreadable["vulnerabilities tomorrow"]
    assert found.unreadable["vulnerabilities mds"].endswith("/mds: is a directory; root would read it")


def test_a_parameter_that_can_not_be_read(tmp_path: Path) -> None:
    (tree(tmp_path) / "sys/module/kvm/parameters/secret").mkdir()
    found = valid(look(tmp_path))
    assert found.kvm.parameters == {"ignore_msrs": "N", "ept": "Y"}
    assert found.unreadable["kvm.parameters secret"].startswith("/sys/module/kvm/parameters/secret: is a directory")


def test_a_cpuid_device_of_zeros(tmp_path: Path) -> None:
    path = tree(tmp_path) / "dev/cpu/0/cpuid"
    with path.open("wb") as file:
        file.truncate(0x80000100)  # sparse
    found = valid(look(tmp_path))
    assert found.registers == {}
    assert "does not answer like a CPU" in found.unreadable["cpuid"]


def test_another_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = os.uname_result(("Linux", "tester", "6.12.117", "#1", "aarch64"))
    monkeypatch.setattr(os, "uname", lambda: named)
    tree(tmp_path, {"proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp\nCPU implementer\t: 0x41\n"})
    found = valid(look(tmp_path, kvm=True))
    assert (found.role, found.cpu.vendor, found.registers, found.cpuid) == ("host", None, {}, None)
    for what in ("cpu", "cpuid", "kvm"):
        assert "x86" in found.unreadable[what]


@pytest.mark.parametrize("release", ["custom", "", "6.12_x", "6"])
def test_a_release_that_is_no_number(release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = os.uname_result(("Linux", "tester", release, "#1", "x86_64"))
    monkeypatch.setattr(os, "uname", lambda: named)
    found = valid(look(tmp_path))
    assert found.kernel.release is None
    assert "kernel.release" in found.unreadable


# --- little or nothing can be read ---------------------------------------------------------


def test_nothing_but_the_release(tmp_path: Path) -> None:
    found = valid(look(tmp_path, kvm=True))
    assert found.kernel.release == os.uname().release
    assert found.registers == {}
    assert found.vulnerabilities == {}
    assert found.kvm.offered == {}
    assert set(found.unreadable) >= {
        "cpu", "cpu.microcode", "cpu.smt_active", "cpuid", "kernel.cmdline", "kernel.config", "vulnerabilities", "kvm",
    }  # fmt: skip
    assert list(tmp_path.iterdir()) == []


TEXT = st.text(max_size=60)


@given(
    name=TEXT.filter(lambda text: "\x00" not in text),
    lines=st.lists(
        st.tuples(st.sampled_from(["vendor_id", "cpu family", "model", "stepping", "microcode", "flags"]), TEXT)
    ),
    numbers=st.lists(st.integers(0, 1 << 70), min_size=3, max_size=3),
    texts=st.lists(st.binary(max_size=60), min_size=6, max_size=6),
)
def test_whatever_the_files_hold_the_snapshot_is_valid(
    name: str, lines: list[tuple[str, str]], numbers: list[int], texts: list[bytes]
) -> None:
    info = [("cpu family", str(numbers[0])), ("model", str(numbers[1])), ("stepping", str(numbers[2])), *lines]
    real = os.uname()
    named = os.uname_result(("Linux", name, real.release, real.version, real.machine))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "uname", lambda: named)
        root = tree(
            Path(folder),
            {
                "proc/cpuinfo": "".join(f"{key}\t: {value}\n" for key, value in info).encode("utf-8", "replace"),
                "proc/cmdline": texts[0],
                "proc/config.gz": gzip.compress(CONFIG.encode() + texts[1]),
                "sys/devices/system/cpu/smt/active": texts[2],
                "sys/devices/system/cpu/cpu0/microcode/version": texts[3],
                "sys/devices/system/cpu/vulnerabilities/mds": texts[4],
                "sys/module/kvm/parameters/ignore_msrs": texts[5],
            },
        )
        valid(look(root, kvm=True))


def test_names_that_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = os.uname_result(("Linux", "h\udcffst", "6.12.117-\udcff", "#1", "x86_64"))
    monkeypatch.setattr(os, "uname", lambda: named)
    found = valid(look(tmp_path))
    assert found.name == "h?st"
    assert found.kernel.release == "6.12.117-?"


def test_a_command_line_too_long_for_a_snapshot(tmp_path: Path) -> None:
    found = valid(look(tree(tmp_path, {"proc/cmdline": "mds=" + "a" * 10_001})))
    assert found.kernel.cmdline is None
    assert "kernel.cmdline" in found.unreadable


# --- KVM -----------------------------------------------------------------------------------
