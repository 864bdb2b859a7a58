"""The probe and KVM: what a scratch vCPU takes, and a KVM that is none, of another kind, or goes away midway."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec
import pytest

from archcaps.machine import probe_script
from archcaps.tables.bits import REGISTERS
from tests.machine.probing import OFFERED, FakeKvm, install, look, tree, valid


@pytest.mark.parametrize(
    ("rule", "with_bit", "without"),
    [("any", [True] * 4, [True] * 4), ("with the CPUID bit", [True] * 4, [True, False, False, False]),
     ("zero", [True, False, False, False], [True, False, False, False])],
)  # fmt: skip
def test_what_a_vcpu_takes_is_tried(
    rule: str, with_bit: list[bool], without: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kvm = FakeKvm(rule)
    install(monkeypatch, kvm)
    found = valid(look(tree(tmp_path), kvm=True)).kvm
    assert found.vcpu_initial == hex(OFFERED if rule == "any" else 0)
    for shown, accepted in ((True, with_bit), (False, without)):
        tried = [one for one in found.accepts if one.cpuid_arch_capabilities is shown]
        assert [one.set for one in tried] == [hex(value) for value in (0, OFFERED - 1, OFFERED, (1 << 64) - 1)]
        assert [one.accepted for one in tried] == accepted
        assert [one.get for one in tried] == [one.set if one.accepted else "0x0" for one in tried]
    assert {name: reading.value for name, reading in found.offered.items() if name in REGISTERS} == {
        "cpuid_1_ecx": "0x0", "cpuid_7_0_ebx": "0x20", "cpuid_7_0_ecx": "0x0", "cpuid_7_0_edx": "0x20000400",
        "cpuid_7_2_edx": "0x0", "cpuid_80000001_ecx": "0x0", "cpuid_80000008_ebx": "0x0",
        "cpuid_8000001f_eax": "0x0", "cpuid_8000001f_ebx": "0x0",
        "cpuid_80000021_eax": "0x24", "cpuid_80000021_ecx": "0x6",
        "ia32_arch_capabilities": hex(OFFERED),
    }  # fmt: skip
    assert 0xAE80 not in kvm.calls  # KVM_RUN


def test_a_kvm_without_msr_0x10a(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeKvm("zero", listed=False))
    found = valid(look(tree(tmp_path), kvm=True))
    assert "ia32_arch_capabilities" not in found.kvm.offered
    assert "not offered" in found.unreadable["kvm.offered msr 0x10a"]
    assert {one.set for one in found.kvm.accepts} == {"0x0", hex((1 << 64) - 1)}


@pytest.mark.parametrize(
    ("kvm", "what", "why"),
    [
        (FakeKvm(version=11), "kvm", "API version 11, not 12"),
        (FakeKvm(leaf=6), "kvm scratch machine", "CPUID leaf 7"),
    ],
)
def test_a_kvm_of_another_kind(
    kvm: FakeKvm, what: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, kvm)
    before = open_files()
    assert why in valid(look(tree(tmp_path), kvm=True)).unreadable[what]
    assert open_files() == before


@pytest.mark.parametrize("kind", ["absent", "plain file", "no permission", "directory", "pipe"])
def test_a_dev_kvm_that_is_none(kind: str, tmp_path: Path) -> None:
    device = tree(tmp_path) / "dev/kvm"
    if kind == "no permission":
        device.chmod(0)
    elif kind != "plain file":
        device.unlink()
    if kind == "directory":
        device.mkdir()
    elif kind == "pipe":
        os.mkfifo(device)
    found = valid(look(tmp_path, kvm=True))
    assert found.unreadable["kvm"].startswith("/dev/kvm: ")
    assert found.kvm.offered == {}
    assert found.kvm.accepts == []
    assert "kvm scratch machine" not in found.unreadable


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # no descriptor of its own while counting


@pytest.mark.parametrize("error", [9, 19, 1, 25])
@pytest.mark.parametrize("lives", range(27))
def test_a_kvm_that_goes_away_midway(lives: int, error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeKvm("with the CPUID bit", lives=lives, error=error))
    tree(tmp_path)
    before = open_files()
    found = valid(look(tmp_path, kvm=True))
    assert open_files() == before
    lost = [what for what in found.unreadable if what.startswith("kvm")]
    assert len(lost) == (2 if lives in (2, 3) else 1)
    assert all("/dev/kvm: " in found.unreadable[what] for what in lost)


def test_the_last_call_is_the_27th(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kvm = FakeKvm("with the CPUID bit")
    install(monkeypatch, kvm)
    found = look(tree(tmp_path), kvm=True)
    assert len(kvm.calls) == 27
    assert not [what for what in found["unreadable"] if what.startswith("kvm")]


def test_this_machines_kvm_goes_away_midway(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = fcntl.ioctl, 0
    complete = probe_script.probe()["kvm"].get("accepts", [])

    def ioctl(fd: int, request: int, argument: int | bytearray = 0) -> int:
        nonlocal calls
        calls += 1
        if calls > lives:
            raise OSError(9, "Bad file descriptor")
        return int(real(fd, request, argument))

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    lives = 0
    while True:
        calls, before = 0, open_files()
        found = valid(probe_script.probe())
        assert open_files() == before
        if calls <= lives:
            break
        assert [what for what in found.unreadable if what.startswith("kvm")]
        lives += 1
    assert [msgspec.to_builtins(one) for one in found.kvm.accepts] == complete
