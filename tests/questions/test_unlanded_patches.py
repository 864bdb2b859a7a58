"""The patches of May 2023 that never landed, told over time: who flushes the L1D for a nested guest.

Xiaoyao Li: the value is not constant, it follows vmentry_l1d_flush. Chao Gao: L1 got bit 3, then the host stops
flushing: L1 no longer flushes for L2 and nobody does. Sean Christopherson: two vCPUs of one VM may differ already.
"""

from __future__ import annotations

import pytest

import archcaps
from archcaps.questions.kvm import Patch

SKIP = 1 << 3
AS_BUILT = {"vmentry_l1d_flush": "auto", "ept": "Y", "ignore_msrs": "N"}
SKYLAKE = archcaps.host(
    cpu="6/0x55/4", flags="md_clear,flush_l1d,avx", arch_capabilities="none", microcode="0x2007006", kernel="6.12.117"
)


@pytest.mark.parametrize(
    ("patch", "newer", "back"),
    [(None, False, True), ("v1", True, True), ("v2", False, True)],
)
def test_a_write_to_vmentry_l1d_flush_between_two_vcpus(patch: Patch | None, newer: bool, back: bool) -> None:
    kvm = archcaps.Kvm(SKYLAKE, parameters=AS_BUILT, patch=patch)
    vm = kvm.create_vm()
    older = vm.create_vcpu()
    flushes = [kvm.flushes_l1d]
    assert kvm.set_parameter("vmentry_l1d_flush", "never") is True
    flushes.append(kvm.flushes_l1d)
    assert flushes == [True, False]  # the host does no more
    assert kvm.get_msrs([0x10A]) == [kvm.supported_arch_cap]
    assert kvm.supported_arch_cap.bit(SKIP) is newer
    assert vm.create_vcpu().arch_capabilities.bit(SKIP) is newer
    assert older.arch_capabilities.bit(SKIP) is True  # each keeps what it was made with: nobody flushes for its L2
    assert kvm.set_parameter("vmentry_l1d_flush", "cond") is True
    assert vm.create_vcpu().arch_capabilities.bit(SKIP) is back


@pytest.mark.parametrize("patch", ["v1", "v2"])
def test_cached_values_do_not_follow_late_microcode(patch: Patch) -> None:
    """6.5 reads the host's register each time; a value computed at load does not."""
    host = archcaps.host(cpu="6/0x6a/6", flags="arch_capabilities,avx", arch_capabilities=0x6016B, kernel="6.5.0")
    for one, seen in ((None, True), (patch, False)):
        kvm = archcaps.Kvm(host, parameters=AS_BUILT, patch=one)
        kvm.late_microcode(0x6016B | 1 << 13)
        assert kvm.supported_arch_cap.bit(1 << 13) is seen


def test_there_is_no_third_version() -> None:
    with pytest.raises(archcaps.InputError, match="expected v1, v2 or None"):
        archcaps.Kvm(SKYLAKE, patch="v3")  # type: ignore[arg-type]  # wrong on purpose
