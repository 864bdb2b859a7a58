"""KVM's interface around MSR 0x10a, call by call, as the functions of its sources do it (values worked out by hand).

Sources: Linux 5.10.265, 6.1.166, 6.6.150, 6.12.15, 7.1.5 arch/x86/kvm/x86.c, vmx/vmx.c: do_set_msr, kvm_set_msr_common,
kvm_get_msr_common, kvm_msr_ignored_check (later kvm_do_msr_access), vmx_set_msr, vmx_get_msr, vmentry_l1d_flush_set.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

import archcaps
from archcaps.questions.kvm import KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_STUFF_FEATURE_MSRS
from archcaps.questions.word import Word, either

BARE = {"vmentry_l1d_flush": "auto", "ept": "Y", "ignore_msrs": "N"}
IGNORING = {**BARE, "ignore_msrs": "Y"}
GP = archcaps.GP
#: Ice Lake server with FB_CLEAR_CTRL, as one was recorded; TSX_CTRL added to it.
ICE_LAKE = {"cpu": "6/0x6a/6", "flags": "md_clear,flush_l1d,arch_capabilities,avx", "arch_capabilities": 0x601EB}
#: Skylake server, affected by L1TF.
SKYLAKE = {"cpu": "6/0x55/4", "flags": "md_clear,flush_l1d,avx", "arch_capabilities": "none", "microcode": "0x2007006"}
MILAN = {"cpu": "amd:0x19/1/1", "flags": "avx"}
OLD, MIDDLE, NEW = "6.1.192", "6.12.117", "7.2.13"


def kvm_of(kernel: str, machine: Mapping[str, object] = ICE_LAKE, **more: object) -> archcaps.Kvm:
    host = archcaps.host(kernel=kernel, **machine)  # type: ignore[arg-type]  # values by name
    return archcaps.Kvm(host, **{"parameters": BARE, **more})  # type: ignore[arg-type]  # as above


def vcpu_of(kernel: str, *shown: str, machine: Mapping[str, object] = ICE_LAKE, **more: object) -> archcaps.Vcpu:
    vcpu = kvm_of(kernel, machine, **more).create_vm().create_vcpu()
    assert vcpu.set_cpuid2(shown) is True
    return vcpu


def reads(vcpu: archcaps.Vcpu, msr: int = 0x10A) -> int | None:
    """What KVM_GET_MSRS gives for one MSR; None: it fails."""
    found = vcpu.get_msrs([msr])
    assert found is not None
    return int(found[0]) if found else None


# --- MSR 0x10a -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "run_first", "value", "count", "read"),
    [
        (OLD, True, 0x2B, 1, 0x2B),  # up to 6.3 it can always be changed
        (MIDDLE, False, 0x2B, 1, 0x2B),
        (MIDDLE, True, 0x2B, 0, None),
        (NEW, True, 0x2B, 0, None),
        ("6.4.4", True, 0x2B, 0, None),
        ("6.3.8", True, 0x2B, 1, 0x2B),
    ],
)
def test_after_the_first_run(kernel: str, run_first: bool, value: int, count: int, read: int | None) -> None:
    vcpu = vcpu_of(kernel, "arch_capabilities")
    before = reads(vcpu)
    if run_first:
        vcpu.run()
    assert vcpu.set_msrs({0x10A: value}) == count
    assert reads(vcpu) == (before if read is None else read)
    assert before is not None
    assert vcpu.set_msrs({0x10A: reads(vcpu) or 0}) == 1  # the value that it has is always taken


def test_without_the_cpuid_bit_from_6_13_on() -> None:
    vcpu = vcpu_of(NEW)
    held = vcpu.arch_capabilities
    assert held == vcpu.vm.kvm.supported_arch_cap
    assert reads(vcpu) == 0
    assert vcpu.set_msrs({0x10A: 0}) == 1
    assert vcpu.set_msrs({0x10A: 1}) == 0
    assert vcpu.arch_capabilities == held
    assert vcpu.guest_rdmsr(0x10A) is GP
    assert vcpu.guest_wrmsr(0x10A, 0) is GP


def test_cpuid_has_to_be_set_first_from_6_13_on() -> None:
    """Firecracker 4681a67f7: read before KVM_SET_CPUID2, the value was 0, and 0 was what the guest got."""
    vcpu = kvm_of(NEW).create_vm().create_vcpu()
    assert reads(vcpu) == 0
    assert vcpu.set_msrs({0x10A: 0x2B}) == 0
    vcpu.set_cpuid2(["arch_capabilities"])
    assert reads(vcpu) == int(vcpu.vm.kvm.supported_arch_cap)
    assert vcpu.set_msrs({0x10A: 0x2B}) == 1
    before = kvm_of(OLD).create_vm().create_vcpu()
    assert before.set_msrs({0x10A: 0x2B}) == 1
    assert reads(before) == 0x2B


def test_the_same_machine_before_and_after_6_13_gets_another_fb_clear_dis() -> None:
    """A VMM hides the MSR and writes 0: up to 6.12 that is stored, later it is ignored and the offer stays."""
    old, new = (vcpu_of(kernel, machine={**ICE_LAKE, "arch_capabilities": 0x6E16B}) for kernel in (MIDDLE, NEW))
    for vcpu in (old, new):
        assert vcpu.set_msrs({0x10A: 0}) == 1
    assert old.disable_fb_clear is True
    assert new.disable_fb_clear is False


def test_ignore_msrs_covers_0x10a_from_6_13_on_for_userspace_too() -> None:
    new, old = vcpu_of(NEW, parameters=IGNORING), vcpu_of(OLD, parameters=IGNORING)
    assert new.guest_rdmsr(0x10A) == 0
    assert new.guest_wrmsr(0x10A, 5) is True
    held = new.arch_capabilities
    assert new.set_msrs({0x10A: 5}) == 1  # taken, and ignored
    assert new.arch_capabilities == held
    assert old.guest_rdmsr(0x10A) is GP
    assert old.guest_wrmsr(0x10A, 5) is GP


def test_the_guest_reads_what_the_vcpu_holds() -> None:
    for kernel in (OLD, MIDDLE, NEW):
        vcpu = vcpu_of(kernel, "arch_capabilities")
        vcpu.set_msrs({0x10A: 0x8000000000000001})  # nobody checks bits
        assert vcpu.guest_rdmsr(0x10A) == 0x8000000000000001
        assert vcpu.guest_wrmsr(0x10A, 0) is GP


def test_fb_clear_dis_is_decided_by_sets_not_by_cpuid() -> None:
    vcpu = vcpu_of(MIDDLE, "arch_capabilities")
    decided = [vcpu.disable_fb_clear]  # the offer has FB_CLEAR
    vcpu.set_msrs({0x10A: 0})
    decided.append(vcpu.disable_fb_clear)
    vcpu.set_cpuid2([])
    vcpu.reset()
    decided.append(vcpu.disable_fb_clear)
    vcpu.set_cpuid2(["arch_capabilities"])
    vcpu.set_msrs({0x10A: 1 << 17})
    decided.append(vcpu.disable_fb_clear)
    assert decided == [False, True, True, False]


def test_the_quirk_that_gives_new_vcpus_their_values() -> None:
    for kernel, known in ((OLD, False), ("6.12.0", False), (MIDDLE, True), (NEW, True)):
        vm = kvm_of(kernel).create_vm()
        assert vm.enable_cap(KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_STUFF_FEATURE_MSRS) is known
        vcpu = vm.create_vcpu()
        vcpu.set_cpuid2(["arch_capabilities"])
        assert reads(vcpu) == (0 if known else int(vm.kvm.supported_arch_cap))
    with pytest.raises(archcaps.InputError, match="not modelled"):
        kvm_of(NEW).create_vm().enable_cap(116, 1)


# --- the other MSRs --------------------------------------------------------------------------------------------------


def test_flush_cmd() -> None:
    new, hidden = vcpu_of("6.4.4", "flush_l1d"), vcpu_of("6.4.4")
    assert [new.set_msrs({0x10B: value}) for value in (0, 1, 2, 3)] == [1, 1, 0, 0]
    assert hidden.set_msrs({0x10B: 1}) == 1  # userspace needs no CPUID bit
    assert (new.guest_wrmsr(0x10B, 1), new.guest_wrmsr(0x10B, 2)) == (True, GP)
    assert hidden.guest_wrmsr(0x10B, 1) is GP
    assert reads(new, 0x10B) is None
    assert new.guest_rdmsr(0x10B) is GP
    old = vcpu_of("6.3.8", "flush_l1d")
    assert old.set_msrs({0x10B: 1}) == 0
    assert old.guest_wrmsr(0x10B, 1) is GP
    assert vcpu_of("6.3.8", parameters=IGNORING).guest_wrmsr(0x10B, 1) is True
    no_flush = {**ICE_LAKE, "flags": "md_clear,arch_capabilities"}
    assert vcpu_of("6.4.4", "flush_l1d", machine=no_flush, parameters=IGNORING).guest_wrmsr(0x10B, 1) is GP


def test_tsx_ctrl() -> None:
    vcpu = vcpu_of(NEW, "arch_capabilities")
    # tsx=auto with TAA_NO and TSX_CTRL: the host runs with RTM, and KVM stops it where CPUID has none
    assert reads(vcpu, 0x122) == 1
    assert [vcpu.set_msrs({0x122: value}) for value in (0, 3, 4)] == [1, 1, 0]
    assert reads(vcpu, 0x122) == 3
    assert vcpu.guest_rdmsr(0x122) == 3
    assert vcpu.guest_wrmsr(0x122, 2) is True
    assert vcpu.guest_rdmsr(0x122) == 2
    vcpu.set_msrs({0x10A: 0})
    assert (vcpu.guest_rdmsr(0x122), vcpu.guest_wrmsr(0x122, 0)) == (GP, GP)
    assert (reads(vcpu, 0x122), vcpu.set_msrs({0x122: 1})) == (2, 1)  # userspace may all the same


def test_tsx_ctrl_is_written_with_cpuid_where_the_host_uses_rtm() -> None:
    host = archcaps.host(kernel=MIDDLE, cmdline="tsx=on", cpu="6/0x6a/6", flags="md_clear,arch_capabilities,rtm",
                         arch_capabilities=0x601EB)  # fmt: skip
    vcpu = archcaps.Kvm(host, parameters=BARE).create_vm().create_vcpu()
    vcpu.set_cpuid2(["rtm", "arch_capabilities"])
    assert reads(vcpu, 0x122) == 0
    vcpu.set_cpuid2(["arch_capabilities"])
    assert reads(vcpu, 0x122) == 1
    vcpu.set_msrs({0x122: 0})
    assert reads(vcpu, 0x122) == 0


@pytest.mark.parametrize(("kernel", "named"), [("6.3.8", False), ("6.4.4", True), (NEW, True)])
def test_the_lists_of_msrs(kernel: str, named: bool) -> None:
    kvm = kvm_of(kernel)
    assert kvm.get_msr_feature_index_list() == {0x10A: True, 0x10B: False, 0x122: False, 0x123: False}
    assert kvm.get_msr_index_list() == {0x10A: True, 0x10B: False, 0x122: named, 0x123: False}
    assert kvm_of(kernel, MILAN).get_msr_index_list()[0x122] is False


@pytest.mark.parametrize("machine", [ICE_LAKE, MILAN])
def test_mcu_opt_ctrl_is_never_there(machine: Mapping[str, object]) -> None:
    for kernel in (OLD, NEW):
        vcpu = vcpu_of(kernel, "arch_capabilities", machine=machine)
        assert reads(vcpu, 0x123) is None
        assert vcpu.set_msrs({0x123: 0}) == 0
        assert (vcpu.guest_rdmsr(0x123), vcpu.guest_wrmsr(0x123, 0)) == (GP, GP)
        ignoring = vcpu_of(kernel, machine=machine, parameters=IGNORING)
        assert (reads(ignoring, 0x123), ignoring.set_msrs({0x123: 8}), ignoring.guest_rdmsr(0x123)) == (0, 1, Word(0))


def test_amd_has_0x10a_by_emulation_and_no_tsx_ctrl() -> None:
    vcpu = vcpu_of("6.9.0", "arch_capabilities", machine=MILAN)
    assert reads(vcpu) == 0xC000069
    assert vcpu.set_msrs({0x10A: 1 << 7}) == 1
    assert vcpu.guest_rdmsr(0x10A) == 1 << 7
    assert vcpu.disable_fb_clear is False
    assert vcpu.set_msrs({0x122: 0}) == 0
    assert vcpu.guest_rdmsr(0x122) is GP


def test_a_value_for_a_hidden_register_stops_vms_on_amd_from_6_13_on() -> None:
    """QEMU's "failed to set MSR 0x10a to 0x69" (asterinas issue 2980): the CPUID bit is hidden, the value is set."""
    assert vcpu_of("6.12.117", machine=MILAN).set_msrs({0x10A: 0x69}) == 1
    assert vcpu_of("6.13.2", machine=MILAN).set_msrs({0x10A: 0x69}) == 0


