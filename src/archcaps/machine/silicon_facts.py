"""What a host's silicon is: its own registers and the vendors' published lists; and its microcode against TSA."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from archcaps.machine.datum import Facts
from archcaps.machine.identity import identity_lookups
from archcaps.machine.snapshot import Snapshot, number
from archcaps.tables.axioms import Axiom, axioms
from archcaps.tables.bits import BITS
from archcaps.tables.files import read_csv
from archcaps.tables.linux_lists import Part
from archcaps.tables.silicon import mds_listed_immune, published, tsa_microcode

__all__ = ["PUBLISHED", "add_documented", "add_microcode", "add_silicon", "bits_of_part"]

#: Which vulnerability each look-up of the silicon asks the published lists about.
PUBLISHED = {
    "mds_published": "mds",
    "mmio_published": "mmio_stale_data",
    "rfds_published": "reg_file_data_sampling",
    "tsa_published": "tsa",
    "meltdown_published": "meltdown",
    "l1tf_published": "l1tf",
    "ssb_published": "spec_store_bypass",
    "itlb_multihit_published": "itlb_multihit",
    "gds_published": "gather_data_sampling",
    "its_published": "indirect_target_selection",
    "retbleed_published": "retbleed",
    "spectre_v2_published": "spectre_v2",
    "bhi_published": "bhi",
    "pbrsb_published": "pbrsb",
}


@cache
def bits_of_part(part: Part) -> Mapping[str, Axiom]:
    """Return the bits that bare hardware of this part shows or not, by documented axioms about its vendor and family.

    The axiom beside each name has it among what it demands.
    """
    identity = identity_lookups(part)
    chosen = [each for each in axioms() if each.status == "documented" and each.when]
    about = [each for each in chosen if all(literal.holds(identity) for literal in each.when)]
    return {literal.name: each for each in about for literal in each.then if literal.name in BITS}


def add_documented(facts: Facts, part: Part) -> None:
    """On bare metal add the bits that nobody read and that documents settle, for the host and for its hardware."""
    virtual = facts.known.get("host.hypervisor")
    if virtual is None or virtual.value:
        return
    for name, axiom in bits_of_part(part).items():
        value = next(literal.value for literal in axiom.then if literal.name == name)
        for scope in ("host", "silicon"):
            if f"{scope}.{name}" not in facts.known:
                facts.add(f"{scope}.{name}", value, "published", f"axiom {axiom.name}: {axiom.source}")
                facts.unknown.pop(f"{scope}.{name}", None)


def add_silicon(facts: Facts, host: Snapshot, part: Part) -> None:
    """The hardware's own registers are the host's, unless the host is itself a guest."""
    virtual = facts.known.get("host.hypervisor")
    for row in read_csv("silicon/unverified.csv"):
        facts.unknown[f"silicon.{row['name']}"] = f"{row['meaning']} [{row['source']}]"
    if virtual is None or virtual.value:
        why = "the host is itself a virtual machine" if virtual else "not known whether the host is bare metal"
        for name in (*BITS, *PUBLISHED, "mds_listed_immune", "tsa_microcode", "bad_spectre_microcode"):
            facts.unknown[f"silicon.{name}"] = why
        return
    for name in BITS:
        if f"host.{name}" in facts.known:
            facts.known[f"silicon.{name}"] = facts.known[f"host.{name}"]
    for name, vulnerability in PUBLISHED.items():
        answer = published(vulnerability, part)
        facts.add(f"silicon.{name}", answer.affected, "published", answer.source, verified=answer.verified)
    facts.add(
        "silicon.mds_listed_immune", mds_listed_immune(part), "published",
        "Linux 7.1.5 cpu_vuln_whitelist: NO_MDS or NO_SPECULATION",
    )  # fmt: skip
    add_microcode(facts, "silicon", host, part, unlisted=None)


def add_microcode(facts: Facts, scope: str, snapshot: Snapshot, part: Part, *, unlisted: bool | None) -> None:
    """Compare the revision with the kernel's table; in a virtual machine the number is not the hardware's."""
    cpu = snapshot.cpu
    revision_number = None if cpu.microcode is None else number(cpu.microcode, 64, "cpu.microcode")
    found = tsa_microcode(part, revision_number, unlisted=unlisted)
    revision = "the microcode revision is not known" if cpu.microcode is None else f"microcode {cpu.microcode}"
    source = f"{revision} [Linux arch/x86/kernel/cpu/amd.c amd_check_tsa_microcode]"
    provenance = cpu.provenance or snapshot.provenance
    if cpu.vendor not in (None, "AuthenticAMD"):
        provenance, source = "published", "the microcode against TSA is AMD's (AMD-SB-7029)"
    facts.add(f"{scope}.tsa_microcode", found, provenance, source)
