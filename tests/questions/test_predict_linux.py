"""Traps of Linux's conclusions, by hand: each is a fact read in the kernel's source, on both sides of a change."""

from __future__ import annotations

from typing import Any

import pytest

from archcaps.questions.predict_case import Case
from archcaps.questions.predict_linux import LinuxPrediction, predict_linux

INTEL, AMD = "GenuineIntel", "AuthenticAMD"
ATTEMPTED = "Vulnerable: Clear CPU buffers attempted, no microcode"
NO_MICROCODE = "Vulnerable: No microcode"
HOST_STATUS = "Unknown: Dependent on hypervisor status"
NEITHER = {"msrs": {"0x8b": 0, "0x17": 0}}


def predicted(kernel: str, cpu: tuple[str, int, int, int], *bits: str, **given: Any) -> LinuxPrediction:  # noqa: ANN401  # whatever a case has
    vendor, family, model, stepping = cpu
    usual: dict[str, Any] = {"hypervisor": True, "cmdline": "", "config": "debian-cloud", "smp": 1, "arch_caps": None}
    case = Case(
        kernel=kernel, vendor=vendor, family=family, model=model, stepping=stepping, bits=list(bits), **usual | given
    )  # fmt: skip
    return predict_linux([case])[0]


MILAN, ZEN1, ZEN5 = (AMD, 0x19, 1, 1), (AMD, 0x17, 1, 2), (AMD, 0x1A, 2, 1)
SANDY_BRIDGE, ICE_LAKE, SKYLAKE = (INTEL, 6, 0x2A, 7), (INTEL, 6, 0x6A, 6), (INTEL, 6, 0x5E, 3)
ALDER_LAKE, KABY_LAKE, QEMU64 = (INTEL, 6, 0x97, 2), (INTEL, 6, 0x9E, 9), (INTEL, 15, 107, 1)


@pytest.mark.parametrize("kernel", ["5.15.215", "6.1.192", "6.12.116", "6.18.9", "7.1.5"])
def test_the_clause_on_zen_guests_never_sets_tsa(kernel: str) -> None:
    """The kernel's own ZEN flag is set only after the bugs are (amd.c init_amd, common.c cpu_set_bug_bits)."""
    assert predicted(kernel, ZEN1).vuln["tsa"] == "Not affected"


@pytest.mark.parametrize(
    ("kernel", "text", "runs"),
    [("6.1.192", ATTEMPTED, True), ("6.12.116", ATTEMPTED, True), ("6.16.1", NO_MICROCODE, False),
     ("7.1.5", NO_MICROCODE, False)],
)  # fmt: skip
def test_tsa_without_verw_clear(kernel: str, text: str, runs: bool) -> None:
    """The stable lines force VERW on in a guest, later kernels do not, and say so differently."""
    answer = predicted(kernel, MILAN)
    assert (answer.vuln["tsa"], answer.verw["CLEAR_CPU_BUF"]) == (text, runs)


def test_5_10_never_reads_the_tsa_no_bits() -> None:
    bits = ("tsa_sq_no", "tsa_l1_no", "verw_clear")
    assert predicted("5.10.265", MILAN, *bits).vuln["tsa"] == "Mitigation: Clear CPU buffers"
    assert predicted("5.15.215", MILAN, *bits).vuln["tsa"] == "Not affected"
    assert "tsa" not in predicted("5.10.239", MILAN).vuln


def test_6_12_117_wants_a_third_no_bit_and_lists_zen_5() -> None:
    bits = ("tsa_sq_no", "tsa_l1_no")
    assert predicted("6.12.116", ZEN5, *bits).vuln["tsa"] == "Not affected"
    assert predicted("6.12.117", ZEN5, *bits).vuln["tsa"] == ATTEMPTED
    assert predicted("6.12.117", ZEN5, *bits, "tsa_fill_no").vuln["tsa"] == "Not affected"
    assert predicted("7.1.5", ZEN5, *bits).vuln["tsa"] == "Not affected"


@pytest.mark.parametrize("cpu", [SANDY_BRIDGE, QEMU64])
def test_mmio_unknown_came_and_went(cpu: tuple[str, int, int, int]) -> None:
    """In with 6.0 and 5.10.140, out by 6.16; the three NO bits clear it."""
    texts = {kernel: predicted(kernel, cpu).vuln["mmio_stale_data"] for kernel in ("5.10.139", "5.10.140", "6.16.1")}
    assert texts == {"5.10.139": "Not affected", "5.10.140": "Unknown: No mitigations", "6.16.1": "Not affected"}
    immune = predicted("6.1.192", cpu, "arch_capabilities", arch_caps=0xE000)
    assert immune.vuln["mmio_stale_data"] == "Not affected"


