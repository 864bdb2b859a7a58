"""What the oracle is asked about: one host as plain values, and a kernel release as a row of profiles.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["BITS", "PROFILES", "Host", "Profile", "Vendor", "bit", "profile"]

Vendor = str

#: Bits of IA32_ARCH_CAPABILITIES, from Intel's list.
BITS: Final = {
    "RDCL_NO": 0, "IBRS_ALL": 1, "RSBA": 2, "SKIP_L1DFL_VMENTRY": 3, "SSB_NO": 4, "MDS_NO": 5, "PSCHANGE_MC_NO": 6,
    "TSX_CTRL": 7, "TAA_NO": 8, "SBDR_SSDP_NO": 13, "FBSDP_NO": 14, "PSDP_NO": 15, "FB_CLEAR": 17,
    "FB_CLEAR_CTRL": 18, "RRSBA": 19, "BHI_NO": 20, "PBRSB_NO": 24, "GDS_CTRL": 25, "GDS_NO": 26, "RFDS_NO": 27,
    "RFDS_CLEAR": 28, "ITS_NO": 62,
}  # fmt: skip


def bit(word: int, name: str) -> bool:
    """Whether `word` has the named bit of IA32_ARCH_CAPABILITIES."""
    return bool(word >> BITS[name] & 1)


@dataclass(frozen=True)
class Profile:
    """What one kernel release does: a row of profiles.json."""

    version: str
    mask: str | None
    forced_on: tuple[str, ...]
    forced_off: tuple[str, ...]
    host_read: str
    fb_clear_dis: str
    vmx_entry: str
    svm_entry: str
    api: str
    lists: str
    attack_vectors: bool
    rfds: bool
    rtm_always_abort: bool


@dataclass(frozen=True)
class Host:
    """A host: its registers (MSRs raw, CPUID bits by name), how it was booted, and KVM's parameters as given."""

    vendor: Vendor
    family: int
    model: int
    stepping: int
    core_type: int
    microcode: int
    cpuid: frozenset[str]
    msr_arch_capabilities: int
    msr_mcu_opt_ctrl: int
    options: tuple[tuple[str, str], ...]
    tsx_mode: str
    vmentry_l1d_flush: str
    ept: bool

    @property
    def arch_capabilities(self) -> int:
        """H: what the kernel reads of MSR 0x10a; 0 where CPUID does not show it."""
        return self.msr_arch_capabilities if "arch_capabilities" in self.cpuid else 0

    def has(self, name: str) -> bool:
        """Whether H has the named bit."""
        return bit(self.arch_capabilities, name)

    def option(self, name: str) -> str:
        """Return the value of a boot option, or nothing; each is given once at most."""
        return dict(self.options).get(name, "")


def _profiles() -> tuple[Profile, ...]:
    rows: list[dict[str, Any]] = json.loads(Path(__file__).with_name("profiles.json").read_text())["profiles"]
    lists = ("forced_on", "forced_off")
    return tuple(
        Profile(**{key: tuple(value) if key in lists else value for key, value in row.items()}) for row in rows
    )


PROFILES: Final = _profiles()


def profile(version: str) -> Profile:
    """Return the profile of a release."""
    return next(found for found in PROFILES if found.version == version)
