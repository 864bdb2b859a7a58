"""A device of the host in the configuration cancels the assumption that there is none.

Expected: on an Ice Lake server under Linux 7.3.4, whose guest is not shown FB_CLEAR, the host's VERW at entry runs with
FB_CLEAR_DIS once host MMIO is mapped (arch/x86/kvm/vmx/vmx.c; examples/verw-after-fb-clear-dis): exposed, exit 2. A
device of which it is not known whether its memory is mapped: undecided, exit 3. None: as it was, with the assumption.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from archcaps.cli.main import cli
from archcaps.guest_cpu.asked import HostDevice
from archcaps.guest_cpu.formats import expand, read_configuration

HOST = Path(__file__).parent / "data" / "guests" / "icx.toml"
QEMU = "qemu-system-x86_64 -accel kvm -cpu Icelake-Server-v7"
UUID = "c2177883-f1bb-47f0-914d-32a22e3a8804"
ASSUMED = "the guest has no host MMIO mapped and no device assigned"

DOMAIN = """<domain type='kvm'><name>g</name><os><type arch='x86_64' machine='pc-q35-11.1'>hvm</type></os>
<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>Icelake-Server-v7</model></cpu>
<devices>{}</devices></domain>"""
XEN_LIKE_QEMU = """<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>g</name>
<devices/><qemu:commandline><qemu:arg value='-device'/><qemu:arg value='vfio-pci,host=01:00.0'/></qemu:commandline>
</domain>"""
VM = """apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {{name: a}}
spec:
  template:
    spec:
      domain:
        cpu: {{model: Icelake-Server-v7}}
        devices: {}
"""
CLUSTER = """---
apiVersion: kubevirt.io/v1
kind: KubeVirt
metadata: {name: kubevirt}
spec:
  configuration:
    permittedHostDevices:
      pciHostDevices: [{pciVendorSelector: "10DE:1EB8", resourceName: nvidia.com/T4}]
      mediatedDevices: [{mdevNameSelector: "GRID T4-1Q", resourceName: nvidia.com/GRID}]
