"""The verdicts of `check` on what IA32_ARCH_CAPABILITIES says beside the VERW family."""

from __future__ import annotations

from archcaps.logic.choice import Answer
from archcaps.questions.lines import line_of
from archcaps.questions.reader import Reader
from archcaps.questions.results import NO_SUCH_FILE, Deciding, FurtherVerdict, Possible, ShownBit
from archcaps.rules import further as rules
from archcaps.rules.kvm_offer import OFFERED_CPUID, kvm_get_arch_capabilities, kvm_get_supported_cpuid
from archcaps.rules.linux_files import TEXTS
from archcaps.rules.verdict import Claim, Responsible, Safety, Truth
from archcaps.tables.bits import ARCH_CAPABILITIES
from archcaps.tables.names import FURTHER

__all__ = ["further_verdicts"]


def further_verdicts(reader: Reader, *, brief: bool = False) -> list[FurtherVerdict]:
    """Return the verdict on each subject of `archcaps.tables.names.FURTHER`, in that order; of Linux only.

    `brief`: truth and safety alone; texts, who is responsible, why and what is missing stay empty.
    """
    if reader.guest.kernel.system != "linux":
        return []
    if brief:
        return [_in_brief(reader, subject) for subject in FURTHER]
    case = reader.model.guest
    # Several subjects are told of in one file, and where facts are missing a long one takes its time.
    files = dict.fromkeys(map(rules.file_of, FURTHER))
    texts = {file: TEXTS[file](case.cpu, case.kernel).answer(reader.ternary) for file in files}
    return [_verdict(reader, subject, texts[rules.file_of(subject)]) for subject in FURTHER]


def _in_brief(reader: Reader, subject: str) -> FurtherVerdict:
    case, ternary = reader.model.guest, reader.ternary
    truth = rules.further_truth(case, subject).answer(ternary)
    safety = rules.further_safety(case, subject).answer(ternary)
    nothing = Possible(None, [])
    return FurtherVerdict(
        subject, [], nothing, nothing, None, None, None, _possible(truth), _possible(safety), nothing, [], [], {}
    )


def _verdict(reader: Reader, subject: str, text: Answer[str | None]) -> FurtherVerdict:
    case, ternary = reader.model.guest, reader.ternary
    truth = rules.further_truth(case, subject).answer(ternary)
    safety = rules.further_safety(case, subject).answer(ternary)
    responsible = rules.further_responsible(case, subject).answer(ternary)
    affected, prevented = rules.further_affected(case, subject), rules.host_prevents(case, subject)
    works = rules.mitigation_works(case, subject)
    reasons = truth.reasons | safety.reasons | responsible.reasons
    return FurtherVerdict(
        subject,
        [_shown(reader, bit) for bit in rules.SPEAK_OF[subject]],
        _texts(reader, rules.file_of(subject), text),
        _possible(rules.further_claim(case, subject).answer(ternary)),
        ternary.value(affected),
        ternary.value(prevented),
        ternary.value(works),
        _possible(truth),
        _possible(safety),
        _possible(responsible),
        [line_of(reader, step) for node in (affected, prevented, works) for step in ternary.why(node)],
        [
            Deciding(name, datum.value, datum.provenance, datum.source)
            for name in sorted(reasons)
            if (datum := reader.datum(name)) is not None
        ],
        _missing(reader, subject),
    )


def _texts(reader: Reader, file: str, answer: Answer[str | None]) -> Possible:
    """Return the file's text: as it was read in the guest, else as its kernel would print it."""
    said = [NO_SUCH_FILE if text is None else text for text in answer.possible]
    return reader.said(file, Possible(said[0] if len(said) == 1 else None, said), complete=answer.complete)


def _possible(answer: Answer[Claim] | Answer[Truth] | Answer[Safety] | Answer[Responsible]) -> Possible:
    labels = [label.value for label in answer.possible]
    return Possible(labels[0] if len(labels) == 1 else None, labels)


def _shown(reader: Reader, bit: str) -> ShownBit:
    value, model = reader.ternary.value, reader.model
    offered = None
    if bit in ARCH_CAPABILITIES:
        offered = value(kvm_get_arch_capabilities(model.kvm, bit))
    elif bit in OFFERED_CPUID:
        offered = value(kvm_get_supported_cpuid(model.kvm, bit))
    return ShownBit(bit, value(model.guest.cpu.bit(bit)), offered, value(model.silicon.bit(bit)))


def _missing(reader: Reader, subject: str) -> dict[str, str]:
    case, ternary = reader.model.guest, reader.ternary
    truth = rules.further_truth(case, subject)
    nodes = [rules.further_exposed(case, subject), *(truth.is_in([label]) for label in truth.labels)]
    if truth.answer(ternary).decided and ternary.value(nodes[0]) is not None:
        return {}
    facts = frozenset[str]().union(*map(ternary.missing, nodes))
    return {fact: reader.facts.unknown.get(fact, "not given") for fact in sorted(facts)}
