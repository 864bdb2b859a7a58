"""The oracle itself against what others published or recorded: real kvm-intel.ko, published values, reports."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.oracle.kvm import Kvm, Vcpu, noverw
from tests.oracle.linux import Linux
from tests.oracle.machines import BITS, PROFILES, Host, profile
from tests.oracle.vm_entry import State, guest_verw_effective, vm_entry
from tests.reality.records import Record, records


def word(*names: str) -> int:
    return sum(1 << BITS[name] for name in names)


def host(
    value: int | None,
    *cpuid: str,
    part: tuple[str, int, int, int] = ("GenuineIntel", 6, 0x6A, 6),
    options: tuple[tuple[str, str], ...] = (),
    tsx_mode: str = "off",
) -> Host:
    shown = frozenset(cpuid) | ({"arch_capabilities"} if value is not None else set())
    return Host(*part, 0, 0, shown, value or 0, 0, options, tsx_mode, "auto", ept=True)


def host_of(record: Record) -> Host:
    given = record["input"]
    value = given["arch_caps"]
    shown = {*given["bits"], *(["hypervisor"] if given["hypervisor"] else [])} - {"arch_capabilities"}
    return host(
        None if value is None else int(value, 16) if isinstance(value, str) else value,
        *shown,
        part=(given["vendor"], given["family"], given["model"], given["stepping"]),
        options=tuple((name, text) for name, _, text in (word.partition("=") for word in given["cmdline"].split())),
        # Debian's cloud kernels: off until 7.2, where it is auto
        tsx_mode="auto" if record["kernel"] == "7.2.13" else "off",
    )


@pytest.mark.parametrize(
    ("kernel", "row"),
    [("5.10.218", "5.10.223"), ("6.1.192", "6.1.192"), ("6.12.117", "6.12.117"), ("7.2.13", "7.2.13")],
)
def test_the_oracle_agrees_with_the_real_kvm_intel(kernel: str, row: str) -> None:
    seen: Counter[bool] = Counter()
    chosen = [each for each in records() if each["kernel"] == kernel and each["engine"] == "kvm-intel-tcg"]
    assert len(chosen) == 6
    for record in chosen:
        kvm = Kvm(host_of(record), profile(row))
        assert kvm.offered == int(record["output"]["feature_0x10a"], 16)
        for guest in record["output"]["guest"]:
            value = int(guest["set"], 16) if isinstance(guest["set"], str) else guest["set"]
            assert kvm.disable_fb_clear(value) is guest["disable_fb_clear"]
            seen[guest["disable_fb_clear"]] += 1
    assert seen[True] > 20
    assert seen[False] > 20


def test_an_amd_host_offers_what_was_seen_on_amd() -> None:
    """0x69 in reports of QEMU's; 0xc000069 and 0x400000000c000069 read on kvm-amd."""
    milan = host(None, part=("AuthenticAMD", 0x19, 1, 1))
    offered = {each.version: Kvm(milan, each).offered for each in PROFILES}
    assert offered["6.3.8"] == 0x69
    assert offered["6.12.0"] == 0xC000069
    assert offered["7.2.13"] == 0x400000000C000069


#: Xiaoyao Li's host, KVM list, 22 May 2023.
IMPLICIT = word("TAA_NO", "MDS_NO", "PSDP_NO", "FBSDP_NO", "SBDR_SSDP_NO", "FB_CLEAR", "FB_CLEAR_CTRL")


def test_an_implicit_fb_clear_does_not_count_since_5_19() -> None:
    for each in PROFILES:
        kvm = Kvm(host(IMPLICIT, "md_clear", "flush_l1d"), each)
        assert kvm.disable_fb_clear(0) is (each.version != "5.17-rc5")
        assert kvm.disable_fb_clear(word("FB_CLEAR")) is False
        assert guest_verw_effective(kvm, 0) is (each.version == "5.17-rc5")


def test_noverw_wants_fb_clear_or_all_five() -> None:
    five = ("MDS_NO", "TAA_NO", "PSDP_NO", "FBSDP_NO", "SBDR_SSDP_NO")
    assert noverw(word(*five))
    assert noverw(word("FB_CLEAR"))
    for name in five:
        assert not noverw(word(*(other for other in five if other != name)))


def test_tsx_on_and_auto_force_rtm_and_off_hides_taa_no() -> None:
    """Recorded: 7.2.13, auto, a host with TSX_CTRL and TAA_NO offers TAA_NO though its CPUID has no RTM."""
    silicon = word("TSX_CTRL", "TAA_NO", "MDS_NO")
    offered = {
        mode: Kvm(host(silicon, tsx_mode=mode), profile("7.2.13")).offered >> BITS["TAA_NO"] & 1
        for mode in ("on", "auto", "off")
    }
    assert offered == {"on": 1, "auto": 1, "off": 0}


@pytest.mark.parametrize(
    ("version", "options", "state"),
    [
        ("6.12.117", (), "COND"),
        ("6.12.117", (("l1tf", "off"),), "NEVER"),
        ("6.12.117", (("mitigations", "off"),), "NEVER"),  # recorded
        ("6.16.1", (("mitigations", "off"), ("l1tf", "full")), "NEVER"),
        ("6.17.0", (("mitigations", "off"), ("l1tf", "full")), "ALWAYS"),
        ("6.17.0", (("mitigations", "off"),), "NEVER"),
    ],
)
def test_l1d_flush_states(version: str, options: tuple[tuple[str, str], ...], state: str) -> None:
    skylake = host(None, part=("GenuineIntel", 6, 0x55, 4), options=options)
    assert Linux(skylake, profile(version)).l1tf_vmx_mitigation == state
    assert Kvm(skylake, profile(version)).offered >> 3 & 1 == (state != "NEVER")


