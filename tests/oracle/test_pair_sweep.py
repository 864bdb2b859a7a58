"""A host, its KVM and a guest: the graph against the oracle's plain steps, question by question, in random worlds.

Compared are all offers, what a vCPU holds, the answers to MSR accesses, the way into a guest, and every verdict with
its inputs and who is responsible, of the guest and of the two that it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from archcaps.logic.bitplanes import BitPlanes
from archcaps.logic.choice import Choice
from archcaps.logic.graph import Node
from archcaps.rules import further, host_border, kvm_msrs, kvm_vmx_entry, notices, verdict
from archcaps.rules.kvm_entry import vcpu_arch_capabilities
from archcaps.rules.kvm_offer import kvm_get_arch_capabilities, kvm_get_supported_cpuid
from archcaps.rules.shown import model
from archcaps.rules.views import Access
from archcaps.tables.bits import ARCH_CAPABILITIES
from archcaps.tables.names import FURTHER, VULNERABILITIES
from tests.oracle.pair_answers import CONTROLS, CPUID, planes
from tests.oracle.pair_worlds import facts, pairs

MODEL = model()
KVM, GUEST, ACCESS = MODEL.kvm, MODEL.guest, Access("access")
CASES = {"guest": GUEST, "offered": MODEL.offered, "true": MODEL.true}
PLANES = BitPlanes(len(pairs()), facts())
OF_ACCESS = (
    "arch_cap_unsupported", "feature_msr_frozen", "host_writes_arch_cap", "host_write_is_stored",
    "guest_reads_arch_cap", "guest_read_of_arch_cap_faults", "starts_with_offer", "host_writes_flush_cmd",
    "guest_flush_cmd_faults", "host_writes_tsx_ctrl", "guest_tsx_ctrl_faults",
)  # fmt: skip
OF_KVM = (
    "guest_write_of_arch_cap_faults", "unsupported_msr_faults", "keeps_tsx_ctrl", "saves_tsx_ctrl",
    "set_cpuid_writes_tsx_ctrl", "host_arch_cap_read_anew", "fb_clear_ctrl_read_anew",
)  # fmt: skip
OF_ENTRY = ("verw_in_c", "verw_in_entry_asm", "verw_with_fb_clear_dis", "verw_before_vmrun")


def of_kvm() -> dict[str, Node]:
    nodes = {f"offers {bit}": kvm_get_arch_capabilities(KVM, bit) for bit in ARCH_CAPABILITIES}
    nodes |= {f"holds {bit}": vcpu_arch_capabilities(GUEST.cpu, KVM, bit) for bit in ARCH_CAPABILITIES}
    nodes |= {f"offers CPUID {bit}": kvm_get_supported_cpuid(KVM, bit) for bit in CPUID}
    nodes |= {name: getattr(kvm_msrs, name)(ACCESS, KVM) for name in OF_ACCESS}
    nodes |= {name: getattr(kvm_msrs, name)(KVM) for name in OF_KVM}
    nodes |= {name: getattr(kvm_vmx_entry, name)(GUEST) for name in OF_ENTRY}
    nodes |= {f"unreachable {bit}": notices.unreachable_msr(GUEST.cpu, KVM, bit) for bit in CONTROLS}
    return nodes | {
        "vmx_l1d_should_flush": kvm_vmx_entry.vmx_l1d_should_flush(KVM),
        "vmx_l1d_flush_cond": kvm_vmx_entry.vmx_l1d_flush_cond(KVM),
        "mmio_verw_for_vms": kvm_vmx_entry.mmio_verw_for_vms(KVM),
        "can_reach_mmio": kvm_vmx_entry.can_reach_mmio(GUEST.cpu, KVM, GUEST.vm),
        "verw_before_any_guest": kvm_vmx_entry.verw_before_any_guest(KVM.host, KVM.kernel),
        "host_mitigates": host_border.host_mitigates(GUEST),
        "rtm_executes": GUEST.rtm_executes,
        "contradicts_tsa": notices.contradicts_tsa(GUEST.cpu),
        "contradicts_rfds": notices.contradicts_rfds(GUEST.cpu),
    }


def of_verdicts() -> dict[str, Node | Choice]:  # type: ignore[type-arg]  # of any labels
    asked: dict[str, Node | Choice] = {}  # type: ignore[type-arg]  # of any labels
    for name, case in CASES.items():
        asked[f"{name} FB_CLEAR_DIS"] = case.disable_fb_clear
        for each in VULNERABILITIES:
            asked[f"{name} claim {each}"] = verdict.claims(case, each)
            asked[f"{name} truth {each}"] = verdict.truth(case, each)
            asked[f"{name} exposed {each}"] = verdict.exposed(case, each)
            asked[f"{name} safety {each}"] = verdict.safety(case, each)
            asked[f"{name} affected {each}"] = case.affected[each]
            asked[f"{name} works {each}"] = case.verw_works[each]
    for each in VULNERABILITIES:
        asked[f"responsible {each}"] = verdict.responsible(GUEST, MODEL.offered, MODEL.true, each)
        asked[f"cleared {each}"] = kvm_vmx_entry.cleared_before_entry(GUEST, each)
        asked[f"exposes host {each}"] = host_border.exposes_host(GUEST, each)
        asked[f"host safety {each}"] = host_border.host_safety(GUEST, each)
        asked[f"host responsible {each}"] = host_border.host_responsible(GUEST, each)
    return asked


def of_further() -> dict[str, Node | Choice]:  # type: ignore[type-arg]  # of any labels
    asked: dict[str, Node | Choice] = {}  # type: ignore[type-arg]  # of any labels
    for subject in FURTHER:
        asked[f"affected {subject}"] = further.further_affected(GUEST, subject)
        asked[f"prevented {subject}"] = further.host_prevents(GUEST, subject)
        asked[f"works {subject}"] = further.mitigation_works(GUEST, subject)
        asked[f"claim {subject}"] = further.further_claim(GUEST, subject)
        asked[f"truth {subject}"] = further.further_truth(GUEST, subject)
        asked[f"exposed {subject}"] = further.further_exposed(GUEST, subject)
        asked[f"safety {subject}"] = further.further_safety(GUEST, subject)
        asked[f"further responsible {subject}"] = further.further_responsible(GUEST, subject)
    return asked


def compare(name: str, node: Node, wanted: int) -> None:
    true, false = PLANES.planes(node)
    assert true | false == PLANES.every, f"{name}: an answer is missing"
    differs = true ^ wanted
    row = differs.bit_length() - 1
    assert differs == 0, f"{name}: {differs.bit_count()} differ, the oracle says {wanted >> row & 1} in {pairs()[row]}"


def ask(asked: dict[str, Node | Choice]) -> None:  # type: ignore[type-arg]  # of any labels
    for name, node in asked.items():
        wanted = planes()[name]
        if isinstance(node, Node):
            compare(name, node, wanted.get(True, 0))
        else:
            assert set(node.labels) >= set(wanted)
            for label in node.labels:
                compare(f"{name} {label}", node.is_in([label]), wanted.get(label, 0))


def test_kvm() -> None:
    ask(dict(of_kvm()))


def test_verdicts() -> None:
    ask(of_verdicts())


def test_further_verdicts() -> None:
    ask(of_further())


def test_both_answers_are_met_nearly_everywhere() -> None:
    """A question that is always answered alike would prove nothing."""
    always = {name for name, of_name in planes().items() if len(of_name) == 1}
    never_in_a_mask = {f"offers {bit}" for bit in ARCH_CAPABILITIES}
    of_cpuid = {f"offers CPUID {bit}" for bit in (*CPUID[11:], "arch_capabilities")}
    of_further = {f"{what} {name}" for what in ("prevented", "works") for name in FURTHER}
    assert always <= never_in_a_mask | of_cpuid | of_further | {"true FB_CLEAR_DIS"}


def every_one() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield every test of this page by its name, for those who run them without pytest."""
    yield from (
        ("test_kvm", test_kvm),
        ("test_verdicts", test_verdicts),
        ("test_further_verdicts", test_further_verdicts),
    )
