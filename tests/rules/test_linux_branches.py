"""Texts of the files about branch prediction and stores, worked out by hand from the kernels' own sources.

The kernels here have no recorded cases, or none with options; beside each group stands the function that was read.
"""

# ruff: noqa: E501  # a case is a line, with its text whole
from __future__ import annotations

import pytest

from tests.rules.linux_texts import machine, text, texts

IBRS_BITS = "hypervisor spec_ctrl intel_stibp ssbd"
RSBA, IBRS_ALL, SSB_NO, RRSBA, PBRSB_NO = 1 << 2, 1 << 1, 1 << 4, 1 << 19, 1 << 24
NO_VECTORS = "mitigations=auto,no_user_kernel,no_user_user,no_guest_host,no_guest_guest"
ALL_KERNELS = (
    "5.4.301", "5.10.265", "5.15.215", "6.1.192", "6.6.150", "6.12.117", "6.16.1", "6.17.0", "6.18.35", "6.19.9",
    "7.1.5",
)  # fmt: skip
SWAPGS = "Mitigation: usercopy/swapgs barriers and __user pointer sanitization"
NO_SWAPGS = "Vulnerable: __user pointer sanitization and usercopy barriers only; no swapgs barriers"


@pytest.mark.parametrize("release", ALL_KERNELS)
@pytest.mark.parametrize("cmdline", ["", "nospectre_v1", "mitigations=off"])
def test_spectre_v1_in_every_kernel(release: str, cmdline: str) -> None:
    assert text("spectre_v1", machine(release, "skylake", IBRS_BITS, cmdline)) == (NO_SWAPGS if cmdline else SWAPGS)


def test_spectre_v1_follows_its_vector_from_6_17() -> None:
    options = "mitigations=auto,no_user_kernel"
    assert text("spectre_v1", machine("6.17.0", "skylake", "", options)) == NO_SWAPGS
    assert text("spectre_v1", machine("6.16.1", "skylake", "", options)) == SWAPGS


SSB = "Mitigation: Speculative Store Bypass disabled"


@pytest.mark.parametrize(
    ("release", "bits", "cmdline", "expected"),
    [
        # __ssb_select_mitigation: seccomp is the default where built in, until 5.15
        ("5.4.301", "ssbd", "", f"{SSB} via prctl and seccomp"),
        ("5.15.215", "ssbd", "", f"{SSB} via prctl and seccomp"),
        ("6.1.192", "ssbd", "", f"{SSB} via prctl"),
        ("6.6.150", "ssbd", "spec_store_bypass_disable=seccomp", f"{SSB} via prctl and seccomp"),
        ("6.16.1", "ssbd", "spec_store_bypass_disable=on", SSB),
        ("7.1.5", "ssbd", "spec_store_bypass_disable=prctl", f"{SSB} via prctl"),
        ("7.1.5", "", "spec_store_bypass_disable=on", "Vulnerable"),
        ("6.12.117", "ssbd", "nospec_store_bypass_disable spec_store_bypass_disable=on", "Vulnerable"),
        ("7.1.5", "ssbd", "spec_store_bypass_disable=on nospec_store_bypass_disable", "Vulnerable"),
        # cmdline_find_option takes the last one, known or not; early parameters skip what they do not know
        ("6.12.117", "ssbd", "spec_store_bypass_disable=on spec_store_bypass_disable=what", f"{SSB} via prctl"),
        ("7.1.5", "ssbd", "spec_store_bypass_disable=on spec_store_bypass_disable=what", SSB),
        # should_mitigate_vuln: user to user; an option given stays
        ("7.1.5", "ssbd", "mitigations=auto,no_user_user", "Vulnerable"),
        ("7.1.5", "ssbd", "mitigations=off spec_store_bypass_disable=on", SSB),
        ("6.16.1", "ssbd", "mitigations=off spec_store_bypass_disable=on", "Vulnerable"),
    ],
)
def test_spec_store_bypass(release: str, bits: str, cmdline: str, expected: str) -> None:
    assert text("spec_store_bypass", machine(release, "skylake", f"hypervisor {bits}", cmdline)) == expected


