"""A sweep of random (host, kernel release, guest) triples: the oracle against the graph, bit by bit.

Compared are all 64 bits that KVM offers, all 64 bits that a vCPU then holds, FB_CLEAR_DIS, and the steps of VM entry,
for the 27 releases of profiles.json. Nothing is unknown, so every answer must be there.
"""

from __future__ import annotations

from random import Random

import pytest

from archcaps.machine.snapshot import Cpuid, Reading, Snapshot
from archcaps.questions.reader import Reader
from archcaps.rules import kvm_vmx_entry as entry
from archcaps.rules.kvm_entry import vcpu_arch_capabilities
from archcaps.rules.kvm_offer import kvm_get_arch_capabilities, on_svm
from archcaps.rules.linux_mitigations import tsa_verw_before_vmrun
from archcaps.rules.shown import model
from archcaps.tables.bits import ARCH_CAPABILITIES
from tests.oracle.random_hosts import host_snapshot
from tests.oracle.sweep import PARTS, Guest, Pair, Triples
from tests.oracle.vm_entry import State, fill_buffers_cleared, svm_verw_executed, vm_entry

#: Of each part, so many triples go through snapshots and the ternary reading too.
SAMPLED = 150

MODEL = model()
CASE, KVM = MODEL.guest, MODEL.kvm
OFFERED = {bit.bit: kvm_get_arch_capabilities(KVM, name) for name, bit in ARCH_CAPABILITIES.items()}
STORED = {bit.bit: vcpu_arch_capabilities(CASE.cpu, KVM, name) for name, bit in ARCH_CAPABILITIES.items()}


def value_and_fb_clear_dis(triples: Triples) -> None:
    """What is offered, what a vCPU holds, and FB_CLEAR_DIS: of that vCPU, and of one left as it was made."""
    offered = triples.planes_of_words([kvm.offered for kvm, _, _ in triples])
    stored = triples.planes_of_words([word for _, _, word in triples])
    disable = triples.plane(kvm.disable_fb_clear(word) for kvm, _, word in triples)
    by_default = triples.plane(kvm.disable_fb_clear(kvm.offered) for kvm, _, _ in triples)
    # an answer that is always the same would prove nothing
    assert 0.01 < disable.bit_count() / len(triples) < 0.99
    assert triples.differences("FB_CLEAR_DIS", CASE.disable_fb_clear, disable) == ""
    assert triples.differences("FB_CLEAR_DIS by default", MODEL.offered.disable_fb_clear, by_default) == ""
    for bit, node in OFFERED.items():
        assert triples.differences(f"offered bit {bit}", node, offered[bit]) == ""
    for bit, node in STORED.items():
        assert triples.differences(f"stored bit {bit}", node, stored[bit]) == ""


def steps_of_vm_entry(triples: Triples) -> None:
    """A conditional flush has nothing to do; under SVM, VERW before VMRUN alone is there, for TSA."""
    states = (
        State(flush_pending=False, assigned_device=g.assigned_device, host_mmio=g.host_mmio) for _, g, _ in triples
    )
    idle = [
        vm_entry(kvm, word, state) if kvm.linux.vmx else None
        for (kvm, _, word), state in zip(triples, states, strict=True)
    ]
    keys = [(kvm.linux.keys, kvm.linux.vmx) for kvm, _, _ in triples]
    expected = [
        ("VERW", entry.verw_in_c(CASE) | entry.verw_in_entry_asm(CASE), (e is not None and e.executed for e in idle)),
        ("VERW with FB_CLEAR_DIS", entry.verw_with_fb_clear_dis(CASE), (e is not None and e.after_dis for e in idle)),
        ("L1D flush", entry.vmx_l1d_should_flush(KVM), (vmx and key.l1d_flush for key, vmx in keys)),
        ("conditional flush", entry.vmx_l1d_flush_cond(KVM), (vmx and key.l1d_conditional for key, vmx in keys)),
    ]
    for what, node, answers in expected:
        plane = triples.plane(answers)
        assert plane, what
        assert triples.differences(what, node, plane) == ""


def verw_before_vmrun(triples: Triples) -> None:
    """From 6.16 and its backports on. The key, AMD's TSA mitigation, is the graph's own: the oracle has no TSA."""
    key = triples.graph(on_svm(KVM) & tsa_verw_before_vmrun(KVM.host, KVM.kernel))
    runs = key & triples.plane(svm_verw_executed(kvm.profile, clear_cpu_buf_vm=True) for kvm, _, _ in triples)
    assert triples.differences("VERW before VMRUN", entry.verw_before_vmrun(CASE), runs) == ""


def cleared_at_every_entry(triples: Triples) -> None:
    """On VMX and bare metal: what the silicon under another hypervisor does is not known."""
    bare = triples.plane(kvm.linux.vmx and "hypervisor" not in kvm.host.cpuid for kvm, _, _ in triples)
    cleared = triples.plane(
        fill_buffers_cleared(kvm, word, assigned_device=guest.assigned_device, host_mmio=guest.host_mmio)
        for kvm, guest, word in triples
    )
    assert 0.01 < (cleared & bare).bit_count() / bare.bit_count() < 0.99
    node = entry.cleared_before_entry(CASE, "mmio_stale_data")
    assert triples.differences("cleared", node, cleared, among=bare) == ""


def as_told(pair: Pair, guest: Guest) -> list[str]:
    """Compare one triple by way of snapshots, facts and the ternary reading, as a user's question goes."""
    shown = Snapshot(
        format_version=1,
        role="guest",
        cpuid=Cpuid(shown=["hypervisor", *(["arch_capabilities"] if guest.cpuid else [])]),
        registers={"ia32_arch_capabilities": Reading(value=guest.word)},
    )
    value = Reader(host_snapshot(pair.host, pair.profile), shown).ternary.value
    offered, stored = pair.oracle.offered, pair.oracle.stored(guest.word, cpuid=guest.cpuid)
    expected = [("FB_CLEAR_DIS", CASE.disable_fb_clear, pair.oracle.disable_fb_clear(stored))]
    expected += [(f"offered bit {bit}", node, bool(offered >> bit & 1)) for bit, node in OFFERED.items()]
    expected += [(f"stored bit {bit}", node, bool(stored >> bit & 1)) for bit, node in STORED.items()]
    return [f"{what}: for {guest} on {pair}" for what, node, wanted in expected if value(node) is not wanted]


def sample_told_by_snapshots(triples: Triples) -> None:
    """Where archcaps finds all facts by itself, it answers the same from snapshots."""
    random = Random(0)
    told = [pair for pair in triples.pairs if pair.told]
    assert len(told) > len(triples.pairs) // 3
    wrong = [as_told(pair, random.choice(pair.guests)) for pair in random.choices(told, k=SAMPLED)]
    assert [line for lines in wrong for line in lines] == []


@pytest.mark.parametrize("part", range(PARTS))
def test_the_graph_is_the_oracle_s_on_every_triple(part: int) -> None:
    triples = Triples.of_part(part)
    value_and_fb_clear_dis(triples)
    steps_of_vm_entry(triples)
    verw_before_vmrun(triples)
    cleared_at_every_entry(triples)
    sample_told_by_snapshots(triples)
