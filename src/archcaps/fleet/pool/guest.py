"""The guest that a pool's CPU is shown to: identity, bits and kernel, as a snapshot that `check` takes."""

from __future__ import annotations

from collections.abc import Mapping

from archcaps.fleet.pool.identities import Identity
from archcaps.machine.snapshot import FORMAT_VERSION, Cpu, Cpuid, Kernel, Reading, Snapshot
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS, REGISTERS

__all__ = ["guest_of"]


def guest_of(identity: Identity, shown: Mapping[str, bool], kernel: str) -> Snapshot:
    """Return the guest that runs Linux `kernel` and is shown `shown` (bits by name); other bits are unknown."""
    cpuid = {name: value for name, value in shown.items() if REGISTERS[BITS[name].register].kind == "cpuid"}
    word = sum(ARCH_CAPABILITIES[name].mask for name, value in shown.items() if value and name in ARCH_CAPABILITIES)
    known = sum(ARCH_CAPABILITIES[name].mask for name in shown if name in ARCH_CAPABILITIES)
    return Snapshot(
        format_version=FORMAT_VERSION,
        role="guest",
        name="guest with the pool's CPU",
        provenance="assumed",
        source="the CPU that the pool shares",
        cpu=Cpu(
            vendor=identity.vendor, family=identity.family, model=identity.model, stepping=identity.stepping,
            provenance="assumed", source=f"the pool's identity is {identity.of}",
        ),
        cpuid=Cpuid(
            shown=[name for name, value in cpuid.items() if value],
            hidden=[name for name, value in cpuid.items() if not value],
            complete=False,
        ),
        registers={"ia32_arch_capabilities": Reading(value=word, known=known)},
        kernel=Kernel(
            release=kernel, cmdline="", config="upstream-defaults", provenance="imported",
            options_provenance="assumed",
            options_source="the guest's kernel has no mitigation options and upstream's configuration",
        ),
    )  # fmt: skip
