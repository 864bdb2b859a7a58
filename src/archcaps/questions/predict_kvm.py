"""predict --kvm: what the KVM of a described host offers, and what it does with values for MSR 0x10a."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from archcaps.machine.snapshot import Snapshot
from archcaps.questions.kvm import Kvm
from archcaps.questions.predict_case import Case, number_of
from archcaps.questions.predict_host import host_of_case
from archcaps.questions.vcpu import ARCH_CAP, Vcpu
from archcaps.questions.word import ALL, Word, either

__all__ = ["KnownBits", "KvmPrediction", "SetValue", "predict_kvm"]

#: How many KVMs are kept: cases with one host often follow each other.
_KEPT = 64


class KnownBits(msgspec.Struct, frozen=True):
    """A value (u64, hexadecimal) of which only the bits in the mask `known` (u64, hexadecimal) are known."""

    value: str
    known: str


class SetValue(msgspec.Struct, frozen=True):
    """One value that userspace sets: whether KVM takes it, what is read back, and FB_CLEAR_DIS afterwards."""

    set: str
    accepted: bool | None
    get: str | KnownBits | None
    disable_fb_clear: bool | None


class KvmPrediction(msgspec.Struct, frozen=True):
    """The answer for one case. Numbers are hexadecimal text; null: unknown.

    `offered`: MSR 0x10a as /dev/kvm gives it. `vcpu_initial`: what a new vCPU holds there. `values`: for each value of
    `guest_values`, set one after the other on one vCPU that has not run.
    """

    offered: str | KnownBits | None
    vcpu_initial: str | KnownBits | None
    values: list[SetValue]


def predict_kvm(case: Case, where: str) -> KvmPrediction:
    """Return what KVM offers on the case's host, and what it does with each of its `guest_values`.

    Raises:
        InputError: a value of the case is none that is expected; `where` says in which line.
    """
    shown = case.guest_cpuid_arch_capabilities
    kvm = _KVMS.of(host_of_case(case, where))
    vcpus = [_vcpu(kvm, one) for one in ((True, False) if shown is None else (shown,))]
    initial = either([vcpu.arch_capabilities for vcpu in vcpus])
    values = [_set(vcpus, number_of(value) or 0) for value in case.guest_values]
    return KvmPrediction(_hex(kvm.supported_arch_cap), _hex(initial), values)


class _Kvms:
    """The KVMs of the hosts asked for last, by the host's description."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Kvm] = {}

    def of(self, host: Snapshot) -> Kvm:
        """Return the KVM of a host, the same one for the same description."""
        key = msgspec.json.encode(host)
        kvm = self._kept.pop(key, None) or Kvm(host, strict=True)
        self._kept[key] = kvm
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return kvm


_KVMS = _Kvms()


def _vcpu(kvm: Kvm, shown: bool) -> Vcpu:
    vcpu = kvm.create_vm().create_vcpu()
    vcpu.set_cpuid2(["arch_capabilities"] if shown else [])
    return vcpu


def _set(vcpus: Sequence[Vcpu], value: int) -> SetValue:
    """Set a value on each vCPU, and say what they agree on."""
    accepted = [vcpu.set_msrs({ARCH_CAP: value}) for vcpu in vcpus]
    read = [found[0] if (found := vcpu.get_msrs([ARCH_CAP])) else Word(0, 0) for vcpu in vcpus]
    taken = {None if count is None else bool(count) for count in accepted}
    dis = {vcpu.disable_fb_clear for vcpu in vcpus}
    return SetValue(
        hex(value),
        taken.pop() if len(taken) == 1 else None,
        _hex(either(read)),
        dis.pop() if len(dis) == 1 else None,
    )


def _hex(word: Word) -> str | KnownBits | None:
    if word.known == ALL:
        return hex(word.value)
    return KnownBits(hex(word.value), hex(word.known)) if word.known else None
