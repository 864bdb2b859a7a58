"""What Firecracker showed 54 real guests and what it found on 18 real hosts comes out of the expansion.

The hosts and the recorded values are those of tests/reality/test_firecracker_hosts.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as replaced

from archcaps.guest_cpu import formats
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.firecracker.format import read
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.guest_cpu.words import word_of
from archcaps.machine.snapshot import Reading, Snapshot
from archcaps.questions.default_guest import default_guest
from archcaps.tables.bits import BITS
from tests.guest_cpu.firecracker_templates import template
from tests.reality.test_firecracker_hosts import FINGERPRINTS, GUESTS, WORDS, host_of, id_of

STATIC = ("T2A", "T2CL", "T2S")
#: The recordings are from the tree that became the release after 1.16.
RELEASE = "1.17.0"


def config(name: str) -> str:
    return f'{{"vcpu_count": 2, "mem_size_mib": 1024, "cpu_template": "{name}"}}'


def guest_of(row: dict[str, str], asked: Asked) -> tuple[Snapshot, ShownGuest]:
    of_host = (row["host_cpu"], row["host_kernel"])
    recorded = next(each for each in FINGERPRINTS if (each["host_cpu"], each["host_kernel"]) == of_host)
    host = host_of(recorded)
    if recorded["msr_0x10a_guest"]:
        offered = {"ia32_arch_capabilities": Reading(value=recorded["msr_0x10a_guest"])}
        host = replaced(host, kvm=replaced(host.kvm, offered=offered))
    return host, formats.expand(asked, host, default_guest(host))


def asked_of(row: dict[str, str], *, custom: bool) -> Asked:
    text = template(row["template"]) if custom else config(row["template"])
    return replace(read(text, "guest.json"), release=RELEASE)


@pytest.mark.parametrize("custom", [True, False], ids=["custom", "static"])
@pytest.mark.parametrize("row", GUESTS, ids=id_of)
def test_what_real_guests_read(row: dict[str, str], custom: bool) -> None:
    if not custom and row["template"] not in STATIC:
        return  # Firecracker has GNR_TO_T2 and SPR_TO_T2 only as custom templates
    host, shown = guest_of(row, asked_of(row, custom=custom))
    assert shown.refused is None
    arch_cap, known = word_of(shown.snapshot, "cpuid_7_0_edx")
    mask = BITS["arch_capabilities"].mask
    assert known & mask
    assert bool(arch_cap & mask) is bool(row["msr_0x10a"])
    cpu = shown.snapshot.cpu
    assert (cpu.vendor, cpu.family, cpu.model, cpu.stepping) == (host.cpu.vendor, 6, 63, 2)
    if row["msr_0x10a"]:
        assert word_of(shown.snapshot, "ia32_arch_capabilities") == (int(row["msr_0x10a"], 16), (1 << 64) - 1)


@pytest.mark.parametrize("row", FINGERPRINTS, ids=id_of)
def test_fingerprints_of_real_hosts(row: dict[str, str]) -> None:
    """A fingerprint is a guest without a template; here KVM's offer is modelled, not observed."""
    host = host_of(row)
    asked = replace(read('{"vcpu_count": 1, "mem_size_mib": 128}', "vm.json"), release=RELEASE)
    shown = formats.expand(asked, host, default_guest(host))
    intel = host.cpu.vendor == "GenuineIntel"
    if intel:
        value, known = word_of(shown.snapshot, "ia32_arch_capabilities")
        assert not (value ^ int(row["msr_0x10a_guest"], 16)) & known
        assert known | 1 << 20 | 1 << 26 | 1 << 27 | 1 << 62 == (1 << 64) - 1
    compared = 0
    for word in (*WORDS, "cpuid_7_0_ebx"):
        value, known = word_of(shown.snapshot, word)
        if row[word]:
            assert not (value ^ int(row[word], 16)) & known, word
            compared += known.bit_count()
    assert compared >= (12 if intel else 15)


@pytest.mark.parametrize(
    ("cpu", "seen"), [("INTEL_CASCADELAKE", 0xC0AA0EB), ("INTEL_ICELAKE", 0xC02A0EB)], ids=["CLX", "ICX"]
)
def test_msrs_read_before_cpuid(cpu: str, seen: int) -> None:
    """Firecracker 4681a67f7: up to 1.16.1 a T2CL guest on Linux 6.18 has 0; on 6.1, and from then on, KVM's value."""
    row = next(each for each in GUESTS if each["template"] == "T2CL" and each["host_cpu"] == cpu)
    asked = read(config("T2CL"), "vm.json")
    word = "ia32_arch_capabilities"

    def value(release: str | None, kernel: str) -> tuple[int, int]:
        _, shown = guest_of({**row, "host_kernel": kernel}, replace(asked, release=release))
        return word_of(shown.snapshot, word)

    assert value("1.16.1", "6.18") == (0, (1 << 64) - 1)
    assert value("1.16.1", "6.1") == (seen, (1 << 64) - 1)
    assert value("1.17.0", "6.18") == (seen, (1 << 64) - 1)
    host, _ = guest_of({**row, "host_kernel": "6.18"}, asked)
    nameless = replaced(host, kernel=replaced(host.kernel, release=None))
    bits, known = word_of(formats.expand(asked_of(row, custom=False), nameless, default_guest(host)).snapshot, word)
    assert (bits, known) == (seen, (1 << 64) - 1)  # from 1.17.0 on the host's kernel does not matter
    early = replace(asked, release="1.16.1")
    bits, known = word_of(formats.expand(early, nameless, default_guest(host)).snapshot, word)
    assert not bits
    assert not known & seen  # before, and on a kernel that nobody names, it does
    for release in (None, "1.16.2"):  # nobody knows whether the repair went there
        bits, known = value(release, "6.18")
        assert not bits
        assert not known & seen
