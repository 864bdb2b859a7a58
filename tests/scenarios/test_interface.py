"""KVM's interface as userspace meets it: S05, S06, S07, S09, S16, S18, S29."""

from __future__ import annotations

from typing import Literal

import pytest

from archcaps.questions.kvm import Fault, Patch, Vcpu, Word
from tests.scenarios.running import Case, Name, ask, holds, kvm

ARCH_CAP, TSX_CTRL, SKIP = 0x10A, 0x122, 1 << 3


def read(vcpu: Vcpu, msr: int) -> Word:
    found = vcpu.get_msrs([msr])
    assert found is not None
    (word,) = found
    return word


#: S07. The guests run Windows, of which archcaps knows nothing: what asks the guest's kernel stays open.
CASES: dict[Name, Case] = {
    ("arch-capabilities-on-amd", host, guest): Case(3, False, decided=False)
    for host in ("host-6.12", "host-6.14")
    for guest in ("guest-visible", "guest-hidden")
} | {
    # S18. A nested hypervisor of either time is told the truth of VERW; the flush that it skips is not judged.
    ("l1d-flush-at-run-time", "host", guest): Case(0, False)
    for guest in ("guest-before", "guest-after")
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in CASES if name[0] == "arch-capabilities-on-amd"], ids="/".join)
def test_s07_of_windows_nothing_is_concluded(name: Name) -> None:
    result = ask(*name)
    # The host's kernel is older than what Linux does about TSA (6.12.37), and hardware of family 0x19 has no TSA_NO
    # bits (Linux stable f3f9deccfc68): that its data can leak is sure, whatever the guest is.
    assert (result.exit_code, result.disable_fb_clear) == (2, False)
    assert [each.vulnerability for each in result.vulnerabilities if each.exposes_host] == ["tsa"]
    for verdict in result.vulnerabilities:
        assert not verdict.concludes.decided
        assert not verdict.truth.decided
        assert verdict.vulnerability == "tsa" or verdict.affected is False


@pytest.mark.parametrize("name", [name for name in CASES if name[0] == "l1d-flush-at-run-time"], ids="/".join)
def test_s18_what_either_nested_hypervisor_is_told_of_verw(name: Name) -> None:
    holds(name, CASES[name])


# --- S05 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "value"), [("host-ice-lake", 0xC02A0EB), ("host-cascade-lake", 0xC0AA0EB)])
def test_s05_before_cpuid_is_set_the_msr_reads_0(host: str, value: int) -> None:
    vcpu = kvm("read-before-cpuid", host).create_vm().create_vcpu()
    assert read(vcpu, ARCH_CAP) == 0
    vcpu.set_cpuid2(["arch_capabilities", "md_clear", "flush_l1d"])
    assert read(vcpu, ARCH_CAP) == value


def test_s05_up_to_6_12_the_order_does_not_matter() -> None:
    vcpu = kvm("read-before-cpuid", "host-ice-lake", kernel="6.12.0").create_vm().create_vcpu()
    word = read(vcpu, ARCH_CAP)
    assert word.value & word.known == 0xC02A0EB & ~(1 << 26)  # GDS_NO depends on what is not told


def test_s05_the_0_that_is_written_back_sets_fb_clear_dis_on_ice_lake() -> None:
    for host, disabled in (("host-ice-lake", True), ("host-cascade-lake", False)):
        vcpu = kvm("read-before-cpuid", host).create_vm().create_vcpu()
        vcpu.set_cpuid2(["arch_capabilities"])
        assert vcpu.disable_fb_clear is False
        assert vcpu.set_msrs({ARCH_CAP: 0}) == 1
        assert vcpu.disable_fb_clear is disabled


# --- S06, S09 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "taken"), [("host-6.12", 1), ("host-6.14", 0)])
def test_s06_from_6_13_on_0x69_is_refused_where_cpuid_hides_the_msr(host: str, taken: int) -> None:
    vcpu = kvm("arch-capabilities-on-amd", host).create_vm().create_vcpu()
    vcpu.set_cpuid2(["hypervisor"])
    assert vcpu.set_msrs({ARCH_CAP: 0x69}) == taken
    assert vcpu.set_msrs({ARCH_CAP: 0}) == 1


