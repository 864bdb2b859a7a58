"""What a guest is shown, and two guests to compare it with.

* the guest itself;
* the same guest if it were shown just what KVM offers: a verdict that is the same there is not userspace's doing;
* the same guest if it were shown what is true of the hardware, with FB_CLEAR_DIS left alone: a verdict that is the
  same even there is the guest kernel's or the microcode's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

from archcaps.logic.graph import FALSE, TRUE, Node, rule
from archcaps.rules import silicon as hardware
from archcaps.rules.kvm_entry import FIVE_NO, vcpu_arch_capabilities, vmx_update_fb_clear_dis
from archcaps.rules.kvm_offer import OFFERED_CPUID, Kvm, kvm_get_arch_capabilities, kvm_get_supported_cpuid
from archcaps.rules.kvm_tsx import rtm_executes
from archcaps.rules.linux_bugs import x86_feature_rtm
from archcaps.rules.views import Cpu, Kernel, Silicon, Vm
from archcaps.tables.names import VULNERABILITIES

__all__ = ["Case", "Model", "model"]

#: The IA32_ARCH_CAPABILITIES bits that the rules of the VERW family and of FB_CLEAR_DIS speak of.
SPOKEN_OF = (*FIVE_NO, "fb_clear", "fb_clear_ctrl", "tsx_ctrl", "rfds_no", "rfds_clear")


@dataclass(frozen=True, eq=False)
class Case:
    """One guest on one host: what it is shown and what KVM does to it. `scope` names it in the graph."""

    scope: str
    cpu: Cpu
    kernel: Kernel
    kvm: Kvm
    silicon: Silicon
    disable_fb_clear: Node
    vm: Vm

    @cached_property
    def affected(self) -> Mapping[str, Node]:
        """Whether the silicon is affected by each vulnerability, for this guest (raw registers, vendor lists)."""
        return {
            "mds": hardware.affected_by_mds(self.silicon),
            "tsx_async_abort": hardware.affected_by_taa(self.cpu, self.silicon, self.rtm_executes),
            "mmio_stale_data": hardware.affected_by_mmio(self.silicon),
            "reg_file_data_sampling": hardware.affected_by_rfds(self.silicon),
            "tsa": hardware.affected_by_tsa(self.silicon),
        }

    @cached_property
    def rtm_executes(self) -> Node:
        """Whether RTM executes in this guest, shown or hidden."""
        return rtm_executes(self.cpu, self.kernel, self.kvm)

    @cached_property
    def verw_works(self) -> Mapping[str, Node]:
        """Whether VERW in this guest is guaranteed to overwrite what each vulnerability samples."""
        return {name: verw_works(self, name) for name in VULNERABILITIES}


@rule("Intel, Processor MMIO Stale Data (VERW, FB_CLEAR_DIS); MDS, TAA, RFDS guidance; AMD-SB-7029")
def verw_works(case: Case, vulnerability: str) -> Node:
    """VERW in this guest is guaranteed to overwrite what this vulnerability samples, as KVM lets it run."""
    return hardware.verw_reaches(vulnerability, case.silicon, case.affected[vulnerability], case.disable_fb_clear)


@dataclass(frozen=True, eq=False)
class Model:
    """Every case there is to read, traced once: the guest itself and the two it is compared with."""

    kvm: Kvm
    silicon: Silicon
    guest: Case
    offered: Case
    true: Case


@cache
def model() -> Model:
    """Return the model of one guest on one host."""
    host, silicon = Cpu("host"), Silicon()
    kvm = Kvm(host, Kernel("host_kernel"))
    kernel = Kernel("guest_kernel")
    return Model(
        kvm, silicon, _as_shown(kvm, kernel, silicon), _as_offered(kvm, kernel, silicon), _as_true(kvm, kernel, silicon)
    )


def _as_shown(kvm: Kvm, kernel: Kernel, silicon: Silicon) -> Case:
    """The guest as it is: what it can read, and FB_CLEAR_DIS by the value its vCPU holds."""
    shown = Cpu("guest")
    held = {bit: vcpu_arch_capabilities(shown, kvm, bit) for bit in SPOKEN_OF}
    held |= {bit: shown.bit(bit) for bit in OFFERED_CPUID}
    return Case("guest", shown, kernel, kvm, silicon, vmx_update_fb_clear_dis(Cpu("vcpu", held), kvm), Vm())


def _as_offered(kvm: Kvm, kernel: Kernel, silicon: Silicon) -> Case:
    """The guest as it would be if shown the host's identity and everything that KVM offers."""
    given = {bit: kvm_get_arch_capabilities(kvm, bit) for bit in SPOKEN_OF}
    given |= {bit: kvm_get_supported_cpuid(kvm, bit) for bit in OFFERED_CPUID}
    cpu = Cpu("offered", given | _same_for_any_guest(kvm.host))
    return Case("offered", cpu, kernel, kvm, silicon, vmx_update_fb_clear_dis(cpu, kvm), Vm())


def _as_true(kvm: Kvm, kernel: Kernel, silicon: Silicon) -> Case:
    """The guest as it would be if shown the truth, with VERW left to work as the hardware does it."""
    usable = x86_feature_rtm(kvm.host, kvm.kernel)
    immune = ~hardware.affected_by_mmio(silicon)
    tsa_immune = ~hardware.affected_by_tsa(silicon)
    given = {
        "arch_capabilities": TRUE,
        "md_clear": silicon.md_clear,
        "flush_l1d": silicon.flush_l1d,
        "rtm": usable,
        "tsx_ctrl": kvm.host.tsx_ctrl,
        "mds_no": ~hardware.affected_by_mds(silicon),
        "taa_no": silicon.taa_no | ~usable,
        "sbdr_ssdp_no": immune,
        "fbsdp_no": immune,
        "psdp_no": immune,
        "fb_clear": hardware.verw_overwrites_fill_buffers(silicon),
        "rfds_no": ~hardware.affected_by_rfds(silicon),
        "rfds_clear": silicon.rfds_clear,
        "verw_clear": hardware.verw_clears_tsa_buffers(silicon),
        "tsa_sq_no": tsa_immune,
        "tsa_l1_no": tsa_immune,
        "tsa_fill_no": tsa_immune,
    }
    cpu = Cpu("true", given | _same_for_any_guest(kvm.host))
    return Case("true", cpu, kernel, kvm, silicon, FALSE, Vm())


def _same_for_any_guest(host: Cpu) -> dict[str, Node]:
    """Return what does not depend on what is shown: the host's identity, and that this is a guest."""
    same = {name: host.bit(name) for name in ("vendor_intel", "vendor_amd", "vendor_hygon")}
    same |= {name: host.bit(name) for name in ("family_0x19", "family_0x1a", "unknown_zen_model", "rtm_always_abort")}
    guest = Cpu("guest")
    return same | {"hypervisor": guest.hypervisor, "smt_active": guest.smt_active, "rtm_disable": TRUE}