# --- MSR 0x10a of a vCPU ---


def test_without_the_cpuid_bit_a_write_is_stored_up_to_6_12_and_ignored_from_6_13() -> None:
    """Which flips FB_CLEAR_DIS for the same VM where the VMM writes 0."""
    for version, stored in (("6.12.0", 0), ("6.12.117", 0), ("6.13.2", None), ("7.3.4", None)):
        kvm = Kvm(host(IMPLICIT), profile(version))
        accepted, vcpu = kvm.host_write(kvm.create(cpuid=False), 0)
        assert accepted
        assert vcpu.stored == (kvm.offered if stored is None else stored)
        assert kvm.disable_fb_clear(vcpu.stored) is (stored == 0)
        assert kvm.host_write(vcpu, 1)[0] is (stored == 0)
        assert kvm.host_read(vcpu) == 0


def test_a_new_vcpu_holds_the_offer_unless_the_quirk_is_off() -> None:
    for each in PROFILES:
        kvm = Kvm(host(IMPLICIT), each)
        assert kvm.create(cpuid=True).stored == kvm.offered
        knows_quirk = each.version == "6.12.117" or each.api == "A4"
        assert kvm.create(cpuid=True, quirk=False).stored == (0 if knows_quirk else kvm.offered)


def test_after_the_first_run_only_the_same_value_is_taken_from_6_4_on() -> None:
    for version, free in (("5.10.223", True), ("6.1.192", True), ("6.3.8", True), ("6.4.4", False), ("7.3.4", False)):
        kvm = Kvm(host(IMPLICIT), profile(version))
        ran = Vcpu(stored=5, cpuid=True, has_run=True)
        assert kvm.host_write(ran, 5) == (True, ran)
        assert kvm.host_write(ran, 7)[0] is free


def test_a_guest_without_the_cpuid_bit_can_not_read_the_msr() -> None:
    for version, ignored in (("6.12.117", None), ("6.13.2", 0)):
        kvm = Kvm(host(IMPLICIT), profile(version))
        assert kvm.guest_read(Vcpu(5, cpuid=True)) == 5
        assert kvm.guest_read(Vcpu(5, cpuid=False)) is None
        assert kvm.guest_read(Vcpu(5, cpuid=False), ignore_msrs=True) == ignored


# --- VM entry ---

#: An Ice Lake server: MMIO stale data alone, FB_CLEAR_DIS there.
MMIO_ONLY = host(word("RDCL_NO", "MDS_NO", "TAA_NO", "FB_CLEAR", "FB_CLEAR_CTRL"), "md_clear")
REACHED = State(flush_pending=False, assigned_device=True, host_mmio=True)


@pytest.mark.parametrize(
    ("version", "steps", "effective"),
    [
        ("5.15.55", ("VERW", "set FB_CLEAR_DIS"), True),
        ("6.8.0", ("VERW", "set FB_CLEAR_DIS"), True),
        ("6.18.35", ("VERW", "set FB_CLEAR_DIS"), True),
        ("6.19.9", ("set FB_CLEAR_DIS", "VERW"), False),
        ("7.3.4", ("set FB_CLEAR_DIS", "VERW"), False),
    ],
)
def test_from_6_19_the_mmio_verw_comes_after_fb_clear_dis(
    version: str, steps: tuple[str, ...], effective: bool
) -> None:
    kvm = Kvm(MMIO_ONLY, profile(version))
    entry = vm_entry(kvm, 0, REACHED)
    assert (entry.steps, entry.effective) == (steps, effective)
    # a guest whose value has FB_CLEAR is let alone, and so is the host
    assert vm_entry(kvm, word("FB_CLEAR"), REACHED).effective is True


def test_what_lets_the_mmio_verw_run() -> None:
    """An assigned device up to 6.16, host MMIO that is really mapped from 6.17 on."""
    device = State(flush_pending=False, assigned_device=True, host_mmio=False)
    mapped = State(flush_pending=False, assigned_device=False, host_mmio=True)
    for version, by_device in (("5.19.0", True), ("6.16.1", True), ("6.17.0", False), ("7.2.13", False)):
        kvm = Kvm(MMIO_ONLY, profile(version))
        assert vm_entry(kvm, 0, device).executed is by_device
        assert vm_entry(kvm, 0, mapped).executed is not by_device


def test_a_conditional_flush_that_is_not_pending_leaves_verw_out() -> None:
    """Up to 6.7 for MDS (text of e6ff1d61de51); from 6.8 the late VERW runs all the same."""
    skylake = host(None, "md_clear", part=("GenuineIntel", 6, 0x55, 4))
    idle = State(flush_pending=False, assigned_device=True, host_mmio=True)
    for version, steps in (("5.17-rc5", ()), ("6.6.9", ()), ("6.8.0", ("VERW",)), ("7.3.4", ("VERW",))):
        assert vm_entry(Kvm(skylake, profile(version)), 0, idle).steps == steps
