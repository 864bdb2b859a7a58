"""Texts of several documents: virt-install's two, KubeVirt's kinds, instance types beside or absent, templates.

Source: virt-install --print-xml (man page: the installation's XML and the final one); KubeVirt
staging/src/kubevirt.io/api/instancetype/v1beta1/types.go (CPUInstancetype.model, CPUPreferences.preferredCPUFeatures),
pool/v1beta1/types.go.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from archcaps.errors import InputError
from archcaps.guest_cpu.changes import SwitchChange
from archcaps.guest_cpu.formats import expand, patch, read_configuration, read_file

DATA = Path(__file__).parent / "data" / "guests"
DOMAIN = "<domain type='kvm'><name>{}</name><cpu mode='custom'><model>{}</model></cpu></domain>\n"


def test_the_last_document_of_one_domain_counts() -> None:
    asked = read_file(DATA / "two-documents.xml")
    assert (asked.name, asked.mode) == ("vm1", "host")
    text = DOMAIN.format("a", "EPYC") + DOMAIN.format("a", "EPYC-Rome")
    assert read_configuration(text, "f").model == "EPYC-Rome"
    made = patch(read_configuration(text, "f"), [SwitchChange("md_clear", on=True)])
    assert made.after.startswith(DOMAIN.format("a", "EPYC"))
    assert made.after.count("<feature policy='require' name='md-clear'/>") == 1


def test_domains_of_several_names_are_chosen_from() -> None:
    text = DOMAIN.format("a", "EPYC") + DOMAIN.format("b", "EPYC-Rome")
    with pytest.raises(InputError, match=r"f: 2 domains \(a, b\): say which with --domain NAME"):
        read_configuration(text, "f")
    assert read_configuration(text, "f", member="a").model == "EPYC"
    asked = read_configuration(text, "f", member="b")
    assert expand(asked, None, None).snapshot.cpu.model == 0x31
    with pytest.raises(InputError, match="no domain 'c'"):
        read_configuration(text, "f", member="c")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DOMAIN.format("a", "EPYC") + "rubbish", "f:2: broken XML: junk after document element"),
        (DOMAIN.format("a", "EPYC") + "<domain>", "f:2: broken XML"),
        ("<cpu/>\n" * 65, "more than 64 XML documents"),
    ],
)
def test_what_is_no_document(text: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        read_configuration(text, "f")
    assert said in str(refused.value)


def test_pools_and_instance_types() -> None:
    assert read_file(DATA / "kv-pool.yaml").model == "Cascadelake-Server-noTSX"
    asked = read_file(DATA / "kv-instancetype.yaml")
    assert asked.model == "Cascadelake-Server-noTSX"
    assert [(each.name, each.on) for each in asked.switches] == [("md-clear", True)]


def test_an_instance_type_elsewhere_leaves_the_cpu_unknown() -> None:
    asked = read_file(DATA / "kv-instancetype-fix.yaml")
    shown = expand(asked, None, None)
    assert shown.snapshot.cpu.vendor is None
    assert (
        "it may come of the VirtualMachineClusterInstancetype u1.medium, which is not in this text" in shown.notices[0]
    )
    assert not any("host-model" in each for each in shown.notices)


def test_the_clusters_own_model() -> None:
    vm = (
        "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstance\nmetadata: {name: a}\nspec: {domain: {devices: {}}}\n"
    )
    cluster = "---\napiVersion: kubevirt.io/v1\nkind: KubeVirt\nspec: {configuration: {cpuModel: EPYC}}\n"
    assert read_configuration(vm + cluster, "f").model == "EPYC"


@pytest.mark.parametrize(
    "text",
    [
        "- {apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: a}, spec: {domain: {}}}\n",
        '{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "kubevirt.io/v1", "kind": '
        '"VirtualMachineInstance", "metadata": {"name": "a"}, "spec": {"domain": {}}}]}',
        "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstanceReplicaSet\nmetadata: {name: a}\n"
        "spec: {template: {spec: {domain: {}}}}\n",
    ],
)  # fmt: skip
def test_other_holders(text: str) -> None:
    assert read_configuration(text, "f").name == "a"


def test_a_template_is_said_to_be_one() -> None:
    with pytest.raises(InputError) as refused:
        read_file(DATA / "kv-helm.yaml")
    assert "kv-helm.yaml:4:" in str(refused.value)
    assert "{{ ... }} is a template's: give what it renders" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("virt-install --name a --memory 1 --cpu host-passthrough --import\n", "give what it prints with --print-xml"),
        ('[hypervisor.qemu]\npath = "/usr/bin/qemu-system-x86_64"\n', "Kata Containers' configuration"),
        ("architecture: x86_64\nconfig: {}\ntype: virtual-machine\n", "give the QEMU that it has started by --pid"),
        ("architecture: x86_64\nconfig: {}\ntype: container\n", "a container, which has no CPU of its own"),
    ],
)
def test_what_is_not_read_says_what_to_give(text: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        read_configuration(text, "f")
    assert said in str(refused.value)
