"""The oracle's guest kernel: VERW, and the files about sampling, page tables and KVM, one plain `if` after the other.

Written from readings of bugs.c (5.10 to 7.1) and tsx.c, apart from src/archcaps.
"""

from __future__ import annotations

from tests.oracle.guest_branches import Branches
from tests.oracle.guest_worlds import World

__all__ = ["Buffers"]

_CLEAR = "Mitigation: Clear CPU buffers"
_ATTEMPTED = "Vulnerable: Clear CPU buffers attempted, no microcode"
_VECTORS = ("user_kernel", "user_user", "guest_host", "guest_guest")


class Buffers:
    """Where VERW runs in the kernel of a world, and what its files say."""

    def __init__(self, world: World, features: set[str], bugs: set[str], branches: Branches) -> None:
        self.world = world
        self.features = features
        self.bugs = bugs
        self._shows, self._has = world.shows, world.has
        self.no_vector = not any(world.has(f"vector_{name}") for name in _VECTORS)
        self.rtm = self._rtm()
        self.taa = "taa" in bugs and self.rtm
        self.chosen = {name for name in ("mds", "taa", "mmio", "rfds") if not self._off(name)}
        self.verw = self._verw()
        self.tsa_user, self.tsa_vm = self._tsa()
        self.smt_active = self._smt(branches)

    def _rtm(self) -> bool:
        shows, has = self._shows, self._has
        if has("tsx_init_reads_rtm_always_abort") and shows("rtm_always_abort"):
            return False
        if not shows("tsx_ctrl"):
            return shows("rtm")
        return has("tsx_on") or (has("tsx_auto") and "taa" not in self.bugs)

    def _off(self, name: str) -> bool:
        has = self._has
        if has(f"{name}_off"):
            return True
        if has("attack_vectors"):
            if name == "mmio" and has("mitigations_off") and not has("off_only_empties_vectors"):
                return True
            return self.no_vector and not has(f"{name}_on")
        return has("mitigations_off")

    def _verw(self) -> bool:
        """Whether MDS, TAA, MMIO or RFDS runs VERW on exit to user."""
        if "mds" in self.bugs and "mds" in self.chosen:
            return True
        if self.taa and "taa" in self.chosen:
            return True
        mmio = "mmio_stale_data" in self.bugs and "mmio_unknown" not in self.bugs
        if mmio and "mmio" in self.chosen and ("mds" in self.bugs or self.taa):
            return True
        return "rfds" in self.bugs and "rfds" in self.chosen and self._shows("rfds_clear")

    def _tsa_is_off(self) -> bool:
        has = self._has
        if has("attack_vectors"):
            given = has("tsa_on") or has("tsa_user") or has("tsa_vm")
            return has("tsa_off") or (self.no_vector and not given)
        return has("mitigations_off") or has("tsa_off")

    def _tsa_where(self) -> str:
        """user, vm or both: by option, from 6.17 without one by the vectors."""
        has = self._has
        if has("tsa_user"):
            return "user"
        if has("tsa_vm"):
            return "vm"
        if has("attack_vectors") and not has("tsa_on"):
            user = has("vector_user_kernel") or has("vector_user_user")
            guest = has("vector_guest_host") or has("vector_guest_guest")
            if user and not guest:
                return "user"
            if guest and not user:
                return "vm"
        return "both"

    def _tsa(self) -> tuple[bool, bool]:
        """Whether TSA runs VERW on exit to user, and before a guest is entered."""
        if "tsa" not in self.bugs or self._tsa_is_off():
            return False, False
        if "VERW_CLEAR" in self.features:
            return self._tsa_where() != "vm", self._tsa_where() != "user"
        forced = self._shows("hypervisor") and self._has("tsa_forces_verw_in_vm")
        return forced, forced

    def _smt(self, branches: Branches) -> bool:
        shows, has = self._shows, self._has
        if not shows("smt_active") or has("nosmt") or branches.retbleed_takes_smt:
            return False
        if "l1tf" in self.bugs and has("l1tf_nosmt"):
            return False
        if "mds" in self.bugs and "msbds_only" not in self.bugs and has("mds_nosmt") and self.mitigates("mds"):
            return False
        if self.taa and has("taa_nosmt") and self.mitigates("taa"):
            return False
        return not ("mmio_stale_data" in self.bugs and has("mmio_nosmt") and self.mitigates("mmio"))

    def mitigates(self, name: str) -> bool:
        """Whether an issue is mitigated: it is chosen, or VERW runs anyway for another."""
        return name in self.chosen or self.verw

    def features_of_verw(self) -> dict[str, bool | None]:
        """Return CLEAR_CPU_BUF and its kin; None: the kernel has no such feature."""
        has = self._has
        mmio = "mmio_stale_data" in self.bugs and "mmio" in self.chosen and not self.verw
        vm = self.tsa_vm or (has("has_clear_cpu_buf_vm_mmio") and self.verw)
        return {
            "CLEAR_CPU_BUF": self.verw or self.tsa_user if has("has_clear_cpu_buf") else None,
            "CLEAR_CPU_BUF_VM": vm if has("has_clear_cpu_buf_vm") else None,
            "CLEAR_CPU_BUF_VM_MMIO": mmio if has("has_clear_cpu_buf_vm_mmio") else None,
        }

    def _threads(self) -> str:
        if self._shows("hypervisor"):
            return "; SMT Host state unknown"
        return "; SMT vulnerable" if self.smt_active else "; SMT disabled"

    # --- the files ---

    def mds(self) -> str | None:
        if not self._has("has_mds"):
            return None
        if "mds" not in self.bugs:
            return "Not affected"
        state = "Vulnerable"
        if self.mitigates("mds"):
            state = _CLEAR if self._shows("md_clear") else _ATTEMPTED
        if "msbds_only" in self.bugs and not self._shows("hypervisor"):
            if state == "Vulnerable":
                return f"{state}; SMT vulnerable"
            return f"{state}; SMT {'mitigated' if self.smt_active else 'disabled'}"
        return state + self._threads()

    def tsx_async_abort(self) -> str | None:
        if not self._has("has_taa"):
            return None
        if "taa" not in self.bugs:
            return "Not affected"
        if not self.rtm:
            return "Mitigation: TSX disabled"
        if not self.mitigates("taa"):
            return "Vulnerable"
        lacking = not self._shows("md_clear") or (self._shows("mds_no") and not self._shows("tsx_ctrl"))
        return (_ATTEMPTED if lacking else _CLEAR) + self._threads()

    def mmio_stale_data(self) -> str | None:
        shows = self._shows
        if not self._has("has_mmio_stale_data"):
            return None
        if "mmio_unknown" in self.bugs:
            return "Unknown: No mitigations"
        if "mmio_stale_data" not in self.bugs:
            return "Not affected"
        if not self.mitigates("mmio"):
            return "Vulnerable"
        has_microcode = shows("fb_clear") or (shows("md_clear") and shows("flush_l1d") and not shows("mds_no"))
        return (_CLEAR if has_microcode else _ATTEMPTED) + self._threads()

    def reg_file_data_sampling(self) -> str | None:
        if not self._has("has_rfds"):
            return None
        if "rfds" not in self.bugs:
            return "Not affected"
        if not self.mitigates("rfds"):
            return "Vulnerable"
        return "Mitigation: Clear Register File" if self._shows("rfds_clear") else "Vulnerable: No microcode"

    def tsa(self) -> str | None:
        if not self._has("has_tsa"):
            return None
        if "tsa" not in self.bugs:
            return "Not affected"
        if self._tsa_is_off():
            return "Vulnerable"
        if "VERW_CLEAR" not in self.features:
            return _ATTEMPTED if self._has("tsa_forces_verw_in_vm") else "Vulnerable: No microcode"
        return _CLEAR + {"user": ": user/kernel boundary", "vm": ": VM", "both": ""}[self._tsa_where()]

    def srbds(self) -> str | None:  # noqa: PLR0911  # a return a state
        shows, has = self._shows, self._has
        if not has("has_srbds"):
            return None
        if "srbds" not in self.bugs:
            return "Not affected"
        if has("attack_vectors") and has("selects_then_applies"):
            if self.no_vector and not has("srbds_compiled_off"):
                return "Vulnerable"
        elif has("selects_then_applies") and has("mitigations_off"):
            return "Vulnerable"
        if shows("mds_no") and not self.rtm and "mmio_stale_data" not in self.bugs:
            return "Mitigation: TSX disabled"
        if shows("hypervisor"):
            return "Unknown: Dependent on hypervisor status"
        if not shows("srbds_ctrl"):
            return "Vulnerable: No microcode"
        off = has("srbds_off") or has("srbds_compiled_off")
        if off or (has("mitigations_off") and not has("selects_then_applies")):
            return "Vulnerable"
        return "Mitigation: Microcode"

    def gds_off_and_forced(self) -> tuple[bool, bool]:
        """Whether GDS is switched off, and whether it is mitigated by force."""
        has = self._has
        off, force = has("gds_off"), has("gds_force")
        if not has("attack_vectors"):
            return (True, False) if has("mitigations_off") else (off, force)
        if not off and not force and self.no_vector and not has("vector_cross_thread"):
            off = True
        return off, force

    def gather_data_sampling(self) -> str | None:
        shows, has = self._shows, self._has
        if not has("has_gds"):
            return None
        if "gds" not in self.bugs:
            return "Not affected"
        if shows("hypervisor"):
            return "Unknown: Dependent on hypervisor status"
        off, force = self.gds_off_and_forced()
        if not shows("gds_ctrl"):
            return "Mitigation: AVX disabled, no microcode" if force else "Vulnerable: No microcode"
        if shows("gds_mitg_locked"):
            return "Mitigation: Microcode (locked)"
        return "Vulnerable" if off else "Mitigation: Microcode"

    def meltdown(self) -> str | None:
        if not self._has("has_earliest_files"):
            return None
        if "cpu_meltdown" not in self.bugs:
            return "Not affected"
        if self._has("xen_pv"):
            return "Unknown (XEN PV detected, hypervisor mitigation required)"
        return "Vulnerable" if self._has("pti_off") else "Mitigation: PTI"

    def _kvm_intel_runs(self) -> bool:
        return self._has("kvm_intel_built") and self._has("kvm_intel_loaded") and self._shows("vmx")

    def l1tf(self) -> str | None:
        shows, has = self._shows, self._has
        if not has("has_earliest_files"):
            return None
        if "l1tf" not in self.bugs:
            return "Not affected"
        if shows("ram_above_half"):
            return "Vulnerable"
        text = "Mitigation: PTE Inversion"
        if not self._kvm_intel_runs():
            return text
        if has("ept_off"):
            return f"{text}; VMX: EPT disabled"
        threads = "SMT vulnerable" if self.smt_active else "SMT disabled"
        if shows("skip_l1dfl_vmentry"):
            return f"{text}; VMX: flush not necessary, {threads}"
        if has("l1d_flush_never"):
            return f"{text}; VMX: vulnerable" + ("" if self.smt_active else f", {threads}")
        how = "cache flushes" if has("l1d_flush_always") else "conditional cache flushes"
        return f"{text}; VMX: {how}, {threads}"

    def itlb_multihit(self) -> str | None:
        shows, has = self._shows, self._has
        if not has("has_earliest_files"):
            return None
        if "itlb_multihit" not in self.bugs:
            return "Not affected"
        if not has("kvm_intel_built"):
            return "Processor vulnerable"
        if has("itlb_multihit_tells_vmx"):
            if not shows("vmx") or not (shows("vmx_enabled") or has("kvm_intel_loaded")):
                return "KVM: Mitigation: VMX unsupported"
            if not has("vmx_on"):
                return "KVM: Mitigation: VMX disabled"
        splits = self._kvm_intel_runs() and has("kvm_splits_huge_pages")
        return "KVM: Mitigation: Split huge pages" if splits else "KVM: Vulnerable"

    def old_microcode(self) -> str | None:
        if not self._has("has_old_microcode"):
            return None
        return "Vulnerable" if "old_microcode" in self.bugs else "Not affected"

    def ghostwrite(self) -> str | None:
        return "Not affected" if self._has("has_ghostwrite") else None