def test_bad_spectre_microcode_takes_speculation_control_back() -> None:
    """Skylake server stepping 4: bad up to 0x0200003c, on bare metal and with a bit of speculation control."""
    bits = "spec_ctrl intel_stibp ssbd"
    for revision, expected in ((0x0200003C, "Vulnerable"), (0x0200003D, f"{SSB} via prctl")):
        assert text("spec_store_bypass", machine("6.1.192", "skylake", bits, microcode=revision)) == expected
    guest = machine("6.1.192", "skylake", f"{bits} hypervisor", microcode=1)
    assert text("spec_store_bypass", guest) == f"{SSB} via prctl"
    alone = machine("6.1.192", "skylake", "ssbd", microcode=1)
    assert text("spec_store_bypass", alone) == f"{SSB} via prctl"
    unknown = texts("spec_store_bypass", machine("6.1.192", "skylake", bits, microcode=None))
    assert set(unknown) == {"Vulnerable", f"{SSB} via prctl"}


RETPOLINES = (
    "Mitigation: Retpolines; IBPB: conditional; IBRS_FW; STIBP: disabled; RSB filling; PBRSB-eIBRS: Not affected"
)
EIBRS = "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional; PBRSB-eIBRS: SW sequence"


@pytest.mark.parametrize(
    ("release", "part", "bits", "arch_caps", "cmdline", "expected"),
    [
        # commas and no BHI in 5.10, RSB filling with eIBRS, spectre_v2_show_state
        ("5.4.301", "skylake", IBRS_BITS, RSBA, "", "Mitigation: IBRS, IBPB: conditional, STIBP: disabled, RSB filling, PBRSB-eIBRS: Not affected"),
        ("5.10.265", "icelake", IBRS_BITS, IBRS_ALL, "", "Mitigation: Enhanced / Automatic IBRS, IBPB: conditional, RSB filling, PBRSB-eIBRS: SW sequence"),
        ("5.15.215", "icelake", IBRS_BITS, IBRS_ALL, "", f"{EIBRS}; BHI: SW loop, KVM: SW loop"),
        ("5.15.215", "icelake", IBRS_BITS, IBRS_ALL | PBRSB_NO, "", "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional; PBRSB-eIBRS: Not affected; BHI: SW loop, KVM: SW loop"),
        ("5.15.180", "icelake", IBRS_BITS, IBRS_ALL | PBRSB_NO, "", "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional; RSB filling; PBRSB-eIBRS: Not affected; BHI: SW loop, KVM: SW loop"),
        ("6.6.150", "sapphire", f"{IBRS_BITS} bhi_ctrl rrsba_ctrl", IBRS_ALL, "", f"{EIBRS}; BHI: BHI_DIS_S"),
        # bhi_select_mitigation: retpolines come first where RRSBA is absent or can be turned off
        ("7.1.5", "sapphire", f"{IBRS_BITS} bhi_ctrl rrsba_ctrl", IBRS_ALL | RRSBA, "spectre_v2=eibrs,retpoline", "Mitigation: Enhanced / Automatic IBRS + Retpolines; IBPB: conditional; PBRSB-eIBRS: SW sequence; BHI: Retpoline"),
        ("7.1.5", "sapphire", f"{IBRS_BITS} bhi_ctrl", IBRS_ALL | RRSBA, "spectre_v2=eibrs,retpoline", "Mitigation: Enhanced / Automatic IBRS + Retpolines; IBPB: conditional; PBRSB-eIBRS: SW sequence; BHI: BHI_DIS_S"),
        ("7.1.5", "icelake", IBRS_BITS, IBRS_ALL, "spectre_bhi=off", f"{EIBRS}; BHI: Vulnerable"),
        ("7.1.5", "icelake", IBRS_BITS, IBRS_ALL, "spectre_bhi=vmexit", f"{EIBRS}; BHI: Vulnerable, KVM: SW loop"),
        ("6.6.150", "icelake", IBRS_BITS, IBRS_ALL, "spectre_bhi=vmexit", f"{EIBRS}; BHI: SW loop, KVM: SW loop"),
        ("6.1.85", "icelake", IBRS_BITS, IBRS_ALL | PBRSB_NO, "", "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional; RSB filling; PBRSB-eIBRS: Not affected; BHI: SW loop, KVM: SW loop"),
        ("6.1.85", "icelake", IBRS_BITS, IBRS_ALL | PBRSB_NO, "spectre_bhi=auto", "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional; RSB filling; PBRSB-eIBRS: Not affected; BHI: Syscall hardening, KVM: SW loop"),
        # LFENCE: with its fields from 6.17.7, alone before, older kernels without that mode
        ("6.17.0", "icelake", "hypervisor", 0, "spectre_v2=retpoline,lfence", "Vulnerable: LFENCE"),
        ("6.17.7", "icelake", "hypervisor", 0, "spectre_v2=retpoline,lfence", "Vulnerable: LFENCE; STIBP: disabled; RSB filling; PBRSB-eIBRS: Not affected; BHI: SW loop, KVM: SW loop"),
        ("6.16.1", "icelake", "hypervisor", 0, "spectre_v2=retpoline,lfence", "Vulnerable: LFENCE"),
        ("6.6.115", "icelake", "hypervisor", 0, "spectre_v2=retpoline,lfence", "Vulnerable: LFENCE"),
        # legacy IBRS for Retbleed, and what retbleed= and spectre_v2= make of it
        ("6.18.35", "skylake", IBRS_BITS, RSBA, "", "Mitigation: IBRS; IBPB: conditional; STIBP: disabled; RSB filling; PBRSB-eIBRS: Not affected; BHI: SW loop, KVM: SW loop"),
        ("6.18.35", "skylake", IBRS_BITS, RSBA, "retbleed=off", f"{RETPOLINES}; BHI: Retpoline"),
        ("6.6.150", "skylake", IBRS_BITS, RSBA, "retbleed=stuff", f"{RETPOLINES}; BHI: Retpoline"),
        # spectre_v2=on: from 6.16 the update for Retbleed is only made for auto
        ("6.12.117", "skylake", IBRS_BITS, RSBA, "spectre_v2=on", "Mitigation: IBRS; IBPB: always-on; STIBP: disabled; RSB filling; PBRSB-eIBRS: Not affected; BHI: SW loop, KVM: SW loop"),
        ("7.1.5", "skylake", IBRS_BITS, RSBA, "spectre_v2=on", "Mitigation: Retpolines; IBPB: always-on; IBRS_FW; STIBP: disabled; RSB filling; PBRSB-eIBRS: Not affected; BHI: Retpoline"),
        ("7.1.5", "skylake", IBRS_BITS, 0, "mitigations=off", "Vulnerable; IBPB: disabled; STIBP: disabled; PBRSB-eIBRS: Not affected; BHI: Vulnerable"),
        ("6.1.192", "skylake", IBRS_BITS, 0, "nospectre_v2", "Vulnerable; IBPB: disabled; STIBP: disabled; PBRSB-eIBRS: Not affected; BHI: Vulnerable"),
        ("6.19.9", "skylake", IBRS_BITS, 0, "spectre_v2_user=off", "Mitigation: IBRS; IBPB: disabled; STIBP: disabled; RSB filling; PBRSB-eIBRS: Not affected; BHI: SW loop, KVM: SW loop"),
        ("6.6.93", "icelake", IBRS_BITS, IBRS_ALL | PBRSB_NO, "", "Mitigation: Enhanced / Automatic IBRS; IBPB: disabled; PBRSB-eIBRS: Not affected; BHI: SW loop, KVM: SW loop"),
    ],
)  # fmt: skip
def test_spectre_v2(release: str, part: str, bits: str, arch_caps: int, cmdline: str, expected: str) -> None:
    assert text("spectre_v2", machine(release, part, bits, cmdline, arch_caps=arch_caps)) == expected


