"""The library: the main job in a few lines, and KVM's own subject in ten."""

from __future__ import annotations

from pathlib import Path

import pytest

import archcaps

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_main_job() -> None:
    host = archcaps.read_snapshot(EXAMPLES / "thread" / "host.toml")
    guest = archcaps.read_snapshot(EXAMPLES / "thread" / "guest.toml")
    result = archcaps.check(host, guest)
    assert result["mds"].truth.value == "broken-promise"
    assert result.exit_code == 1
    with pytest.raises(KeyError):
        result["spectre_v7"]


def test_what_kvm_offers_and_whether_it_switches_verw_off() -> None:
    host = archcaps.host(
        cpu="6/0x6a/6",
        flags="md_clear,flush_l1d,arch_capabilities,avx",
        arch_capabilities=0x6016B,  # the host of a recorded real kvm-intel.ko: Ice Lake with FB_CLEAR_CTRL
        kernel="6.12.117",
    )
    kvm = archcaps.Kvm(host)
    assert kvm.vcpu(0).disable_fb_clear is True
    assert kvm.vcpu(0x20000).disable_fb_clear is False
    assert kvm.vcpu(0xE120).disable_fb_clear is False
    assert archcaps.Kvm(host, "5.17-rc5").vcpu(0).disable_fb_clear is False
    assert archcaps.Kvm(host, "5.18").vcpu(0).disable_fb_clear is None


def test_a_vcpu_holds_what_was_written_or_kvm_s_default() -> None:
    host = archcaps.host(cpu="6/0x8f/8", flags="arch_capabilities,avx", arch_capabilities=0xE1EB, kernel="6.12.117")
    assert archcaps.Kvm(host).vcpu(0x2B).arch_capabilities == 0x2B
    newer = archcaps.Kvm(host, "6.13.2")
    # From 6.13 a vCPU whose CPUID hides the register keeps KVM's default, whatever was written.
    assert newer.vcpu(None).arch_capabilities == newer.supported_arch_cap


def test_what_was_observed_under_one_kernel_does_not_hold_for_another() -> None:
    host = archcaps.read_snapshot(EXAMPLES / "firecracker-t2s" / "host-ice-lake.toml")
    assert archcaps.Kvm(host).supported_arch_cap == 0xC02A0EB  # observed under 6.1.172
    older = archcaps.Kvm(host, "6.2.1").supported_arch_cap
    assert not older.value & (1 << 26 | 1 << 27)  # KVM offers GDS_NO since 6.5, RFDS_NO since 6.9
    assert older.known & (1 << 26 | 1 << 27) == (1 << 26 | 1 << 27)


def test_a_word_with_unknown_bits_does_not_pass_for_a_number() -> None:
    word = archcaps.Word(0x20, 0x30)
    assert str(word) == "0x20 (unknown: 0xffffffffffffffcf)"
    assert word != 0x20
    assert word == archcaps.Word(0x20, 0x30)
    assert len({word, archcaps.Word(0x20, 0x30)}) == 1
    with pytest.raises(ValueError, match="unknown bits"):
        int(word)
    assert hex(archcaps.Word(0x2B)) == "0x2b"


def test_a_guest_from_a_few_values() -> None:
    guest = archcaps.guest(cpu="6/0x55/4", flags="md_clear", arch_capabilities=0, kernel="6.12.117")
    assert guest.cpu.vendor == "GenuineIntel"
    assert guest.cpuid is not None
    assert "hypervisor" in guest.cpuid.shown


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cpu": "6-55-4"}, "--cpu: '6-55-4' is not a CPU"),
        ({"cpu": "15/1/1"}, "--cpu: family 15 is Intel's and AMD's"),
        ({"cpu": "via:6/15/1"}, "--cpu: unknown vendor 'via'"),
        ({"flags": "md_claer"}, "--flags: unknown bit 'md_claer' .did you mean md_clear"),
        ({"arch_capabilities": 1 << 64}, "--arch-capabilities: 18446744073709551616 does not fit in 64 bits"),
        ({"arch_capabilities": "twelve"}, "--arch-capabilities: 'twelve' is not a number"),
        ({"kernel": "six"}, "--guest-kernel: 'six' is not a kernel release"),
    ],
)
def test_values_that_can_not_be_read(values: dict[str, object], message: str) -> None:
    with pytest.raises(archcaps.InputError, match=message):
        archcaps.guest(**values)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(("vendor", "message"), [("CentaurHauls", "another register"), ("ARMv9", "no x86 vendor")])
def test_other_cpus_are_refused(vendor: str, message: str) -> None:
    text = f'format_version = 1\nrole = "guest"\n[cpu]\nvendor = "{vendor}"\n'
    with pytest.raises(archcaps.InputError, match=message):
        archcaps.check(archcaps.host(), archcaps.parse_snapshot(text.encode(), "x"))


def test_public_names_load_when_they_are_used() -> None:
    for name in archcaps.__all__:
        assert getattr(archcaps, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = archcaps.nothing