def test_s06_the_value_is_what_qemu_7_2_has_names_for() -> None:
    """Bits 0 to 8 of what KVM offers on an AMD host: 0x69."""
    offered = kvm("arch-capabilities-on-amd", "host-6.14").supported_arch_cap
    assert offered == 0xC000069
    assert int(offered) & 0x1FF == 0x69


@pytest.mark.parametrize("kernel", ["5.10.223", "6.1.192", "6.12.0", "6.14.0", "7.2.13"])
def test_s09_in_every_kernel_read_the_guest_faults_where_cpuid_hides_the_msr(kernel: str) -> None:
    vcpu = kvm("arch-capabilities-on-amd", "host-6.12", kernel=kernel).create_vm().create_vcpu()
    vcpu.set_cpuid2(["hypervisor"])
    assert isinstance(vcpu.guest_rdmsr(ARCH_CAP), Fault)


# --- S16 -----------------------------------------------------------------------------------------------------------


def test_s16_tsx_ctrl_can_be_set_on_a_host_without_rtm() -> None:
    vcpu = kvm("taa-no-hidden").create_vm().create_vcpu()
    vcpu.set_cpuid2(["arch_capabilities"])
    assert vcpu.arch_capabilities == 0xC02A0EB
    assert vcpu.set_msrs({TSX_CTRL: 3}) == 1
    assert read(vcpu, TSX_CTRL) == 3


def test_s16_a_guest_whose_value_lacks_the_bit_can_not_write_it() -> None:
    vcpu = kvm("taa-no-hidden").create_vm().create_vcpu()
    vcpu.set_cpuid2(["arch_capabilities"])
    assert vcpu.guest_wrmsr(TSX_CTRL, 3) is True
    assert vcpu.set_msrs({ARCH_CAP: 0x6B}) == 1
    assert isinstance(vcpu.guest_wrmsr(TSX_CTRL, 3), Fault)
    assert vcpu.set_msrs({TSX_CTRL: 3}) == 1  # userspace may: vmx_set_msr asks only guests for the bit


# --- S18 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("patch", "after"), [(None, False), ("v1", True), ("v2", False)])
def test_s18_two_vcpus_of_one_vm_disagree(patch: Patch | None, after: bool) -> None:
    """As KVM is and with v2 of the patch bit 3 follows the parameter, with v1 it stays as it was at load."""
    host = kvm("l1d-flush-at-run-time", **({} if patch is None else {"patch": patch}))
    vm = host.create_vm()
    first = vm.create_vcpu()
    assert host.flushes_l1d is True
    assert host.set_parameter("vmentry_l1d_flush", "never") is True
    second = vm.create_vcpu()
    assert first.arch_capabilities.bit(SKIP) is True
    assert second.arch_capabilities.bit(SKIP) is after
    assert host.flushes_l1d is False  # and the first one's nested hypervisor skips its own flush


@pytest.mark.parametrize("state", ["cond", "always"])
def test_s18_any_flush_will_do(state: Literal["cond", "always"]) -> None:
    host = kvm("l1d-flush-at-run-time")
    host.set_parameter("vmentry_l1d_flush", state)
    assert host.supported_arch_cap.bit(SKIP) is True


def test_s18_nothing_changes_on_a_host_without_l1tf() -> None:
    host = kvm("read-before-cpuid", "host-ice-lake")
    host.set_parameter("vmentry_l1d_flush", "never")
    assert host.supported_arch_cap.bit(SKIP) is True


# --- S29 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "held", "disabled"), [("host-6.12", False, True), ("host-6.13", True, False)])
def test_s29_what_is_written_to_a_hidden_msr(host: str, held: bool, disabled: bool) -> None:
    """Up to 6.12 the 0 is stored; from 6.13 on it is taken, ignored, and KVM's default kept, which has FB_CLEAR."""
    vcpu = kvm("upgrade-across-6.13", host).create_vm().create_vcpu()
    vcpu.set_cpuid2(["hypervisor", "md_clear"])
    assert vcpu.set_msrs({ARCH_CAP: 0}) == 1
    assert vcpu.arch_capabilities.bit(1 << 17) is held
    assert vcpu.disable_fb_clear is disabled
