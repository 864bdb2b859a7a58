"""archcaps check on this machine, on what KVM offers by default, and on running QEMU processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

import archcaps
from archcaps.cli import check as command
from archcaps.cli import machines
from archcaps.machine.snapshot import Snapshot
from tests.cli.running import ROOT
from tests.cli.running import archcaps as run

HOST = archcaps.read_snapshot(ROOT / "examples" / "tsa-no-always" / "host.toml")
THREAD_HOST = ("--host", "examples/thread/host.toml")


def test_default_is_the_guest_that_gets_what_kvm_offers() -> None:
    result = run(
        "check", "--host", "examples/tsa-no-always/host.toml", "--guest", "default", "--guest-kernel", "6.18.9"
    )
    assert result.returncode == 2
    assert result.stdout.startswith("EXPOSED: data can leak in this guest (tsa).")
    assert "Responsible: KVM" in " ".join(result.stdout.split())


def test_this_machine_answers() -> None:
    result = run("check")
    assert result.returncode in (0, 1, 2, 3)
    assert "Traceback" not in result.stderr
    for name in ("mds", "tsx_async_abort", "mmio_stale_data", "reg_file_data_sampling", "tsa"):
        assert f"\n{name} " in result.stdout


def test_this_machine_s_texts_are_its_own() -> None:
    """The guest's side is observed: the five files of this very kernel, where it has them."""
    answer = json.loads(run("check", *THREAD_HOST, "--guest", "this", "--json").stdout)
    for verdict in answer["vulnerabilities"]:
        file = Path("/sys/devices/system/cpu/vulnerabilities") / verdict["vulnerability"]
        if file.exists():
            assert verdict["concludes"]["value"] == file.read_text(encoding="ascii").strip()


def test_a_guest_is_told_what_to_ask_of_its_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = archcaps.read_snapshot(ROOT / "examples" / "thread" / "guest.toml")
    monkeypatch.setattr(command, "this_machine", lambda role=None: guest)
    result = CliRunner().invoke(command.check, [], standalone_mode=False)
    assert result.return_value == 3
    paste = result.output.partition("To whoever runs the host")[2]
    for line in ("rdmsr 0x10a", "uname -r", "cpuid -1 -r", "grep -m1 microcode /proc/cpuinfo", "cat /proc/cmdline"):
        assert line in paste


class TestOnAHost:
    """This machine is a guest or a host as it comes; a host's snapshot stands in for it."""

    @pytest.fixture(autouse=True)
    def host(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Snapshot]:
        host = replace(HOST, kernel=replace(HOST.kernel, release="6.18.30"))
        for module in (command, machines):
            monkeypatch.setattr(module, "this_machine", lambda role=None: host)
        yield host

    def test_what_guests_get_by_default_comes_first(self) -> None:
        result = CliRunner().invoke(command.check, [], standalone_mode=False)
        assert result.return_value == 2
        assert "guest: guest with KVM's default, Linux 6.18.30" in result.output

    def test_a_running_qemu_is_found_and_judged(self, qemu: int) -> None:
        result = CliRunner().invoke(command.check, ["--json"], standalone_mode=False)
        names = [json.loads(line)["guest"] for line in result.output.splitlines()]
        assert names[0] == "guest with KVM's default"
        assert f"QEMU process {qemu} (-cpu host)" in names

    def test_a_process_by_its_number(self, qemu: int) -> None:
        result = CliRunner().invoke(
            command.check, ["--pid", str(qemu), "--guest-kernel", "6.18.9", "--json"], standalone_mode=False
        )
        answer = json.loads(result.output)
        tsa = next(each for each in answer["vulnerabilities"] if each["vulnerability"] == "tsa")
        assert answer["guest"] == f"QEMU process {qemu} (-cpu host)"
        # verw-clear is switched off by the command line; the NO bits are KVM's.
        shown = {bit["name"]: bit["guest"] for bit in tsa["shown"]}
        assert shown["verw_clear"] is False
        assert shown["tsa_sq_no"] is True


@pytest.fixture
def qemu() -> Iterator[int]:
    """A process that looks like a QEMU to /proc: its arguments are what is read."""
    words = ["-c", "import time; print('up', flush=True); time.sleep(60)", "-enable-kvm", "-cpu", "host,-verw-clear"]
    with subprocess.Popen(
        ["/usr/bin/qemu-system-x86_64", *words], executable=sys.executable, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_a_process_that_is_no_qemu() -> None:
    for pid, line in ((2**22 + 1, "no such process"), (os.getpid(), "not a QEMU process")):
        result = run("check", *THREAD_HOST, "--pid", str(pid))
        assert result.returncode == 65
        assert result.stderr.startswith(f"archcaps: process {pid}: {line}")
        assert len(result.stderr.splitlines()) == 1


def test_pid_and_guest_are_one_or_the_other() -> None:
    assert run("check", *THREAD_HOST, "--pid", "1", "--guest", "this").returncode == 64
