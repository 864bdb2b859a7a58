"""The KVM of the machine that runs the tests, asked by plain ioctls on a scratch vCPU, against the model of it.

What was observed goes before the rules, and where they differ `check` says so with both values: some KVMs do other
things than Linux's own (one refuses every value but 0). Where there is no /dev/kvm, probe has to say why.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import archcaps
from archcaps.machine import probe_script as ioctls
from tests.machine.probing import open_kvm

VALUES = (0, 1, 1 << 17, 0xE120, (1 << 64) - 1)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # no descriptor of its own while counting


class Scratch:
    """One virtual machine with one vCPU, closed at the end whatever happens."""

    def __init__(self, shown: bool | None) -> None:
        self.shown = shown
        self._open = ExitStack()

    def __enter__(self) -> int:
        try:
            device = self._keep(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
            machine = self._keep(fcntl.ioctl(device, ioctls.KVM_CREATE_VM, 0))
            vcpu = self._keep(fcntl.ioctl(machine, ioctls.KVM_CREATE_VCPU, 0))
            if self.shown is not None:
                ioctls._set_cpuid(vcpu, ioctls._supported_cpuid(device), self.shown)
        except BaseException:
            self._open.close()
            raise
        return vcpu

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _keep(self, fd: int) -> int:
        self._open.callback(os.close, fd)
        return fd


@pytest.fixture(scope="module")
def host() -> archcaps.Snapshot:
    """This machine as a host, with what its KVM was seen to do."""
    snapshot = archcaps.this_machine("host")
    if not snapshot.kvm.accepts:
        reasons = {what: why for what, why in snapshot.unreadable.items() if what.startswith("kvm")}
        assert any("/dev/kvm" in why for why in reasons.values()), "probe has to say why it saw no vCPU"
        pytest.xfail(f"no vCPU can be made here: {reasons}")
    return snapshot


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    before = open_files()
    yield
    assert open_files() == before


def test_what_it_offers_is_what_dev_kvm_says(host: archcaps.Snapshot) -> None:
    device = os.open("/dev/kvm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        offered = ioctls._get_msr(device, 0x10A) if 0x10A in ioctls._feature_msrs(device) else None
    finally:
        os.close(device)
    if offered is not None:
        assert archcaps.Kvm(host).get_msrs([0x10A]) == [archcaps.Word(offered)]


def test_a_new_vcpu_reads_what_it_was_seen_to_read(host: archcaps.Snapshot) -> None:
    with Scratch(None) as vcpu:
        read = ioctls._get_msr(vcpu, 0x10A)
    found = archcaps.Kvm(host).create_vm().create_vcpu().get_msrs([0x10A])
    if read is not None:
        assert found == [archcaps.Word(read)]


@pytest.mark.parametrize("shown", [True, False])
def test_no_answer_of_the_model_is_another_than_the_kernel_s(host: archcaps.Snapshot, shown: bool) -> None:
    kvm = archcaps.Kvm(host)
    modelled = kvm.create_vm().create_vcpu()
    modelled.set_cpuid2(["arch_capabilities"] if shown else [])
    with Scratch(shown) as vcpu:
        for value in (*VALUES, *(int(str(one.set), 16) for one in host.kvm.accepts)):
            taken = ioctls._set_msr(vcpu, value)
            answer = modelled.set_msrs({0x10A: value})
            assert answer is None or bool(answer) is taken, hex(value)
            read, found = ioctls._get_msr(vcpu, 0x10A), modelled.get_msrs([0x10A])
            assert read is None or not found or found[0].may_be(read) is not False, hex(value)


def test_where_the_rules_alone_say_something_else_there_is_a_notice(host: archcaps.Snapshot) -> None:
    rules = archcaps.Kvm(host).modelled()
    notices = [notice.text for notice in archcaps.check(host, archcaps.default_guest(host)).notices]
    for shown, words in ((True, "whose CPUID shows it"), (False, "whose CPUID hides it")):
        modelled = rules.create_vm().create_vcpu()
        modelled.set_cpuid2(["arch_capabilities"] if shown else [])
        for one in host.kvm.accepts:
            if one.cpuid_arch_capabilities is shown:
                answer = modelled.set_msrs({0x10A: int(str(one.set), 16)})
                if answer is not None and bool(answer) is not one.accepted:
                    said = [text for text in notices if words in text]
                    assert said and f"{one.set} observed {'accepted' if one.accepted else 'rejected'}" in said[0]


def test_no_machine_is_left_open_when_something_fails(host: archcaps.Snapshot) -> None:
    before = open_files()
    with pytest.raises(ZeroDivisionError), Scratch(None):
        raise ZeroDivisionError
    assert open_files() == before


def as_another_user(run: Callable[[], str]) -> str:
    """Return what `run` returns in a child process without root's rights."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(writing, run().encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        text = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return text


def kvm_for_this_user() -> str:
    """Return whether this process may use this machine's KVM: yes, no, or that nothing here is one."""
    try:
        os.close(open_kvm())
    except (PermissionError, FileNotFoundError):
        return "no"
    except OSError:
        return "none"
    return "yes"


@pytest.mark.xfail(os.getuid() != 0, reason="only root can take another user's place", run=False)
def test_without_permission_what_could_not_be_asked_is_said() -> None:
    found = json.loads(as_another_user(lambda: json.dumps(ioctls.probe("host"))))
    allowed = as_another_user(kvm_for_this_user)
    if allowed == "yes":
        assert "kvm" not in found["unreadable"]  # everybody may open it here
        return
    assert found["unreadable"]["kvm"].startswith("/dev/kvm: ")
    assert ("; root, or a member of its group" in found["unreadable"]["kvm"]) is (allowed == "no")
    assert "accepts" not in found["kvm"] and "offered" not in found["kvm"]
    snapshot = archcaps.parse_snapshot(json.dumps(found).encode(), "probe")
    result = archcaps.check(snapshot, archcaps.default_guest(snapshot))  # and the rest is judged, without KVM's word
    assert not [notice for notice in result.notices if "vCPU" in notice.text]
