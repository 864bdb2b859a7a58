"""What an answer about every configuration is about: what is free, what is fixed, and what it rests on."""

from __future__ import annotations

from collections.abc import Iterable

from archcaps.questions.prove_results import RestsOn
from archcaps.space.bounds import Bounds, Shown
from archcaps.space.names import split
from archcaps.space.releases import releases
from archcaps.tables.axioms import Axiom
from archcaps.tables.bits import BITS
from archcaps.tables.files import read_csv

__all__ = ["fixed_in", "free_in", "rests_on"]


def free_in(bounds: Bounds, read: Iterable[str]) -> list[str]:
    """Return what configurations within `bounds` differ in, for the facts that were read, in words."""
    names = list(read)
    bits = {
        scope: sum(1 for name in names if split(name)[0] == scope and split(name)[1] in BITS)
        for scope in ("host", "guest")
    }
    hosts = "those asked for" if bounds.host_parts else "every one that a table names"
    found = [
        f"the host's part: {hosts} (vendor, family, model, stepping)",
        f"the host's hardware: {bits['host']} bits of IA32_ARCH_CAPABILITIES and CPUID, its microcode",
        f"the host's kernel: {len(bounds.kvm)} of {len(releases())} releases that were read",
        f"the guest's kernel: {len(bounds.guest_kernels)} of {len(releases())}, built with KVM or without",
    ]
    if bounds.shown is Shown.ANY:
        found.append(f"what the guest is shown: any part at all, and {bits['guest']} bits (all others do not matter)")
    elif bounds.shown is Shown.SUBSET:
        found.append(
            f"what the guest is shown: the host's part, and of {bits['guest']} bits those KVM offers, or fewer"
        )
    situations = [name for name in names if split(name)[0] in ("vm", "assume")]
    if situations:
        found.append("the situation: " + ", ".join(situations))
    changes = [name for name in names if split(name)[0] == "changed"]
    if changes:
        found.append(f"what root changes while guests run: vmentry_l1d_flush, and by microcode {len(changes) - 1} bits")
    return found


def fixed_in(bounds: Bounds) -> list[str]:
    """Return what all configurations within `bounds` have in common, in words."""
    found = [
        "the host is bare metal",
        f"host kernel: command line {bounds.host_cmdline!r}, upstream's configuration, module parameters by default",
        f"guest kernel: command line {bounds.guest_cmdline!r}, upstream's configuration",
    ]
    if bounds.shown is Shown.OFFERED:
        found.append("the guest is shown the host's part and just what KVM offers")
    found += [f"given: {name}={int(value)}" for name, value in bounds.given.items()]
    if bounds.any_silicon:
        found.append("any hardware at all: no axioms")
    return found


def rests_on(axioms: Iterable[Axiom], read: Iterable[str]) -> list[RestsOn]:
    """Return what is unverified: axioms, bits, and statements of lists about parts."""
    found = [RestsOn(axiom.name, axiom.meaning, axiom.source) for axiom in axioms if axiom.status == "unverified"]
    names = {split(name)[1] for name in read}
    found += [
        RestsOn(name, BITS[name].meaning, BITS[name].source)
        for name in sorted(names)
        if name in BITS and BITS[name].status == "unverified"
    ]
    if "tsa_published" in names:
        found += [
            RestsOn(
                f"{row['vendor']} {row['family']} {row['vulnerability']}", f"affected: {row['affected']}", row["source"]
            )
            for row in read_csv("silicon/parts.csv")
            if row["status"] == "unverified" and row["vulnerability"] == "tsa"
        ]
    return found
