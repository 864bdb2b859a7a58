"""The guest that gets just what KVM offers on a host: the host's identity, KVM's CPUID, KVM's value of MSR 0x10a."""

from __future__ import annotations

from archcaps.machine.snapshot import FORMAT_VERSION, Cpu, Cpuid, Kernel, Reading, Snapshot
from archcaps.questions.kvm_observed import Tries
from archcaps.questions.reader import Reader
from archcaps.questions.word import ALL
from archcaps.rules.kvm_offer import OFFERED_CPUID, kvm_get_arch_capabilities, kvm_get_supported_cpuid
from archcaps.tables.bits import ARCH_CAPABILITIES
from archcaps.tables.names import STRICT

__all__ = ["default_guest"]

_SOURCE = "what KVM offers by default on this host"


def default_guest(host: Snapshot, kernel: str | None = None, *, strict: bool = False) -> Snapshot:
    """Return the guest that is shown what KVM offers on `host`, observed where it was observed, else modelled.

    What a scratch vCPU was seen to hold after KVM's value was set goes before that value. It runs `kernel`; without
    one, the host's own release, which is then an assumption. `strict`: nothing is supposed, of KVM nor of the release.
    """
    assumptions = frozenset((STRICT,)) if strict else frozenset[str]()
    reader = Reader(host, Snapshot(format_version=FORMAT_VERSION, role="guest"), assumptions)
    value, kvm = reader.ternary.value, reader.model.kvm
    bits = {name: value(kvm_get_arch_capabilities(kvm, name)) for name in ARCH_CAPABILITIES}
    cpuid = {name: value(kvm_get_supported_cpuid(kvm, name)) for name in OFFERED_CPUID}
    word = sum(ARCH_CAPABILITIES[name].mask for name, bit in bits.items() if bit)
    known = sum(ARCH_CAPABILITIES[name].mask for name, bit in bits.items() if bit is not None)
    word, known = _taken(host, word, known)
    offered = {name: reading for name, reading in host.kvm.offered.items() if name != "ia32_arch_capabilities"}
    release = kernel if strict else kernel or host.kernel.release
    return Snapshot(
        format_version=FORMAT_VERSION,
        role="guest",
        name="guest with KVM's default",
        provenance="assumed",
        source=_SOURCE,
        cpu=Cpu(
            vendor=host.cpu.vendor,
            family=host.cpu.family,
            model=host.cpu.model,
            stepping=host.cpu.stepping,
            core_type=host.cpu.core_type,
            provenance=host.cpu.provenance or host.provenance,
            source=host.cpu.source or host.source or None,
        ),
        cpuid=Cpuid(
            shown=["hypervisor", *(name for name, bit in cpuid.items() if bit)],
            hidden=[name for name, bit in cpuid.items() if bit is False],
            complete=False,
        ),
        # An observed CPUID word of KVM's does not say "hypervisor"; every VMM sets that bit for its guest.
        registers={
            "ia32_arch_capabilities": Reading(value=word, known=known),
            **{name: reading for name, reading in offered.items() if name != "cpuid_1_ecx"},
        },
        kernel=Kernel(
            release=release,
            cmdline="",
            config="upstream-defaults",
            source=None if kernel else "the guest runs the host's kernel release (--guest-kernel names another)",
            provenance="imported" if kernel else None,
            options_provenance="assumed",
            options_source="the guest's kernel has no mitigation options and upstream's configuration",
        ),
    )


def _taken(host: Snapshot, word: int, known: int) -> tuple[int, int]:
    """Return what a vCPU was seen to hold after that value was set: some KVMs refuse what they offer."""
    seen = Tries(host).seen(True, word) if known == ALL else None
    read = None if seen is None else Tries.read(seen)
    return (word, known) if read is None else (read.value, read.known)