@pytest.mark.parametrize(
    ("kernel", "given", "text"),
    [
        ("6.12.117", {}, NO_MICROCODE),  # by model alone
        ("6.18.9", {}, "Not affected"),  # wants an ATOM core, or a hybrid CPU
        ("6.18.9", {"core_type": 0x20}, NO_MICROCODE),
        ("6.18.9", {"core_type": 0x40}, "Not affected"),
        ("7.2.13", {"core_type": None}, ["Not affected", NO_MICROCODE]),
    ],
)
def test_rfds_on_alder_lake_by_core(kernel: str, given: dict[str, Any], text: object) -> None:
    assert predicted(kernel, ALDER_LAKE, **given).vuln["reg_file_data_sampling"] == text


def test_rfds_on_a_hybrid_cpu() -> None:
    assert predicted("7.1.5", ALDER_LAKE, "hybrid").vuln["reg_file_data_sampling"] == NO_MICROCODE


def test_bhi_and_its_for_every_intel_guest_whatever_its_model() -> None:
    """The first kernels with BHI spared BHI_NO; ITS_NO and BHI_CTRL clear ITS."""
    assert {"bhi", "its"} <= set(predicted("6.1.192", QEMU64).bugs)
    spared = {"arch_caps": 1 << 20}
    assert "bhi" not in predicted("6.1.138", ICE_LAKE, "arch_capabilities", **spared).bugs
    assert "bhi" in predicted("6.1.139", ICE_LAKE, "arch_capabilities", **spared).bugs
    assert "its" not in predicted("6.1.192", ICE_LAKE, "bhi_ctrl").bugs
    assert "its" not in predicted("6.1.192", ICE_LAKE, "arch_capabilities", arch_caps=1 << 62).bugs


def test_bits_that_add_bugs() -> None:
    """RSBA makes any model Retbleed-affected; RTM or TSX_CTRL any model TAA-affected; RFDS_CLEAR any RFDS-affected."""
    bare = {"hypervisor": False, "msrs": {}}
    added = predicted("6.1.192", SANDY_BRIDGE, "arch_capabilities", arch_caps=1 << 2 | 1 << 7 | 1 << 28, **bare)
    assert {"retbleed", "taa", "rfds"} <= set(added.bugs)
    assert not {"retbleed", "taa", "rfds"} & set(predicted("6.1.192", SANDY_BRIDGE, **bare).bugs)


def test_without_avx_no_gds_and_without_random_numbers_no_srbds() -> None:
    assert predicted("6.1.192", KABY_LAKE).vuln["gather_data_sampling"] == "Not affected"
    assert predicted("6.1.192", KABY_LAKE, "avx").vuln["gather_data_sampling"] == HOST_STATUS
    assert predicted("6.1.192", KABY_LAKE).vuln["srbds"] == "Not affected"
    assert predicted("6.1.192", KABY_LAKE, "rdseed").vuln["srbds"] == HOST_STATUS


@pytest.mark.parametrize(
    ("kernel", "text"),
    [("6.12.117", HOST_STATUS), ("6.16.1", "Vulnerable"), ("7.1.5", "Vulnerable")],
)
def test_mitigations_off_in_a_guest_and_srbds(kernel: str, text: str) -> None:
    answer = predicted(kernel, KABY_LAKE, "rdrand", "avx", cmdline="mitigations=off")
    assert answer.vuln["srbds"] == text
    assert answer.vuln["gather_data_sampling"] == HOST_STATUS


@pytest.mark.parametrize(
    ("bits", "caps", "cmdline", "text"),
    [
        ((), 1 << 5, "", "Mitigation: TSX disabled"),  # MDS_NO, no RTM; the model has no MMIO bug
        (("rtm",), 1 << 5, "", NO_MICROCODE),
        (("rtm", "srbds_ctrl"), 1 << 5, "", "Mitigation: Microcode"),
        (("rtm", "srbds_ctrl"), 1 << 5, "srbds=off", "Vulnerable"),
        (("srbds_ctrl",), 0, "srbds=off srbds=full", "Mitigation: Microcode"),
    ],
)
def test_srbds_on_bare_metal(bits: tuple[str, ...], caps: int, cmdline: str, text: str) -> None:
    haswell = (INTEL, 6, 0x3C, 3)
    answer = predicted("6.1.192", haswell, "rdrand", "arch_capabilities", *bits, arch_caps=caps, cmdline=cmdline,
                       hypervisor=False, **NEITHER)  # fmt: skip
    assert answer.vuln["srbds"] == text