def test_several_msrs_are_set_and_read_up_to_the_first_that_fails() -> None:
    vcpu = vcpu_of(NEW, "arch_capabilities")
    assert vcpu.set_msrs({0x10A: 0xAB, 0x123: 0, 0x122: 2}) == 1
    assert (reads(vcpu), reads(vcpu, 0x122)) == (0xAB, 1)
    assert vcpu.get_msrs([0x10A, 0x123, 0x122]) == [Word(0xAB)]
    assert vcpu.vm.kvm.get_msrs([0x10A, 0x122, 0x10A]) == [vcpu.vm.kvm.supported_arch_cap]
    with pytest.raises(archcaps.InputError, match="0x48 is not modelled"):
        vcpu.get_msrs([0x48])
    with pytest.raises(archcaps.InputError, match="does not fit in 64 bits"):
        vcpu.set_msrs({0x10A: 1 << 64})


# --- what is not known -----------------------------------------------------------------------------------------------


def test_a_kernel_that_nobody_read_leaves_open_what_was_stored() -> None:
    vcpu = vcpu_of("99.0")
    assert vcpu.set_msrs({0x10A: 0}) == 1  # every kernel takes 0, it is stored or ignored
    assert vcpu.set_msrs({0x10A: 0xFF}) is None
    assert vcpu.get_msrs([0x10A]) is not None
    assert vcpu.arch_capabilities.known != (1 << 64) - 1
    assert vcpu.arch_capabilities.may_be(0xFF) is None
    assert vcpu.set_msrs({0x10A: 0xFF, 0x122: 1}) is None
    assert vcpu.guest_rdmsr(0x10A) is GP
    assert vcpu_of("99.0", parameters=IGNORING).guest_rdmsr(0x10A) is None
    shown = vcpu_of("99.0", "arch_capabilities")
    assert shown.set_msrs({0x10A: 0xFF}) == 1
    assert reads(shown) == 0xFF
    shown.run()
    assert shown.set_msrs({0x10A: 0}) is None
    assert shown.set_cpuid2([]) is None


