"""KubeVirt, nova and oVirt: read with lines, changed in place, hostile texts refused at little cost."""

from __future__ import annotations

import json
import re
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import archcaps
from archcaps.errors import InputError
from archcaps.guest_cpu import nova, ovirt
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.changes import GuestChange, MachineChange, ModelChange, SwitchChange
from archcaps.guest_cpu.formats import expand, patch, read_configuration, read_file
from archcaps.guest_cpu.kubevirt import format as kubevirt
from archcaps.guest_cpu.kubevirt.labels import lacking, read_node
from archcaps.guest_cpu.snapshot_bits import has_bit
from archcaps.questions.default_guest import default_guest
from archcaps.tables.bits import BITS

EXAMPLES = Path(__file__).parents[2] / "examples" / "guests"
HOST = archcaps.read_snapshot(Path(__file__).parent / "data" / "libvirt" / "host.json")

HEAD = "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstance\nmetadata:\n  name: x\nspec:\n  domain:"
DOMAINS = (
    " {}\n",
    " {cpu: {model: Nehalem}}\n",
    ' {"cpu":{"features":[]}}\n',
    "\n    cpu:\n      features:\n",
    "\n    cpu: # the CPU\n    devices: {}\n",
    "\n    cpu: ~\n    devices: {}\n",
    "\n    cpu:\n      model: 'Cascadelake-Server'   # old\n"
    "      features: [{name: aes}, {name: md-clear, policy: optional}]",
    "\n    cpu:\n      model: EPYC\n      features:\n      - name: md-clear\n      # last\n"
    "      - {name: ibpb, policy: forbid}\n"
    "    firmware:\n      note: |\n        two\n        lines\n",
    '\n    machine:\n      type: "q35"\n    cpu:\n      model: host-passthrough\n      features:\n'
    "        - policy: disable\n          name: mds-no\n",
)
NOVA = (
    "",
    "[DEFAULT]\ndebug = true\n",
    "[libvirt]\n",
    "[libvirt]\ncpu_mode = host-passthrough\n",
    "[libvirt]\ncpu_mode: custom\ncpu_models = Cascadelake-Server\ncpu_model_extra_flags =\n    md-clear,\n    ssbd\n"
    "[x]\na = 1\n",
    "[libvirt]\n# flags\ncpu_model_extra_flags=-MDS-NO, +ibpb\ncpu_mode=host-model",
)
bits = st.builds(SwitchChange, st.sampled_from(sorted(BITS)), st.booleans())
models = st.sampled_from([[], [ModelChange("Cascadelake-Server")], [ModelChange("EPYC")]])


def on_and_off(asked: Asked) -> dict[str, bool]:
    return {switch.name: switch.on for switch in asked.switches}


def check_law(before: Asked, changes: list[GuestChange]) -> None:
    """What is written, read back, is the same guest with the changes; written again, nothing changes."""
    found = patch(before, changes)
    after = read_configuration(found.after, before.where, before.vmm)
    refused = [change for change, _ in found.impossible]
    wanted = {change.bit: change.on for change in changes if isinstance(change, SwitchChange) and change not in refused}
    named = {BITS[bit].names["libvirt"]: on for bit, on in wanted.items() if "libvirt" in BITS[bit].names}
    kept = {name: on for name, on in on_and_off(before).items() if name not in named and name != "arch-capabilities"}
    states = on_and_off(after)
    assert {name: on for name, on in states.items() if name != "arch-capabilities"} == {
        name: on for name, on in {**kept, **named}.items() if name != "arch-capabilities"
    }
    model = [change.model for change in changes if isinstance(change, ModelChange)]
    assert after.model == (model[-1] if model else before.model)
    assert after.name == before.name
    again = patch(after, [change for change in changes if change not in refused][-1:])
    assert again.diff == ""


@given(st.sampled_from(DOMAINS), st.lists(bits, max_size=5, unique_by=lambda change: change.bit), models)
def test_property_a_manifest_written_and_read_back(
    domain: str, switches: list[GuestChange], model: list[GuestChange]
) -> None:
    before = read_configuration(HEAD + domain, "vm.yaml")
    check_law(before, [*model, *switches])
    written = patch(before, [*model, *switches]).after
    theirs = yaml.safe_load(written)["spec"]["domain"].get("cpu") or {}
    ours = on_and_off(read_configuration(written, "vm.yaml"))
    assert [each["name"] for each in theirs.get("features") or []] == list(ours)