@pytest.mark.parametrize(
    ("kernel", "cmdline", "caps", "text"),
    [
        ("6.12.117", "gather_data_sampling=force", 0, "Mitigation: AVX disabled, no microcode"),
        ("6.12.117", "gather_data_sampling=force mitigations=off", 0, NO_MICROCODE),  # off beats force
        ("7.1.5", "gather_data_sampling=force mitigations=off", 0, "Mitigation: AVX disabled, no microcode"),
        ("7.1.5", "mitigations=off", 1 << 25, "Vulnerable"),
        ("7.1.5", "mitigations=auto,no_user_kernel,no_user_user,no_guest_host,no_guest_guest", 1 << 25,
         "Mitigation: Microcode"),  # the threads of a core are still to be kept apart
        ("7.1.5", "mitigations=auto,no_user_kernel,no_user_user,no_guest_host,no_guest_guest,no_cross_thread",
         1 << 25, "Vulnerable"),
        ("6.12.117", "gather_data_sampling=off", 1 << 25, "Vulnerable"),
    ],
)  # fmt: skip
def test_gds_on_bare_metal(kernel: str, cmdline: str, caps: int, text: str) -> None:
    unlocked = {"msrs": {"0x8b": 0, "0x17": 0, "0x123": 0}, "hypervisor": False}
    answer = predicted(kernel, ICE_LAKE, "avx", "arch_capabilities", arch_caps=caps, cmdline=cmdline, **unlocked)
    assert answer.vuln["gather_data_sampling"] == text


def test_gds_locked() -> None:
    locked = {"hypervisor": False, "arch_caps": 1 << 25, "msrs": {"0x123": 1 << 5}, "cmdline": "mitigations=off"}
    answer = predicted("6.12.117", ICE_LAKE, "avx", "arch_capabilities", **locked)
    assert answer.vuln["gather_data_sampling"] == "Mitigation: Microcode (locked)"


@pytest.mark.parametrize(
    ("kernel", "cmdline", "text"),
    [
        ("6.6.150", "mitigations=off pti=on", "Mitigation: PTI"),
        ("6.12.117", "mitigations=off pti=on", "Vulnerable"),
        ("7.1.5", "mitigations=off pti=on", "Mitigation: PTI"),
        ("7.1.5", "mitigations=auto,no_user_kernel", "Vulnerable"),
        ("5.4.301", "nopti", "Vulnerable"),
    ],
)
def test_meltdown_and_its_options(kernel: str, cmdline: str, text: str) -> None:
    assert predicted(kernel, SKYLAKE, cmdline=cmdline).vuln["meltdown"] == text


def test_meltdown_under_xen_pv() -> None:
    answer = predicted("6.1.192", SKYLAKE, xen_pv=True)
    assert answer.vuln["meltdown"] == "Unknown (XEN PV detected, hypervisor mitigation required)"
    assert "sysret_ss_attrs" not in predicted("6.1.192", MILAN, xen_pv=True).bugs


KVM = {"vmentry_l1d_flush": "auto", "ept": "Y", "nx_huge_pages": "Y"}


@pytest.mark.parametrize(
    ("parameters", "cmdline", "smp", "l1tf"),
    [
        (KVM, "", "2,threads=2", "; VMX: conditional cache flushes, SMT vulnerable"),
        (KVM, "nosmt", "2,threads=2", "; VMX: conditional cache flushes, SMT disabled"),
        (KVM, "l1tf=full", "2,threads=2", "; VMX: cache flushes, SMT disabled"),
        (KVM, "l1tf=off", "2,threads=2", "; VMX: vulnerable"),
        (KVM, "l1tf=off", 1, "; VMX: vulnerable, SMT disabled"),
        (KVM | {"ept": "N"}, "", 1, "; VMX: EPT disabled"),
        (KVM | {"vmentry_l1d_flush": "always"}, "mitigations=off", 1, "; VMX: cache flushes, SMT disabled"),
    ],
)
def test_l1tf_on_a_host_that_runs_kvm(parameters: dict[str, str], cmdline: str, smp: int | str, l1tf: str) -> None:
    """vmx.c l1tf_vmx_mitigation as bugs.c l1tf_show_state prints it."""
    answer = predicted("6.12.117", SKYLAKE, "vmx", cmdline=cmdline, smp=smp, hypervisor=False,
                       kvm_parameters=parameters, **NEITHER)  # fmt: skip
    assert answer.vuln["l1tf"] == "Mitigation: PTE Inversion" + l1tf
    # CR4.VMXE is not known: set while a virtual machine runs
    assert answer.vuln["itlb_multihit"] == ["KVM: Mitigation: VMX disabled", "KVM: Mitigation: Split huge pages"]


