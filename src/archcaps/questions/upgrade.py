"""upgrade: what changes for a guest if it runs another kernel and nothing else is touched."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from msgspec.structs import replace

from archcaps.errors import InputError
from archcaps.logic.graph import Node
from archcaps.logic.ternary import Ternary
from archcaps.machine.observations import texts_of
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.assumptions import held_assumptions
from archcaps.questions.check import judge, refuse_other_cpus
from archcaps.questions.reader import Reader
from archcaps.questions.results import NO_SUCH_FILE, Assumption, CheckResult, Notice
from archcaps.questions.two_kernels import TwoKernels
from archcaps.questions.upgrade_headline import headline
from archcaps.questions.upgrade_results import (
    FORMAT_VERSION,
    BugChange,
    FileChange,
    Said,
    UpgradeResult,
    VerdictChange,
    VerwChange,
)
from archcaps.questions.upgrade_verdicts import conditions, further_changes, verdict_changes
from archcaps.rules.kvm_vmx_entry import verw_before_any_guest
from archcaps.rules.linux_bug_names import BUGS
from archcaps.rules.linux_files import TEXTS, conditions_of
from archcaps.rules.linux_mitigations import clear_cpu_buf
from archcaps.tables.releases import Release

__all__ = ["upgrade"]

_ONLY_THE_KERNEL = (
    "only the guest's kernel changes: the VMM shows it the same CPU, the host stays as it is, and the new kernel gets "
    "the same boot options and configuration"
)


def upgrade(
    host: Snapshot,
    guest: Snapshot,
    to: str,
    from_: str | None = None,
    assumptions: Iterable[str] = (),
    *,
    further: bool = False,
    strict: bool = False,
) -> UpgradeResult:
    """Return what changes for `guest` on `host` if it runs kernel release `to` in place of `from_`.

    `from_` is the release of the guest's snapshot where it is not given. What was observed of the guest (the texts of
    its files) counts for the kernel under which it was observed, for no other. `assumptions` and `strict` as for
    `check`; `further`: what else IA32_ARCH_CAPABILITIES speaks of counts for headline and exit code too.

    Raises:
        InputError: a release is none, the present one is not known, or a snapshot speaks of something unknown.
    """
    for snapshot in (host, guest):
        refuse_other_cpus(snapshot)
    if from_ is None and guest.kernel.release is None:
        raise InputError("the guest's present kernel release is not known: say which (uname -r)", "--from")
    before = guest if from_ is None else _under(guest, from_, "--from")
    after = _under(before, to, "--to")
    held = held_assumptions(assumptions, strict=strict)
    kernels = TwoKernels(Reader(host, before, held), Reader(host, after, held))
    results = judge(kernels.before), judge(kernels.after)
    files = [_file(kernels, file) for file in TEXTS]
    verw = _verw(kernels)
    verdicts, others = verdict_changes(kernels, *results), further_changes(kernels, *results)
    counted = [*verdicts, *others] if further else verdicts
    return UpgradeResult(
        FORMAT_VERSION,
        headline(files, verw, counted, same_kernel=kernels.same_kernel),
        _exit_code(counted),
        results[0].host,
        host.kernel.release,
        results[0].guest,
        str(before.kernel.release),
        str(after.kernel.release),
        files,
        verw,
        _bugs(kernels),
        verdicts,
        others,
        _missing(kernels, files, counted),
        _notices(*results),
        _assumptions(*results),
    )


def _under(guest: Snapshot, release: str, option: str) -> Snapshot:
    """Return the guest under another kernel, without what was observed of it under the one it has."""
    try:
        wanted = Release.parse(release)
    except ValueError as error:
        raise InputError(str(error), option) from error
    kernel, cpu = guest.kernel, guest.cpu
    present = None if kernel.release is None else Release.parse(kernel.release)
    if present is not None and (present.version, present.suffix) == (wanted.version, wanted.suffix):
        return guest
    new = replace(
        kernel, release=wanted.text, provenance="imported", source=f"given by {option}",
        options_provenance=kernel.options_provenance or kernel.provenance,
        options_source=kernel.options_source or kernel.source,
    )  # fmt: skip
    if present is None:  # what was observed is of the kernel whose release is given now
        return replace(guest, kernel=new)
    # Threads that are there and off may be off by the kernel's doing: another one may leave them on.
    idle = cpu.smt_supported and cpu.smt_active is False
    cpu = replace(cpu, smt_active=None) if idle else cpu
    return replace(guest, kernel=replace(new, behaviours={}), cpu=cpu, vulnerabilities={})


def _file(kernels: TwoKernels, file: str) -> FileChange:
    case = kernels.case
    texts = TEXTS[file](case.cpu, case.kernel)
    before, after = (texts.answer(reader.ternary) for reader in kernels.readers)
    said = [_said(reader, file, answer.possible, complete=answer.complete)
            for reader, answer in zip(kernels.readers, (before, after), strict=True)]  # fmt: skip
    changes: bool | None = None
    if None not in (said[0].value, said[1].value):
        changes = said[0].value != said[1].value
    elif all(each.complete for each in said) and not set(said[0].possible) & set(said[1].possible):
        changes = True
    elif not said[0].observed and all(map(kernels.alike, conditions_of(texts))):
        changes = False
    because = []
    if changes is not False:
        because = kernels.differences(lambda ternary: texts.answer(ternary).possible, before.reasons | after.reasons)
    return FileChange(file, said[0], said[1], changes, because)


def _said(reader: Reader, file: str, possible: Collection[str | None], *, complete: bool) -> Said:
    """Return the text that was observed, with the others where it is none of those that are possible; else these."""
    text = texts_of(reader.guest).get(file)
    if text is not None and (text in possible or not complete):
        return Said(text, [text], observed=True, complete=True)
    texts = [NO_SUCH_FILE if text is None else text for text in possible]
    if text is not None:
        return Said(None, [text, *texts], observed=True, complete=True)
    return Said(texts[0] if len(texts) == 1 else None, texts, observed=False, complete=complete)


def _verw(kernels: TwoKernels) -> list[VerwChange]:
    cpu, kernel = kernels.case.cpu, kernels.case.kernel
    nodes = {
        "on exit to user": clear_cpu_buf(cpu, kernel),
        "before VM entry": verw_before_any_guest(cpu, kernel),
    }
    return [_verw_change(kernels, when, node) for when, node in nodes.items()]


def _verw_change(kernels: TwoKernels, when: str, node: Node) -> VerwChange:
    before, after = (reader.ternary.value(node) for reader in kernels.readers)
    because = []
    if before is not after:
        reasons = frozenset[str]().union(*(reader.ternary.reasons(node) for reader in kernels.readers))
        because = kernels.differences(lambda ternary: ternary.value(node), reasons)
    return VerwChange(when, before, after, because)


def _bugs(kernels: TwoKernels) -> list[BugChange]:
    case = kernels.case
    found = []
    for name, bug in BUGS.items():
        before, after = (reader.ternary.value(bug(case.cpu, case.kernel)) for reader in kernels.readers)
        if (before, after) != (False, False):
            found.append(BugChange(name, before, after))
    return found


def _exit_code(verdicts: list[VerdictChange]) -> int:
    if any(verdict.newly_exposed for verdict in verdicts):
        return 2
    if any(verdict.undecided for verdict in verdicts):
        return 3
    return 1 if any(verdict.worse for verdict in verdicts) else 0


def _missing(kernels: TwoKernels, files: list[FileChange], verdicts: list[VerdictChange]) -> dict[str, str]:
    """Return the unknown facts that leave a change open, each with what is known of why."""
    case = kernels.case
    nodes: list[Node] = []
    for change in files:
        if change.changes is None or (change.changes and change.after.value is None):
            nodes += conditions_of(TEXTS[change.file](case.cpu, case.kernel))
    for verdict in verdicts:
        if verdict.changes is None or verdict.undecided:
            nodes += conditions(kernels, verdict.subject)
    found: dict[str, str] = {}
    for reader in kernels.readers:
        ternary: Ternary = reader.ternary
        for fact in sorted(frozenset[str]().union(*map(ternary.missing, nodes))):
            found.setdefault(fact, reader.facts.unknown.get(fact, "not given"))
    return found


def _notices(before: CheckResult, after: CheckResult) -> list[Notice]:
    """Return the notices of both verdicts, each once."""
    return list({notice.text: notice for notice in (*before.notices, *after.notices)}.values())


def _assumptions(before: CheckResult, after: CheckResult) -> list[Assumption]:
    found = [Assumption(_ONLY_THE_KERNEL)]
    for assumption in (*before.assumptions, *after.assumptions):
        if assumption.text not in [known.text for known in found]:
            found.append(assumption)
    return found
