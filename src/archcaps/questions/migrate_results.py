"""The typed answer of `migrate`: will the guest be taken on the other host, and what it believes there."""

from __future__ import annotations

from typing import Literal

import msgspec

from archcaps.questions.results import Assumption, Notice, Possible
from archcaps.questions.upgrade_results import Judged

__all__ = [
    "FORMAT_VERSION", "Accepts", "Advice", "BitMove", "BorderMove", "DropWord", "FakeWord", "Judgement", "LayerAnswer",
    "MigrateResult", "PeerAnswer", "SilentChange", "VerdictMove",
]  # fmt: skip

FORMAT_VERSION = 1

#: changes: the guest is taken, and shown something else than what it booted with.
Accepts = Literal["yes", "changes", "no", "unknown"]
#: What hiding a bit before the move does: nothing gets worse; the truth does; data can leak; not known.
DropWord = Literal["safe", "costs", "exposes", "unknown"]
#: What showing a bit does where KVM does not offer it: it is true there; untrue, of silicon that is not affected;
#: untrue of affected silicon, and nothing leaks by it; data can leak by it; not known.
FakeWord = Literal["true", "harmless", "lie", "exposes", "unknown"]


class LayerAnswer(msgspec.Struct, frozen=True):
    """What one program on the way says: `message` is its own text where it refuses or warns, `bits` the reason."""

    layer: str
    accepts: Accepts
    why: str
    message: str
    bits: list[str]
    source: str


class Judgement(msgspec.Struct, frozen=True):
    """What showing or hiding a bit does: in a word, and each verdict that is another one by it."""

    word: DropWord | FakeWord
    verdicts: list[str]


class BitMove(msgspec.Struct, frozen=True):
    """A bit that the destination's KVM does not offer as the guest is shown it (null: unknown).

    `offered_from`, `offered_to`: by KVM on either host. `true_from`, `true_to`: whether its claim holds of the
    silicon there. `supported`: the VMM on the destination can show it, in KVM's offer or not. `blocks`: the layers
    that do not take the guest for it.
    """

    name: str
    shown: bool | None
    offered_from: bool | None
    offered_to: bool | None
    true_from: bool | None
    true_to: bool | None
    supported: bool | None
    blocks: list[str]
    drop: Judgement
    fake: Judgement
    meaning: str


class VerdictMove(msgspec.Struct, frozen=True):
    """The verdict on a vulnerability, or a further subject: on the first host, after the move, and after a boot there.

    `concludes`: what the guest's kernel says since its boot on the first host, before the move and after it;
    `rebooted_concludes`: after a boot on the second. `worse` and `newly_exposed` are of the move (null: unknown).
    """

    subject: str
    concludes: Possible
    before: Judged
    after: Judged
    rebooted_concludes: Possible
    rebooted: Judged
    changes: bool | None
    worse: bool | None
    newly_exposed: bool | None
    cured: bool

    @property
    def undecided(self) -> bool:
        """Whether facts are missing to tell if it gets worse."""
        return None in (self.worse, self.newly_exposed)


class BorderMove(msgspec.Struct, frozen=True):
    """Whether data of the host can leak to this guest, on the first host and on the second."""

    vulnerability: str
    before: Possible
    after: Possible
    responsible: Possible
    newly_exposed: bool | None


class SilentChange(msgspec.Struct, frozen=True):
    """Something about the guest's host that no layer compares and the guest is not told (null: unknown)."""

    name: str
    before: bool | None
    after: bool | None
    meaning: str


class PeerAnswer(msgspec.Struct, frozen=True):
    """What another project's rule for levelling says of the same two values: not asked on the way."""

    peer: str
    compatible: bool | None
    why: str
    source: str


class Advice(msgspec.Struct, frozen=True):
    """A change that lets the guest move: where it is made, what it comes to, and what then is to be said of the guest.

    `exit_code` is that of the same question after the change; null where that cannot be asked.
    """

    change: str
    where: str
    effect: str
    exit_code: int | None


class MigrateResult(msgspec.Struct, frozen=True):
    """The answer of `migrate`.

    `exit_code`: 0 accepted, and nothing gets worse; 1 accepted, and something is not true any more, or there is a
    notice; 2 accepted, and newly exposed; 3 facts are missing to tell; 4 refused. `shown_changes`: bits that the guest
    is shown otherwise from the move on (null: unknown whether). `missing`: the unknown facts that would decide it.
    Of the guest's other CPU features, by QEMU's names: `lost_features` it has and cannot be given there, of
    `unsure_features` that is not known, and of `unsaid_features` (a number) its snapshot says nothing.
    """

    format_version: int
    headline: str
    exit_code: int
    accepts: Accepts
    from_host: str
    from_kernel: str | None
    to_host: str
    to_kernel: str | None
    guest: str
    guest_kernel: str | None
    vmm: str
    machine: str | None
    from_vmm_version: str | None
    to_vmm_version: str | None
    layers: list[LayerAnswer]
    bits: list[BitMove]
    shown_changes: dict[str, bool | None]
    vulnerabilities: list[VerdictMove]
    further: list[VerdictMove]
    border: list[BorderMove]
    silent: list[SilentChange]
    peers: list[PeerAnswer]
    advice: list[Advice]
    missing: dict[str, str]
    notices: list[Notice]
    assumptions: list[Assumption]
    lost_features: list[str] = []
    unsure_features: list[str] = []
    unsaid_features: int = 0

    def layer(self, name: str) -> LayerAnswer:
        """Return what one layer says.

        Raises:
            KeyError: it is not on this guest's way.
        """
        for each in self.layers:
            if each.layer == name:
                return each
        raise KeyError(name)

    def bit(self, name: str) -> BitMove:
        """Return what is to be said of a bit that the destination does not offer as shown.

        Raises:
            KeyError: there is nothing to say of it.
        """
        for each in self.bits:
            if each.name == name:
                return each
        raise KeyError(name)

    def verdict(self, subject: str) -> VerdictMove:
        """Return the verdict on a vulnerability or a further subject.

        Raises:
            KeyError: there is no verdict on it.
        """
        for each in (*self.vulnerabilities, *self.further):
            if each.subject == subject:
                return each
        raise KeyError(subject)
