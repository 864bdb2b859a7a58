"""The oracle's VM entry: what the host does before the guest runs, in order, and whether VERW cleared anything.

Written from readings of the kernels, apart from src/archcaps.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.oracle.kvm import Kvm
from tests.oracle.machines import Host, Profile

__all__ = [
    "Entry", "State", "fill_buffers_cleared", "guest_verw_effective", "svm_verw_executed", "verw_clears_fill_buffers",
    "vm_entry",
]  # fmt: skip

L1D_FLUSH, VERW, SET_FB_CLEAR_DIS = "L1D flush", "VERW", "set FB_CLEAR_DIS"


@dataclass(frozen=True)
class State:
    """What holds at one entry besides the host and its keys.

    `flush_pending`: the conditional L1D flush has something to do. `assigned_device`: the VM has a counted assigned
    device. `host_mmio`: host MMIO is mapped into the guest.
    """

    flush_pending: bool
    assigned_device: bool
    host_mmio: bool


@dataclass(frozen=True)
class Entry:
    """The steps of one entry in order, and what the host's VERW did to the fill buffers (None: no guarantee)."""

    steps: tuple[str, ...]
    effective: bool | None

    @property
    def executed(self) -> bool:
        """Whether VERW ran."""
        return VERW in self.steps

    @property
    def before_dis(self) -> bool:
        """Whether a VERW ran while FB_CLEAR_DIS was not yet set."""
        if SET_FB_CLEAR_DIS not in self.steps:
            return self.executed
        return VERW in self.steps[: self.steps.index(SET_FB_CLEAR_DIS)]

    @property
    def after_dis(self) -> bool:
        """Whether a VERW ran with FB_CLEAR_DIS set."""
        return SET_FB_CLEAR_DIS in self.steps and VERW in self.steps[self.steps.index(SET_FB_CLEAR_DIS) :]


def verw_clears_fill_buffers(host: Host) -> bool | None:
    """CPU_clears: whether VERW overwrites the fill buffers with FB_CLEAR_DIS clear; None: nothing is promised."""
    if host.has("FB_CLEAR"):
        return True
    if "md_clear" not in host.cpuid:
        return None
    if not host.has("MDS_NO"):
        # what MDS samples is overwritten; only together with L1D_FLUSH it says as much as FB_CLEAR
        return True if "flush_l1d" in host.cpuid else None
    if not host.has("TAA_NO"):
        return host.has("TSX_CTRL")
    return None


def guest_verw_effective(kvm: Kvm, stored: int) -> bool | None:
    """Whether a VERW that the guest runs overwrites the fill buffers."""
    if kvm.disable_fb_clear(stored):
        return False
    return verw_clears_fill_buffers(kvm.host)


def l1d_flush_clears_fill_buffers(host: Host) -> bool:
    """Whether the L1D_FLUSH command overwrites the MDS buffers too: on parts with MDS and its microcode."""
    return "flush_l1d" in host.cpuid and "md_clear" in host.cpuid and not host.has("MDS_NO")


def fill_buffers_cleared(kvm: Kvm, stored: int, *, assigned_device: bool, host_mmio: bool) -> bool:
    """Whether every entry is sure to clear the fill buffers, whether or not a conditional flush is pending."""
    entries = [vm_entry(kvm, stored, State(pending, assigned_device, host_mmio)) for pending in (False, True)]
    by_flush = l1d_flush_clears_fill_buffers(kvm.host)
    return all(entry.effective is True or (by_flush and L1D_FLUSH in entry.steps) for entry in entries)


def vm_entry(kvm: Kvm, stored: int, state: State) -> Entry:
    """Return what one VM entry of a vCPU with this G does on a VMX host."""
    steps = _steps(kvm, kvm.disable_fb_clear(stored), state)
    if VERW not in steps:
        return Entry(steps, False)
    entry = Entry(steps, None)
    return Entry(steps, verw_clears_fill_buffers(kvm.host) if entry.before_dis else False)


def _steps(kvm: Kvm, disable: bool, state: State) -> tuple[str, ...]:
    keys = kvm.linux.keys
    way = kvm.profile.vmx_entry
    reaches_mmio = state.assigned_device if way in ("E1", "E2") else state.host_mmio
    mmio = keys.mmio and reaches_mmio
    steps: list[str] = []
    # in C; the L1D flush stands in for VERW there
    if keys.l1d_flush:
        if state.flush_pending or not keys.l1d_conditional:
            steps.append(L1D_FLUSH)
    elif {"E0": keys.clear_cpu_buf, "E1": keys.clear_cpu_buf or mmio, "E2": mmio, "E3": mmio, "E4": False}[way]:
        steps.append(VERW)
    if disable:
        steps.append(SET_FB_CLEAR_DIS)
    # late, in assembly
    if {"E2": keys.clear_cpu_buf, "E3": keys.clear_cpu_buf, "E4": keys.clear_cpu_buf or mmio}.get(way, False):
        steps.append(VERW)
    return tuple(steps)


def svm_verw_executed(profile: Profile, *, clear_cpu_buf_vm: bool) -> bool:
    """Whether VERW runs before VMRUN; the key is AMD's TSA mitigation for guests."""
    return profile.svm_entry == "S1" and clear_cpu_buf_vm