def test_unknown_parameters_leave_open_what_they_decide() -> None:
    host = archcaps.host(kernel=NEW, **ICE_LAKE)  # type: ignore[arg-type]  # values by name
    vcpu = archcaps.Kvm(host).create_vm().create_vcpu()
    assert vcpu.set_msrs({0x123: 0}) is None
    assert vcpu.get_msrs([0x123]) is None
    assert vcpu.guest_rdmsr(0x123) is None
    assert vcpu.guest_rdmsr(0x10A) is None
    after = vcpu.set_msrs({0x123: 0, 0x122: 2})
    assert after is None
    assert vcpu.get_msrs([0x122]) == [Word(0, ~2 & (1 << 64) - 1 & ~1)] or reads(vcpu, 0x122) is not None


def test_what_is_certain_of_two_words() -> None:
    assert either([Word(0b1100), Word(0b1010)]) == Word(0b1000, ~0b0110 & (1 << 64) - 1)
    assert either([Word(1, 1), Word(1)]) == Word(1, 1)


# --- parameters, patches, microcode -----------------------------------------------------------------------------------

SKIP = 1 << 3


@pytest.mark.parametrize(
    ("machine", "written", "taken", "skip"),
    [
        (SKYLAKE, "never", True, False),
        (SKYLAKE, "always\n", True, True),
        (SKYLAKE, "Never", False, True),
        (SKYLAKE, "EPT disabled", False, True),
        (ICE_LAKE, "never", True, True),  # no L1TF: taken, without effect
        (ICE_LAKE, "sometimes", False, True),
    ],
)
def test_vmentry_l1d_flush(machine: Mapping[str, object], written: str, taken: bool, skip: bool) -> None:
    kvm = kvm_of(MIDDLE, machine)
    assert kvm.supported_arch_cap.bit(SKIP) is True
    assert kvm.set_parameter("vmentry_l1d_flush", written) is taken
    assert kvm.supported_arch_cap.bit(SKIP) is skip
    assert kvm.flushes_l1d is (skip and machine is SKYLAKE)


