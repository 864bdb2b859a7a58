"""A guest that is none of KVM's on x86 is refused in one line, wherever its configuration says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from archcaps.cli.main import cli
from archcaps.errors import InputError
from archcaps.guest_cpu.formats import expand, read_configuration, read_file

DATA = Path(__file__).parent / "data" / "guests"
VM = "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstance\nmetadata: {name: a}\nspec:\n  domain: {devices: {}}\n"


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("bhyve-type.xml", ":1: a guest of type='bhyve' (FreeBSD's bhyve): archcaps knows guests of Linux's KVM"),
        ("vmware-type.xml", ":1: a guest of type='vmware' (VMware): archcaps knows guests of Linux's KVM"),
        ("hvf-type.xml", ":1: a guest of type='hvf' (macOS's Hypervisor.framework): archcaps knows guests of Linux's"),
        ("lxc.conf", ": a container (LXC): it has no CPU of its own"),
        ("pve-arm.conf", ":1: a guest of aarch64: archcaps knows x86 alone"),
        ("kv-arm.yaml", ":7: a guest of arm64: archcaps knows x86 alone"),
    ],
)
def test_a_file(file: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        read_file(DATA / file)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<domain type='kvm'><os><type arch='aarch64' machine='virt'>hvm</type></os></domain>", "aarch64"),
        ("<domain type='kvm'><os><type machine='virt-8.2'>hvm</type></os></domain>", "virt-8.2 is of another CPU"),
        ("<domain type='kvm'><os><type>hvm</type></os><devices><emulator>/usr/bin/qemu-system-riscv64</emulator>"
         "</devices></domain>", "qemu-system-riscv64"),
        ("<domain type='lxc'><os><type>exe</type></os></domain>", "LXC, a container"),
        ("<domain type='kmv'/>", "did you mean kvm?"),
        ("<domainCapabilities><domain>kvm</domain><arch>aarch64</arch><cpu><mode name='host-model' supported='yes'>"
         "<model>x</model></mode></cpu></domainCapabilities>", "aarch64"),
        (f"{VM}  nodeSelector: {{kubernetes.io/arch: arm64}}\n", "arm64"),
        (f"{VM}  nodeSelector: {{beta.kubernetes.io/arch: s390x}}\n", "s390x"),
        (f"{VM}  affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: "
         "[{matchExpressions: [{key: kubernetes.io/arch, operator: In, values: [arm64]}]}]}}}\n", "arm64"),
        ("qemu-system-aarch64 -M virt -cpu host -accel kvm", "a guest of aarch64 (qemu-system-aarch64)"),
        ("sudo -E /opt/bin/qemu-system-riscv64 -M virt -cpu rv64", "a guest of riscv64"),
        ("-machine virt -cpu host", "the machine type virt is of another CPU"),
        ("qemu-system-x86_64 -accel hvf -cpu host", "hvf is macOS's Hypervisor.framework"),
        ("qemu-system-x86_64.exe -accel whpx,kernel-irqchip=off -cpu qemu64", "whpx is Windows' hypervisor"),
        ("qemu-system-x86_64 -M q35,accel=hvf:tcg -cpu host", "hvf is macOS's"),
        ("qemu-system-x86_64 -accel kmv -cpu host", "no accelerator 'kmv' (did you mean kvm?)"),
        ("arch: aarch64\nmemory: 1\ncores: 1\nostype: l26\n", "a guest of aarch64"),
        ("arch: amd64\nostype: alpine\nmemory: 512\ncores: 1\n", "a container (LXC)"),
        ("memory: 512\ncores: 1\nlxc.cgroup2.devices.allow: c 226:0 rwm\n", "a container (LXC)"),
        ("[libvirt]\nvirt_type = lxc\ncpu_mode = none\n", "guests of virt_type=lxc"),
    ],
)  # fmt: skip
def test_a_text(text: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        read_configuration(text, "f")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        f"{VM}  architecture: amd64\n  nodeSelector: {{kubernetes.io/arch: amd64, zone: a}}\n",
        f"{VM}  affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: "
        "[{matchExpressions: [{key: kubernetes.io/arch, operator: In, values: [arm64, amd64]}]}]}}}\n",
        "<domain type='kvm'><os><type arch='i686'>hvm</type></os></domain>",
        "arch: x86_64\nmemory: 1\ncores: 1\nostype: l26\n",
        "qemu-system-x86_64 -accel kvm -accel tcg -cpu host",
    ],
)  # fmt: skip
def test_a_guest_of_x86_is_read(text: str) -> None:
    assert read_configuration(text, "f").accelerator in ("kvm", None)


@pytest.mark.parametrize(
    "text",
    [
        "<domain type='xen'><name>x</name><os><type arch='x86_64' machine='xenpvh'>xenpvh</type></os></domain>",
        "qemu-system-x86_64 -accel xen -cpu host",
    ],
)
def test_of_a_guest_of_xen_nothing_is_known(text: str) -> None:
    shown = expand(read_configuration(text, "f"), None, None)
    assert shown.snapshot.cpu.vendor is None
    assert shown.snapshot.registers["ia32_arch_capabilities"].known == 0
    assert shown.notices[0].startswith("a guest of Xen: archcaps has no model of Xen's default policy")


@pytest.mark.parametrize(
    ("guest", "said"),
    [
        ("qemu-system-x86_64 -cpu Icelake-Server-v7", "a guest without KVM, whose code QEMU translates (TCG)"),
        ("qemu-system-x86_64 -accel tcg -cpu max", "if it has it, write -accel kvm"),
        (str(DATA / "xen-type.xml"), "a guest of Xen: archcaps judges guests of KVM"),
        (str(DATA / "script-tcg-host.sh"), "a guest without KVM"),
    ],
)
def test_check_judges_guests_of_kvm(guest: str, said: str) -> None:
    words = ["check", "--host", str(DATA / "icx.toml"), "--guest", guest, "--guest-kernel", "7.3.4"]
    with pytest.raises(InputError) as refused:
        CliRunner().invoke(cli, words, standalone_mode=False, catch_exceptions=False)
    assert said in str(refused.value)


def test_cpu_host_without_kvm_does_not_start() -> None:
    done = CliRunner().invoke(cli, ["shown", "--guest", str(DATA / "script-tcg-host.sh")], standalone_mode=False)
    assert done.return_value == 2
    assert done.stdout.startswith("DOES NOT START.\n  -cpu host needs KVM")
