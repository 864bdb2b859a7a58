"""The bits that stand in a guest's way: whether their claims hold, and what hiding or showing each of them does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from archcaps.logic.graph import FALSE, Node
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.brief_verdicts import brief_changes
from archcaps.questions.migrate_guest import booted_anew, hide, with_bits
from archcaps.questions.migrate_move import Move
from archcaps.questions.migrate_results import BitMove, DropWord, FakeWord, Judgement, LayerAnswer
from archcaps.questions.reader import Reader
from archcaps.questions.two_hosts import TwoHosts
from archcaps.questions.upgrade_results import Judged, VerdictChange
from archcaps.rules.kvm_offer import forced_on, kvm_get_arch_capabilities, kvm_get_supported_cpuid
from archcaps.rules.shown import SPOKEN_OF
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS

__all__ = ["bits_of"]

#: Up to so many possible truths are named.
_NAMED: Final = 3
#: Bits of which the model says what is true of the hardware, not just what its register says.
_TRUE_BY_MODEL: Final = (*(bit for bit in SPOKEN_OF if bit not in ("fb_clear_ctrl", "tsx_ctrl")), "md_clear",
    "flush_l1d", "verw_clear", "tsa_sq_no", "tsa_l1_no", "tsa_fill_no")  # fmt: skip


def bits_of(move: Move, layers: Iterable[LayerAnswer]) -> list[BitMove]:
    """Return every bit that the guest is shown and the destination's KVM does not offer, or a layer stumbles over."""
    blocks: dict[str, list[str]] = {}
    for layer in layers:
        if layer.accepts != "yes":
            for bit in layer.bits:
                blocks.setdefault(bit, []).append(layer.layer)
    found = [] if move.same_place else [bit for bit in move.shown if blocks.get(bit) or _untold(move, bit)]
    again = booted_anew(move.guest)
    readings = _Readings(move, again) if found else None
    return [_bit(move, bit, blocks.get(bit, []), readings) for bit in found if readings is not None]


def _untold(move: Move, bit: str) -> bool:
    """Whether KVM there does not offer a bit that the guest is shown, or offers a warning that it is not shown."""
    offered = move.goal.offered(bit)
    if BITS[bit].kind == "affected":
        return move.shown[bit] is False and offered is True and move.home.offered(bit) is not True
    return move.shown[bit] is True and offered is False


class _Readings:
    """The guest as it is, booted again on either host."""

    def __init__(self, move: Move, again: Snapshot) -> None:
        self.move, self.again = move, again
        self.hosts = {"from": move.from_, "to": move.to}
        self._plain: dict[str, Reader] = {}

    def plain(self, host: str) -> Reader:
        if host not in self._plain:
            self._plain[host] = self.read(host, self.again)
        return self._plain[host]

    def read(self, host: str, guest: Snapshot) -> Reader:
        return Reader(self.hosts[host], guest, self.move.assumptions)


def _bit(move: Move, bit: str, blocks: list[str], readings: _Readings) -> BitMove:
    with_, without = with_bits(readings.again, {bit: True}), hide(readings.again, [bit])
    shown = move.shown[bit]
    drop: list[VerdictChange] = []
    for host in ("from", "to"):
        there = readings.read(host, without)
        now = readings.plain(host) if shown is True else readings.read(host, with_)
        drop += _changes(now, there)
    hidden = readings.read("to", without) if shown is True else readings.plain("to")
    fake = _changes(hidden, readings.plain("to") if shown is True else readings.read("to", with_))
    true = _true(move.arrived, bit)
    return BitMove(
        bit, shown, move.home.offered(bit), move.goal.offered(bit), _true(move.before, bit), true, move.supported(bit),
        blocks, Judgement(_drop_word(drop), _said(drop)), Judgement(_fake_word(fake, true), _said(fake)),
        BITS[bit].meaning,
    )  # fmt: skip


def _true(reader: Reader, bit: str) -> bool | None:
    """Return whether a bit's claim holds on a host.

    Of the silicon, by the model where it has an answer, else by the hardware's register; an immunity may be KVM's or
    the host's doing; what announces a register or a command is true where KVM has it for guests.
    """
    model, kind = reader.model, BITS[bit].kind
    kvm = model.kvm
    if bit in _TRUE_BY_MODEL:
        node: Node = model.true.cpu.bit(bit)
    elif kind == "immunity":
        node = model.silicon.bit(bit) | (forced_on(kvm, bit) if bit in ARCH_CAPABILITIES else FALSE)
    elif kind in ("affected", "clears"):
        node = model.silicon.bit(bit)
    else:
        node = (kvm_get_arch_capabilities if bit in ARCH_CAPABILITIES else kvm_get_supported_cpuid)(kvm, bit)
    return reader.ternary.value(node)


def _changes(was: Reader, now: Reader) -> list[VerdictChange]:
    """Return the verdicts that are others in the second reading, or that may be."""
    return list(brief_changes(TwoHosts(was, now)))


def _drop_word(changes: list[VerdictChange]) -> DropWord:
    """Return what hiding does: data can leak by it, the truth gets worse, nothing does, or that is not known."""
    if any(change.newly_exposed for change in changes):
        return "exposes"
    if any(change.undecided for change in changes):
        return "unknown"
    return "costs" if any(change.worse for change in changes) else "safe"


def _fake_word(changes: list[VerdictChange], true: bool | None) -> FakeWord:
    """Return what showing does: as for hiding, and where the truth gets worse, whether the silicon is affected."""
    worse = [change for change in changes if change.worse]
    if any(change.newly_exposed for change in changes):
        return "exposes"
    if any(change.undecided for change in changes):
        return "unknown"
    if not worse:
        return "true" if true else "harmless" if true is False else "unknown"
    return "harmless" if all(change.after.affected is False for change in worse) else "lie"


def _said(changes: list[VerdictChange]) -> list[str]:
    """Return each verdict that changes, once: ``mmio_stale_data: truthful, safe -> broken-promise, safe``.

    Those of which it is not even known whether they change are named together.
    """
    lines, silent = [], []
    for change in changes:
        before, after = _few(change.before), _few(change.after)
        if before == after and change.undecided:
            silent.append(change.subject)
        elif change.worse is not False or change.newly_exposed is not False:
            lines.append(f"{change.subject}: {before} -> {after}")
    if silent:
        lines.append(f"facts are missing on {', '.join(dict.fromkeys(silent))}")
    return list(dict.fromkeys(lines))


def _few(judged: Judged) -> str:
    """Return truth and safety, where few are possible."""
    truth, safety = (
        str(each) if len(each.possible) <= _NAMED else "undecided" for each in (judged.truth, judged.safety)
    )
    return f"{truth}, {safety}"