def test_parameters_that_can_not_be_written() -> None:
    assert kvm_of(MIDDLE).set_parameter("ept", "N") is False
    assert kvm_of(MIDDLE).set_parameter("ignore_msrs", "perhaps") is False
    kvm = kvm_of(MIDDLE)
    assert kvm.set_parameter("ignore_msrs", "yes") is True  # the first letter counts
    assert kvm.create_vm().create_vcpu().guest_rdmsr(0x123) == 0
    with pytest.raises(archcaps.InputError, match="does not load"):
        kvm_of(MIDDLE, MILAN).set_parameter("vmentry_l1d_flush", "never")
    with pytest.raises(archcaps.InputError, match="did you mean ignore_msrs"):
        kvm_of(MIDDLE).set_parameter("ignore_msr", "Y")


def test_never_is_overruled_by_l1tf_full_force() -> None:
    host = archcaps.host(kernel=MIDDLE, cmdline="l1tf=full,force", **SKYLAKE)
    kvm = archcaps.Kvm(host, parameters={**BARE, "vmentry_l1d_flush": "never"})
    assert kvm.supported_arch_cap.bit(SKIP) is True
    assert kvm.flushes_l1d is True


@pytest.mark.parametrize(("kernel", "skip"), [("6.18.35", True), ("6.19.9", False), (NEW, False)])
def test_a_kernel_built_without_mitigations_never_flushes(kernel: str, skip: bool) -> None:
    """Linux 6.19.9 vmx_setup_l1d_flush without CONFIG_CPU_MITIGATIONS; it takes any text for the parameter then."""
    host = archcaps.parse_snapshot(
        f"""format_version = 1
        role = "host"
        cpu = {{vendor = "GenuineIntel", family = 6, model = 0x6a, stepping = 6}}
        cpuid = {{shown = ["avx"]}}
        registers.ia32_arch_capabilities.value = 0
        kernel = {{release = "{kernel}", cmdline = "", config = {{CPU_MITIGATIONS = "n"}}}}
        """.encode(),
        "test",
    )
    kvm = archcaps.Kvm(host, parameters=BARE)
    assert kvm.supported_arch_cap.bit(SKIP) is skip
    assert kvm.set_parameter("vmentry_l1d_flush", "nonsense") is not skip
    assert kvm.flushes_l1d is skip  # without RDCL_NO, which its CPUID hides, it counts as affected by L1TF