"""


def devices(text: str, name: str = "f") -> list[tuple[bool | None, bool | None]]:
    """Return of each device whether KVM counts it, and whether its memory is mapped."""
    return [(each.counted, each.mapped) for each in read_configuration(text, name).devices]


def check(guest: str, *more: str) -> tuple[int, str]:
    words = [
        "check",
        "--host",
        str(HOST),
        "--guest",
        guest,
        "--vmm-version",
        "11.1.3",
        "--guest-kernel",
        "7.3.4",
        *more,
    ]
    done = CliRunner().invoke(cli, words, standalone_mode=False, catch_exceptions=False)
    return done.return_value, done.stdout


@pytest.mark.parametrize(
    "device",
    [
        "vfio-pci,host=01:00.0",
        "vfio-pci-nohotplug,host=0000:01:00.0,id=hostdev0,bus=pci.5,addr=0x0",
        """'{"driver":"vfio-pci","host":"0000:01:00.0","id":"hostdev0","bus":"pci.5","addr":"0x0"}'""",
        """{"driver":"vfio-pci","host":"0000:01:00.0","id":"hostdev0"}""",
        "driver=vfio-pci,host=01:00.0",
        "vfio-pci,sysfsdev=/sys/bus/pci/devices/0000:01:00.0",
    ],
)
def test_a_pci_device_of_qemu_exposes_the_host(device: str) -> None:
    code, text = check(f"{QEMU} -device {device}")
    assert code == 2
    assert text.startswith("EXPOSED: data of the host can leak to this guest (mmio_stale_data).")
    assert ASSUMED not in " ".join(text.split())


def test_without_a_device_the_assumption_is_printed() -> None:
    code, text = check(f"{QEMU} -device virtio-net-pci,netdev=n0 -netdev user,id=n0 -device ivshmem-plain,memdev=m")
    assert code == 1
    assert ASSUMED in " ".join(text.split())


def test_what_may_be_mapped_is_not_safe() -> None:
    code, text = check(f"{QEMU} -device vfio-pci,sysfsdev=/sys/bus/mdev/devices/{UUID}")
    said = " ".join(text.split())
    assert code == 3
    assert said.startswith("UNDECIDED: facts are missing for mmio_stale_data.")
    assert "whether host MMIO is mapped into the guest is not known" in said
    assert ASSUMED not in said
    assert check(f"{QEMU} -device vfio-pci,sysfsdev=/sys/bus/mdev/devices/{UUID}", "--assume", "host-mmio")[0] == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (f"-device vfio-pci,sysfsdev=/sys/devices/pci0000:00/0000:00:02.0/{UUID}", [(True, None)]),
        ("-device vfio-pci,host=01:00.0,x-no-mmap=on", [(True, None)]),
        ("-device vfio-user-pci,socket=/run/vfu.sock", [(None, None)]),
        ("-netdev vhost-vdpa,id=n,vhostdev=/dev/vhost-vdpa-0 -device virtio-net-pci,netdev=n", []),
        # hw/virtio/virtio-pci.c virtio_pci_set_host_notifier_mr: only a queue with a page of its own is mapped
        ("-netdev vhost-vdpa,id=n,vhostdev=/dev/vhost-vdpa-0 -device virtio-net-pci,netdev=n,page-per-vq=on",
         [(None, None)]),
        ("-readconfig vm.cfg", [(None, None)]),
        ("-object memory-backend-file,id=m,share=on,size=16M,mem-path=/sys/bus/pci/devices/0000:01:00.0/resource0",
         [(None, True)]),
        ("-device usb-host,vendorid=0x1,productid=0x2 -device scsi-block,drive=d -device e1000", []),
        ("-device $GPU", [(None, None)]),
    ],
)  # fmt: skip
def test_devices_of_qemu(words: str, expected: list[tuple[bool | None, bool | None]]) -> None:
    assert devices(f"{QEMU} {words}") == expected


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ("<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0x01' slot='0x00' "
         "function='0x0'/></source></hostdev>", [(True, True)]),
        ("<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source/></hostdev>", [(True, None)]),
        ("<interface type='hostdev' managed='yes'><source/></interface>", [(True, True)]),
        ("<interface type='network'><source network='n'/><actual type='hostdev'/></interface>", [(True, True)]),
        ("<interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/></interface>", []),
        ("<interface type='vdpa'><source dev='/d'/><driver page_per_vq='on'/></interface>", [(None, None)]),
        ("<hostdev mode='subsystem' type='usb'><source/></hostdev><hostdev mode='subsystem' type='scsi'/>", []),
        ("<interface type='network'><source network='default'/></interface>", []),
    ],
)  # fmt: skip
def test_devices_of_libvirt(element: str, expected: list[tuple[bool | None, bool | None]]) -> None:
    assert devices(DOMAIN.format(element)) == expected


def test_arguments_that_libvirt_passes_on() -> None:
    assert devices(XEN_LIKE_QEMU) == [(True, True)]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("hostpci0: 0000:01:00,pcie=1", [(True, True)]),
        ("hostpci0: mapping=gpu,pcie=1,x-vga=1", [(True, True)]),
        ("hostpci3: 0000:00:02.0,mdev=i915-GVTg_V5_4", [(True, None)]),
        ("args: -device vfio-pci,host=01:00.0", [(True, True)]),
        ("usb0: host=1-2", []),
        ("[snap]\nhostpci0: 01:00.0", []),
    ],
)
def test_devices_of_proxmox(lines: str, expected: list[tuple[bool | None, bool | None]]) -> None:
    assert devices(f"cpu: host\nmemory: 4096\ncores: 2\n{lines}\n", "100.conf") == expected


@pytest.mark.parametrize(
    ("given", "more", "expected"),
    [
        ("{gpus: [{name: g, deviceName: nvidia.com/T4}]}", "", [(True, True)]),
        ("{hostDevices: [{name: h, deviceName: example.org/qat}]}", "", [(None, None)]),
        ("{hostDevices: [{name: h, deviceName: nvidia.com/T4}]}", CLUSTER, [(True, True)]),
        ("{gpus: [{name: h, deviceName: nvidia.com/GRID}]}", CLUSTER, [(True, None)]),
        ("{interfaces: [{name: n, sriov: {}}]}", "", [(True, True)]),
        ("{interfaces: [{name: n, masquerade: {}}]}", "", []),
    ],
)
def test_devices_of_kubevirt(given: str, more: str, expected: list[tuple[bool | None, bool | None]]) -> None:
    assert devices(VM.format(given) + more) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"cpus": {"boot_vcpus": 1, "max_vcpus": 1}, "payload": {}, "devices": [{"path": '
         '"/sys/bus/pci/devices/0000:01:00.0/"}]}', [(True, True)]),
        (f'{{"cpus": {{"boot_vcpus": 1}}, "payload": {{}}, "devices": [{{"path": "/sys/bus/mdev/devices/{UUID}"}}]}}',
         [(True, None)]),
        ('{"cpus": {"boot_vcpus": 1}, "payload": {}, "devices": null, "user_devices": [{"socket": "/s"}]}',
         [(None, None)]),
        ("cloud-hypervisor --cpus boot=2 --device path=/sys/bus/pci/devices/0000:01:00.0/,iommu=on "
         "path=/sys/bus/pci/devices/0000:02:00.0/", [(True, True), (True, True)]),
        ("cloud-hypervisor --cpus boot=2 --net tap=t", []),
    ],
)  # fmt: skip
def test_devices_of_cloud_hypervisor(text: str, expected: list[tuple[bool | None, bool | None]]) -> None:
    assert devices(text) == expected


def test_what_nova_may_give_is_not_known() -> None:
    text = '[libvirt]\ncpu_mode = host-passthrough\n[pci]\ndevice_spec = {"vendor_id": "10de"}\n'
    assert devices(text, "nova.conf") == [(None, None)]
    assert devices("[libvirt]\ncpu_mode = host-passthrough\n[pci]\n", "nova.conf") == []


def test_devices_that_a_running_qemu_lists() -> None:
    said = '{"return": true, "id": "arch-capabilities"}'
    listed = '{"return": [{"name": "type", "type": "string"}, {"name": "hostdev0", "type": "child<vfio-pci>"}]}'
    assert devices(said + listed) == [(True, None)]
    assert devices(said + listed.replace("vfio-pci", "virtio-net-pci")) == []


def test_a_flavor_of_nova() -> None:
    text = '{"name": "g1", "properties": {"pci_passthrough:alias": "a1:1"}}'
    assert devices(text) == [(True, True)]
    assert devices('{"name": "g2", "extra_specs": {"resources:VGPU": "1"}}') == [(True, None)]
    shown = expand(read_configuration(text, "f"), None, None)
    assert any("a flavor does not say the CPU" in each for each in shown.asked.lost_in_words)


def test_the_snapshot_says_what_kvm_sees() -> None:
    asked = read_configuration(f"{QEMU} -device vfio-pci,host=01:00.0", "f")
    assert asked.devices == (HostDevice("-device vfio-pci,host=01:00.0", "f"),)
    vm = expand(asked, None, None).snapshot.vm
    assert (vm.has_assigned_device, vm.has_mapped_host_mmio, vm.has_host_device) == (True, True, True)
