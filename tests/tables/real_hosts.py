"""Recorded real machines (real_hosts.csv): what their CPUID and IA32_ARCH_CAPABILITIES say, by bit and look-up.

Bare metal only: no dump whose CPUID has the hypervisor bit. `reading` is raw (the register itself) or kvm (what KVM
offers on that host): of the latter only what KVM passes through unchanged is a reading, everything else is unknown.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from archcaps.machine.identity import identity_lookups
from archcaps.tables.bits import ARCH_CAPABILITIES, bits_of
from archcaps.tables.linux_lists import Part
from archcaps.tables.silicon import mds_listed_immune, published, tsa_microcode

__all__ = ["Row", "real_hosts", "values_of"]

Row = Mapping[str, str]

#: Bits that KVM passes through as the host has them. Source: Linux 7.1.5 arch/x86/kvm/x86.c kvm_get_arch_capabilities
PASSED_THROUGH: Final = frozenset((
    "ibrs_all", "rsba", "tsx_ctrl", "sbdr_ssdp_no", "fbsdp_no", "psdp_no", "fb_clear", "rrsba", "bhi_no", "pbrsb_no",
    "rfds_clear",
))  # fmt: skip
#: Bits of those that an older KVM drops, so that only a 1 is a reading. Source: there, releases from 5.10.255 to 6.18
NEWER: Final = frozenset(("bhi_no", "rfds_clear"))
#: Look-ups of models, of which the axioms say what all of them have.
OF_INTEL: Final = ("family_before_controls", "family_0x06_atom", "family_0x06_mds_fixed")
WORDS: Final = (
    "cpuid_1_ecx", "cpuid_7_0_ebx", "cpuid_7_0_edx", "cpuid_7_2_edx", "cpuid_80000008_ebx", "cpuid_80000021_eax",
    "cpuid_80000021_ecx",
)  # fmt: skip
VULNERABILITIES: Final = {
    "mds": "mds", "mmio": "mmio_stale_data", "rfds": "reg_file_data_sampling", "tsa": "tsa", "meltdown": "meltdown",
    "l1tf": "l1tf", "ssb": "spec_store_bypass", "itlb_multihit": "itlb_multihit", "gds": "gather_data_sampling",
    "its": "indirect_target_selection", "retbleed": "retbleed", "spectre_v2": "spectre_v2", "bhi": "bhi",
    "pbrsb": "pbrsb",
}  # fmt: skip


@cache
def real_hosts() -> tuple[Row, ...]:
    with Path(__file__).with_name("real_hosts.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def part_of(row: Row) -> Part:
    """The part of a signature (Intel SDM volume 2, CPUID.1:EAX: extended family and model)."""
    signature = int(row["signature"], 16)
    family, model = signature >> 8 & 15, signature >> 4 & 15
    if family in (6, 15):
        model |= (signature >> 16 & 15) << 4
    if family == 15:
        family += signature >> 20 & 255
    return Part(row["vendor"], family, model, signature & 15)


def _register(row: Row, announced: bool | None) -> dict[str, bool | None]:
    if announced is False:
        return dict.fromkeys(ARCH_CAPABILITIES, False)
    text = row["ia32_arch_capabilities"]
    if not text:
        return dict.fromkeys(ARCH_CAPABILITIES)
    found: dict[str, bool | None] = {}
    for name, bit in bits_of("ia32_arch_capabilities").items():
        value = bool(int(text, 16) & bit.mask)
        known = row["reading"] == "raw" or (name in PASSED_THROUGH and (value or name not in NEWER))
        found[name] = value if known else None
    return found


def values_of(row: Row) -> dict[str, bool | None]:
    """The values of a machine's bits and of the look-ups that its identity answers; None where not recorded."""
    values: dict[str, bool | None] = {}
    for word in WORDS:
        for name, bit in bits_of(word).items():
            values[name] = bool(int(row[word], 16) & bit.mask) if row[word] else None
    values |= _register(row, values["arch_capabilities"])
    part = part_of(row)
    assert part.family is not None
    values |= {
        f"{name}_published": published(vulnerability, part).affected for name, vulnerability in VULNERABILITIES.items()
    }
    return values | {
        "vendor_intel": part.vendor == "GenuineIntel",
        "vendor_amd": part.vendor == "AuthenticAMD",
        "vendor_hygon": part.vendor == "HygonGenuine",
        "family_0x19": part.family == 0x19,
        "family_0x1a": part.family == 0x1A,
        **{name: identity_lookups(part)[name] for name in OF_INTEL},
        "family_from_0x19": part.family >= 0x19,
        "mds_listed_immune": mds_listed_immune(part),
        "tsa_microcode": tsa_microcode(part, int(row["microcode"], 16) if row["microcode"] else None, unlisted=None),
    }
