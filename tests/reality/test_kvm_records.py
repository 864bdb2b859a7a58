"""The executable specification of KVM against the real kvm-intel.ko: everything that a record holds, nothing excepted.

24 hosts: six on each of 5.10.218, 6.1.192, 6.12.117 and 7.2.13; 230 values of MSR 0x10a with the CPUID bit, 30 without.
19 more on 6.18.15 and 7.3.4, six of them under kvm-amd with 74 values, some with options that set bugs on the host.
What a record cannot tell (the texts of a host before kvm-intel was loaded, FB_CLEAR_DIS without the CPUID bit) is
not compared.
"""

from __future__ import annotations

import re
from collections import Counter

import pytest

import archcaps
from archcaps.questions.reader import Reader
from archcaps.rules import linux_bugs as bugs
from archcaps.rules import linux_bugs_branch as branch_bugs
from archcaps.tables.bits import BITS
from tests.reality.records import Record, records, records_of_fourteen_images, snapshot_of

FIRST = [record for record in records() if record["engine"] == "kvm-intel-tcg"]
SECOND = [record for record in records_of_fourteen_images() if record["engine"].startswith("kvm-")]
RECORDS = FIRST + SECOND
EVERY = pytest.mark.parametrize("record", RECORDS, ids=lambda record: f"{record['kernel']} {record['input']['name']}")
#: The host's bugs that rules find, by the kernel's names for them.
BUGS = {
    "mds": bugs.x86_bug_mds, "taa": bugs.x86_bug_taa, "mmio_stale_data": bugs.x86_bug_mmio_stale_data,
    "mmio_unknown": bugs.x86_bug_mmio_unknown, "rfds": bugs.x86_bug_rfds, "tsa": bugs.x86_bug_tsa,
    "cpu_meltdown": bugs.x86_bug_cpu_meltdown, "l1tf": bugs.x86_bug_l1tf,
    "spec_store_bypass": branch_bugs.x86_bug_spec_store_bypass, "gds": bugs.x86_bug_gds,
    "its": branch_bugs.x86_bug_its,
}  # fmt: skip


def kvm_of(record: Record) -> archcaps.Kvm:
    return archcaps.Kvm(snapshot_of(record, "host"), parameters={"ignore_msrs": "N"})


def test_there_are_as_many_records_as_this_page_says() -> None:
    assert Counter(record["kernel"] for record in FIRST) == dict.fromkeys(
        ("5.10.218", "6.1.192", "6.12.117", "7.2.13"), 6
    )
    assert Counter(f"{record['engine']} {record['kernel']}" for record in SECOND) == {
        "kvm-intel-tcg 6.18.15": 5, "kvm-intel-tcg 7.3.4": 8, "kvm-amd-tcg 6.18.15": 3, "kvm-amd-tcg 7.3.4": 3,
    }  # fmt: skip


@EVERY
def test_what_dev_kvm_offers(record: Record) -> None:
    kvm, output = kvm_of(record), record["output"]
    assert kvm.get_msrs([0x10A]) == [archcaps.Word(int(output["feature_0x10a"], 16))]
    assert kvm.supported_arch_cap == int(output["feature_0x10a"], 16)
    offered = kvm.get_supported_cpuid()
    assert None not in offered.values()
    if "supported_cpuid7_edx" in output and output["supported_cpuid7_edx"] is not None:
        # the emulated CPU shows no bit of this word that is not modelled
        bits = [BITS[name].mask for name, bit in offered.items() if bit and BITS[name].register == "cpuid_7_0_edx"]
        assert hex(sum(bits)) == output["supported_cpuid7_edx"]
    else:  # on AMD the words of TSA alone are modelled whole
        eax, _, ecx, _ = (int(word, 16) for word in output["supported_cpuid"]["80000021.0"])
        assert offered["verw_clear"] is bool(eax & BITS["verw_clear"].mask)
        for name in ("tsa_sq_no", "tsa_l1_no", "tsa_fill_no"):
            assert offered[name] is bool(ecx & BITS[name].mask), name


@EVERY
def test_every_value_with_the_cpuid_bit(record: Record) -> None:
    vcpu = kvm_of(record).create_vm().create_vcpu()
    assert vcpu.set_cpuid2(["arch_capabilities"])
    assert vcpu.get_msrs([0x10A]) == [archcaps.Word(int(record["output"]["vcpu_initial_0x10a"], 16))]
    for guest in record["output"]["guest"]:
        value = int(guest["set"], 16)
        assert vcpu.set_msrs({0x10A: value}) == int(guest["accepted"])
        assert vcpu.get_msrs([0x10A]) == [archcaps.Word(int(guest["get"], 16))]
        assert vcpu.disable_fb_clear is guest["disable_fb_clear"], guest
        # what kvm-amd under the same releases showed a running guest: the value, where CPUID has the bit
        assert vcpu.guest_rdmsr(0x10A) == int(guest["get"], 16)


@EVERY
def test_every_value_without_the_cpuid_bit(record: Record) -> None:
    """The lines: a read before CPUID is set, one after it, sets of values each with a read, a set of MSR 0x123."""
    vcpu = kvm_of(record).create_vm().create_vcpu()
    before, after, *sets, last = record["output"]["without_cpuid_bit"]
    assert before == f"precpuid {read(vcpu)}"
    vcpu.set_cpuid2([])
    assert after == read(vcpu)
    assert len(sets) == (30 if record["engine"] == "kvm-intel-tcg" else 14)
    for line in sets:
        value = int(line.split()[1], 16)
        accepted = vcpu.set_msrs({0x10A: value})
        assert line == f"set {value:x} r={accepted} {read(vcpu).replace('v=', '')}"
        assert repr(vcpu.guest_rdmsr(0x10A)) == "#GP"
    match = re.fullmatch(r"set123=(\d) get r=(\d) 0", last)
    assert match is not None
    assert vcpu.set_msrs({0x123: 8}) == int(match[1]) == 0
    assert len(vcpu.get_msrs([0x123]) or []) == int(match[2]) == 0


def read(vcpu: archcaps.Vcpu) -> str:
    """A read of MSR 0x10a as the records write it."""
    found = vcpu.get_msrs([0x10A])
    assert found is not None
    return f"get r={len(found)} v={int(found[0]):x}"


@EVERY
def test_the_host_s_own_bugs(record: Record) -> None:
    reader = Reader(snapshot_of(record, "host"), archcaps.Snapshot(format_version=1, role="guest"))
    host, kernel = reader.model.kvm.host, reader.model.kvm.kernel
    for name, rule in BUGS.items():
        if name == "its" and "indirect_target_selection" not in record["output"]["host_vuln"]:
            continue  # this kernel is older than the bug; the rule speaks of kernels that know it
        assert reader.ternary.value(rule(host, kernel)) is (name in record["output"]["host_bugs"]), name