@pytest.mark.parametrize(
    ("release", "cmdline", "expected"),
    [
        ("6.12.117", "", "STIBP: conditional"),
        ("6.12.117", "nosmt", None),
        ("6.12.117", "nosmt=force", "STIBP: disabled"),
        ("6.12.117", "spectre_v2_user=on", "STIBP: forced"),
        ("6.12.117", "spectre_v2_user=prctl,ibpb", "STIBP: conditional"),
        ("7.1.5", "mitigations=auto,no_cross_thread", "STIBP: disabled"),
        ("7.1.5", "mitigations=auto,no_cross_thread spectre_v2_user=prctl", "STIBP: conditional"),
        ("7.1.5", "mitigations=auto,no_user_user,no_guest_guest", "STIBP: disabled"),
        ("7.1.5", "mds=full,nosmt", None),
    ],
)
def test_stibp_with_threads(release: str, cmdline: str, expected: str | None) -> None:
    line = text("spectre_v2", machine(release, "skylake", IBRS_BITS, cmdline, threads=2))
    assert line is not None
    fields = [field for field in line.split("; ") if field.startswith("STIBP")]
    assert fields == ([] if expected is None else [expected])


def test_unprivileged_ebpf() -> None:
    """unprivileged_ebpf_enabled: CONFIG_BPF_UNPRIV_DEFAULT_OFF is not set."""
    config = {"BPF_UNPRIV_DEFAULT_OFF": "n", "MITIGATION_SPECTRE_V2": "y", "MITIGATION_RETPOLINE": "y"}
    snapshot = machine("6.1.192", "icelake", IBRS_BITS, arch_caps=IBRS_ALL, config=config)
    assert text("spectre_v2", snapshot) == "Vulnerable: eIBRS with unprivileged eBPF"
    for threads, expected in ((2, "Vulnerable: eIBRS+LFENCE with unprivileged eBPF and SMT"), (1, None)):
        asked = machine(
            "6.1.192", "icelake", IBRS_BITS, "spectre_v2=eibrs,lfence", arch_caps=IBRS_ALL, config=config,
            threads=threads,
        )  # fmt: skip
        found = texts("spectre_v2", asked)
        assert (expected in found) is (expected is not None)


