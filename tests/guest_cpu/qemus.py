"""The QEMU of the machine that runs the tests: whether it is there, what it is, guests of it that never run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from archcaps.errors import InputError
from archcaps.guest_cpu.qemu.qmp import Qmp

PROGRAM = os.environ.get("ARCHCAPS_QEMU") or shutil.which("qemu-system-x86_64")
needs_qemu = pytest.mark.skipif(
    PROGRAM is None, reason="no qemu-system-x86_64 (as root, make debian installs it: tools/debian/install.sh)"
)
#: Source: Linux include/uapi/linux/kvm.h
_KVM_GET_API_VERSION, _API = 0xAE00, 12


@cache
def release() -> str:
    """QEMU's own release, as 7.2.22."""
    assert PROGRAM is not None
    text = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    return text.split()[3]


@cache
def accelerator() -> str:
    """What this machine can run QEMU with: KVM where there is one that may be used, else TCG."""
    try:
        with Path("/dev/kvm").open("r+b", buffering=0) as device:
            return "kvm" if fcntl.ioctl(device, _KVM_GET_API_VERSION) == _API else "tcg"
    except OSError:  # none there, not to be opened, or no KVM behind that name
        return "tcg"


@contextmanager
def running(cpu: str, folder: Path, machine: str = "q35") -> Iterator[str]:
    """Start a guest that is stopped before its first instruction; yield its QMP socket.

    Raises:
        RuntimeError: it does not start; with what QEMU said.
    """
    assert PROGRAM is not None
    path = folder / "qmp"
    path.unlink(missing_ok=True)
    command = [
        PROGRAM, "-S", "-nodefaults", "-display", "none", "-machine", machine, "-accel", accelerator(), "-cpu", cpu,
        "-m", "64", "-qmp", f"unix:{path},server=on,wait=off",
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            _wait_until_made(process, path)
            yield str(path)
        finally:
            process.kill()


def _wait_until_made(process: subprocess.Popen[str], path: Path) -> None:
    """Wait until QEMU answers, which it does when its machine is made, or has ended for what it did not like."""
    assert process.stderr is not None
    while process.poll() is None:
        if path.exists():
            try:
                with Qmp(str(path)):
                    return
            except InputError:  # it ends just now
                pass
        time.sleep(0.02)
    raise RuntimeError(process.stderr.read())
