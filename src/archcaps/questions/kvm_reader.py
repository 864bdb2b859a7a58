"""The rules of one KVM, read for its host and for single accesses to MSRs, each answer once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from archcaps.logic.graph import Node
from archcaps.logic.ternary import Ternary
from archcaps.machine.facts import Datum, Facts, facts_of_host
from archcaps.machine.observations import observations_of
from archcaps.machine.snapshot import FORMAT_VERSION, Snapshot
from archcaps.questions.doubted import doubted
from archcaps.questions.word import Word
from archcaps.rules.kvm_entry import FIVE_NO, vmx_update_fb_clear_dis
from archcaps.rules.shown import model
from archcaps.rules.views import Access, Cpu
from archcaps.tables.bits import ARCH_CAPABILITIES

__all__ = ["ACCESS", "KVM", "KvmReader"]

#: What the rules speak of: the host's KVM, one access to an MSR, and the MSR 0x10a that a vCPU holds.
KVM = model().kvm
ACCESS = Access("access")
_HELD = Cpu("held", {})
_ASKED = ("fb_clear", *FIVE_NO)
_NOBODY = Snapshot(format_version=FORMAT_VERSION, role="guest")


class KvmReader:
    """The facts and observations of one host, and the values that KVM's rules get from them.

    `without` names observations (names of rules) that no longer hold. `strict`: nothing is supposed of its kernel.

    Raises:
        InputError: the host's kernel configuration has an unknown name.
    """

    def __init__(self, host: Snapshot, without: Iterable[str] = (), *, strict: bool = False) -> None:
        self.facts: Facts = facts_of_host(host, strict=strict)
        self.observed: dict[str, Datum] = observations_of(host, _NOBODY)
        for name in without:
            self.observed.pop(name, None)
        out = frozenset(doubted(self.observed, self.facts.values))
        seen = {name: datum.value for name, datum in self.observed.items() if name not in out}
        self._ternary = Ternary(self.facts.values, seen, opaque=out)
        self._answers: dict[tuple[object, ...], bool | None] = {}

    def value(self, node: Node) -> bool | None:
        """Return what is known of a rule about the host and its KVM."""
        return self._ternary.value(node)

    def modelled(self, node: Node) -> bool | None:
        """Return what a rule about the host and its KVM gives by itself, whatever was observed of it."""
        return self._ternary.modelled(node)

    def word(self, nodes: Mapping[str, Node]) -> Word:
        """Return the MSR 0x10a whose bits `nodes` are, by name."""
        return word_of({name: self.value(node) for name, node in nodes.items()})

    def of_access(self, node: Node, facts: Mapping[str, bool | None]) -> bool | None:
        """Return what is known of a rule about one access, of which `facts` say what tables call its look-ups."""
        key = (node, *facts.items())
        if key not in self._answers:
            given = {f"{ACCESS.scope}.{name}": value for name, value in facts.items()}
            self._answers[key] = self._ternary.value_with(node, given)
        return self._answers[key]

    def disable_fb_clear(self, held: Word) -> bool | None:
        """Return whether KVM sets FB_CLEAR_DIS for a vCPU that holds this MSR 0x10a."""
        bits = {f"{_HELD.scope}.{name}": held.bit(ARCH_CAPABILITIES[name].mask) for name in _ASKED}
        key = ("disable_fb_clear", *bits.values())
        if key not in self._answers:
            node = vmx_update_fb_clear_dis(_HELD, KVM)
            self._answers[key] = self._ternary.value_with(node, bits)
        return self._answers[key]


def word_of(bits: Mapping[str, bool | None]) -> Word:
    """Return the MSR 0x10a that has these bits, by name; None: unknown."""
    value = sum(ARCH_CAPABILITIES[name].mask for name, bit in bits.items() if bit)
    known = sum(ARCH_CAPABILITIES[name].mask for name, bit in bits.items() if bit is not None)
    return Word(value, known)
