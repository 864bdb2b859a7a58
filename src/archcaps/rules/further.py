"""Verdicts on what IA32_ARCH_CAPABILITIES says beside the VERW family: is the guest told the truth, can data leak.

A *subject* is a file under /sys/devices/system/cpu/vulnerabilities, or one of the fields of spectre_v2. For each:
whether the silicon is affected, what the guest's kernel claims, and whether what it or the host does about it works.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from archcaps.logic.choice import Choice
from archcaps.logic.concatenation import JOINED, Concatenation
from archcaps.logic.graph import FALSE, TRUE, Node, any_of, rule
from archcaps.rules import linux_spectre_v2 as spectre_v2
from archcaps.rules.kvm_offer import OFFERED_CPUID, gds_mitigated, kvm_get_arch_capabilities, kvm_get_supported_cpuid
from archcaps.rules.kvm_vmx_entry import vmx_l1d_should_flush
from archcaps.rules.linux_branch_texts import spectre_v2_texts
from archcaps.rules.linux_features import x86_feature_ibrs, x86_feature_ssbd
from archcaps.rules.linux_files import TEXTS
from archcaps.rules.shown import Case
from archcaps.rules.verdict import Claim, Responsible, Safety, Truth, claim_of
from archcaps.tables.bits import ARCH_CAPABILITIES
from archcaps.tables.names import FURTHER

__all__ = [
    "SPEAK_OF", "bhi_is_by_loop", "claim_of_subject", "file_of", "further_affected", "further_claim", "further_exposed",
    "further_responsible", "further_safety", "further_truth", "host_prevents", "mitigation_works",
]  # fmt: skip

_TABLE = "archcaps: docs/architecture/verdict.md"
_LISTS = "Intel's affected processor list; Linux cpu_vuln_whitelist, cpu_vuln_blacklist"

#: The bits that speak of each subject to a guest.
SPEAK_OF: Final = {
    "meltdown": ("rdcl_no",),
    "l1tf": ("rdcl_no", "skip_l1dfl_vmentry"),
    "spec_store_bypass": ("ssb_no", "ssbd"),
    "itlb_multihit": ("pschange_mc_no",),
    "gather_data_sampling": ("gds_no",),
    "indirect_target_selection": ("its_no",),
    "retbleed": ("rsba", "ibrs_all"),
    "spectre_v2": ("ibrs_all", "rrsba", "rsba"),
    "bhi": ("bhi_no", "rrsba"),
    "pbrsb": ("pbrsb_no", "ibrs_all"),
}
assert tuple(SPEAK_OF) == FURTHER

#: How the fields of spectre_v2 begin.
_FIELD_STARTS: Final = {"bhi": "BHI: ", "pbrsb": "PBRSB-eIBRS: "}
#: What a host prevents for its guests.
_BY_HOST: Final = ("itlb_multihit", "gather_data_sampling")


def file_of(subject: str) -> str:
    """Return the file that speaks of a subject."""
    return "spectre_v2" if subject in ("bhi", "pbrsb") else subject


@rule(_LISTS)
def further_affected(case: Case, subject: str) -> Node:
    """The silicon is affected, for this guest: by the host's raw registers and published lists.

    PBRSB needs enhanced IBRS; a part with BHI_CTRL has no ITS.
    """
    silicon = case.silicon
    affected = {
        "meltdown": ~silicon.rdcl_no & silicon.meltdown_published,
        "l1tf": ~silicon.rdcl_no & silicon.l1tf_published,
        "spec_store_bypass": ~silicon.ssb_no & ~silicon.amd_ssb_no & silicon.ssb_published,
        "itlb_multihit": ~silicon.pschange_mc_no & silicon.itlb_multihit_published,
        "gather_data_sampling": ~silicon.gds_no & silicon.gds_published,
        "indirect_target_selection": silicon.its_published & ~silicon.bhi_ctrl,
        "retbleed": silicon.retbleed_published & ~silicon.btc_no,
        "spectre_v2": silicon.spectre_v2_published,
        "bhi": ~silicon.bhi_no & silicon.bhi_published,
        "pbrsb": ~silicon.pbrsb_no & silicon.pbrsb_published & case.cpu.ibrs_all,
    }
    return affected[subject]


@rule("Linux 7.1.5 arch/x86/kvm/x86.c kvm_get_arch_capabilities: PSCHANGE_MC_NO, GDS_NO; kvm/mmu/mmu.c nx_huge_pages")
def host_prevents(case: Case, subject: str) -> Node:
    """The host prevents this for its guests: ITLB multihit by splitting huge pages, GDS by microcode."""
    if subject == "itlb_multihit":
        return case.kvm.kernel.kvm_splits_huge_pages
    return gds_mitigated(case.kvm) if subject == "gather_data_sampling" else FALSE


@rule("Intel, Branch History Injection and Retpoline guidance (RRSBA, RSBA: returns predicted from elsewhere)")
def retpolines_work(case: Case) -> Node:
    """Retpolines guard on this silicon: returns are predicted from the RSB alone, or the guest knows that they are not.

    Told of RRSBA, Linux switches it off or takes other measures; told of RSBA, it does not trust retpolines.
    """
    silicon, cpu = case.silicon, case.cpu
    return (~silicon.rrsba | cpu.rrsba) & (~silicon.rsba | cpu.rsba)


@rule("Linux 6.12.117, 7.1.5 arch/x86/kernel/cpu/bugs.c bhi_select_mitigation, spectre_bhi_state")
def bhi_is_by_loop(case: Case) -> Node:
    """The guest's kernel clears the branch history by its loop where it is entered from user space."""
    return spectre_v2_texts(case.cpu, case.kernel).field("bhi").where(lambda text: text.startswith("; BHI: SW loop"))


