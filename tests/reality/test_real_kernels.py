"""The rules against the recorded answers of real kernels: their own compiled code, run in emulators.

Six Debian kernels: 5.10.218, 5.10.251, 6.1.170, 6.1.192, 6.12.117, 7.2.13. Compared are every text, bug bit and
VERW feature of the VERW family, and, for the real kvm-intel.ko, every offered value and every FB_CLEAR_DIS decision.
`make test` compares every record of 6.1.192 and 6.12.117 and each fourth of the others; `make conformance` all.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from archcaps.machine.snapshot import Cpuid, Reading, Snapshot
from archcaps.questions.kvm import Kvm
from archcaps.questions.reader import Reader
from archcaps.rules import linux_bugs as bugs
from archcaps.rules.linux_mitigations import TEXTS, clear_cpu_buf
from archcaps.tables.names import VULNERABILITIES
from tests.reality.records import Record, records, snapshot_of

WHOLE = ("6.1.192", "6.12.117")
FULL = os.environ.get("ARCHCAPS_FULL") == "1"
KERNELS = ("5.10.218", "5.10.251", "6.1.170", "6.1.192", "6.12.117", "7.2.13")
BUGS = {
    "mds": bugs.x86_bug_mds,
    "taa": bugs.x86_bug_taa,
    "mmio_stale_data": bugs.x86_bug_mmio_stale_data,
    "mmio_unknown": bugs.x86_bug_mmio_unknown,
    "rfds": bugs.x86_bug_rfds,
    "tsa": bugs.x86_bug_tsa,
}
EMPTY_HOST = Snapshot(format_version=1, role="host")


def of_kernel(kernel: str, *, kvm: bool) -> list[Record]:
    found = [each for each in records() if each["kernel"] == kernel and (each["engine"] == "kvm-intel-tcg") is kvm]
    return found if FULL or kvm or kernel in WHOLE else found[::4]


def differences_of(record: Record) -> list[str]:
    reader = Reader(EMPTY_HOST, snapshot_of(record, "guest"))
    cpu, kernel, value = reader.model.guest.cpu, reader.model.guest.kernel, reader.ternary.value
    output = record["output"]
    found = []
    for name in VULNERABILITIES:
        answer = TEXTS[name](cpu, kernel).answer(reader.ternary).possible
        if answer != (output["vuln"].get(name),):
            found.append(f"{name}: {answer}, recorded {output['vuln'].get(name)!r}")
    for name, rule in BUGS.items():
        if value(rule(cpu, kernel)) is not (name in output["bugs"]):
            found.append(f"bug {name}: {value(rule(cpu, kernel))}")
    # null: this kernel has no such feature
    if value(clear_cpu_buf(cpu, kernel)) is not bool(output["verw"]["CLEAR_CPU_BUF"]):
        found.append(f"CLEAR_CPU_BUF: {value(clear_cpu_buf(cpu, kernel))}")
    return found


@pytest.mark.conformance
@pytest.mark.parametrize("kernel", KERNELS)
def test_texts_bug_bits_and_verw_of_real_kernels(kernel: str) -> None:
    chosen = of_kernel(kernel, kvm=False)
    assert len(chosen) > 40
    wrong = {str(record["input"]): found for record in chosen if (found := differences_of(record))}
    assert wrong == {}


KVM_KERNELS = ("5.10.218", "6.1.192", "6.12.117", "7.2.13")


@pytest.mark.conformance
@pytest.mark.parametrize("kernel", KVM_KERNELS)
def test_fb_clear_dis_and_offered_value_of_the_real_kvm_intel(kernel: str) -> None:
    chosen = of_kernel(kernel, kvm=True)
    assert len(chosen) == 6
    seen: Counter[object] = Counter()
    for record in chosen:
        host = snapshot_of(record, "host")
        output = record["output"]
        assert Kvm(host).supported_arch_cap == int(output["feature_0x10a"], 16), record["input"]["name"]
        for guest in output["guest"]:
            shown = Snapshot(
                format_version=1,
                role="guest",
                cpuid=Cpuid(shown=["arch_capabilities"]),
                registers={"ia32_arch_capabilities": Reading(value=guest["set"])},
            )
            reader = Reader(host, shown)
            decided = reader.ternary.value(reader.model.guest.disable_fb_clear)
            assert decided is guest["disable_fb_clear"], (record["input"]["name"], guest["set"])
            seen[decided] += 1
    # a record of one answer only would prove nothing
    assert seen[True] > 20
    assert seen[False] > 20


@pytest.mark.conformance
def test_the_host_s_own_bugs_under_the_real_kvm_intel() -> None:
    for record in records():
        if record["engine"] != "kvm-intel-tcg":
            continue
        reader = Reader(snapshot_of(record, "host"), Snapshot(format_version=1, role="guest"))
        host, kernel = reader.model.kvm.host, reader.model.kvm.kernel
        for name, rule in BUGS.items():
            assert reader.ternary.value(rule(host, kernel)) is (name in record["output"]["host_bugs"]), name
