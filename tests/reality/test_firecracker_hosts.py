"""What KVM offered and guests read on 18 real hosts, as Firecracker's tests published it (commit bd0ebf3b1).

Six CPUs under amzn kernels 5.10.255, 6.1.172 and 6.18.30, and 54 guests of Firecracker's CPU templates. The silicon's
own values are from elsewhere: bare-metal dumps (test_published_values.py), AMD's CPUID as its manuals have it for the
models. What the dumps do not tell stays unknown: there the model may not contradict, everywhere else it has to say it.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from msgspec.structs import replace

import archcaps
from archcaps.machine.snapshot import Cpu, Cpuid, Kernel, Kvm, Reading, Snapshot
from archcaps.tables.bits import BITS, REGISTERS
from tests.reality.test_published_values import HOSTS, KNOWN

RECORDED = Path(__file__).parent / "recorded"
AMD = ("amd_ibpb", "amd_ibrs", "amd_stibp", "amd_ssbd", "avx")
INTEL = ("md_clear", "flush_l1d", "spec_ctrl", "intel_stibp", "ssbd", "arch_capabilities", "avx")
#: Microcode against TSA sets VERW_CLEAR in the kernel; FLUSH_L1D and IBPB_RET came with Zen 4.
CPUS = {
    "INTEL_CASCADELAKE": ("Cascade Lake 0x50657", INTEL),
    "INTEL_ICELAKE": ("Ice Lake SP 0x606a6", INTEL),
    "INTEL_SAPPHIRE_RAPIDS": ("Sapphire Rapids 0x806f8", INTEL),
    "INTEL_GRANITE_RAPIDS": ("Granite Rapids 0xa06d1", INTEL),
    "AMD_MILAN": ("0x19/0x01/1", AMD),
    "AMD_GENOA": ("0x19/0x11/1", (*AMD, "amd_ibpb_ret", "flush_l1d")),
}
#: Words of CPUID whose bits are compared, as far as their offer is modelled.
WORDS = ("cpuid_7_0_edx", "cpuid_80000021_eax", "cpuid_80000021_ecx")


def rows(name: str) -> list[dict[str, str]]:
    with (RECORDED / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


FINGERPRINTS = rows("firecracker-fingerprints-real-hosts.csv")
GUESTS = rows("firecracker-guest-msr-real.csv")


def host_of(row: dict[str, str]) -> Snapshot:
    name, shown = CPUS[row["host_cpu"]]
    intel = row["host_cpu"].startswith("INTEL")
    numbers, raw, _ = HOSTS[name] if intel else (name, 0, 0)
    family, model, stepping = (int(part, 0) for part in numbers.split("/"))
    return Snapshot(
        format_version=1,
        role="host",
        cpu=Cpu(
            vendor="GenuineIntel" if intel else "AuthenticAMD",
            family=family,
            model=model,
            stepping=stepping,
            microcode=row["microcode"],
        ),
        cpuid=Cpuid(shown=list(shown)),
        registers={"ia32_arch_capabilities": Reading(value=raw, known=KNOWN) if intel else Reading(value=0)},
        kernel=Kernel(release=row["kernel_version"], cmdline="", config="upstream-defaults"),
        kvm=Kvm(parameters={"vmentry_l1d_flush": "auto", "ept": "Y", "ignore_msrs": "N"}),
    )


def id_of(row: dict[str, str]) -> str:
    return row.get("file") or f"{row['host_cpu']} {row['kernel_version']}"


def test_every_host_is_there() -> None:
    assert {(row["host_cpu"], row["host_kernel"]) for row in FINGERPRINTS} == {
        (cpu, kernel) for cpu in CPUS for kernel in ("5.10", "6.1", "6.18")
    }
    assert len(GUESTS) == 54


@pytest.mark.parametrize("row", [row for row in FINGERPRINTS if row["msr_0x10a_guest"]], ids=id_of)
def test_msr_0x10a_of_intel_hosts(row: dict[str, str]) -> None:
    seen = int(row["msr_0x10a_guest"], 16)
    word = archcaps.Kvm(host_of(row)).supported_arch_cap
    assert word.may_be(seen) is not False, (str(word), hex(seen))
    # GDS_NO, RFDS_NO, BHI_NO and ITS_NO follow from raw bits that the dumps do not tell.
    assert word.known | 1 << 20 | 1 << 26 | 1 << 27 | 1 << 62 == (1 << 64) - 1


@pytest.mark.parametrize("row", FINGERPRINTS, ids=id_of)
def test_cpuid_that_kvm_offers(row: dict[str, str]) -> None:
    offered = archcaps.Kvm(host_of(row)).get_supported_cpuid()
    compared = 0
    for name, bit in offered.items():
        register = BITS[name].register
        if register not in WORDS or not row[register]:
            continue
        if name == "arch_capabilities" and row["host_cpu"].startswith("AMD"):
            continue  # Firecracker takes it away from guests on AMD
        seen = bool(int(row[register], 16) & BITS[name].mask)
        assert bit is seen, name
        compared += 1
    assert compared >= (10 if row["host_cpu"].startswith("INTEL") else 14)
    assert REGISTERS["cpuid_7_0_edx"].width == 32


@pytest.mark.parametrize("row", GUESTS, ids=id_of)
def test_what_the_guests_of_the_templates_read(row: dict[str, str]) -> None:
    """T2S sets its own value, the others what KVM offers; the guest's kernel writes 3 to MSR 0x122 where it can."""
    of_host = (row["host_cpu"], row["host_kernel"])
    print_of_host = next(each for each in FINGERPRINTS if (each["host_cpu"], each["host_kernel"]) == of_host)
    host = host_of(print_of_host)
    offered = {"ia32_arch_capabilities": Reading(value=print_of_host["msr_0x10a_guest"] or 0)}
    kvm = archcaps.Kvm(replace(host, kvm=replace(host.kvm, offered=offered)))
    vcpu = kvm.create_vm().create_vcpu()
    intel = row["host_cpu"].startswith("INTEL")
    vcpu.set_cpuid2(["arch_capabilities"] if intel else [])  # Firecracker hides it on AMD
    if row["template"] == "T2S":
        assert vcpu.set_msrs({0x10A: 0xC0A0C4C}) == 1
    vcpu.run()
    if not intel:
        assert vcpu.guest_rdmsr(0x10A) is archcaps.GP
    else:
        assert vcpu.guest_rdmsr(0x10A) == int(row["msr_0x10a"], 16)
    written = vcpu.guest_wrmsr(0x122, 3)
    assert (vcpu.guest_rdmsr(0x122) == 3) is bool(row["msr_0x122"])
    assert (written is archcaps.GP) is not bool(row["msr_0x122"])
    assert (vcpu.guest_rdmsr(0x123) is archcaps.GP) is not bool(row["msr_0x123"])