@rule("Pawan Gupta (Intel), linux-kernel mailing list, December 2025: Make clear_bhb_loop() effective on newer CPUs")
def bhb_loop_works(case: Case) -> Node:
    """Linux's loop clears the branch history: on parts before Alder Lake, those without BHI_CTRL.

    Later parts have a longer history than the loop of any kernel read (up to 7.3.4) overwrites.
    """
    return ~case.silicon.bhi_ctrl


@rule("Linux 7.1.5 arch/x86/kernel/cpu/bugs.c; Intel, Speculative Execution Side Channel Mitigations")
def mitigation_works(case: Case, subject: str) -> Node:
    """What the guest's kernel does about it works on this host: in software mostly, else if the hardware can do it."""
    cpu, kernel, kvm, silicon = case.cpu, case.kernel, case.kvm, case.silicon
    eibrs = silicon.ibrs_all | silicon.auto_ibrs
    match subject:
        case "l1tf":  # a nested hypervisor that is told not to flush relies on its host
            return ~(cpu.vmx & cpu.skip_l1dfl_vmentry) | vmx_l1d_should_flush(kvm)
        case "spec_store_bypass":
            return x86_feature_ssbd(kvm.host, kvm.kernel)
        case "retbleed":
            says = TEXTS["retbleed"](cpu, kernel)
            assert isinstance(says, Choice)
            by_eibrs = says.where(lambda text: text == "Mitigation: Enhanced IBRS")
            by_ibrs = says.where(lambda text: text == "Mitigation: IBRS")
            return (~by_eibrs | eibrs) & (~by_ibrs | x86_feature_ibrs(kvm.host, kvm.kernel))
        case "spectre_v2":
            by_eibrs = spectre_v2.spectre_v2_mode_is_eibrs(cpu, kernel)
            by_ibrs = spectre_v2.spectre_v2_mode_is(cpu, kernel, spectre_v2.IBRS)
            by_retpoline = spectre_v2.spectre_v2_mode_is(cpu, kernel, spectre_v2.RETPOLINE)
            ibrs = x86_feature_ibrs(kvm.host, kvm.kernel)
            return (~by_eibrs | eibrs) & (~by_ibrs | ibrs) & (~by_retpoline | retpolines_work(case))
        case "bhi":
            field = spectre_v2_texts(cpu, kernel).field("bhi")
            by_bhi_dis_s = field.where(lambda text: "BHI_DIS_S" in text)
            by_retpoline = field.where(lambda text: "Retpoline" in text)
            works = (~by_bhi_dis_s | silicon.bhi_ctrl) & (~by_retpoline | retpolines_work(case))
            return works & (~bhi_is_by_loop(case) | bhb_loop_works(case))
        case _:
            return TRUE


def claim_of_field(text: str) -> Claim:
    """Return the class of a field of spectre_v2; a field that is not there says nothing."""
    if not text:
        return Claim.NONE
    if "Not affected" in text:
        return Claim.NOT_AFFECTED
    return Claim.VULNERABLE if "Vulnerable" in text else Claim.MITIGATED


def claim_of_file(text: str | None) -> Claim:
    """Return the class of a file's text, as `claim_of`, and of those that only these files have."""
    if text in ("KVM: Mitigation: VMX unsupported", "KVM: Mitigation: VMX disabled"):
        return Claim.AVOIDED
    if text == "KVM: Mitigation: Split huge pages":
        return Claim.MITIGATED
    if text is not None and text.startswith("Mitigation: Vulnerable"):
        return Claim.VULNERABLE
    return claim_of(text)


def claim_of_subject(subject: str, text: str) -> Claim:
    """Return the class of what a file's whole text says of a subject: by the field, for those of spectre_v2."""
    if subject not in _FIELD_STARTS:
        return claim_of_file(text)
    if text == "Not affected":
        return Claim.NOT_AFFECTED
    _, start, rest = text.partition(_FIELD_STARTS[subject])
    # BHI stands last, and its field has a comma of its own.
    field = rest if subject == "bhi" else rest.partition(";")[0].partition(",")[0]
    return claim_of_field(start + field if start else "")


