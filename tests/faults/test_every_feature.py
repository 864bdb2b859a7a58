"""shown compares every CPU feature that QEMU and libvirt have a name for, not those alone that speak of CPU bugs.

Expected: what users saw, in the reports that are named, and what machines of a part have (InstLatx64@087af2c). The
hosts are stand-ins: their lists of flags have the few that rules read.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as with_fields

import archcaps
from archcaps.guest_cpu.formats import read_configuration, read_file
from archcaps.machine.read import read_snapshot
from archcaps.machine.snapshot import Kvm, Reading, Snapshot
from archcaps.questions.shown import shown
from archcaps.questions.shown_results import ShownResult

DATA = Path("tests/faults/data/vmm")


def of_file(path: str, host: str, release: str | None) -> ShownResult:
    asked = replace(read_file(DATA / path), release=release)
    place = Path(host) if "/" in host else DATA / "hosts" / f"{host}.toml"
    return shown(asked, read_snapshot(place, "host"))


def of_cpu(cpu: str, host: Snapshot | None, release: str = "11.1.3", machine: str = "q35") -> ShownResult:
    text = f"qemu-system-x86_64 -machine {machine} -accel kvm -cpu {cpu}"
    return shown(replace(read_configuration(text, "the test", "qemu"), release=release), host)


def dropped(result: ShownResult) -> set[str]:
    return {name for name, value in result.features.items() if value is False}


def unknown(result: ShownResult) -> set[str]:
    return {name for name, value in result.features.items() if value is None}


def test_an_over_full_option_on_ivy_bridge() -> None:
    """foxlet/macOS-Simple-KVM#245: seven features are warned of; of two nobody knows whether the part has them."""
    result = of_file("over-full/basic.sh", "ivybridge-ep", "5.2.0")
    assert dropped(result) == {"fma", "movbe", "bmi1", "avx2", "bmi2"}
    assert unknown(result) >= {"xsavec", "xgetbv1"}
    assert not dropped(result) & {"smep", "aes", "sse4.2"}  # the part has them
    assert result.messages == [
        "host doesn't support requested feature: CPUID.01H:ECX.fma [bit 12]",
        "host doesn't support requested feature: CPUID.01H:ECX.movbe [bit 22]",
        "host doesn't support requested feature: CPUID.07H:EBX.bmi1 [bit 3]",
        "host doesn't support requested feature: CPUID.07H:EBX.avx2 [bit 5]",
        "host doesn't support requested feature: CPUID.07H:EBX.bmi2 [bit 8]",
    ]
    count = len(unknown(result))
    assert result.headline == f"STARTS: 5 features dropped, not known of {count} features."
    assert result.exit_code == 3


def test_an_own_option_in_a_domain_on_ryzen() -> None:
    """SpaceinvaderOne/Macinabox#70: pcid and fma4 are warned of, and the guest starts."""
    result = of_file("own-cpu/domain.xml", "ryzen-2700x", "9.0.0/6.2.0")
    assert dropped(result) == {"pcid", "fma4"}
    assert result.starts is True
    assert result.exit_code == 3


def test_a_domain_made_on_another_machine() -> None:
    """Fmstrat/winapps#42, libvirt's message; the host there lacked ss, aes and pdpe1gb too, as this one may."""
    result = of_file("of-another-machine/domain.xml", "sandybridge", "7.0.0/5.2.0")
    assert result.starts is False
    assert result.refused == (
        "operation failed: guest CPU doesn't match specification: missing features: "
        "fma,movbe,f16c,rdrand,fsgsbase,bmi1,avx2,smep,bmi2,erms,invpcid,abm"
    )


def test_enforce_on_a_host_without_the_features() -> None:
    result = of_file("haswell/line.sh", "sandybridge", "9.2.1")
    assert result.headline.startswith("DOES NOT START")
    assert {"avx2", "fma", "movbe", "bmi1", "bmi2"} <= dropped(result)


@pytest.mark.parametrize(
    ("release", "starts"),
    [
        ("7.0.0/6.2.0", False),
        ("9.0.0/7.2.22", None),
        ("11.3.0/9.2.1", None),
    ],
)
def test_mpx_of_libvirts_own_definition(release: str, starts: bool | None) -> None:
    """kubevirt/kubevirt#9239: Ice Lake has no MPX, which libvirt's definition of Skylake has and QEMU's has not."""
    host = "examples/old-model-on-ice-lake/host.toml"
    result = of_file("mpx/domain.xml", host, release)
    assert result.starts is starts
    if starts is False:
        assert result.refused == (
            "the CPU is incompatible with host CPU: Host CPU does not provide required features: mpx"
        )
    # KubeVirt itself switches mpx off: #11287
    assert of_file("mpx/vm.yaml", host, release).refused is None


def test_vmx_in_a_named_model_of_an_old_qemu() -> None:
    """virt-manager/virt-manager#235: warnings of vmx-posted-intr and others, which nothing here says of this host."""
    for path, release in (("vmx-controls/line.sh", "5.2.0"), ("vmx-controls/asked.sh", "8.2.2")):
        result = of_file(path, "ivybridge-ep", release)
        assert "and the model's vmx-* controls" in result.headline
        assert result.exit_code == 3
        assert any("MSR(48DH).vmx-posted-intr [bit 7]" in text for text in result.notices)
    assert "vmx-posted-intr" in unknown(of_file("vmx-controls/asked.sh", "ivybridge-ep", "8.2.2"))


def test_a_running_domain_is_the_truth() -> None:
    """harvester/harvester#5243: its XML has svm disabled."""
    result = of_file("running-milan/running.xml", "examples/arch-capabilities-on-amd/host-6.12.toml", None)
    assert result.headline.startswith("RUNS")
    assert result.features["svm"] is False
    assert result.exit_code == 0