@given(st.sampled_from(NOVA), st.lists(bits, max_size=5, unique_by=lambda change: change.bit), models)
def test_property_nova_conf_written_and_read_back(
    text: str, switches: list[GuestChange], model: list[GuestChange]
) -> None:
    check_law(read_configuration(text, "nova.conf", "nova"), [*model, *switches])


def test_a_virtual_machine() -> None:
    asked = read_file(EXAMPLES / "kubevirt" / "vm.yaml")
    assert (asked.vmm, asked.name, asked.mode, asked.model) == ("kubevirt", "web", "named", "Cascadelake-Server-noTSX")
    assert (asked.machine, on_and_off(asked)) == ("q35", {"md-clear": True, "pku": False})
    assert asked.switches[0].where.endswith("vm.yaml:18")
    shown = expand(asked, HOST, default_guest(HOST))
    assert has_bit(shown.snapshot, "md_clear") is False
    assert shown.refused is not None
    assert "Host CPU does not provide required features" in shown.refused
    assert shown.asked is asked


def test_the_diff_of_a_manifest_is_small() -> None:
    asked = replace(read_file(EXAMPLES / "kubevirt" / "vm.yaml"), where="vm.yaml")
    changes: list[GuestChange] = [SwitchChange("flush_l1d", True), SwitchChange("md_clear", False)]
    changes.append(MachineChange("pc-q35-9.0"))
    lines = patch(asked, changes).diff.splitlines()
    assert [line for line in lines if line[0] in "+-"][2:] == [
        "-            policy: require", "+            policy: disable", "+          - name: flush-l1d",
        "+            policy: require", "-          type: q35", "+          type: pc-q35-9.0",
    ]  # fmt: skip


def test_without_a_model_it_is_host_model_and_that_is_said() -> None:
    asked = kubevirt.read((EXAMPLES / "kubevirt" / "two-instances.yaml").read_text(encoding="utf-8"), "x", "b")
    assert (asked.mode, asked.model, len(asked.lost_in_words)) == ("host-model", None, 1)
    shown = expand(asked, HOST, default_guest(HOST))
    assert has_bit(shown.snapshot, "mds_no") is None


@pytest.mark.parametrize("name", ["a", "b"])
def test_of_several_one_is_named(name: str) -> None:
    text = (EXAMPLES / "kubevirt" / "two-instances.yaml").read_text(encoding="utf-8")
    with pytest.raises(InputError, match=re.escape("x: 2 virtual machines (a, b): say which with --domain NAME")):
        read_configuration(text, "x")
    asked = kubevirt.read(text, "x", name)
    assert asked.name == name
    after = patch(asked, [SwitchChange("md_clear", False)]).after
    assert on_and_off(kubevirt.read(after, "x", name)) == {"md-clear": False}
    other = "ab".replace(name, "")
    assert on_and_off(kubevirt.read(after, "x", other)) == {}
    with pytest.raises(InputError, match=re.escape("no virtual machine 'c' (there are: a, b)")):
        kubevirt.read(text, "x", "c")


