"""What a scratch vCPU was seen to do with MSR 0x10a, in place of what the rules say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from archcaps.machine.msr_tries import kvm_refuses
from archcaps.machine.snapshot import Accepted, Snapshot, number
from archcaps.questions.word import Word

__all__ = ["Tries"]


class Tries:
    """The tries that a host's snapshot tells of: each value that was set, with and without the CPUID bit."""

    def __init__(self, host: Snapshot) -> None:
        self._host = host
        initial = host.kvm.vcpu_initial
        self.initial: int | None = None if initial is None else number(initial, 64, "kvm.vcpu_initial")
        tries: dict[bool, list[Accepted]] = {True: [], False: []}
        for one in host.kvm.accepts:
            tries[one.cpuid_arch_capabilities].append(one)
        self.of: Mapping[bool, Sequence[Accepted]] = tries
        self._by_value = {
            (one.cpuid_arch_capabilities, number(one.set, 64, "kvm.accepts")): one for one in host.kvm.accepts
        }

    def seen(self, shown: bool | None, value: int) -> Accepted | None:
        """Return what was seen when `value` (u64) was set, with the CPUID bit or without; None: not tried."""
        return None if shown is None else self._by_value.get((shown, value))

    def refuses(self, shown: bool, value: int) -> bool:
        """Return whether the tries tell that KVM refuses `value`, with the CPUID bit or without."""
        return kvm_refuses(self._host, value, shown=shown) is True

    @staticmethod
    def read(one: Accepted) -> Word | None:
        """Return what KVM_GET_MSRS gave after a try; None: not told."""
        return None if one.get is None else Word(number(one.get, 64, "kvm.accepts"))
