"""Notices beside the verdicts: contradictions, unreachable registers, doubtful data, observed against modelled."""

from __future__ import annotations

from archcaps.logic.graph import Node
from archcaps.logic.ternary import Ternary
from archcaps.questions.kvm import Kvm, differences
from archcaps.questions.reader import Reader
from archcaps.questions.results import NO_SUCH_FILE, Notice, Verdict
from archcaps.questions.vcpu import ARCH_CAP
from archcaps.rules import notices as rules
from archcaps.rules import verdict as verdicts_of
from archcaps.rules.kvm_offer import OFFERED_CPUID, kvm_get_arch_capabilities, kvm_get_supported_cpuid
from archcaps.rules.kvm_vmx_entry import verw_with_fb_clear_dis
from archcaps.rules.linux_files import TEXTS
from archcaps.rules.linux_said import said_of
from archcaps.rules.views import Cpu, Kernel
from archcaps.tables.bits import ARCH_CAPABILITIES
from archcaps.tables.files import read_toml
from archcaps.tables.names import STRICT, VULNERABILITIES

__all__ = ["notices_of", "system_name"]


def notices_of(reader: Reader, verdicts: list[Verdict]) -> list[Notice]:
    """Return what there is to notice beside the verdicts."""
    return [
        *_other_system(reader), *_contradictions(reader), *_derived(reader), *_unverified(reader, verdicts),
        *_texts(reader), *_differences(reader), *_scratch(reader),
    ]  # fmt: skip


def _contradictions(reader: Reader) -> list[Notice]:
    guest, kvm, value = reader.model.guest.cpu, reader.model.kvm, reader.ternary.value
    found = []
    if value(rules.contradicts_tsa(guest)):
        found.append(Notice("contradiction", "the guest is shown VERW_CLEAR together with a TSA NO bit"))
    if value(rules.contradicts_rfds(guest)):
        found.append(Notice("contradiction", "the guest is shown RFDS_CLEAR together with RFDS_NO"))
    for bit in rules.promised_msrs():
        if value(rules.unreachable_msr(guest, kvm, bit)):
            found.append(Notice("contradiction", f"the guest is shown {bit}, whose MSR it cannot reach"))
    return found


def system_name(system: str) -> str:
    """Return what a guest's system is called."""
    known = read_toml("guest_systems.toml")
    return "Linux" if system == "linux" else str(known[system]["name"]) if system in known else repr(system)


def _other_system(reader: Reader) -> list[Notice]:
    """Say what is known of a guest that is not Linux, and where to look in it."""
    system = reader.guest.kernel.system
    if system == "linux":
        return []
    known = read_toml("guest_systems.toml")
    if system not in known:  # a row of a fleet may say anything
        return [Notice("other-system", f"the guest runs {system!r}, which archcaps does not know")]
    entry = known[system]
    text = f"the guest runs {entry['name']}, whose rules archcaps has not: what it concludes stays unsaid."
    return [Notice("other-system", f"{text} {entry['knows']} Look at: {entry['look']} [{entry['source']}]")]


def _derived(reader: Reader) -> list[Notice]:
    if not reader.ternary.value(verw_with_fb_clear_dis(reader.model.guest)):
        return []
    text = (
        "the host's own VERW before VM entry is run with FB_CLEAR_DIS set: this follows from the order of the steps in "
        "KVM's source and is not confirmed on hardware"
    )
    return [Notice("derived", text)]


def _unverified(reader: Reader, verdicts: list[Verdict]) -> list[Notice]:
    used = {item.name: item.source for verdict in verdicts for item in verdict.decided_by}
    return [
        Notice("unverified", f"{name} rests on an unverified statement: {source}")
        for name, source in sorted(used.items())
        if (datum := reader.facts.known.get(name)) is not None and not datum.verified
    ]


def _texts(reader: Reader) -> list[Notice]:
    """Compare the texts of both machines' files with those that any kernel, and theirs, would print there."""
    found = []
    facts = Ternary(reader.facts.values)
    for snapshot in (reader.host, reader.guest):
        for file, given in snapshot.vulnerabilities.items():
            said, where = said_of(file, given), f"{file}: the {snapshot.role} says {given!r}"
            if said is None:
                found.append(Notice("unknown-text", f"{where}, which no kernel that was read writes there: not used"))
                continue
            if said.by_lscpu:
                found.append(Notice("lscpu", f"{where}: lscpu's form, taken for the file's {said.text!r}"))
            texts = TEXTS[file](Cpu(snapshot.role), Kernel(f"{snapshot.role}_kernel")).answer(facts)
            if texts.complete and said.text not in texts.possible and snapshot.kernel.system == "linux":
                expected = " or ".join(repr(text) if text else NO_SUCH_FILE for text in texts.possible)
                found.append(Notice("difference", f"{where}, modelled: {expected}"))
    return found


def _differences(reader: Reader) -> list[Notice]:
    """Compare what was observed of the host and its KVM with what the rules give."""
    model = reader.model
    nodes: list[Node] = [kvm_get_arch_capabilities(model.kvm, bit) for bit in ARCH_CAPABILITIES]
    nodes += [kvm_get_supported_cpuid(model.kvm, bit) for bit in OFFERED_CPUID]
    nodes += [verdicts_of.exposed(model.guest, name) for name in VULNERABILITIES]
    found = []
    for node in reader.ternary.differences(nodes):
        if not node.name.startswith("guest.concludes"):
            what = node.name.replace("kvm.kvm_get_", "what KVM offers, ")
            seen = reader.observed[node.name]
            modelled = int(not seen.value)
            found.append(
                Notice("difference", f"{what}: observed {int(seen.value)} ({seen.source}), modelled {modelled}")
            )
    for name, seen in reader.doubted.items():
        if "concludes[" not in name:
            text = f"{name}: by the files {int(seen.value)}, by CPU and kernel {int(not seen.value)}: not known"
            found.append(Notice("difference", text))
    return found


def _scratch(reader: Reader) -> list[Notice]:
    """Compare what a scratch vCPU of the host's KVM was seen to do with MSR 0x10a with what the rules give."""
    host = reader.host
    if host.kvm.vcpu_initial is None and not host.kvm.accepts:
        return []
    kvm = Kvm(host, strict=STRICT in reader.assumptions)
    found = []
    initial = kvm.tries.initial
    modelled = kvm.modelled().create_vm().create_vcpu().get_msrs([ARCH_CAP])
    if initial is not None and modelled and modelled[0].may_be(initial) is False:
        found.append(f"MSR 0x10a of a new vCPU: observed {initial:#x}, modelled {modelled[0]}")
    for shown, with_bit in ((True, "whose CPUID shows it"), (False, "whose CPUID hides it")):
        other = differences(kvm, shown)
        if other:
            values = "; ".join(f"{value:#x} observed {seen}, modelled {said}" for value, seen, said in other)
            found.append(f"set MSR 0x10a of a vCPU {with_bit}: {values}")
    return [Notice("difference", text) for text in found]
