"""The least changes that let a guest move and leave it told the truth: each is asked about again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from archcaps.machine.snapshot import Snapshot
from archcaps.questions.migrate_guest import hide
from archcaps.questions.migrate_move import Move, Vmms
from archcaps.questions.migrate_results import Accepts, Advice, BitMove, MigrateResult, VerdictMove
from archcaps.questions.migrate_support import QEMU_FAMILY
from archcaps.tables.bits import BITS

__all__ = ["Ask", "advice_of"]

#: The same question with another guest or other VMMs.
Ask = Callable[[Snapshot, Vmms], MigrateResult]

_FB_CLEAR_FIXED = "10.1.2"
#: Up to so many verdicts are named.
_NAMED = 3
_HIDING_FIXED = "10.1.1"


def advice_of(move: Move, accepts: Accepts, bits: list[BitMove], moves: list[VerdictMove], ask: Ask) -> list[Advice]:
    """Return the changes that help, those on a VMM first, then on the guest's CPU, then on a host."""
    found: list[Advice] = []
    if accepts in ("no", "changes", "unknown"):
        found += [*_other_vmm(move, ask), *_hide(move, bits, ask), *_host(move)]
    return found if accepts == "no" else [*found, *_reboot(moves)]


def _other_vmm(move: Move, ask: Ask) -> Iterator[Advice]:
    """Yield the QEMU version with which the destination can show what is missing."""
    if move.vmms.vmm not in QEMU_FAMILY:
        return
    stuck = {*move.lost, *move.unsure}
    if "fb_clear" in stuck and move.goal.immune:
        why = "it holds fb-clear for supported there, because KVM offers the five NO bits"
        yield from _newer(move, f"QEMU {_FB_CLEAR_FIXED}, or 10.2 and later", why, _FB_CLEAR_FIXED, ask)
    if "arch_capabilities" in stuck and move.goal.hides_arch_capabilities is not False:
        why = "it shows ARCH_CAPABILITIES to guests that had it, on AMD with machine types up to 10.0"
        yield from _newer(move, f"QEMU {_HIDING_FIXED} or later", why, _HIDING_FIXED, ask)


def _newer(move: Move, change: str, why: str, version: str, ask: Ask) -> Iterator[Advice]:
    """Yield another QEMU on the destination, where all take the guest then; a running guest keeps its machine type."""
    answer = ask(move.guest, replace(move.vmms, to_version=version))
    if answer.accepts == "yes":
        yield Advice(change, "destination", f"{why}; {_summary(answer)}", answer.exit_code)


def _hide(move: Move, bits: list[BitMove], ask: Ask) -> Iterator[Advice]:
    """Yield what hiding the bits that are in the way comes to; it takes a power-on of the guest."""
    names = [bit.name for bit in bits if bit.blocks and bit.shown]
    if not names:
        return
    answer = ask(hide(move.guest, names), move.vmms)
    lost = [line for bit in bits if bit.name in names and bit.drop.word != "safe" for line in bit.drop.verdicts]
    lines = list(dict.fromkeys(lost))
    more = f"; {len(lines) - _NAMED} more" if len(lines) > _NAMED else ""
    price = f"; what it loses: {'; '.join(lines[:_NAMED])}{more}" if lines else ""
    change = f"start it again, powered off and on, with {_switches(move, names)}"
    yield Advice(change, "guest", _summary(answer) + price, answer.exit_code)


def _switches(move: Move, names: list[str]) -> str:
    """Return how the VMM is told to hide bits, and which of them it has no name for."""
    if move.vmms.vmm not in QEMU_FAMILY:
        return f"these bits hidden: {', '.join(names)}"
    named = {name: BITS[name].names["qemu"] for name in names if "qemu" in BITS[name].names}
    off = ", ".join(f"{name}=off" for name in named.values())
    rest = [name for name in names if name not in named]
    return off + (f" (QEMU has no name for {', '.join(rest)})" if rest else "")


def _host(move: Move) -> Iterator[Advice]:
    """Yield the host's option that brings back what KVM drops: TAA_NO on immune silicon without TSX."""
    silicon, value = move.arrived.model.silicon, move.arrived.ternary.value
    stuck = {*move.lost, *move.unsure}
    without = move.goal.offered("taa_no") is False and value(silicon.taa_no) and move.goal.offered("rtm") is False
    if without and ("taa_no" in stuck or "fb_clear" in stuck):
        effect = (
            "KVM drops TAA_NO where the host runs without RTM, though this part has it; to be asked again with the "
        )
        yield Advice("boot the destination with tsx=on", "destination", effect + "snapshot of that host", None)


def _reboot(moves: list[VerdictMove]) -> Iterator[Advice]:
    """Yield a boot on the destination, where that mends what the move makes worse."""
    mended = [each.subject for each in moves if each.worse and each.rebooted.truth.value in ("truthful", "unsaid")
              and each.rebooted.safety.value == "safe"]  # fmt: skip
    if mended:
        yield Advice("reboot the guest there", "guest", f"its kernel looks at its CPU again: {', '.join(mended)}", None)


def _summary(answer: MigrateResult) -> str:
    taken = {"yes": "accepted", "changes": "accepted, with changes", "no": "still refused", "unknown": "not known"}
    after = {0: "nothing gets worse", 1: "something is not true any more", 2: "newly exposed", 3: "undecided"}
    said = taken[answer.accepts]
    return said if answer.exit_code not in after else f"{said}, {after[answer.exit_code]}"
