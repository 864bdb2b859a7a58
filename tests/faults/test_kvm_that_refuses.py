"""A host whose KVM refuses every value of MSR 0x10a but 0: what QEMU, migrate and fix say of guests there.

Expected: QEMU 7.2.22 itself on such a machine. It asks /dev/kvm for the register (0x400000000c000069), knows names of
bits 0 to 8 alone, and so writes 0x69: "error: failed to set MSR 0x10a to 0x69", and ends. Hidden, it writes 0.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

import archcaps
from archcaps.machine.read import read_snapshot
from archcaps.machine.snapshot import Accepted, Kvm, Reading, Snapshot
from archcaps.questions.default_guest import default_guest
from archcaps.questions.kvm import Kvm as KvmOfHost
from tests.cli.running import archcaps as run

HOST = "tests/faults/data/vmm/host-that-refuses.toml"
REFUSAL = "failed to set MSR 0x10a to {}"


def shown(cpu: str, release: str = "7.2.22", host: str = HOST) -> dict[str, object]:
    result = run("shown", "--host", host, "--guest", cpu, "--vmm-version", release, "--json")
    return {"returncode": result.returncode, **json.loads(result.stdout)}


@pytest.mark.parametrize(
    ("cpu", "release", "written"),
    [
        ("-cpu host", "7.2.22", "0x69"),
        ("-cpu max", "7.2.22", "0x69"),
        ("-cpu host,-mds-no", "7.2.22", "0x49"),
        ("-cpu host,migratable=off", "7.2.22", "0x400000000c000069"),
        ("-cpu EPYC,+arch-capabilities,+mds-no", "7.2.22", "0x20"),
        # QEMU 10.0.13 has names of GDS_NO and RFDS_NO too, not of ITS_NO (its property list, recorded).
        ("-cpu host", "10.0.13", "0xc000069"),
    ],
)
def test_qemu_aborts_on_the_value_that_it_writes(cpu: str, release: str, written: str) -> None:
    answer = shown(cpu, release)
    assert answer["returncode"] == 2
    assert str(answer["headline"]).startswith("DOES NOT START")
    assert REFUSAL.format(written) in str(answer["refused"])


@pytest.mark.parametrize(
    ("cpu", "release"),
    [("-cpu host,arch-capabilities=off", "7.2.22"), ("-cpu EPYC", "7.2.22"), ("-cpu host", "11.1.3")],
)
def test_it_starts_where_the_register_is_hidden(cpu: str, release: str) -> None:
    """QEMU 11.1 hides ARCH_CAPABILITIES from guests of AMD on a new machine type: the register is 0."""
    answer = shown(cpu, release)
    assert answer["starts"] is True
    assert answer["refused"] is None


def test_a_kvm_that_takes_a_value_is_not_said_to_refuse_another() -> None:
    host = archcaps.host("6/0x8f/8", "md_clear,arch_capabilities", 0x69, "6.12.117", "")
    tries = [Accepted(set="0x69", cpuid_arch_capabilities=True, accepted=True)]
    one = [Accepted(set="0x68", cpuid_arch_capabilities=True, accepted=False)]
    for accepts in (tries, tries + one, one):
        machine = with_kvm(host, Kvm(accepts=accepts, offered={"ia32_arch_capabilities": Reading(value="0x69")}))
        vcpu = KvmOfHost(machine).create_vm().create_vcpu()
        vcpu.set_cpuid2(["arch_capabilities"])
        assert vcpu.set_msrs({0x10A: 0x29}) != 0, accepts


def test_migrate_says_that_kvm_there_refuses(tmp_path: Path) -> None:
    """A guest with 0x69 does not arrive where the KVM refuses 0x69, which nobody tried there."""
    guest = tmp_path / "guest.json"
    source = "examples/arch-capabilities-on-amd/host-6.12.toml"
    whole = default_guest(read_snapshot(source, "host"), "6.1.192")

    guest.write_bytes(msgspec.json.encode(whole))
    result = run("migrate", "--from", source, "--to", HOST, "--guest", str(guest), "--vmm", "kvm", "--json")
    answer = json.loads(result.stdout)
    assert result.returncode == 4, result.stderr
    assert {layer["layer"]: layer["accepts"] for layer in answer["layers"]}["KVM"] == "no"


def with_kvm(host: Snapshot, kvm: Kvm) -> Snapshot:
    return replace(host, kvm=kvm)
