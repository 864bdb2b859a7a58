"""Cloud Hypervisor: what is read, what is shown, and its rule for migrations with the values of its own tests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcaps.errors import InputError
from archcaps.guest_cpu.changes import MachineChange, ModelChange, SwitchChange
from archcaps.guest_cpu.cloud_hypervisor import expand, looks_like, patch, read
from archcaps.guest_cpu.cloud_hypervisor_migration import cloud_hypervisor_compatible
from archcaps.guest_cpu.words import word_of
from archcaps.questions.default_guest import default_guest
from tests.guest_cpu.test_firecracker_read import HOST

#: Source: cloud-hypervisor@ae44c29 arch/src/x86_64/arch_capabilities_checks.rs unit_tests
CASCADE_LAKE, SAPPHIRE_RAPIDS, GRANITE_RAPIDS = 0xC0AA0EB, 0x400000000C08E1EB, 0x400000000D08E1EB
WITHOUT_TSX_CTRL = 0x400000000C08E16B


@pytest.mark.parametrize(
    ("source", "destination", "compatible"),
    [
        (CASCADE_LAKE, SAPPHIRE_RAPIDS, True),
        (SAPPHIRE_RAPIDS, GRANITE_RAPIDS, True),
        (GRANITE_RAPIDS, SAPPHIRE_RAPIDS, False),
        (WITHOUT_TSX_CTRL, SAPPHIRE_RAPIDS, True),
        (WITHOUT_TSX_CTRL, GRANITE_RAPIDS, True),
        (SAPPHIRE_RAPIDS | 1 << 31 | 1 << 61, SAPPHIRE_RAPIDS | 1 << 42, False),
        (SAPPHIRE_RAPIDS | 1 << 42, SAPPHIRE_RAPIDS | 1 << 31 | 1 << 61, False),
        # With TSX off KVM shows no TAA_NO, and FB_CLEAR may not be missing.
        (CASCADE_LAKE, 0x400000000C08E0EB, False),
        (0, 1 << 2, False),
        (1 << 2 | 1 << 19, 0, True),
    ],
)
def test_migration_rule(source: int, destination: int, compatible: bool) -> None:
    assert cloud_hypervisor_compatible(source, destination) is compatible


def by_bits(source: int, destination: int) -> bool:
    """The rule said again, a bit at a time."""
    needs_none = all(destination >> bit & 1 for bit in (5, 8, 13, 14, 15))
    for bit in range(64):
        here, there = source >> bit & 1, destination >> bit & 1
        if bit in (2, 19):
            wrong = there > here
        elif bit == 31 or 33 <= bit <= 61:
            wrong = here != there
        else:
            wrong = here > there and not (bit == 17 and needs_none)
        if wrong:
            return False
    return True


@given(st.integers(0, (1 << 64) - 1), st.sets(st.integers(0, 63), max_size=3), st.booleans())
def test_migration_rule_bit_by_bit(source: int, differ: set[int], immune: bool) -> None:
    source |= 0xE120 if immune else 0
    destination = source ^ sum(1 << bit for bit in differ)
    assert cloud_hypervisor_compatible(source, destination) is by_bits(source, destination)
    assert cloud_hypervisor_compatible(source, source)


@pytest.mark.parametrize("source", [0, (1 << 64) - 1, 0xE120, CASCADE_LAKE])
def test_migration_rule_on_every_single_bit(source: int) -> None:
    for bit in range(64):
        destination = source ^ 1 << bit
        assert cloud_hypervisor_compatible(source, destination) is by_bits(source, destination), bit


def amx(text: str) -> bool:
    asked = read(text, "vm")
    value, known = word_of(expand(asked, HOST, default_guest(HOST)).snapshot, "cpuid_7_0_edx")
    assert known & 1 << 24
    return bool(value & 1 << 24)


def test_msr_0x10a_is_what_kvm_offers() -> None:
    asked = read('{"cpus": {"boot_vcpus": 1, "max_vcpus": 1, "profile": "Host"}, "payload": {}}', "vm.json")
    shown = expand(asked, HOST, default_guest(HOST))
    assert word_of(shown.snapshot, "ia32_arch_capabilities") == word_of(default_guest(HOST), "ia32_arch_capabilities")
    assert (asked.mode, asked.vmm, shown.snapshot.cpu.model) == ("host", "cloud-hypervisor", 0x6A)


def test_amx_only_where_it_is_asked_for() -> None:
    assert not amx("cloud-hypervisor --cpus boot=1 --memory size=1G")
    asked = read("cloud-hypervisor --cpus boot=1,topology=[1,1,1,1],features=amx", "ps")
    assert {switch.name for switch in asked.switches} == {"amx-bf16", "amx-tile", "amx-int8"}
    assert read('{"cpus": {"boot_vcpus": 1, "max_vcpus": 1, "features": {"amx": true}}}', "x").switches[0].on
    assert not read('{"cpus": {"boot_vcpus": 1, "max_vcpus": 1, "features": {"amx": false}}}', "x").switches


def test_nested_off_hides_vmx() -> None:
    asked = read("cloud-hypervisor\0--cpus\0boot=1,nested=off\0", "/proc/1/cmdline")
    value, known = word_of(expand(asked, HOST, default_guest(HOST)).snapshot, "cpuid_1_ecx")
    assert known & 1 << 5
    assert not value & 1 << 5
    assert value & 1 << 31


def test_what_it_looks_like() -> None:
    assert looks_like("/usr/bin/cloud-hypervisor --cpus boot=1", "ps")
    assert looks_like('{"cpus": {"boot_vcpus": 4, "max_vcpus": 4}}', "vm.json")
    assert not looks_like('{"machine-config": {"vcpu_count": 4}}', "vm.json")
    assert not looks_like("qemu-system-x86_64 -cpu host", "ps")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("cloud-hypervisor --cpus boot=1,features=avx", "vm:1: unknown CPU feature 'avx' (expected amx)"),
        ("cloud-hypervisor --cpus boot=1,profile=host", "vm:1: unknown CPU profile 'host' (archcaps knows Host)"),
        ("cloud-hypervisor --cpus boots=1", "vm:1: unknown option 'boots' of --cpus (did you mean boot?)"),
        ("cloud-hypervisor --cpus boot", "vm:1: unknown option 'boot' of --cpus"),
        ("cloud-hypervisor --cpus 'boot=1", "vm:1: the quote ' is not closed"),
        ("cloud-hypervisor --cpus boot=1,nested=maybe", "vm:1: nested='maybe' (expected on or off)"),
        ('{"cpus":\n{"boot_vcpus": 1, "features": {"amx": 1}}}', "vm:2: cpus.features.amx is a whole number"),
        ('{"cpus": {"boot_vcpus": 1, "features": ["amx"]}}', "vm:1: cpus.features is an array (expected an object)"),
        ('{"cpus": {"boot_vcpus": 1, "boot_vcpus": 2}}', "vm:1: the key 'boot_vcpus' stands twice"),
        ('{"cpus": [1]}', "vm:1: cpus is an array"),
        ('{"cpus": {"boot_vcpus": 1, "profile": "SapphireRapids"}}', "unknown CPU profile 'SapphireRapids'"),
    ],
)
def test_one_line_says_what_is_wrong(text: str, line: str) -> None:
    with pytest.raises(InputError) as caught:
        read(text, "vm")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_bit_can_be_written() -> None:
    asked = read('{"cpus": {"boot_vcpus": 1, "max_vcpus": 1}}', "vm.json")
    made = patch(asked, [SwitchChange("fb_clear", on=True), ModelChange("Host"), MachineChange("q35")])
    assert (made.after, made.diff, len(made.impossible)) == (asked.text, "", 3)