def test_json_and_lists_as_kubectl_prints_them() -> None:
    instance = yaml.safe_load(HEAD + DOMAINS[7])
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [instance]}, indent=1)
    asked = read_configuration(text, "vmi.json")
    assert (asked.vmm, asked.model) == ("kubevirt", "EPYC")
    after = patch(asked, [SwitchChange("verw_clear", True)]).after
    assert json.loads(after)["items"][0]["spec"]["domain"]["cpu"]["features"][-1]["name"] == "verw-clear"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "\n    cpu:\n      model: 5\n", "x:8: model is '5' (expected a text; quotes make it one)"),
        (HEAD + "\n    cpu: 5\n", "x:7: cpu is a scalar (expected a mapping)"),
        (HEAD + "\n    cpu:\n      features: {}\n", "x:8: features is a mapping (expected a list)"),
        (HEAD + "\n    cpu:\n      features: [aes]\n", "x:8: a feature that is no mapping"),
        (HEAD + "\n    cpu:\n      features: [{policy: force}]\n", "x:8: a feature without a name"),
        (
            HEAD + "\n    cpu:\n      features: [{name: a, policy: maybe}]\n",
            "x:8: policy 'maybe' (expected one of force",
        ),
        (HEAD + "\n    cpu:\n      features: [{name: a}, {name: a}]\n", "x:8: feature 'a' stands twice"),
        (HEAD + " 5\n", "x:6: VirtualMachineInstance x: no spec.domain"),
        (HEAD + " {}\n  domain: {}\n", "x:7: the key 'domain' stands twice"),
        (HEAD + " &a {}\nx: *a\n", "x:7: the alias *a is refused"),
        (HEAD + " {\n", "x:7: broken YAML"),
        (HEAD + "\n\tcpu: x\n", "x:7: broken YAML"),
        (HEAD + " !!python/object/apply:os.system ['true']\n", "x:6: VirtualMachineInstance x: no spec.domain"),
        (HEAD + " \x00\n", "x: broken YAML"),
        ("apiVersion: kubevirt.io/v1\nkind: KubeVirt\n", "x: no virtual machine of KubeVirt's"),
        ("? [apiVersion: kubevirt.io/v1]\n: x\n", "x:1: a key that is no text"),
    ],
)
def test_what_is_wrong_in_a_manifest_is_one_line(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_configuration(text, "x", "kubevirt")
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


BOMB = "apiVersion: kubevirt.io/v1\na: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "x:3: the alias *a is refused"),
        (HEAD + " " + "[" * 100_000, "x:6: "),  # libyaml's own bound, or ours
        (HEAD + "\n" + "".join("  " * depth + "a:\n" for depth in range(2, 200)), "nested deeper than 64"),
        (HEAD + " [" + "a," * 1_000_000 + "]", "more than 50000 values"),
        (HEAD + " '" + "x" * 4_000_000, "broken YAML"),
        (HEAD + " " + "x" * (5 << 20), "larger than 4 MiB"),
        ("apiVersion: kubevirt.io/v1\n" + "".join(f"k{n}: 1\n" for n in range(20_000)), "no virtual machine"),
    ],
    ids=["bomb", "flow", "block", "many", "quote", "large", "keys"],
)
def test_hostile_yaml_costs_little(text: str, said: str) -> None:
    tracemalloc.start()
    with pytest.raises(InputError, match=re.escape(said)):
        read_configuration(text, "x", "kubevirt")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 << 20


def test_the_labels_of_a_node() -> None:
    text = (EXAMPLES / "kubevirt" / "node.yaml").read_text(encoding="utf-8")
    node = read_node(text, "node.yaml")
    assert (node.name, node.vendor, node.host_model) == ("worker-1", "Intel", "Cascadelake-Server-noTSX")
    assert node.features == {"arch-capabilities", "mds-no"}
    assert node.host_model_required == {"mds-no"}
    assert lacking(read_file(EXAMPLES / "kubevirt" / "vm.yaml"), node) == ("md-clear",)
    other = replace(read_file(EXAMPLES / "kubevirt" / "vm.yaml"), model="EPYC", switches=())
    assert lacking(other, node) == ("EPYC",)
    with pytest.raises(InputError, match="x: 0 nodes"):
        read_node("kind: Pod\n", "x")
    with pytest.raises(InputError, match=r"x:1: a node without metadata\.labels"):
        read_node("kind: Node\n", "x")


def test_nova_conf() -> None:
    asked = read_file(EXAMPLES / "nova" / "nova.conf")
    assert (asked.vmm, asked.mode, asked.model, asked.machine) == ("nova", "named", "Cascadelake-Server-noTSX", "q35")
    assert on_and_off(asked) == {"pcid": True, "md-clear": True, "pku": False}
    assert asked.accelerator == "kvm"