def test_no_kvm_means_no_guest_vectors() -> None:
    """From 6.17 without CONFIG_KVM: BHI is off, and safe RET is chosen for user code alone."""
    config = {
        "KVM": "n", "MITIGATION_SPECTRE_V2": "y", "MITIGATION_SPECTRE_BHI": "y", "BPF_UNPRIV_DEFAULT_OFF": "y",
        "MITIGATION_RETPOLINE": "y", "MITIGATION_SRSO": "y", "MITIGATION_IBPB_ENTRY": "y",
    }  # fmt: skip
    for release, ending in (("6.17.0", "BHI: Vulnerable"), ("6.16.1", "BHI: SW loop, KVM: SW loop")):
        line = text("spectre_v2", machine(release, "icelake", IBRS_BITS, arch_caps=IBRS_ALL, config=config))
        assert line == f"{EIBRS}; {ending}"
    zen5 = machine("6.17.0", "zen5", "hypervisor ibpb_brtype srso_user_kernel_no", config=config)
    assert text("spec_rstack_overflow", zen5) == "Vulnerable: Microcode, no safe RET"


STUFFED = "Mitigation: Retpolines, Stuffing RSB"
ALIGNED = "Mitigation: Aligned branch/return thunks"


@pytest.mark.parametrize(
    ("release", "cmdline", "retbleed", "its"),
    [
        ("5.4.301", "", "Mitigation: IBRS", None),
        ("5.15.215", "", "Mitigation: IBRS", ALIGNED),
        ("7.1.5", "", "Mitigation: IBRS", ALIGNED),
        ("6.6.150", "retbleed=stuff", "Mitigation: Stuffing", STUFFED),
        ("7.1.5", "retbleed=stuff", "Mitigation: Stuffing", STUFFED),
        ("6.1.192", "retbleed=stuff", "Mitigation: IBRS", ALIGNED),
        ("7.1.5", "retbleed=off", "Vulnerable", ALIGNED),
        ("7.1.5", "indirect_target_selection=off", "Mitigation: IBRS", "Vulnerable"),
        # its_update_mitigation: stuffing needs retpolines; without them the thunks stay
        ("7.1.5", "indirect_target_selection=stuff", "Mitigation: IBRS", ALIGNED),
        ("7.1.5", "indirect_target_selection=stuff spectre_v2=retpoline", "Mitigation: Stuffing", STUFFED),
        ("6.12.117", "indirect_target_selection=stuff spectre_v2=retpoline", "Mitigation: Stuffing", STUFFED),
        ("5.15.215", "indirect_target_selection=stuff spectre_v2=retpoline", "Vulnerable", ALIGNED),
        # its_select_mitigation of 6.12 comes last: what Intel could not use of retbleed= is none by then
        ("6.12.117", "retbleed=unret indirect_target_selection=stuff spectre_v2=retpoline", "Mitigation: Stuffing", STUFFED),
        # retbleed_update_mitigation of 6.16 leaves what it had selected before, until 6.17.7
        ("6.16.1", "spectre_v2=retpoline", "Mitigation: IBRS", ALIGNED),
        ("6.17.0", "spectre_v2=retpoline", "Mitigation: IBRS", ALIGNED),
        ("6.17.7", "spectre_v2=retpoline", "Vulnerable", ALIGNED),
        ("6.12.117", "spectre_v2=off", "Vulnerable", "Vulnerable"),
        ("6.1.192", "retbleed=unret spectre_v2=retpoline", "Vulnerable: untrained return thunk / IBPB on non-AMD based uarch", ALIGNED),
        ("6.12.117", "retbleed=unret spectre_v2=retpoline", "Vulnerable", ALIGNED),
        ("7.1.5", "mitigations=off", "Vulnerable", "Vulnerable"),
        ("7.1.5", "mitigations=off retbleed=auto", "Vulnerable", "Vulnerable"),
        ("7.1.5", f"{NO_VECTORS} indirect_target_selection=on", "Vulnerable", "Vulnerable"),
    ],
)  # fmt: skip
def test_retbleed_and_its_on_intel(release: str, cmdline: str, retbleed: str, its: str | None) -> None:
    snapshot = machine(release, "skylake", IBRS_BITS, cmdline, arch_caps=RSBA)
    assert text("retbleed", snapshot) == retbleed
    assert text("indirect_target_selection", snapshot) == its