def test_itlb_multihit_without_vmx_and_without_kvm() -> None:
    assert predicted("6.1.192", SKYLAKE).vuln["itlb_multihit"] == "KVM: Mitigation: VMX unsupported"
    assert predicted("5.4.301", SKYLAKE).vuln["itlb_multihit"] == "KVM: Vulnerable"
    assert predicted("6.1.192", SKYLAKE, config={"KVM": "n"}).vuln["itlb_multihit"] == "Processor vulnerable"
    assert "itlb_multihit" not in predicted("6.1.192", SKYLAKE, "arch_capabilities", arch_caps=1 << 6).bugs


def test_old_microcode_by_platform_and_revision() -> None:
    """7.1.5's table: 0x9e stepping 9, platforms 0x2a, revision 0xf8; a revision with bit 31 is always old."""

    def text(kernel: str, platform: int, revision: int, *, hypervisor: bool = False) -> object:
        msrs = {"0x17": platform << 50, "0x8b": revision << 32}
        return predicted(kernel, KABY_LAKE, hypervisor=hypervisor, msrs=msrs).vuln.get("old_microcode")

    assert text("7.1.5", 1, 0xF0) == "Vulnerable"
    assert text("7.1.5", 1, 0xF8) == "Not affected"
    assert text("7.1.5", 0, 0xF0) == "Not affected"  # bit 0 is not in the row's mask
    assert text("6.18.9", 0, 0xF0) == "Vulnerable"  # no masks yet
    assert text("7.1.5", 1, 0x800000F8) == "Vulnerable"
    assert text("7.1.5", 1, 0, hypervisor=True) == "Not affected"
    assert text("6.12.117", 1, 0) is None
    unknown = predicted("7.1.5", KABY_LAKE, hypervisor=False, msrs={"0x8b": 0xF0 << 32})
    assert unknown.vuln["old_microcode"] == ["Not affected", "Vulnerable"]


def test_ghostwrite_is_a_file_from_6_14_on() -> None:
    assert predicted("6.14.0", MILAN).vuln["ghostwrite"] == "Not affected"
    assert "ghostwrite" not in predicted("6.12.117", MILAN).vuln


def test_amd_s_errata() -> None:
    """K8 and K10 by family, model and stepping; Zen 1 by model (amd.c)."""
    assert {"swapgs_fence", "amd_e400", "fxsave_leak"} <= set(predicted("6.1.192", (AMD, 0x0F, 0x41, 2)).bugs)
    assert "amd_e400" not in predicted("6.1.192", (AMD, 0x0F, 0x41, 1)).bugs
    assert {"tlb_mmatch", "amd_e400"} <= set(predicted("7.1.5", (AMD, 0x10, 2, 3)).bugs)
    asked = predicted("6.1.192", (AMD, 0x10, 2, 3), "osvw")  # then MSRs decide
    assert {"tlb_mmatch", "amd_e400"} <= set(asked.bugs_possible)
    assert "div0" in predicted("6.1.192", ZEN1).bugs
    assert "div0" not in predicted("6.1.44", ZEN1).bugs


def test_verw_features_from_6_19_on() -> None:
    """MMIO alone asks for VERW before VM entry only; with MDS it is set for all."""
    alone = predicted("6.19.9", ICE_LAKE, "md_clear", "arch_capabilities", arch_caps=0x2016B)
    assert alone.verw == {"CLEAR_CPU_BUF": False, "CLEAR_CPU_BUF_VM": False, "CLEAR_CPU_BUF_VM_MMIO": True}
    both = predicted("6.19.9", SKYLAKE, "md_clear")
    assert both.verw == {"CLEAR_CPU_BUF": True, "CLEAR_CPU_BUF_VM": True, "CLEAR_CPU_BUF_VM_MMIO": False}
    assert predicted("6.18.9", SKYLAKE, "md_clear").verw["CLEAR_CPU_BUF_VM"] is False
    assert predicted("6.1.80", SKYLAKE, "md_clear").verw == dict.fromkeys(both.verw)
