"""What KVM offers: the supported IA32_ARCH_CAPABILITIES value and CPUID bits.

KVM's value is ((H & mask) | bits for absent bugs) & ~hidden bits, with H the host's own register.
"""

from __future__ import annotations

from dataclasses import dataclass

from archcaps.logic.graph import FALSE, TRUE, Node, choose, rule
from archcaps.rules import linux_bugs as bugs
from archcaps.rules import linux_bugs_branch as branch_bugs
from archcaps.rules import linux_features as features
from archcaps.rules.linux_memory import gds_switched_off
from archcaps.rules.views import Cpu, Kernel

__all__ = [
    "OFFERED_CPUID", "Kvm", "kvm_get_arch_capabilities", "kvm_get_supported_cpuid", "l1tf_vmx_mitigation_needed",
    "l1tf_vmx_mitigation_never", "on_svm",
]  # fmt: skip

_VALUE = "Linux 5.10.223 to 7.3.4 arch/x86/kvm/x86.c kvm_get_arch_capabilities"
_L1TF = "Linux 5.10.223 to 7.3.4 arch/x86/kvm/vmx/vmx.c vmx_setup_l1d_flush"
_CPUID = "Linux 6.1.192 to 7.3.4 arch/x86/kvm/cpuid.c kvm_set_cpu_caps; TSA: 31272abd5974, f3f9deccfc68, 4b3b8a8b0df1"

#: In every mask since there is one (0204750bd4c6: KVM_SUPPORTED_ARCH_CAP).
_ALWAYS_PASSED = frozenset(
    (
        "rdcl_no", "ibrs_all", "rsba", "skip_l1dfl_vmentry", "ssb_no", "mds_no", "pschange_mc_no", "tsx_ctrl", "taa_no",
        "sbdr_ssdp_no", "fbsdp_no", "psdp_no", "fb_clear", "rrsba", "pbrsb_no",
    )
)  # fmt: skip

#: CPUID bits of controls whose MSRs KVM does not emulate, and of hybrid parts. Source: the same function, every release
_NEVER_OFFERED = ("srbds_ctrl", "rtm_always_abort", "tsx_force_abort", "hybrid", "core_capabilities")

#: The CPUID bits whose offer is modelled here.
OFFERED_CPUID = (
    "md_clear", "flush_l1d", "rtm", "arch_capabilities", "verw_clear", "tsa_sq_no", "tsa_l1_no", "tsa_fill_no",
    "spec_ctrl", "intel_stibp", "ssbd", *_NEVER_OFFERED,
)  # fmt: skip


@dataclass(frozen=True)
class Kvm:
    """One KVM: the host CPU it runs on and the kernel it is part of."""

    host: Cpu
    kernel: Kernel
    scope: str = "kvm"


@rule("Linux 5.10.223 to 7.3.4 arch/x86/kvm/svm/svm.c svm_init: the CPU has SVM")
def on_svm(kvm: Kvm) -> Node:
    """Guests run under SVM, AMD's and Hygon's, not under VMX."""
    return kvm.host.vendor_amd | kvm.host.vendor_hygon


@rule(_L1TF)
def l1tf_vmx_mitigation_needed(kvm: Kvm) -> Node:
    """The host has to flush the L1D at VM entry: it has L1TF, uses EPT and is not told that another one flushes."""
    host, kernel = kvm.host, kvm.kernel
    return ~on_svm(kvm) & bugs.x86_bug_l1tf(host, kernel) & ~kernel.ept_off & ~host.skip_l1dfl_vmentry


@rule(_L1TF)
def l1tf_vmx_mitigation_never(kvm: Kvm) -> Node:
    """The L1D flush at VM entry is NEVER done: needed and so set, or CPU mitigations compiled out; VMX only."""
    compiled_out = kvm.kernel.l1tf_never_if_compiled_out & kvm.kernel.mitigations_compiled_out
    return (~on_svm(kvm) & compiled_out) | (l1tf_vmx_mitigation_needed(kvm) & kvm.kernel.l1d_flush_never)


@rule("Linux 5.10.265, 6.1.192, 6.12.117, 7.1.5 arch/x86/kernel/cpu/bugs.c gds_select_mitigation, gds_ucode_mitigated")
def gds_mitigated(kvm: Kvm) -> Node:
    """The host mitigates GDS by microcode (FULL or FULL_LOCKED): GDS_CTRL, and not switched off unless locked.

    A host that is itself a virtual machine leaves that to its hypervisor, and does not count it as done.
    """
    host = kvm.host
    return ~host.hypervisor & host.gds_ctrl & (~gds_switched_off(kvm.kernel) | host.gds_mitg_locked)


@rule(_VALUE)
def in_mask(kvm: Kvm, bit: str) -> Node:
    """KVM passes this bit of the host's register on: it is in the mask, or this kernel has no mask yet."""
    if bit == "tsx_ctrl":
        return ~kvm.kernel.hides_tsx_ctrl
    if bit in _ALWAYS_PASSED:
        return TRUE
    masked = {
        "gds_no": kvm.kernel.offers_gds_no,
        "rfds_no": kvm.kernel.offers_rfds_bits,
        "rfds_clear": kvm.kernel.offers_rfds_bits,
        "bhi_no": kvm.kernel.offers_bhi_no,
        "its_no": kvm.kernel.offers_its_no,
    }.get(bit, FALSE)
    unmasked = ~kvm.kernel.hides_fb_clear_ctrl if bit == "fb_clear_ctrl" else TRUE
    return choose(kvm.kernel.arch_cap_mask, masked, unmasked)