UNRET = "Mitigation: untrained return thunk; SMT"


@pytest.mark.parametrize(
    ("release", "bits", "cmdline", "threads", "expected"),
    [
        ("5.4.301", "amd_ibpb", "", 1, "Vulnerable"),
        ("5.15.215", "amd_ibpb", "", 1, f"{UNRET} disabled"),
        ("6.6.150", "amd_ibpb", "", 2, f"{UNRET} vulnerable"),
        ("6.6.150", "amd_ibpb amd_stibp", "", 2, f"{UNRET} enabled with STIBP protection"),
        ("6.6.150", "amd_ibpb", "retbleed=auto,nosmt", 2, f"{UNRET} disabled"),
        ("7.1.5", "amd_ibpb", "mitigations=auto,nosmt", 2, f"{UNRET} disabled"),
        ("7.1.5", "amd_ibpb amd_stibp", "mitigations=auto,nosmt", 2, f"{UNRET} enabled with STIBP protection"),
        ("7.1.5", "amd_ibpb", "retbleed=ibpb", 1, "Mitigation: IBPB; SMT disabled"),
        ("7.1.5", "", "retbleed=ibpb", 1, f"{UNRET} disabled"),
        ("7.1.5", "amd_ibpb ibpb_brtype", "spec_rstack_overflow=ibpb", 2, "Mitigation: IBPB; SMT vulnerable"),
        ("6.16.1", "amd_ibpb ibpb_brtype", "spec_rstack_overflow=ibpb", 2, f"{UNRET} vulnerable"),
        ("7.1.5", "amd_ibpb btc_no", "", 1, "Not affected"),
        ("7.1.5", "amd_ibpb btc_no", "retbleed=force", 1, f"{UNRET} disabled"),
        ("6.1.192", "amd_ibpb btc_no", "retbleed=force", 1, "Not affected"),
    ],
)
def test_retbleed_on_amd(release: str, bits: str, cmdline: str, threads: int, expected: str) -> None:
    assert text("retbleed", machine(release, "zen2", f"hypervisor {bits}", cmdline, threads=threads)) == expected