def test_late_microcode_is_seen_up_to_6_5_only() -> None:
    for kernel, seen in (("6.5.0", True), ("6.6.9", False), (NEW, False)):
        kvm = kvm_of(kernel)
        before = kvm.supported_arch_cap
        assert before.bit(1 << 13) is False
        kvm.late_microcode(0x601EB | 1 << 13)
        assert kvm.supported_arch_cap.bit(1 << 13) is seen
        assert kvm.supported_arch_cap.value & ~(1 << 13) == before.value


def test_what_was_observed_goes_before_the_rules() -> None:
    """A KVM that takes only 0, as one was seen to; and a value that nobody tried is then unknown."""
    host = archcaps.parse_snapshot(
        b"""{"format_version": 1, "role": "host", "cpu": {"vendor": "AuthenticAMD", "family": 25, "model": 17,
        "stepping": 1}, "kernel": {"release": "6.12.117"}, "kvm": {"parameters": {"ignore_msrs": "N"},
        "offered": {"ia32_arch_capabilities": {"value": "0x69"}}, "vcpu_initial": "0x0", "accepts": [
        {"set": "0x0", "cpuid_arch_capabilities": true, "accepted": true, "get": "0x0"},
        {"set": "0x69", "cpuid_arch_capabilities": true, "accepted": false, "get": "0x0"}]}}""",
        "test",
    )
    kvm = archcaps.Kvm(host)
    vcpu = kvm.create_vm().create_vcpu()
    assert (kvm.supported_arch_cap, reads(vcpu)) == (Word(0x69), 0)
    vcpu.set_cpuid2(["arch_capabilities"])
    assert [vcpu.set_msrs({0x10A: value}) for value in (0, 0x69, 5)] == [1, 0, None]
    assert vcpu.arch_capabilities == Word(0, ~5 & (1 << 64) - 1)
    assert kvm.modelled().create_vm().create_vcpu().arch_capabilities.bit(1 << 6) is True
    guest = archcaps.default_guest(host)
    assert guest.registers["ia32_arch_capabilities"].value == 0
    (notice,) = [one.text for one in archcaps.check(host, guest).notices if "whose CPUID shows it" in one.text]
    assert "0x69 observed rejected, reads back 0x0, modelled accepted, reads back 0x69" in notice