@rule(_TABLE)
def further_concludes(case: Case, subject: str, claim: str) -> Node:
    """The guest kernel's file, or its field, makes this claim."""
    texts = TEXTS[file_of(subject)](case.cpu, case.kernel)
    if isinstance(texts, Choice):
        return texts.where(lambda text: claim_of_file(text) == claim)
    return _of_spectre_v2(texts, "mode" if subject == "spectre_v2" else subject, claim)


def _of_spectre_v2(texts: Concatenation, name: str, claim: str) -> Node:
    """Return whether the line makes this claim: as a whole, or where it has fields by the one of that name."""
    joined = texts.whole.is_in([JOINED])
    read = claim_of if name == "mode" else claim_of_field
    by_field = texts.field(name).where(lambda text: read(text) == claim)
    # A line without fields says nothing of them but that the whole is not affected.
    said = {None: Claim.NONE, "Not affected": Claim.NOT_AFFECTED}
    silent = Claim.VULNERABLE if name == "mode" else Claim.NONE
    whole = texts.whole.where(lambda text: text != JOINED and said.get(text, silent) == claim)
    return whole | (joined & by_field)


@cache
def further_claim(case: Case, subject: str) -> Choice[Claim]:
    """Return the class of what the guest's kernel says of a subject."""
    return Choice.one_of((further_concludes(case, subject, claim.value), claim) for claim in Claim)


@cache
def further_truth(case: Case, subject: str) -> Choice[Truth]:
    """Return whether the guest is told the truth: the verdict's table with what is done about the subject for VERW."""
    affected, prevented = further_affected(case, subject), host_prevents(case, subject)
    works = mitigation_works(case, subject) | prevented
    says = {claim: further_concludes(case, subject, claim.value) for claim in Claim}
    warns = says[Claim.VULNERABLE] | says[Claim.NO_MICROCODE]
    rows = (
        (says[Claim.NOT_AFFECTED] & (~affected | prevented), Truth.TRUTHFUL),
        (says[Claim.NOT_AFFECTED] & affected & ~prevented, Truth.FALSE_IMMUNITY),
        (says[Claim.MITIGATED] & affected & works, Truth.TRUTHFUL),
        (says[Claim.MITIGATED] & affected & ~works, Truth.BROKEN_PROMISE),
        (says[Claim.MITIGATED] & ~affected, Truth.NEEDLESS_WORK),
        (warns & affected, Truth.TRUTHFUL),
        (warns & ~affected, Truth.FALSE_ALARM),
        (says[Claim.AVOIDED], Truth.TRUTHFUL),
        (says[Claim.NONE] | says[Claim.SAYS_UNKNOWN], Truth.UNSAID),
    )
    return Choice.one_of((any_of(condition for condition, label in rows if label is value), value) for value in Truth)


@rule(_TABLE)
def further_exposed(case: Case, subject: str) -> Node:
    """The silicon is affected, the host does not prevent it, and the guest's kernel does nothing that works."""
    done = further_concludes(case, subject, Claim.MITIGATED.value) & mitigation_works(case, subject)
    avoided = further_concludes(case, subject, Claim.AVOIDED.value)
    return further_affected(case, subject) & ~host_prevents(case, subject) & ~done & ~avoided


@cache
def further_safety(case: Case, subject: str) -> Choice[Safety]:
    """Return whether it can happen to this guest unmitigated."""
    leaks = further_exposed(case, subject)
    return Choice.one_of(((leaks, Safety.EXPOSED), (~leaks, Safety.SAFE)))


def _differ(one: Node, other: Node) -> Node:
    return (one & ~other) | (~one & other)


@cache
def further_responsible(case: Case, subject: str) -> Choice[Responsible]:
    """Return who made it so.

    Userspace, if a bit that speaks of it is not as KVM offers it, or the guest is another part than the host; KVM, if
    such a bit is not offered as it is true; else the guest's kernel.
    """
    wrong = ~further_truth(case, subject).is_in([Truth.TRUTHFUL, Truth.UNSAID]) | further_exposed(case, subject)
    changed: list[Node] = [~case.cpu.host_identity]
    made_up: list[Node] = []
    for bit in SPEAK_OF[subject]:
        if bit in ARCH_CAPABILITIES:
            offered = kvm_get_arch_capabilities(case.kvm, bit)
        elif bit in OFFERED_CPUID:
            offered = kvm_get_supported_cpuid(case.kvm, bit)
        else:
            continue
        changed.append(_differ(case.cpu.bit(bit), offered))
        true = ~further_affected(case, subject) if bit.endswith("_no") else case.silicon.bit(bit)
        made_up.append(_differ(offered, true))
    host = FALSE
    if subject in _BY_HOST:  # the guest can do nothing about it
        host = further_exposed(case, subject) & ~further_concludes(case, subject, Claim.NOT_AFFECTED.value)
    return Choice.first_true(
        (
            (~wrong, Responsible.NOBODY),
            (host, Responsible.HOST_KERNEL),
            (any_of(changed), Responsible.USERSPACE),
            (any_of(made_up) if made_up else FALSE, Responsible.KVM),
            (TRUE, Responsible.GUEST_KERNEL),
        )
    )
