"""trace: one VM entry and exit of a kernel, step by step, with what each step does to FB_CLEAR_DIS and the buffers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from archcaps.logic.graph import FALSE, TRUE, Node
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.assumptions import assumptions_of, held_assumptions
from archcaps.questions.lines import line_of
from archcaps.questions.notices import notices_of
from archcaps.questions.reader import Reader
from archcaps.questions.trace_results import FORMAT_VERSION, Border, Buffer, Entry, Step, TraceResult
from archcaps.rules import host_border as border
from archcaps.rules import kvm_vmx_entry as path
from archcaps.rules import silicon as hardware
from archcaps.rules.kvm_offer import on_svm
from archcaps.rules.shown import Case
from archcaps.rules.views import Silicon
from archcaps.tables.names import VULNERABILITIES

__all__ = ["trace"]

_VMX = "Linux 5.10.223 to 7.3.4 arch/x86/kvm/vmx/vmx.c vmx_vcpu_enter_exit"
_SVM = "Linux 6.16.1 to 7.3.4 arch/x86/kvm/svm/vmenter.S __svm_vcpu_run"
_ASM = "Linux 6.8.0 to 7.3.4 arch/x86/kvm/vmx/vmenter.S __vmx_vcpu_run"
_SDM = "Intel SDM volume 3, VM entries and exits; AMD64 APM volume 2, VMRUN and #VMEXIT"

#: What the tables of a VMX and of an SVM host are about.
_VMX_BUFFERS = ("L1D", "fill buffers", "store buffers, load ports", "register file")
_SVM_BUFFERS = ("TSA's structures",)


def trace(host: Snapshot, guest: Snapshot, assumptions: Iterable[str] = (), *, strict: bool = False) -> TraceResult:
    """Return the steps of one VM entry and exit of `guest` on `host`, and what they come to.

    `assumptions` and `strict` are those of `check`. Where the L1D flush is conditional there are two kinds of entries.

    Raises:
        InputError: a snapshot speaks of something that archcaps does not know.
    """
    reader = Reader(host, guest, held_assumptions(assumptions, strict=strict))
    value, case = reader.ternary.value, reader.model.guest
    svm = value(on_svm(case.kvm))
    technology = {True: "SVM", False: "VMX", None: None}[svm]
    entries = [] if svm is None else [_svm_entry(reader)] if svm else _vmx_entries(reader)
    borders = [_border(reader, name) for name in VULNERABILITIES]
    return TraceResult(
        FORMAT_VERSION,
        _exit_code(borders),
        host.name or "host",
        host.kernel.release,
        guest.name or "guest",
        guest.kernel.release,
        technology,
        value(case.disable_fb_clear),
        entries,
        borders,
        _missing(reader, entries),
        [notice for notice in notices_of(reader, []) if notice.kind == "derived"],
        assumptions_of(reader, []),
    )


@dataclass(frozen=True)
class _Move:
    """A step before it is read: whether it is taken, what it overwrites, and what it makes of FB_CLEAR_DIS."""

    name: str
    what: str
    source: str
    done: Node
    overwrites: Mapping[str, Node]
    fb_clear_dis: Node | None = None


def _verw(silicon: Silicon, disabled: Node) -> dict[str, Node]:
    """Return what VERW overwrites, with FB_CLEAR_DIS = `disabled`."""
    return {
        "fill buffers": ~disabled & hardware.verw_overwrites_fill_buffers(silicon),
        "store buffers, load ports": ~disabled & hardware.verw_overwrites_mds_buffers(silicon),
        "register file": silicon.rfds_clear & (~disabled | silicon.register_file_spared),
    }


def _vmx_entries(reader: Reader) -> list[Entry]:
    """Return one kind of entry, or two where the flush is done only if one is pending."""
    conditional = reader.ternary.value(path.vmx_l1d_flush_cond(reader.model.kvm))
    if conditional is False:
        return [_vmx_entry(reader, "every entry", TRUE)]
    return [
        _vmx_entry(reader, "an entry without an L1D flush pending", FALSE),
        _vmx_entry(reader, "an entry with an L1D flush pending", TRUE),
    ]


def _vmx_entry(reader: Reader, kind: str, pending: Node) -> Entry:
    case = reader.model.guest
    kvm, silicon, disabled = case.kvm, case.silicon, case.disable_fb_clear
    flushes = path.vmx_l1d_should_flush(kvm) & (~path.vmx_l1d_flush_cond(kvm) | pending)
    by_flush = hardware.l1d_flush_overwrites_mds_buffers(silicon)
    flushed = {"L1D": TRUE, "fill buffers": by_flush, "store buffers, load ports": by_flush}
    moves = [
        _Move("L1D flush", "the L1 data cache is emptied", _VMX, flushes, flushed),
        _Move("VERW in C", "up to 6.18, and only where no L1D flush is switched on", _VMX, path.verw_in_c(case),
              _verw(silicon, FALSE)),
        _Move("FB_CLEAR_DIS is set", "vmx_disable_fb_clear", _VMX, disabled, {}, TRUE),
        _Move("VERW in assembly", "from 6.8, the last step before the guest", _ASM, path.verw_in_entry_asm(case),
              _verw(silicon, disabled)),
        _Move("the guest runs", "VMLAUNCH or VMRESUME, until its VM exit", _SDM, TRUE, {}),
        _Move("FB_CLEAR_DIS is cleared", "vmx_enable_fb_clear", _VMX, disabled, {}, FALSE),
    ]  # fmt: skip
    return Entry(kind, _steps(reader, moves, _VMX_BUFFERS))


def _svm_entry(reader: Reader) -> Entry:
    case = reader.model.guest
    cleared = {"TSA's structures": hardware.verw_clears_tsa_buffers(case.silicon)}
    moves = [
        _Move("VERW before VMRUN", "for TSA", _SVM, path.verw_before_vmrun(case), cleared),
        _Move("the guest runs", "VMRUN, until its VM exit", _SDM, TRUE, {}),
    ]
    return Entry("every entry", _steps(reader, moves, _SVM_BUFFERS))


def _steps(reader: Reader, moves: list[_Move], buffers: tuple[str, ...]) -> list[Step]:
    """Return the moves as read: what holds the host's data, and FB_CLEAR_DIS, are carried from each to the next."""
    value = reader.ternary.value
    holds: dict[str, Node] = dict.fromkeys(buffers, TRUE)
    disabled: Node = FALSE
    found = []
    for move in moves:
        for name, overwritten in move.overwrites.items():
            holds[name] &= ~(move.done & overwritten)
        if move.fb_clear_dis is not None:
            disabled = (move.done & move.fb_clear_dis) | (~move.done & disabled)
        why = [] if move.done in (TRUE, FALSE) else [line_of(reader, step) for step in reader.ternary.why(move.done)]
        after = [Buffer(name, value(node)) for name, node in holds.items()]
        found.append(Step(move.name, move.what, move.source, value(move.done), why, value(disabled), after))
    return found


