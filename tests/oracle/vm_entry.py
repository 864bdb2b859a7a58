"""The oracle's VM entry: what the host does before the guest runs, in order, and whether VERW cleared anything.

Written from readings of the kernels, apart from src/archcaps.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.oracle.kvm import Kvm
from tests.oracle.machines import Host

__all__ = ["Entry", "State", "guest_verw_effective", "verw_clears_fill_buffers", "vm_entry"]

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


def verw_clears_fill_buffers(host: Host) -> bool | None:
    """CPU_clears: whether VERW overwrites the fill buffers with FB_CLEAR_DIS clear; None: nothing is promised."""
    if host.has("FB_CLEAR"):
        return True
    if "md_clear" not in host.cpuid:
        return None
    if not host.has("MDS_NO"):
        return True
    if not host.has("TAA_NO"):
        return host.has("TSX_CTRL")
    return None


def guest_verw_effective(kvm: Kvm, stored: int) -> bool | None:
    """Whether a VERW that the guest runs overwrites the fill buffers."""
    if kvm.disable_fb_clear(stored):
        return False
    return verw_clears_fill_buffers(kvm.host)


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
    steps: list[str] = []
    if keys.l1d_flush:
        if state.flush_pending or not keys.l1d_conditional:
            steps.append(L1D_FLUSH)
    elif (way in ("E0", "E1") and keys.clear_cpu_buf) or (way in ("E1", "E2") and keys.mmio and state.assigned_device) or (way == "E3" and keys.mmio and state.host_mmio):
        steps.append(VERW)
    if disable:
        steps.append(SET_FB_CLEAR_DIS)
    if (way in ("E2", "E3", "E4") and keys.clear_cpu_buf) or (way == "E4" and keys.mmio and state.host_mmio):
        steps.append(VERW)
    return tuple(steps)


def svm_verw_executed(profile_entry: str, *, clear_cpu_buf_vm: bool) -> bool:
    """Whether VERW runs before VMRUN; the key is AMD's TSA mitigation for guests."""
    return profile_entry == "S1" and clear_cpu_buf_vm