def test_without_a_host_nothing_is_dropped() -> None:
    """autotest/tp-qemu#4470."""
    text = (DATA / "virt-ssbd" / "line.sh").read_text(encoding="utf-8")
    result = shown(read_configuration(text, "line.sh"), None)
    assert result["virt_ssbd"].guest is True
    assert unknown(result) == dropped(result) == set()


# --- what tells of a host ----------------------------------------------------------------------------------


def with_words(offered: dict[str, int], own: dict[str, int] | None = None, cmdline: str | None = "") -> Snapshot:
    """A host of which whole CPUID words are known: KVM's, and its own."""
    host = archcaps.host("6/0x8f/8", None, None, "6.12.117", "")
    readings = {name: Reading(value=value) for name, value in offered.items()}
    registers = {name: Reading(value=value) for name, value in (own or {}).items()}
    kernel = with_fields(host.kernel, cmdline=cmdline)
    return with_fields(host, kvm=Kvm(offered=readings), registers=registers, kernel=kernel)


FMA, XSAVEC, LM = 1 << 12, 1 << 1, 1 << 29


def test_kvms_own_words_decide() -> None:
    host = with_words({"cpuid_1_ecx": FMA, "cpuid_d_1_eax": 0}, {"cpuid_1_ecx": 0, "cpuid_d_1_eax": XSAVEC})
    result = of_cpu("qemu64,+fma,+xsavec", host)
    assert (result.features["fma"], result.features["xsavec"]) == (True, False)
    assert "CPUID[eax=0Dh,ecx=01h].EAX.xsavec [bit 1]" in result.messages[-1]


def test_the_hosts_own_words_decide_where_kvm_was_not_asked() -> None:
    own = {"cpuid_1_ecx": FMA, "cpuid_d_1_eax": 0}
    result = of_cpu("qemu64,+fma,+xsavec", with_words({}, own))
    assert (result.features["fma"], result.features["xsavec"]) == (True, False)
    for cmdline in (None, "clearcpuid=fma"):  # the kernel may hide what the CPU has
        assert of_cpu("qemu64,+fma", with_words({}, own, cmdline)).features["fma"] is None


def test_features_by_name_in_a_snapshot() -> None:
    host = archcaps.host("6/0x8f/8", "avx,avx2,fma", None, "6.12.117", "")
    assert of_cpu("qemu64,+fma", host).features["fma"] is True
    assert of_cpu("qemu64,+bmi1", host).features["bmi1"] is None  # the list is of what was asked for
    with pytest.raises(archcaps.InputError, match="unknown bit 'fmaa'"):
        archcaps.host("6/0x8f/8", "avx,fmaa", None, "6.12.117", "")


@pytest.mark.parametrize(
    ("word", "release", "value"),
    [
        ("+acpi", "11.1.3", False),  # KVM never offers it
        ("+tm", "7.2.22", False),
        ("+monitor", "7.2.22", False),
        ("+x2apic", "7.2.22", True),  # KVM makes it
        ("+tsc-deadline", "7.2.22", True),
        ("+arat", "7.2.22", True),
        ("+ht", "7.2.22", False),  # QEMU supports it from 8.2 on
        ("+ht", "8.2.2", True),
        ("+kvm-pv-eoi", "8.2.2", True),
        ("+amx-tile", "11.1.3", None),
    ],
)
def test_what_kvm_and_qemu_do_on_every_host(word: str, release: str, value: bool | None) -> None:
    assert of_cpu(f"qemu64,{word}", with_words({}), release).features[word[1:]] is value


def test_a_feature_goes_with_the_one_it_needs() -> None:
    """QEMU clears SVM's features with SVM, which KVM switches off in named models, without a word."""
    host = with_words({})
    assert "npt" not in of_cpu("EPYC", host).features
    asked = of_cpu("EPYC,+npt", host)
    assert asked.features["npt"] is False
    assert any(one.name == "npt" and "depends on svm" in one.reason for one in asked.differences)


@pytest.mark.parametrize(
    ("release", "warning"),
    [
        ("10.0.13", "CPUID.07H:EBX.mpx [bit 14]"),
        ("10.1.0", "CPUID[eax=07h,ecx=00h].EBX.mpx [bit 14]"),
    ],
)
def test_the_form_of_a_warning_by_release(release: str, warning: str) -> None:
    """QEMU 10.1 writes the subleaf, where a leaf has one (qemu-devel, 30 May 2025, PULL 64/77)."""
    result = of_cpu("qemu64,+mpx", with_words({"cpuid_7_0_ebx": 0}), release)
    assert result.messages == [f"host doesn't support requested feature: {warning}"]
    without_subleaf = of_cpu("qemu64,+fma", with_words({"cpuid_1_ecx": 0}), release).messages
    form = r"CPUID\.01H:ECX" if release == "10.0.13" else r"CPUID\[eax=01h\]\.ECX"
    assert [text for text in without_subleaf if re.search(rf"{form}\.fma \[bit 12\]$", text)]


def test_a_guest_under_another_hypervisor_tells_nothing_of_its_part() -> None:
    host = archcaps.host("6/0x2a/7", "avx,hypervisor", None, "6.12.117", "")
    assert of_cpu("qemu64,+fma", host).features["fma"] is None


def test_every_feature_of_every_model_is_followed() -> None:
    """The tables have a place for each name, so that nothing that is asked for stays unsaid."""
    host = with_words({})
    for cpu in ("GraniteRapids-v7", "EPYC-Turin", "Haswell", "Opteron_G5", "YongFeng"):
        asked = of_cpu(cpu, host)
        assert len(asked.features) > 40, cpu
