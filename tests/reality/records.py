"""The recorded answers of real kernels, and how a record becomes a snapshot."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from archcaps.machine.snapshot import Cpu, Cpuid, Kernel, Kvm, Reading, Snapshot

__all__ = ["Record", "records", "records_of_fourteen_images", "snapshot_of"]

Record = dict[str, Any]
_RECORDED = Path(__file__).parent / "recorded"


@cache
def records() -> tuple[Record, ...]:
    return _read("real-kernels.jsonl.gz")


@cache
def records_of_fourteen_images() -> tuple[Record, ...]:
    """Return a second round: command lines, SMT, core types, faulting MSRs; 6.1.190 to 7.3.4, two with KVM."""
    return _read("real-kernels-2.jsonl.gz")


def _read(name: str) -> tuple[Record, ...]:
    with gzip.open(_RECORDED / name, "rt", encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)


def snapshot_of(record: Record, role: str, release: str | None = None) -> Snapshot:
    """Return the machine that a record describes: what the emulator answered to CPUID and RDMSR.

    Bits that the recorder had no name for were 0, the microcode revision was 0, every read and write of an
    MSR succeeded, and the kernels were Debian's.
    """
    given = record["input"]
    shown = [*given["bits"], *(["hypervisor"] if given["hypervisor"] else [])]
    value = given["arch_caps"]
    return Snapshot(
        format_version=1,
        role=role,  # type: ignore[arg-type]  # "host" or "guest", as the caller says
        cpu=Cpu(
            vendor=given["vendor"],
            family=given["family"],
            model=given["model"],
            stepping=given["stepping"],
            core_type=0,
            microcode=0,
            smt_active="threads=2" in str(given["smp"]),
            smt_supported="threads=2" in str(given["smp"]),
            ls_cfg_readable=True,
            msr_writes_succeed=True,
        ),
        cpuid=Cpuid(shown=shown),
        registers={"ia32_arch_capabilities": Reading(value=value if value is not None else 0)},
        kvm=Kvm(parameters={"vmentry_l1d_flush": "auto", "ept": "Y"}),
        kernel=Kernel(release=release or record["kernel"], cmdline=given["cmdline"], config="debian-cloud"),
    )
