"""The oracle's KVM: the value it offers, FB_CLEAR_DIS, and MSR 0x10a of a vCPU, over plain integers.

Written from readings of the kernels, apart from src/archcaps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.oracle.linux import Linux
from tests.oracle.machines import BITS, Host, Profile

__all__ = ["Kvm", "Vcpu", "noverw"]

_ALL = (1 << 64) - 1
_FIVE = sum(1 << BITS[name] for name in ("MDS_NO", "TAA_NO", "PSDP_NO", "FBSDP_NO", "SBDR_SSDP_NO"))
_FB_CLEAR = 1 << BITS["FB_CLEAR"]


def noverw(value: int) -> bool:
    """Whether a vCPU's value makes the toggle needless."""
    if value & _FB_CLEAR:
        return True
    return value & _FIVE == _FIVE


@dataclass(frozen=True)
class Vcpu:
    """A vCPU: G, whether its CPUID has ARCH_CAPABILITIES, and whether it has run."""

    stored: int
    cpuid: bool
    has_run: bool = False


class Kvm:
    """KVM of the release `profile` on `host`."""

    def __init__(self, host: Host, profile: Profile) -> None:
        self.host = host
        self.profile = profile
        self.linux = Linux(host, profile)
        self.offered = self._offered()
        self.toggles = self._toggles()

    def _offered(self) -> int:
        value = self.host.arch_capabilities
        if self.profile.mask is not None:
            value &= int(self.profile.mask, 16)
        for line in self.profile.forced_on:
            name, _, condition = line.partition(": ")
            if self._holds(condition):
                value |= 1 << BITS[name]
        for line in self.profile.forced_off:
            name, _, condition = line.partition(": ")
            if self._holds(condition):
                value &= _ALL ^ (1 << BITS[name])
        return value

    def _holds(self, condition: str) -> bool:
        """Evaluate one of the conditions that profiles.json writes out."""
        kernel = self.linux
        if condition == "always":
            return True
        if condition == "l1tf_vmx_mitigation != NEVER":
            return kernel.l1tf_vmx_mitigation != "NEVER"
        if condition == "host.RTM and not B.TAA":
            return kernel.rtm and "TAA" not in kernel.bugs
        if condition == "not host.RTM":
            return not kernel.rtm
        if condition == "not B.GDS or gds_mitigation in {FULL, FULL_LOCKED}":
            return "GDS" not in kernel.bugs or kernel.gds_mitigation in ("FULL", "FULL_LOCKED")
        if condition in ("not B.MELTDOWN", "not B.SSB", "not B.MDS", "not B.RFDS", "not B.ITS"):
            return condition.removeprefix("not B.") not in kernel.bugs
        raise AssertionError(condition)

    def _toggles(self) -> bool:
        """Whether FB_CLEAR_DIS is set for a guest whose value does not ask for VERW."""
        host, kernel, rule = self.host, self.linux, self.profile.fb_clear_dis
        if rule == "none" or host.vendor != "GenuineIntel":  # SVM toggles nothing
            return False
        available = host.has("FB_CLEAR_CTRL") and "MDS" not in kernel.bugs and "TAA" not in kernel.bugs
        if rule in ("D1", "D2"):
            return available
        assert rule == "D3"
        return available and not kernel.clear_cpu_buf

    def disable_fb_clear(self, stored: int) -> bool:
        """D: whether FB_CLEAR_DIS is set while a vCPU with this G runs."""
        return self.toggles and not noverw(stored)

    # --- MSR 0x10a as userspace and the guest meet it ---

    def create(self, *, cpuid: bool, quirk: bool = True) -> Vcpu:
        """Return a new vCPU; `quirk`: KVM_X86_QUIRK_STUFF_FEATURE_MSRS was left on."""
        if self.profile.api in ("A3", "A4") and not quirk:
            return Vcpu(0, cpuid)
        return Vcpu(self.offered, cpuid)

    def host_write(self, vcpu: Vcpu, value: int) -> tuple[bool, Vcpu]:
        """Return whether KVM_SET_MSRS took `value`, and the vCPU afterwards."""
        if vcpu.has_run and self.profile.api != "A1" and value != self.host_read(vcpu):
            return False, vcpu
        if self.profile.api == "A4" and not vcpu.cpuid:
            return value == 0, vcpu
        return True, replace(vcpu, stored=value)

    def host_read(self, vcpu: Vcpu) -> int:
        """Return what KVM_GET_MSRS gives."""
        if self.profile.api == "A4" and not vcpu.cpuid:
            return 0
        return vcpu.stored

    def guest_read(self, vcpu: Vcpu, *, ignore_msrs: bool = False) -> int | None:
        """Return what RDMSR gives in the guest; None: #GP."""
        if vcpu.cpuid:
            return vcpu.stored
        return 0 if self.profile.api == "A4" and ignore_msrs else None

    def stored(self, value: int, *, cpuid: bool) -> int:
        """G after userspace set the CPUID bit and wrote `value` to a new vCPU, whether or not KVM took it."""
        if self.profile.api == "A4" and not cpuid:
            return self.offered
        return value
