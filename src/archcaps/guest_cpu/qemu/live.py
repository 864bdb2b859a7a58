"""A running QEMU's virtual CPU as a guest: read, not worked out."""

from __future__ import annotations

from collections.abc import Mapping

from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.shown import Difference, ShownGuest
from archcaps.machine.snapshot import FORMAT_VERSION, Cpu, Cpuid, Kernel, Reading, Snapshot
from archcaps.tables import qemu as tables
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS

__all__ = ["of_live_guest"]

_SOURCE = "the running QEMU's answers over QMP"


def of_live_guest(asked: Asked, kernel: Kernel) -> ShownGuest:
    """Return the guest whose virtual CPU a running QEMU told of."""
    states = {switch.name: switch.on for switch in asked.switches}
    registers = {
        write.register: Reading(value=f"{write.value:#x}") for write in asked.writes if write.register is not None
    }
    registers["ia32_arch_capabilities"] = _arch_capabilities(asked, states)
    named = {row.names["qemu"]: bit for bit, row in BITS.items() if "qemu" in row.names}
    cpuid = {bit: states[name] for name, bit in named.items() if name in states and bit not in ARCH_CAPABILITIES}
    identity = asked.identity
    release = asked.release or "of a release not given"
    snapshot = Snapshot(
        format_version=FORMAT_VERSION,
        role="guest",
        name=f"running QEMU guest (-cpu {asked.model})",
        provenance="observed",
        source=f"{_SOURCE} (QEMU {release})",
        cpu=Cpu(vendor=identity.vendor, family=identity.family, model=identity.model, stepping=identity.stepping),
        cpuid=Cpuid(
            shown=[bit for bit, on in cpuid.items() if on],
            hidden=[bit for bit, on in cpuid.items() if not on],
            complete=False,
        ),
        registers=registers,
        kernel=kernel,
    )
    return ShownGuest(asked, snapshot, tuple(_unavailable(asked)), notices=tuple(_notices(asked)))


def _arch_capabilities(asked: Asked, states: Mapping[str, bool]) -> Reading:
    """Return MSR 0x10a: the bits that QEMU answered for; what it has no name for only host and max can have."""
    numbers = tables.parse_release(asked.release or "")
    passes_unnamed = asked.model in ("host", "max") and asked.migratable is not True
    word = known = 0
    for row in ARCH_CAPABILITIES.values():
        name = row.names.get("qemu")
        if name is not None and name in states:
            word |= row.mask if states[name] else 0
            known |= row.mask
            continue
        span = tables.properties()[name].span if name is not None and name in tables.properties() else None
        unnamed = span is None or (numbers is not None and span.has(numbers) is False)
        if unnamed and not passes_unnamed:
            known |= row.mask
    # Without KVM the register reads 0, whatever the properties of the virtual CPU say (seen with QEMU 7.2 and 11.1).
    if states.get("arch-capabilities") is False or asked.accelerator == "tcg":
        word, known = 0, (1 << 64) - 1
    return Reading(value=f"{word:#x}", known=f"{known:#x}")


def _unavailable(asked: Asked) -> list[Difference]:
    """Return the features that this QEMU said it could not give."""
    names = {row.names["qemu"]: bit for bit, row in BITS.items() if "qemu" in row.names}
    return [
        Difference(
            name, names.get(name), "qemu", False, "the host could not give it", f"{_SOURCE}: unavailable-features"
        )
        for text in asked.lost_in_words
        for name in text.removeprefix("the host could not give ").split(", ")
    ]


def _notices(asked: Asked) -> list[str]:
    return [] if asked.accelerator != "tcg" else ["the guest runs without KVM (TCG): it has no MSR 0x10a"]