@pytest.mark.parametrize(
    ("release", "part", "bits", "cmdline", "threads", "expected"),
    [
        # srso_select_mitigation, four forms of it
        ("5.15.215", "zen3", "hypervisor ibpb_brtype", "", 1, "Mitigation: safe RET"),
        ("5.15.215", "zen3", "hypervisor", "", 1, "Mitigation: safe RET, no microcode"),
        ("5.15.215", "zen3", "hypervisor", "spec_rstack_overflow=ibpb", 1, "Vulnerable, no microcode"),
        ("6.6.150", "zen3", "hypervisor", "", 1, "Vulnerable: Safe RET, no microcode"),
        ("6.6.150", "zen3", "hypervisor ibpb_brtype", "", 1, "Mitigation: Safe RET"),
        ("6.6.150", "zen3", "hypervisor", "spec_rstack_overflow=off", 1, "Vulnerable: No microcode"),
        ("6.12.117", "zen3", "hypervisor", "spec_rstack_overflow=off", 1, "Vulnerable"),
        ("6.16.1", "zen3", "hypervisor", "spec_rstack_overflow=off", 1, "Vulnerable"),
        ("7.1.5", "zen3", "hypervisor", "spec_rstack_overflow=off", 1, "Vulnerable: No microcode"),
        ("6.6.150", "zen3", "hypervisor ibpb_brtype", "spec_rstack_overflow=microcode", 1, "Vulnerable: Microcode, no safe RET"),
        ("6.16.1", "zen3", "hypervisor", "spec_rstack_overflow=microcode", 1, "Vulnerable: Microcode, no safe RET"),
        ("7.1.5", "zen3", "hypervisor", "spec_rstack_overflow=microcode", 1, "Vulnerable: No microcode"),
        # families below 0x19 without SMT: 6.17 asks for no microcode
        ("6.16.1", "zen2", "hypervisor", "", 1, "Vulnerable: Safe RET, no microcode"),
        ("6.16.1", "zen2", "hypervisor ibpb_brtype", "", 1, "Mitigation: SMT disabled"),
        ("6.17.0", "zen2", "hypervisor", "", 1, "Mitigation: SMT disabled"),
        ("6.17.0", "zen2", "hypervisor ibpb_brtype", "", 2, "Mitigation: Safe RET"),
        # Zen 5: only VM exits matter
        ("6.16.1", "zen5", "hypervisor srso_user_kernel_no", "", 1, "Vulnerable: No microcode"),
        ("6.17.0", "zen5", "hypervisor srso_user_kernel_no", "", 1, "Mitigation: IBPB on VMEXIT only"),
        ("6.18.35", "zen5", "hypervisor srso_user_kernel_no srso_bp_spec_reduce", "", 1, "Mitigation: Reduced Speculation"),
        ("7.1.5", "zen5", "hypervisor srso_user_kernel_no srso_no", "", 1, "Not affected"),
        # Retbleed's IBPB serves SRSO too where the microcode is there
        ("6.19.9", "zen2", "hypervisor amd_ibpb ibpb_brtype", "retbleed=ibpb", 2, "Mitigation: IBPB"),
    ],
)  # fmt: skip
def test_srso(release: str, part: str, bits: str, cmdline: str, threads: int, expected: str) -> None:
    assert text("spec_rstack_overflow", machine(release, part, bits, cmdline, threads=threads)) == expected


@pytest.mark.parametrize("release", ["5.10.265", "6.1.192"])
def test_first_kernels_with_srso_probe_guests_too(release: str) -> None:
    """cpu_has_ibpb_brtype_microcode has no test of the hypervisor bit: the answer depends on a write to MSR 0x49."""
    with_it, without = "Mitigation: safe RET", "Mitigation: safe RET, no microcode"
    for answer, expected in ((True, {with_it}), (False, {without}), (None, {with_it, without})):
        found = texts("spec_rstack_overflow", machine(release, "zen3", "hypervisor", sbpb=answer))
        assert set(found) == expected


@pytest.mark.parametrize(
    ("release", "bits", "cmdline", "expected"),
    [
        ("6.1.192", "amd_ibpb ibpb_brtype", "", "Mitigation: IBPB before exit to userspace"),
        ("6.1.192", "ibpb_brtype", "", "Vulnerable"),
        ("6.1.192", "amd_ibpb ibpb_brtype hypervisor", "", "Not affected"),
        ("6.1.192", "amd_ibpb ibpb_brtype hypervisor", "vmscape=force", "Mitigation: IBPB before exit to userspace"),
        ("6.12.117", "amd_ibpb ibpb_brtype", "vmscape=off", "Vulnerable"),
        ("6.12.117", "amd_ibpb ibpb_brtype", "spec_rstack_overflow=ibpb-vmexit vmscape=off", "Mitigation: IBPB on VMEXIT"),
        ("6.12.117", "ibpb_brtype", "spec_rstack_overflow=ibpb-vmexit", "Vulnerable"),
        ("7.1.5", "ibpb_brtype", "spec_rstack_overflow=ibpb-vmexit vmscape=off", "Mitigation: IBPB on VMEXIT"),
        ("7.1.5", "amd_ibpb ibpb_brtype", "mitigations=auto,no_guest_host", "Vulnerable"),
        ("7.1.5", "amd_ibpb ibpb_brtype", "mitigations=auto,no_guest_host vmscape=ibpb", "Mitigation: IBPB before exit to userspace"),
        ("5.4.301", "amd_ibpb ibpb_brtype", "", None),
    ],
)  # fmt: skip
def test_vmscape(release: str, bits: str, cmdline: str, expected: str | None) -> None:
    assert text("vmscape", machine(release, "zen3", bits, cmdline)) == expected