def _border(reader: Reader, name: str) -> Border:
    case: Case = reader.model.guest
    value = reader.ternary.value
    safety = border.host_safety(case, name).answer(reader.ternary).possible
    return Border(
        name,
        value(border.guest_can_sample(case, name)),
        value(path.cleared_before_entry(case, name)),
        safety[0].value if len(safety) == 1 else None,
        value(case.verw_works[name]),
    )


def _exit_code(borders: list[Border]) -> int:
    """2 if data of the host can leak to the guest, 3 if that is undecided, else 0."""
    if any(each.host_safety == "exposed" for each in borders):
        return 2
    return 3 if any(each.host_safety is None for each in borders) else 0


def _missing(reader: Reader, entries: list[Entry]) -> dict[str, str]:
    """Return the unknown facts that keep a step or a border open, each with what is known of why."""
    case = reader.model.guest
    nodes = [border.exposes_host(case, name) for name in VULNERABILITIES]
    if not entries or any(step.done is None for entry in entries for step in entry.steps):
        nodes += [on_svm(case.kvm), path.verw_in_c(case), path.verw_in_entry_asm(case), case.disable_fb_clear]
        nodes += [path.vmx_l1d_should_flush(case.kvm), path.vmx_l1d_flush_cond(case.kvm), path.verw_before_vmrun(case)]
    facts = frozenset().union(*map(reader.ternary.missing, nodes))
    return {fact: reader.facts.unknown.get(fact, "not given") for fact in sorted(facts)}
