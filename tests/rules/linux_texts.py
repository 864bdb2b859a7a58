"""One Linux kernel on one described CPU, for tests: what each file of the branch family says."""

from __future__ import annotations

from archcaps.machine.snapshot import Cpu, Cpuid, Kernel, Reading, Snapshot
from archcaps.questions.reader import Reader
from archcaps.rules.linux_files import TEXTS

__all__ = ["AMD", "HOST", "INTEL", "machine", "text", "texts"]

HOST = Snapshot(format_version=1, role="host")
#: Skylake server, Ice Lake server, Sapphire Rapids; Zen 2, Zen 3, Zen 5.
INTEL = {"skylake": (6, 0x55, 4), "icelake": (6, 0x6A, 6), "sapphire": (6, 0x8F, 8)}
AMD = {"zen2": (0x17, 0x31, 0), "zen3": (0x19, 0x01, 1), "zen5": (0x1A, 0x02, 1)}


def machine(
    release: str,
    part: str,
    bits: str = "",
    cmdline: str | None = "",
    *,
    arch_caps: int = 0,
    config: str | dict[str, str] | None = "debian-cloud",
    threads: int = 1,
    sbpb: bool | None = False,
    microcode: int | None = 0xFFFFFFFF,
) -> Snapshot:
    """Return a machine with exactly these CPUID bits, and ARCH_CAPABILITIES shown where `arch_caps` is not 0."""
    family, model, stepping = (INTEL | AMD)[part]
    shown = [*bits.split(), *(["arch_capabilities"] if arch_caps else [])]
    return Snapshot(
        format_version=1,
        role="guest",
        cpu=Cpu(
            vendor="GenuineIntel" if part in INTEL else "AuthenticAMD",
            family=family,
            model=model,
            stepping=stepping,
            core_type=0,
            microcode=microcode,
            smt_active=threads > 1,
            smt_supported=threads > 1,
            ls_cfg_readable=False,
            msr_writes_succeed=sbpb,
        ),
        cpuid=Cpuid(shown=shown),
        registers={"ia32_arch_capabilities": Reading(value=arch_caps)},
        kernel=Kernel(release=release, cmdline=cmdline, config=config),
    )


def texts(file: str, snapshot: Snapshot) -> tuple[str | None, ...]:
    """Return the texts that are possible for a file."""
    reader = Reader(HOST, snapshot)
    cpu, kernel = reader.model.guest.cpu, reader.model.guest.kernel
    return TEXTS[file](cpu, kernel).answer(reader.ternary).possible


def text(file: str, snapshot: Snapshot) -> str | None:
    """Return the one text of a file; an AssertionError where several are possible."""
    possible = texts(file, snapshot)
    assert len(possible) == 1, possible
    return possible[0]