@rule(_VALUE)
def forced_on(kvm: Kvm, bit: str) -> Node:
    """KVM sets this bit itself: because the host kernel does not have the bug, or mitigates it for guests."""
    host, kernel = kvm.host, kvm.kernel
    always = {
        "pschange_mc_no": TRUE,
        "skip_l1dfl_vmentry": ~l1tf_vmx_mitigation_never(kvm),
        "rdcl_no": ~bugs.x86_bug_cpu_meltdown(host, kernel),
        "ssb_no": ~branch_bugs.x86_bug_spec_store_bypass(host, kernel),
        "mds_no": ~bugs.x86_bug_mds(host, kernel),
        "taa_no": bugs.x86_feature_rtm(host, kernel) & ~bugs.x86_bug_taa(host, kernel),
    }
    where_known = {
        "gds_no": kernel.offers_gds_no & (~bugs.x86_bug_gds(host, kernel) | gds_mitigated(kvm)),
        "rfds_no": kernel.offers_rfds_bits & ~bugs.x86_bug_rfds(host, kernel),
        "its_no": kernel.offers_its_no & ~branch_bugs.x86_bug_its(host, kernel),
    }
    return (always | where_known).get(bit, FALSE)


@rule(_VALUE + "; Linux 5.4.301, the same function (TSX_CTRL, MDS_NO)")
def forced_off(kvm: Kvm, bit: str) -> Node:
    """KVM hides this bit: TAA_NO on a host without RTM, even if the hardware has it (7131636e7ea5); 5.4 MDS_NO too.

    5.4 does so where the host has TAA, so that its guests run VERW for it.
    """
    host, kernel = kvm.host, kvm.kernel
    rtm = bugs.x86_feature_rtm(host, kernel)
    return {
        "taa_no": ~rtm,
        "mds_no": kernel.taa_hides_mds_no & rtm & bugs.x86_bug_taa(host, kernel) & host.tsx_ctrl,
    }.get(bit, FALSE)


@rule(_VALUE)
def kvm_get_arch_capabilities(kvm: Kvm, bit: str) -> Node:
    """KVM offers this bit of IA32_ARCH_CAPABILITIES: passed on or forced on, and not forced off."""
    passed = kvm.host.bit(bit) & in_mask(kvm, bit)
    return (passed | forced_on(kvm, bit)) & ~forced_off(kvm, bit)


@rule("Linux 5.10.265, 6.1.166, 6.12.15, 6.19.9, 7.1.5 arch/x86/kvm/cpuid.c kvm_set_cpu_caps")
def spec_ctrl_from_amd_bits(kvm: Kvm) -> Node:
    """KVM makes SPEC_CTRL from what AMD's bits say: IBPB and IBRS are there, later AMD's own with IBPB_RET."""
    host, kernel = kvm.host, kvm.kernel
    joined = features.x86_feature_ibpb(host, kernel) & features.x86_feature_ibrs(host, kernel)
    own = host.amd_ibpb_ret & host.amd_ibpb & host.amd_ibrs
    return choose(kernel.spec_ctrl_needs_amd_ibpb_ret, own, joined)


@rule(_CPUID)
def kvm_get_supported_cpuid(kvm: Kvm, bit: str) -> Node:
    """KVM offers this CPUID bit: from the host kernel's own capabilities, as far as this KVM knows the bit."""
    host, kernel = kvm.host, kvm.kernel
    match bit:
        case "arch_capabilities":
            return TRUE
        case "md_clear":
            return host.md_clear
        case "flush_l1d":
            return kernel.offers_flush_l1d & host.flush_l1d
        case "rtm":
            return host.rtm & bugs.x86_feature_rtm(host, kernel)
        case "verw_clear":
            synthesised = kernel.offers_synthesised_tsa_bits & bugs.x86_feature_verw_clear(host, kernel)
            return kernel.offers_verw_clear & (host.verw_clear | synthesised)
        case "tsa_sq_no" | "tsa_l1_no":
            synthesised = kernel.offers_synthesised_tsa_bits & bugs.synthesised_tsa_no(host, kernel)
            truthful = host.bit(bit) | synthesised
            return kernel.offers_tsa_no & (kernel.offers_tsa_no_always | truthful)
        case "tsa_fill_no":
            return kernel.offers_tsa_fill_no & (host.tsa_fill_no | bugs.synthesised_tsa_fill_no(host, kernel))
        case _:
            return _speculation_control(kvm, bit)


def _speculation_control(kvm: Kvm, bit: str) -> Node:
    """Return the offer of SPEC_CTRL, STIBP, SSBD and of the controls that KVM never offers."""
    host, kernel = kvm.host, kvm.kernel
    offers = {
        "spec_ctrl": features.x86_feature_spec_ctrl(host, kernel) | spec_ctrl_from_amd_bits(kvm),
        "intel_stibp": features.x86_feature_intel_stibp(host, kernel) | features.x86_feature_stibp(host, kernel),
        "ssbd": features.x86_feature_spec_ctrl_ssbd(host, kernel) | host.amd_ssbd,
    }
    offers |= dict.fromkeys(_NEVER_OFFERED, FALSE)
    if bit not in offers:
        raise ValueError(f"the offer of CPUID bit {bit!r} is not modelled")
    return offers[bit]
