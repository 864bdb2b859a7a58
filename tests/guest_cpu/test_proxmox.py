"""Proxmox VE: its own expected -cpu options, what its files ask for, and one line for what is wrong."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from archcaps.errors import InputError
from archcaps.guest_cpu.proxmox.cpu_line import BUILTIN_MODELS, VM_FLAGS, cpu_line
from archcaps.guest_cpu.proxmox.files import read_files
from archcaps.guest_cpu.proxmox.format import expand, looks_like, read
from archcaps.guest_cpu.words import word_of
from archcaps.questions.default_guest import default_guest
from tests.guest_cpu.test_firecracker_read import HOST

#: The settings that count and the -cpu option of each of Proxmox VE's tests of configurations for x86_64 that differ
#: in them. Source: proxmox/qemu-server@e6352be src/test/cfg2cmd
_DATA = Path(__file__).parent / "data" / "proxmox-cpu-options.csv"
ROWS = list(csv.DictReader(_DATA.read_text(encoding="utf-8").splitlines()))
#: The custom models of these tests. Source: src/test/run_config2command_tests.pl
MODELS = """
# "qemu64" is also a default CPU, used here to test that this doesn't matter
cpu-model: qemu64
    reported-model athlon
    flags +aes;+avx;-kvm_pv_unhalt
    hv-vendor-id testvend
    phys-bits 40

cpu-model: alldefault