def test_forced_its_does_not_take_retbleed_s_mitigation_from_amd() -> None:
    """its_select_mitigation of 6.6 and 6.12 stuffs for Retbleed only where that has none, and only Intel's is reset."""
    options = "indirect_target_selection=force indirect_target_selection=stuff spectre_v2=retpoline"
    for release in ("6.6.150", "6.12.117"):
        zen2 = machine(release, "zen2", "amd_ibpb", options)
        assert text("retbleed", zen2) == f"{UNRET} disabled"
        assert text("indirect_target_selection", zen2) == STUFFED


@pytest.mark.parametrize(
    ("release", "part", "bits", "cmdline", "expected"),
    [
        # srso_select_mitigation of 6.16: IBPB at VM exit needs microcode and MITIGATION_IBPB_ENTRY
        ("6.16.1", "zen3", "hypervisor ibpb_brtype", "spec_rstack_overflow=ibpb-vmexit", "Mitigation: IBPB on VMEXIT only"),
        ("6.16.1", "zen5", "hypervisor srso_bp_spec_reduce", "mitigations=off spec_rstack_overflow=ibpb-vmexit", "Vulnerable"),
        # srso_update_mitigation: Retbleed's IBPB serves SRSO, whatever was selected for it
        ("6.16.1", "zen2", "amd_ibpb ibpb_brtype", "retbleed=ibpb spec_rstack_overflow=off", "Mitigation: IBPB"),
        ("7.1.5", "zen2", "amd_ibpb ibpb_brtype", f"{NO_VECTORS} retbleed=ibpb", "Mitigation: IBPB"),
    ],
)  # fmt: skip
def test_what_srso_takes_over_in_the_end(release: str, part: str, bits: str, cmdline: str, expected: str) -> None:
    assert text("spec_rstack_overflow", machine(release, part, bits, cmdline, threads=2)) == expected


def test_srso_s_ibpb_serves_retbleed_from_6_17_even_where_its_stuffs() -> None:
    """retbleed_update_mitigation: SRSO's comes after what ITS asks for, and is no stuffing that could fail."""
    options = "indirect_target_selection=force indirect_target_selection=stuff spec_rstack_overflow=ibpb"
    for mode, its in (("retpoline", STUFFED), ("retpoline,lfence", "Vulnerable")):
        zen2 = machine("7.1.5", "zen2", "amd_ibpb ibpb_brtype", f"{options} spectre_v2={mode}", threads=2)
        assert text("retbleed", zen2) == "Mitigation: IBPB; SMT vulnerable"
        assert text("indirect_target_selection", zen2) == its


@pytest.mark.parametrize(
    ("release", "arch_caps", "cmdline", "retbleed", "its"),
    [
        # its_update_mitigation: without Retbleed 6.17 asks only whether stuffing is possible, 6.16 whether Retbleed has it
        ("7.1.5", IBRS_ALL, "indirect_target_selection=stuff spectre_v2=retpoline", "Not affected", STUFFED),
        ("6.16.1", IBRS_ALL, "indirect_target_selection=stuff spectre_v2=retpoline", "Not affected", ALIGNED),
        # enhanced IBRS beats stuffing for Retbleed, and then ITS has no call depth tracking either
        ("7.1.5", IBRS_ALL | RSBA, "retbleed=stuff spectre_v2=eibrs,retpoline", "Mitigation: Enhanced IBRS", ALIGNED),
        # stuffing that ITS asks for and that fails leaves nothing of retbleed=ibpb
        ("6.16.1", RSBA, "retbleed=ibpb indirect_target_selection=stuff spectre_v2=retpoline,lfence", "Vulnerable", "Vulnerable"),
    ],
)  # fmt: skip
def test_what_its_and_retbleed_make_of_each_other(
    release: str, arch_caps: int, cmdline: str, retbleed: str, its: str
) -> None:
    snapshot = machine(release, "icelake", IBRS_BITS, cmdline, arch_caps=arch_caps)
    assert text("retbleed", snapshot) == retbleed
    assert text("indirect_target_selection", snapshot) == its