@pytest.mark.parametrize(
    ("text", "mode", "model", "flags"),
    [
        ("", "host-model", None, {}),
        ("[libvirt]\ncpu_mode = Host-Passthrough", "host", None, {}),
        ("[libvirt]\ncpu_mode=none\ncpu_model_extra_flags=aes\n", "default", None, {}),
        ("[libvirt]\ncpu_mode=custom\ncpu_models=A, B\n", "named", "A", {}),
        ("[libvirt]\ncpu_mode=custom\ncpu_model=A\n", "named", "A", {}),
        ('[libvirt]\ncpu_model_extra_flags="PCID, -Ssbd, +md-clear, ssbd"\n', "host-model", None,
         {"pcid": True, "ssbd": True, "md-clear": True}),
        ("[other]\ncpu_mode=custom\n[libvirt]\n;cpu_mode=none\n", "host-model", None, {}),
    ],
)  # fmt: skip
def test_what_nova_conf_asks_for(text: str, mode: str, model: str | None, flags: dict[str, bool]) -> None:
    asked = nova.read(text, "nova.conf")
    assert (asked.mode, asked.model, on_and_off(asked)) == (mode, model, flags)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[libvirt]\ncpu_mode = hostmodel", "nova.conf:2: cpu_mode is 'hostmodel' (did you mean host-model?)"),
        ("[libvirt]\ncpu_mode = custom", "nova.conf:2: cpu_mode=custom without cpu_models"),
        ("[libvirt]\n\ncpu_models = A", "nova.conf:3: cpu_models with cpu_mode=host-model: nova refuses"),
        ("[libvirt]\ncpu_mode = $x", "nova.conf:2: cpu_mode refers to another option"),
        ("[libvirt]\ncpu_model_extra_flags = a b", "nova.conf:2: 'a b' is no flag"),
        ("[libvirt\n", "nova.conf:1: '[libvirt' is no section"),
        (" x\n", "nova.conf:1: a line that goes on"),
        ("[libvirt]\nx\n", "nova.conf:2: 'x' is no option"),
    ],
)
def test_what_is_wrong_in_nova_conf_is_one_line(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        nova.read(text, "nova.conf")
    assert str(caught.value).startswith(said)


def test_what_nova_has_no_words_for() -> None:
    none = patch(nova.read("[libvirt]\ncpu_mode=none\n", "nova.conf"), [SwitchChange("md_clear", True)])
    assert "takes no cpu_model_extra_flags" in none.impossible[0][1]
    machine = patch(nova.read("", "nova.conf"), [MachineChange("q35")])
    assert "hw_machine_type of its image" in machine.impossible[0][1]
    assert (
        patch(nova.read("", "nova.conf"), [SwitchChange("rrsba", True)]).impossible[0][1].startswith("libvirt has no")
    )


def test_ovirts_cpu_types() -> None:
    text = (EXAMPLES / "ovirt" / "ServerCPUList.txt").read_text(encoding="utf-8")
    assert [each.title for each in ovirt.cpu_types(text, "x")][-1] == "Intel Skylake Client IBRS SSBD MDS Family"
    asked = ovirt.read(text, "x", "Intel Skylake Client IBRS SSBD MDS Family")
    assert (asked.model, on_and_off(asked)) == ("Skylake-Client", {"spec-ctrl": True, "ssbd": True, "md-clear": True})
    assert asked.switches[0].where == "x:3"
    assert has_bit(expand(asked, None, None).snapshot, "md_clear") is True
    with pytest.raises(InputError, match=re.escape("x: 3 CPU types (Intel Skylake Client Family, ")):
        read_configuration(text, "x")
    with pytest.raises(InputError, match=r"no CPU type 'Intel Skylake Family' \(did you mean Intel Skylake Client"):
        ovirt.read(text, "x", "Intel Skylake Family")
    with pytest.raises(InputError, match="x: no entry of ServerCPUList"):
        ovirt.read("1:2:3", "x")
    with pytest.raises(InputError, match="x:1: 'md-clear' is no flag"):
        ovirt.read("1:T:model_A:A,md-clear:x86_64;", "x")


def test_ovirts_sql_and_its_two_cluster_levels() -> None:
    sql = (
        "select fn_db_update_config_value('ServerCPUList',\n    '3:T:vmx,model_A:A:x86_64; '\n"
        "        || '4:T:vmx,md_clear,model_A:A,+md-clear:x86_64; '\n"
        "        || '3:P:powernv:POWER8:ppc64;',\n    '4.2');\n"
    )
    asked = read_configuration(sql, "0000_config.sql")
    assert (asked.vmm, on_and_off(asked)) == ("ovirt", {"md-clear": True})
    assert asked.lost_in_words == ("2 cluster levels have T: taken as the last",)
    with pytest.raises(InputError):
        ovirt.read("1:" * 1_000_000, "x")
