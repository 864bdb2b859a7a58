"""The oracle's KVM in any world: what it offers, what a vCPU holds, FB_CLEAR_DIS, TSX, and the way into a guest.

Written from readings of kvm_get_arch_capabilities, kvm_set_cpu_caps, vmx.c, vmenter.S and svm.c, apart from
src/archcaps. tests/oracle/kvm.py has the same in numbers, for whole releases.
"""

from __future__ import annotations

from tests.oracle.guest_branches import Branches
from tests.oracle.guest_buffers import Buffers
from tests.oracle.guest_bugs import bugs_of, features_of, spoilt_by_microcode, tsa_bits_set_by_kernel
from tests.oracle.guest_worlds import World

__all__ = ["Host", "kernel_of"]

#: In every mask (0204750bd4c6).
_MASK = {
    "rdcl_no", "ibrs_all", "rsba", "skip_l1dfl_vmentry", "ssb_no", "mds_no", "pschange_mc_no", "tsx_ctrl", "taa_no",
    "sbdr_ssdp_no", "fbsdp_no", "psdp_no", "fb_clear", "rrsba", "pbrsb_no",
}  # fmt: skip
_MASKED_LATER = {
    "gds_no": "offers_gds_no", "rfds_no": "offers_rfds_bits", "rfds_clear": "offers_rfds_bits",
    "bhi_no": "offers_bhi_no", "its_no": "offers_its_no",
}  # fmt: skip
_FIVE = ("mds_no", "taa_no", "psdp_no", "fbsdp_no", "sbdr_ssdp_no")


def kernel_of(world: World) -> tuple[Branches, Buffers]:
    """Return what the kernel of a world chose."""
    features = features_of(world)
    bugs = bugs_of(world, features)
    branches = Branches(world, features, bugs)
    return branches, Buffers(world, features, bugs, branches)


