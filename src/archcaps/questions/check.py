"""check: is this guest on this host told the truth about its CPU, and can data leak?"""

from __future__ import annotations

from collections.abc import Iterable

from archcaps.errors import InputError
from archcaps.logic.choice import Answer
from archcaps.logic.graph import Node
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.assumptions import assumptions_of, held_assumptions, naming
from archcaps.questions.further import further_verdicts
from archcaps.questions.headline import headline
from archcaps.questions.lines import line_of
from archcaps.questions.notices import notices_of, system_name
from archcaps.questions.reader import Reader
from archcaps.questions.results import (
    FINE,
    FORMAT_VERSION,
    NO_SUCH_FILE,
    CheckResult,
    Deciding,
    FurtherVerdict,
    Line,
    Possible,
    ShownBit,
    Verdict,
)
from archcaps.rules import host_border as border
from archcaps.rules import linux_mitigations as linux
from archcaps.rules import verdict as rules
from archcaps.rules.kvm_offer import OFFERED_CPUID, kvm_get_arch_capabilities, kvm_get_supported_cpuid
from archcaps.rules.kvm_vmx_entry import cleared_before_entry
from archcaps.rules.shown import Case
from archcaps.tables.bits import ARCH_CAPABILITIES
from archcaps.tables.linux_lists import VENDORS
from archcaps.tables.names import VULNERABILITIES

__all__ = ["SPEAK_OF", "check", "judge", "refuse_other_cpus", "verdict_on"]

#: The bits that speak of each vulnerability to a guest.
SPEAK_OF = {
    "mds": ("md_clear", "mds_no"),
    "tsx_async_abort": ("md_clear", "mds_no", "taa_no", "tsx_ctrl", "rtm"),
    "mmio_stale_data": ("fb_clear", "md_clear", "flush_l1d", "mds_no", "sbdr_ssdp_no", "fbsdp_no", "psdp_no"),
    "reg_file_data_sampling": ("rfds_no", "rfds_clear"),
    "tsa": ("verw_clear", "tsa_sq_no", "tsa_l1_no", "tsa_fill_no"),
}


def check(
    host: Snapshot,
    guest: Snapshot,
    assumptions: Iterable[str] = (),
    *,
    further: bool = False,
    brief: bool = False,
    exact: bool = False,
    strict: bool = False,
) -> CheckResult:
    """Return what `guest` is shown, concludes and gets on `host`.

    For every vulnerability of the VERW family, and for what else IA32_ARCH_CAPABILITIES speaks of; `further`: the
    latter counts for the headline and the exit code too; `brief`: of the latter only truth and safety are worked out;
    `exact`: where unknown facts leave a verdict open, decision diagrams say what is really possible (needs the extra
    ``prove``).

    `assumptions`: ``user-mmio`` (guest user code can map MMIO), ``host-mmio`` (host MMIO is mapped into the guest by a
    device assigned to it), ``default-options`` (a kernel whose command line or
    configuration is not given has no mitigation options and upstream's configuration). `strict`: nothing is supposed.

    Raises:
        InputError: a snapshot speaks of something that archcaps does not know, or something is to be supposed and
            nothing.
    """
    for snapshot in (host, guest):
        refuse_other_cpus(snapshot)
    held = held_assumptions(assumptions, strict=strict)
    return judge(Reader(host, guest, held), further=further, brief=brief, exact=exact)


def judge(reader: Reader, *, further: bool = False, brief: bool = False, exact: bool = False) -> CheckResult:
    """Return the answer for a host and a guest that were already read; the rest as in `check`."""
    host, guest = reader.host, reader.guest
    verdicts = [verdict_on(reader, name) for name in VULNERABILITIES]
    if exact:
        from archcaps.questions.exact import sharpened  # noqa: PLC0415  # needs the extra

        verdicts = [sharpened(reader, verdict) if verdict.undecided else verdict for verdict in verdicts]
    others = further_verdicts(reader, brief=brief and not further)
    notices = notices_of(reader, verdicts)
    disable = reader.ternary.value(reader.model.guest.disable_fb_clear)
    assumptions = assumptions_of(reader, verdicts)
    exit_code = _exit_code(verdicts, others if further else [], bool(notices))
    said = headline(verdicts, others, disable_fb_clear=disable, strict=further)
    return CheckResult(
        FORMAT_VERSION,
        naming(said, assumptions, safe=exit_code in (0, 1)),
        exit_code,
        host.name or "host",
        host.kernel.release,
        guest.name or "guest",
        guest.kernel.release,
        system_name(guest.kernel.system),
        disable,
        verdicts,
        others,
        notices,
        assumptions,
    )


def refuse_other_cpus(snapshot: Snapshot) -> None:
    """Refuse CPUs on which MSR 0x10a is another register or that are not x86 at all.

    Raises:
        InputError: it is such a CPU.
    """
    vendor = snapshot.cpu.vendor
    where = f"{snapshot.role}: cpu.vendor"
    if vendor == "CentaurHauls":
        raise InputError(
            "on CentaurHauls CPUs MSR 0x10a is another register (FCR4): archcaps does not judge them", where
        )
    if vendor is not None and vendor not in VENDORS:
        raise InputError(
            f"{vendor!r} is no x86 vendor that archcaps knows (expected CPUID's vendor string, as GenuineIntel)", where
        )