"""


def without_hyperv(option: str) -> str:
    return ",".join(word for word in option.split(",") if not word.startswith("hv_"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["test"])
def test_the_cpu_option_is_the_one_that_proxmox_expects(row: dict[str, str]) -> None:
    text = row["settings"].replace("|", "\n") + "\nname: vm\n" + MODELS
    assert str(cpu_line(read_files(text, "100.conf"), Version(row["qemu"]))) == without_hyperv(row["cpu_option"])


def test_there_are_enough_of_them() -> None:
    assert len(ROWS) >= 40
    assert len({without_hyperv(row["cpu_option"]) for row in ROWS}) >= 8


def test_the_line_of_a_vm() -> None:
    asked = read("name: db\ncpu: host,flags=+md-clear;-pcid\nmachine: pc-q35-9.2+pve1\n", "100.conf")
    assert (asked.vmm, asked.mode, asked.model, asked.machine) == ("proxmox", "host", "host", "pc-q35-9.2")
    assert (asked.name, asked.check, asked.accelerator) == ("db", None, "kvm")
    states = {switch.name: switch.on for switch in asked.switches if switch.where == "100.conf:2"}
    assert states == {"md-clear": True, "pcid": False}


def test_a_vm_that_names_no_cpu() -> None:
    """Source: CPUConfig.pm get_default_cpu_type."""
    assert read("ostype: l26\nmemory: 512\n", "1.conf").model == "kvm64"
    tcg = read("kvm: 0\nmemory: 512\n", "1.conf")
    assert (tcg.model, tcg.accelerator, tcg.check) == ("qemu64", "tcg", None)


def test_a_custom_model_follows_the_vms_file() -> None:
    text = f"cpu: custom-qemu64,flags=+virt-ssbd\nmemory: 1\n{MODELS}"
    asked = read(text, "100.conf")
    assert (asked.model, asked.identity.vendor, asked.check) == ("athlon", "AuthenticAMD", "enforce")
    assert {switch.name: switch.where for switch in asked.switches}["avx"] == "100.conf:7"
    alone = read("cpu-model: x\n\treported-model Cascadelake-Server-v5\n\tflags +fb-clear\n", "cpu-models.conf")
    assert (alone.model, alone.identity.vendor) == ("Cascadelake-Server-v5", "GenuineIntel")
    assert any(switch.name == "fb-clear" and switch.on for switch in alone.switches)


def test_a_custom_model_elsewhere_leaves_all_unknown() -> None:
    shown = expand(read("cpu: custom-x\nmemory: 1\n", "100.conf"), HOST, default_guest(HOST))
    assert word_of(shown.snapshot, "ia32_arch_capabilities")[1] == 0
    assert "cpu-models.conf" in shown.asked.lost_in_words[0]


def test_snapshots_do_not_count_and_pending_changes_are_told() -> None:
    asked = read("cpu: host\n[PENDING]\ncpu: kvm64\n[before]\ncpu: EPYC\n", "100.conf")
    assert asked.model == "host"
    assert asked.lost_in_words == ("cpu changes at the VM's next start ([PENDING]), which is not read",)


def test_a_cpu_of_args_counts() -> None:
    asked = read("cpu: host\nargs: -no-reboot -cpu 'Haswell-v4,+md-clear,enforce'\n", "100.conf")
    assert (asked.vmm, asked.model, asked.check) == ("proxmox", "Haswell-v4", "enforce")
    assert [switch.name for switch in asked.switches] == ["md-clear"]
    assert "takes the place" in asked.lost_in_words[-1]


@pytest.mark.parametrize("model", ["x86-64-v2", "x86-64-v2-AES", "x86-64-v3", "x86-64-v4"])
def test_its_own_models_show_neither_md_clear_nor_arch_capabilities(model: str) -> None:
    asked = replace(read(f"cpu: {model}\nmachine: q35\n", "100.conf"), release="11.1")
    shown = expand(asked, HOST, default_guest(HOST))
    value, known = word_of(shown.snapshot, "cpuid_7_0_edx")
    assert known & 1 << 10
    assert known & 1 << 29
    assert not value & (1 << 10 | 1 << 29)
    assert (shown.snapshot.cpu.family, shown.snapshot.cpu.model) == (15, 107)
    assert asked.model == "qemu64"


def test_md_clear_on_a_vms_line_is_shown() -> None:
    asked = replace(read("cpu: x86-64-v3,flags=+md-clear\nmachine: q35\n", "100.conf"), release="11.1")
    shown = expand(asked, HOST, default_guest(HOST))
    assert word_of(shown.snapshot, "cpuid_7_0_edx")[0] & 1 << 10
    assert shown.asked is asked


def test_nested_virt_is_vmx_on_intel() -> None:
    asked = replace(read("cpu: host,flags=-nested-virt\nmachine: q35\n", "100.conf"), release="11.1")
    value, known = word_of(expand(asked, HOST, default_guest(HOST)).snapshot, "cpuid_1_ecx")
    assert known & 1 << 5
    assert not value & 1 << 5


@pytest.mark.parametrize(
    ("text", "machine"),
    [
        ("memory: 1", "pc"),
        ("machine: q35,viommu=intel\nmemory: 1", "q35"),
        ("machine: type=pc-q35-9.2+pve1.pxe\nmemory: 1", "pc-q35-9.2"),
        ("ostype: win10\nmemory: 1", "pc-i440fx-5.1"),
        ("ostype: win11\nmachine: q35\nmeta: creation-qemu=10.1.2,ctime=1", "pc-q35-10.1"),
        ("ostype: win11\nmachine: q35\nmeta: creation-qemu=9.0.2", "pc-q35-5.1"),
    ],
)
def test_the_machine_type_that_qemu_gets(text: str, machine: str) -> None:
    """Source: Machine.pm get_vm_machine: Windows VMs are pinned."""
    assert read(text, "1.conf").machine == machine


def test_windows_11_depends_on_qemu() -> None:
    text = "cpu: host\nostype: win11\n"
    assert "QEMU's release is not known" in read(text, "1.conf").lost_in_words[0]
    assert "-cet-ibt" not in str(cpu_line(read_files(text, "1.conf"), Version("10.1")))


@pytest.mark.parametrize(
    ("text", "name", "does"),
    [
        ("cpu: host\n", "100.conf", True),
        ("cores: 4\nmemory: 2048\n", "vm.txt", True),
        ("cpu-model: x\n", "cpu-models.conf", True),
        ("memory: 2048\n", "some.yaml", False),
        ("qemu-system-x86_64 -cpu host", "ps", False),
        ('{"cpus": {}}', "100.conf", False),
    ],
)
def test_what_it_looks_like(text: str, name: str, does: bool) -> None:
    assert looks_like(text, name) is does


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("cpu: host,flags=+fb-clear", "1.conf:1: a VM's line may not have the flag fb-clear (expected nested-virt, "),
        ("cpu: host,flags=md-clear", "1.conf:1: 'md-clear' is no flag (expected +NAME or -NAME"),
        ("cpu: host,flag=+md-clear", "1.conf:1: unknown key 'flag' of cpu (did you mean flags?)"),
        ("cpu: host,host", "1.conf:1: the key cputype stands twice in cpu"),
        ("cpu: flags=+md-clear", "1.conf:1: cpu has no type"),
        ("cpu: host,reported-model=kvm64", "1.conf:1: reported-model is for custom models"),
        ("cpu: hots", "1.conf:1: Proxmox VE has no CPU model 'hots' (did you mean host?)"),
        ("cpu: host\n\ncpu: kvm64", "1.conf:3: the setting cpu stands twice"),
        ("cpu host", "1.conf:1: 'cpu host' is no setting of a VM (expected KEY: VALUE)"),
        ("kvm: maybe\nmemory: 1", "1.conf:1: 'maybe' is neither yes nor no"),
        ("args: -cpu 'host", "1.conf:1: args is no command line"),
        ("args: -cpu nonsense", "1.conf:1: QEMU has no CPU model 'nonsense'"),
        ("memory: 1\n\0", "1.conf:2: a NUL byte"),
        ("cpu-model: a\n\treported-modle kvm64", "1.conf:2: unknown property 'reported-modle' of a custom model (did"),
        ("cpu-model: a\nreported-model kvm64", "1.conf:2: 'reported-model kvm64' is no property of a custom model"),
        ("cpu-model: a\n\tlevel 1\n\tlevel 2", "1.conf:3: the property level stands twice in the custom model a"),
        ("cpu-model: a\n\ncpu-model: a", "1.conf:3: the custom model a stands twice"),
        ("cpu-model: a\n\ncpu-model: b", "1.conf: no VM's settings, and 2 custom models"),
        ("cpu-model: a\n\tflags aes", "1.conf:2: 'aes' is no flag"),
        ("cpu-model: a\n\treported-model x86-64-v2", "Proxmox VE has no CPU model 'x86-64-v2'"),
        ("cpu-model: /etc/passwd", "1.conf:1: '/etc/passwd' is no name of a model"),
        ("", "1.conf: no VM's settings"),
    ],
)
def test_one_line_says_what_is_wrong(text: str, line: str) -> None:
    with pytest.raises(InputError) as caught:
        read(text, "1.conf")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


HUGE = (
    "cpu: host," + "," * 2_000_000,
    "a: 1\n" * 700_000,
    "\n" * 4_000_000,
    "cpu: host,flags=" + "+a;" * 1_000_000,
)


@pytest.mark.parametrize("text", HUGE, ids=range(len(HUGE)))
def test_four_mebibytes_are_read(text: str) -> None:
    looks_like(text, "1.conf")
    try:
        read(text, "1.conf")
    except InputError as error:
        assert len(str(error)) < 500


def test_the_tables_are_those_of_the_source() -> None:
    assert len(VM_FLAGS) == 13
    assert set(BUILTIN_MODELS) == {"x86-64-v2", "x86-64-v2-AES", "x86-64-v3", "x86-64-v4"}