class Host:
    """A host's kernel and its KVM."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._shows, self._has = world.shows, world.has
        self.branches, self.buffers = kernel_of(world)
        self.features, self.bugs = self.branches.features, self.buffers.bugs
        self.svm = world.shows("vendor_amd") or world.shows("vendor_hygon")
        needed = not self.svm and "l1tf" in self.bugs and not self._shows("skip_l1dfl_vmentry")
        needed = needed and not self._has("ept_off")
        self.l1d_never = needed and self._has("l1d_flush_never")
        if not self.svm and self._has("l1tf_never_if_compiled_out") and self._has("mitigations_compiled_out"):
            self.l1d_never = True
        self.flushes = needed and not self.l1d_never
        self.clears = self.buffers.verw or self.buffers.tsa_user

    def gds_mitigated(self) -> bool:
        if self._shows("hypervisor") or not self._shows("gds_ctrl"):
            return False
        return self._shows("gds_mitg_locked") or not self.buffers.gds_off_and_forced()[0]

    def offers(self, bit: str) -> bool:
        """Whether KVM's value of MSR 0x10a has a bit: cut by the mask, then set and cleared one after the other."""
        has, bugs = self._has, self.bugs
        found = self._shows(bit) and self._passes(bit)
        absent = {"rdcl_no": "cpu_meltdown", "ssb_no": "spec_store_bypass", "mds_no": "mds"}
        if bit == "pschange_mc_no" or (bit == "skip_l1dfl_vmentry" and not self.l1d_never):
            found = True
        if bit in absent and absent[bit] not in bugs:
            found = True
        if bit == "taa_no":
            if not self.buffers.rtm:
                return False
            found = found or "taa" not in bugs
        if bit == "gds_no" and has("offers_gds_no") and ("gds" not in bugs or self.gds_mitigated()):
            found = True
        if bit == "rfds_no" and has("offers_rfds_bits") and "rfds" not in bugs:
            found = True
        if bit == "its_no" and has("offers_its_no") and "its" not in bugs:
            found = True
        if bit == "mds_no" and has("taa_hides_mds_no") and self.buffers.taa and self._shows("tsx_ctrl"):
            return False
        return found

    def _passes(self, bit: str) -> bool:
        has = self._has
        if bit == "tsx_ctrl":
            return not has("hides_tsx_ctrl")
        if not has("arch_cap_mask"):
            return bit != "fb_clear_ctrl" or not has("hides_fb_clear_ctrl")
        return bit in _MASK or (bit in _MASKED_LATER and has(_MASKED_LATER[bit]))

    def offers_cpuid(self, bit: str) -> bool:  # noqa: PLR0911  # a return a bit
        shows, has = self._shows, self._has
        mine = tsa_bits_set_by_kernel(self.world)
        controlled = not spoilt_by_microcode(self.world)
        match bit:
            case "arch_capabilities":
                return True
            case "md_clear":
                return shows("md_clear")
            case "flush_l1d":
                return has("offers_flush_l1d") and shows("flush_l1d")
            case "rtm":
                return shows("rtm") and self.buffers.rtm
            case "verw_clear":
                set_too = has("offers_synthesised_tsa_bits") and "VERW_CLEAR" in self.features
                return has("offers_verw_clear") and (shows("verw_clear") or set_too)
            case "tsa_sq_no" | "tsa_l1_no":
                set_too = has("offers_synthesised_tsa_bits") and bit in mine
                return has("offers_tsa_no") and (has("offers_tsa_no_always") or shows(bit) or set_too)
            case "tsa_fill_no":
                return has("offers_tsa_fill_no") and (shows(bit) or bit in mine)
            case "spec_ctrl":
                if has("spec_ctrl_needs_amd_ibpb_ret"):
                    made = all(map(shows, ("amd_ibpb", "amd_ibrs", "amd_ibpb_ret")))
                else:
                    made = {"IBPB", "IBRS"} <= self.features
                return made or (shows("spec_ctrl") and controlled)
            case "intel_stibp":
                return controlled and (shows("intel_stibp") or "STIBP" in self.features)
            case "ssbd":
                return shows("amd_ssbd") or (shows("ssbd") and controlled)
            case _:
                return False

    def holds(self, guest: World, bit: str) -> bool:
        """Whether the vCPU's MSR 0x10a has a bit, after userspace wrote the guest's value."""
        if self._has("arch_cap_needs_cpuid") and "arch_capabilities" not in guest.cpu:
            return self.offers(bit)
        return bit in guest.cpu

    def disables_fb_clear(self, held: dict[str, bool]) -> bool:
        if held["fb_clear"] or all(held[bit] for bit in _FIVE):
            return False
        if self.svm or not self._has("toggles_fb_clear") or not self._shows("fb_clear_ctrl"):
            return False
        if "mds" in self.bugs or "taa" in self.bugs:
            return False
        return not (self._has("fb_clear_dis_spares_clearing_host") and self.clears)

    def rtm_executes(self, guest: World, kernel: Buffers) -> bool:
        if not self.buffers.rtm or self._shows("rtm_always_abort"):
            return False
        if not self._shows("tsx_ctrl"):
            return True
        if guest.shows("tsx_ctrl"):
            return kernel.rtm
        return guest.shows("rtm") or not guest.shows("rtm_disable")

    # --- the way into a guest ---

    def mmio_for_vms(self) -> bool:
        mmio = "mmio_stale_data" in self.bugs and "mmio_unknown" not in self.bugs
        return mmio and "mmio" in self.buffers.chosen and not self.clears

    def reached(self, vm: frozenset[str], nests: bool) -> bool:
        """Whether KVM takes a guest as able to reach MMIO; `nests`: it is shown VMX, and may run guests of its own."""
        has = self._has
        if not has("gates_verw_by_host_mmio"):
            return "has_assigned_device" in vm
        one_root = not nests and not has("shadow_paging")
        noted = has("notes_host_mmio_for_any_root") or one_root or not has("host_mmio_per_root")
        return "has_mapped_host_mmio" in vm and noted

    def verw_on_entry(self, vm: frozenset[str], nests: bool) -> str:
        """Where VERW runs under VMX: "" nowhere, "C" before FB_CLEAR_DIS is set, "asm" after it, or both."""
        has = self._has
        if self.svm:
            return ""
        mmio = self.mmio_for_vms() and self.reached(vm, nests)
        places = set()
        if self.clears:
            places.add("asm" if has("verw_in_entry_asm") else "C")
        if mmio:
            places.add("asm" if has("mmio_verw_in_entry_asm") else "C")
        if self.flushes:
            places.discard("C")
        return " ".join(sorted(places))

    def verw_before_vmrun(self) -> bool:
        return self.svm and self._has("svm_verw_before_vmrun") and self.buffers.tsa_vm

    def means_to_clear(self) -> bool:
        if self.svm:
            return self.buffers.tsa_vm
        return self.clears or self.mmio_for_vms() or self.flushes
