"""What a host's snapshot tells of tries to set MSR 0x10a of a scratch vCPU, for values that were not tried too."""

from __future__ import annotations

from typing import Final

from archcaps.machine.snapshot import Snapshot, number

__all__ = ["kvm_refuses"]

#: So many different values that are not 0 have to be refused, and none taken, before all such values count as refused.
_ENOUGH: Final = 2


def kvm_refuses(host: Snapshot, value: int, *, shown: bool) -> bool | None:
    """Return whether KVM on this host refuses `value` (u64) for MSR 0x10a; None: the tries do not tell.

    `shown`: the vCPU's CPUID has ARCH_CAPABILITIES. Linux's KVM compares no bits of the value: it takes all that are
    not 0, or none. So a KVM that refused each of several such values, its own offer among them, refuses the others.
    Source: Linux arch/x86/kvm/x86.c kvm_set_msr_common, 5.10 to 7.3.4; tries on a KVM that refuses.
    """
    tries = {
        number(one.set, 64, "kvm.accepts"): one.accepted
        for one in host.kvm.accepts
        if one.cpuid_arch_capabilities is shown
    }
    if value in tries:
        return not tries[value]
    others = [accepted for tried, accepted in tries.items() if tried]
    return True if value and len(others) >= _ENOUGH and not any(others) else None