def _exit_code(verdicts: list[Verdict], further: list[FurtherVerdict], notices: bool) -> int:
    every: list[Verdict | FurtherVerdict] = [*verdicts, *further]
    if any(verdict.exposed for verdict in every) or any(verdict.exposes_host for verdict in verdicts):
        return 2
    if any(verdict.undecided for verdict in every):
        return 3
    return 1 if notices or any(verdict.wrong for verdict in every) else 0


def verdict_on(reader: Reader, name: str) -> Verdict:
    """Return the verdict on one vulnerability."""
    case, ternary = reader.model.guest, reader.ternary
    text = linux.TEXTS[name](case.cpu, case.kernel).answer(ternary)
    claim = rules.claims(case, name).answer(ternary)
    truth = rules.truth(case, name).answer(ternary)
    safety = rules.safety(case, name).answer(ternary)
    responsible = rules.responsible(case, reader.model.offered, reader.model.true, name).answer(ternary)
    host_safety = border.host_safety(case, name).answer(ternary)
    host_responsible = border.host_responsible(case, name).answer(ternary)
    nodes = {
        "runs": linux.clear_cpu_buf(case.cpu, case.kernel),
        "works": case.verw_works[name],
        "affected": case.affected[name],
        "cleared": cleared_before_entry(case, name),
    }
    values = {key: ternary.value(node) for key, node in nodes.items()}
    reasons = frozenset().union(
        text.reasons,
        claim.reasons,
        truth.reasons,
        safety.reasons,
        responsible.reasons,
        host_safety.reasons,
        host_responsible.reasons,
        *map(ternary.reasons, nodes.values()),
    )
    said = [_text(label) for label in text.possible]
    concludes = reader.said(name, Possible(said[0] if len(said) == 1 else None, said))
    return Verdict(
        name,
        [_shown(reader, bit) for bit in SPEAK_OF[name]],
        concludes,
        _possible(claim),
        values["runs"],
        values["works"],
        values["affected"],
        _possible(truth),
        _possible(safety),
        _possible(responsible),
        values["cleared"],
        _possible(host_safety),
        _possible(host_responsible),
        _why(reader, name, nodes),
        _host_why(reader, name),
        _deciding(reader, reasons),
        _missing(reader, case, name, nodes.values()),
    )


def _text(label: linux.Text) -> str:
    return NO_SUCH_FILE if label is None else label


def _possible(
    answer: Answer[rules.Claim] | Answer[rules.Truth] | Answer[rules.Safety] | Answer[rules.Responsible],
) -> Possible:
    labels = [label.value for label in answer.possible]
    return Possible(labels[0] if len(labels) == 1 else None, labels)


def _shown(reader: Reader, bit: str) -> ShownBit:
    offered = None
    if bit in ARCH_CAPABILITIES:
        offered = reader.ternary.value(kvm_get_arch_capabilities(reader.model.kvm, bit))
    elif bit in OFFERED_CPUID:
        offered = reader.ternary.value(kvm_get_supported_cpuid(reader.model.kvm, bit))
    value = reader.ternary.value
    return ShownBit(bit, value(reader.model.guest.cpu.bit(bit)), offered, value(reader.model.silicon.bit(bit)))


def _why(reader: Reader, name: str, nodes: dict[str, Node]) -> list[Line]:
    """Return the deciding inputs as a short tree: what the guest says, and what the hardware and KVM do."""
    case, ternary = reader.model.guest, reader.ternary
    claims = {claim: rules.concludes(case, name, claim.value) for claim in rules.Claim}
    said = [node for node in claims.values() if ternary.value(node)] or list(claims.values())[:0]
    roots = [*said, nodes["affected"], nodes["works"], nodes["runs"]]
    if name != "tsa":
        roots.append(case.disable_fb_clear)
    found: dict[str, Line] = {}
    for root in roots:
        for step in ternary.why(root):
            found.setdefault(step.name, line_of(reader, step))
    return list(found.values())


def _host_why(reader: Reader, name: str) -> list[Line]:
    """Return why data of the host can or cannot leak to the guest: what it could sample, and what clears it."""
    case = reader.model.guest
    roots = (border.guest_can_sample(case, name), cleared_before_entry(case, name))
    return [line_of(reader, step) for root in roots for step in reader.ternary.why(root)]


def _deciding(reader: Reader, reasons: frozenset[str]) -> list[Deciding]:
    found = []
    for name in sorted(reasons):
        datum = reader.datum(name)
        if datum is not None:
            found.append(Deciding(name, datum.value, datum.provenance, datum.source))
    return found


def _missing(reader: Reader, case: Case, name: str, nodes: Iterable[Node]) -> dict[str, str]:
    """Return the unknown facts that keep the verdict open, each with what is known of why."""
    ternary = reader.ternary
    truth, safety = rules.truth(case, name), rules.safety(case, name)
    host_safety = border.host_safety(case, name)
    told = _possible(truth.answer(ternary)).settled(FINE)
    if told and all(answer.answer(ternary).decided for answer in (safety, host_safety)):
        return {}
    facts: set[str] = set()
    leaks = (rules.exposed(case, name), border.exposes_host(case, name))
    for node in (*nodes, *(truth.is_in([label]) for label in truth.labels), *leaks):
        facts |= ternary.missing(node)
    return {fact: reader.facts.unknown.get(fact, "not given") for fact in sorted(facts)}
