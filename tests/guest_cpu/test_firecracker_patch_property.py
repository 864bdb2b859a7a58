"""A Firecracker template with changes made is the same guest with the changes made, and Firecracker takes it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from archcaps.guest_cpu.changes import GuestChange, MachineChange, ModelChange, SwitchChange
from archcaps.guest_cpu.firecracker.format import expand, patch, read
from archcaps.guest_cpu.firecracker.releases import STATIC_TEMPLATES
from archcaps.guest_cpu.firecracker.template import Modifier, modifiers
from archcaps.guest_cpu.json_tree import read_json
from archcaps.guest_cpu.words import word_of
from archcaps.questions.default_guest import default_guest
from archcaps.tables.bits import BITS, REGISTERS
from tests.guest_cpu.firecracker_templates import NAMES, template
from tests.guest_cpu.test_firecracker_read import HOST

OFFERED = default_guest(HOST)
#: What a template can change and Firecracker does not change after it on Intel.
FREE = sorted(
    name
    for name, bit in BITS.items()
    if (REGISTERS[bit.register].kind == "cpuid" or bit.register == "ia32_arch_capabilities")
    and name not in ("hypervisor", "fdp_excptn_only", "zero_fcs_fds", "waitpkg")
)

# The rules of docs/cpu_templates/schema.json, and of the deserialiser where it asks for more (firecracker@81b38b9).
Word32 = Annotated[str, msgspec.Meta(pattern=r"\A(0x[0-9a-f]{1,8}|0b[01]{1,32})\Z")]


class Register(msgspec.Struct):
    register: Literal["eax", "ebx", "ecx", "edx"]
    bitmap: Annotated[str, msgspec.Meta(pattern=r"\A0b(_*[01x]){32}_*\Z")]


class Leaf(msgspec.Struct):
    leaf: Word32
    subleaf: Word32
    flags: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
    modifiers: list[Register]


class Msr(msgspec.Struct):
    addr: Word32
    bitmap: Annotated[str, msgspec.Meta(pattern=r"\A0b(_*[01x]){64}_*\Z")]


class Template(msgspec.Struct, forbid_unknown_fields=True):
    kvm_capabilities: list[Annotated[str, msgspec.Meta(pattern=r"\A!?[0-9]+\Z")]] = []
    cpuid_modifiers: list[Leaf] = []
    msr_modifiers: list[Msr] = []


def bitmaps(width: int) -> st.SearchStrategy[str]:
    bits = st.lists(st.sampled_from(["0", "1", "x", "x_", "_1"]), min_size=width, max_size=width)
    return bits.map(lambda found: "0b" + "".join(found))


def leaves() -> st.SearchStrategy[dict[str, Any]]:
    register = st.fixed_dictionaries({"register": st.sampled_from(["eax", "ebx", "ecx", "edx"]), "bitmap": bitmaps(32)})
    address = st.sampled_from(["0x1", "0x7", "0xd", "0x80000008", "0x80000021", "0b111"])
    return st.fixed_dictionaries({
        "leaf": address,
        "subleaf": st.sampled_from(["0x0", "0x1", "0x2"]),
        "flags": st.integers(0, 1),
        "modifiers": st.lists(register, max_size=3),
    })  # fmt: skip


def msrs() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"addr": st.sampled_from(["0x10a", "0x1a0", "0x122"]), "bitmap": bitmaps(64)})


texts = st.builds(
    lambda document, indent: json.dumps(document, indent=indent),
    st.fixed_dictionaries(
        {},
        optional={
            "kvm_capabilities": st.just(["!56", "171"]),
            "cpuid_modifiers": st.lists(leaves(), max_size=3),
            "msr_modifiers": st.lists(msrs(), max_size=3),
        },
    ),
    st.sampled_from([None, 2, 4, "\t"]),
)
changes_of = st.dictionaries(st.sampled_from(FREE), st.booleans(), max_size=4)


def words(text: str) -> dict[tuple[int, int, str], tuple[int, int]]:
    """Return what a template makes of each register: its modifiers one after the other, as Firecracker applies them."""
    found: dict[tuple[int, int, str], tuple[int, int]] = {}
    for each in modifiers(read_json(text, "t.json")):
        mask, value = found.get(each.key, (0, 0))
        found[each.key] = mask | each.mask, value & ~each.mask | each.value
    return found


def changed(found: dict[tuple[int, int, str], tuple[int, int]], changes: dict[str, bool]) -> None:
    for name, on in changes.items():
        bit = BITS[name]
        register = REGISTERS[bit.register]
        key = Modifier(register.address, register.subleaf, register.output, 0, 0).key
        mask, value = found.get(key, (0, 0))
        found[key] = mask | bit.mask, value | bit.mask if on else value & ~bit.mask


@given(texts, changes_of)
def test_written_then_read_back(text: str, changes: dict[str, bool]) -> None:
    before = read(text, "t.json")
    made = patch(before, [SwitchChange(name, on) for name, on in changes.items()])
    assert not made.impossible
    expected = words(text)
    changed(expected, changes)
    assert words(made.after) == expected
    assert (made.after == text) is (not made.diff)
    if not changes:
        assert made.after == text
    assert json.loads(made.after).get("kvm_capabilities") == json.loads(text).get("kvm_capabilities")


@given(texts, changes_of)
def test_the_guest_shows_the_changes_and_nothing_else(text: str, changes: dict[str, bool]) -> None:
    before = expand(read(text, "t.json"), HOST, OFFERED).snapshot
    made = patch(read(text, "t.json"), [SwitchChange(name, on) for name, on in changes.items()])
    after = expand(read(made.after, "t.json"), HOST, OFFERED).snapshot
    for register in REGISTERS:
        mask = sum(BITS[name].mask for name in changes if BITS[name].register == register)
        wanted = sum(BITS[name].mask for name, on in changes.items() if on and BITS[name].register == register)
        value, known = word_of(after, register)
        old, was_known = word_of(before, register)
        assert known == was_known | mask
        assert value == old & ~mask | wanted


@given(texts, changes_of.filter(bool))
def test_firecracker_takes_what_is_written(text: str, changes: dict[str, bool]) -> None:
    made = patch(read(text, "t.json"), [SwitchChange(name, on) for name, on in changes.items()])
    msgspec.json.decode(made.after.encode(), type=Template)


def test_one_bit_is_one_line() -> None:
    """The repair that Firecracker made itself in pull request 6115, in the other direction: FB_CLEAR in T2S."""
    made = patch(read(template("T2S"), "T2S.json"), [SwitchChange("fb_clear", on=False)])
    lines = [line for line in made.diff.splitlines() if line[:1] in "+-" and not line.startswith(("+++", "---"))]
    assert len(lines) == 2
    (write,) = (write for write in read(made.after, "T2S.json").writes if write.register == "ia32_arch_capabilities")
    assert write.value == 0xC080C4C


def test_a_static_template_becomes_a_custom_one() -> None:
    text = '{\n  "boot-source": {},\n  "machine-config": {\n    "vcpu_count": 2,\n    "cpu_template": "T2S"\n  }\n}\n'
    asked = replace(read(text, "vm.json"), release="1.16.1")
    made = patch(asked, [SwitchChange("fb_clear", on=True)])
    assert not made.impossible
    config = json.loads(made.after)
    assert config["machine-config"] == {"vcpu_count": 2, "cpu_template": "None"}
    msgspec.convert(config["cpu-config"], Template)
    assert words(json.dumps(config["cpu-config"])) == words(template("T2S"))  # 1.16.1 and FB_CLEAR is the newest


def test_a_bit_of_a_static_template_is_cleared() -> None:
    text = '{"machine-config": {"vcpu_count": 2, "cpu_template": "T2S"}}'
    made = patch(read(text, "vm.json"), [SwitchChange("fb_clear", on=False), SwitchChange("rdcl_no", on=True)])
    msr = words(json.dumps(json.loads(made.after)["cpu-config"]))[0x10A, 0, ""]
    assert msr == ((1 << 64) - 1, 0xC080C4D)


def test_a_configuration_without_a_template_gets_one() -> None:
    made = patch(read('{"boot-source": {}}', "vm.json"), [SwitchChange("md_clear", on=False)])
    assert list(words(json.dumps(json.loads(made.after)["cpu-config"]))) == [(7, 0, "edx")]


def test_another_static_template() -> None:
    text = '{"machine-config": {"vcpu_count": 2, "cpu_template": "T2S"}}'
    made = patch(read(text, "vm.json"), [ModelChange("T2CL")])
    assert made.after == text.replace("T2S", "T2CL")
    made = patch(read('{"machine-config": {"vcpu_count": 2}}', "vm.json"), [ModelChange("T2")])
    assert read(made.after, "vm.json").model == "T2"


def test_what_can_not_be_written_says_why() -> None:
    custom = read(template("T2"), "T2.json")
    why: dict[GuestChange, str] = {
        MachineChange("pc-q35-10.1"): "no types",
        ModelChange("T2CL"): "a custom template takes the place",
        ModelChange("Cascadelake-Server-v7"): "knows no CPU model Cascadelake-Server-v7",
        SwitchChange("hypervisor", on=False): "after the template",
        SwitchChange("waitpkg", on=True): "after the template on GenuineIntel",
        SwitchChange("l1d_flush", on=True): "no register of features",
        SwitchChange("no_such_bit", on=True): "no bit no_such_bit",
    }
    made = patch(custom, list(why))
    assert [change for change, _ in made.impossible] == list(why)
    assert all(part in said for part, (_, said) in zip(why.values(), made.impossible, strict=True))
    assert (made.after, made.diff) == (custom.text, "")
    body = '{"vcpu_count": 2, "mem_size_mib": 128, "cpu_template": "T2S"}'
    assert "PUT /cpu-config" in patch(read(body, "m.json"), [SwitchChange("fb_clear", on=True)]).impossible[0][1]
    elsewhere = read('{"cpu-config": "t.json"}', "vm.json")
    assert "t.json" in patch(elsewhere, [SwitchChange("fb_clear", on=True)]).impossible[0][1]


def test_every_recorded_template_is_valid_and_takes_a_change() -> None:
    assert len(NAMES) == 9
    assert set(STATIC_TEMPLATES) < set(NAMES)
    for name in NAMES:
        msgspec.json.decode(template(name).encode(), type=Template)
        made = patch(read(template(name), name), [SwitchChange("fb_clear", on=True), SwitchChange("md_clear", on=True)])
        expected = words(template(name))
        changed(expected, {"fb_clear": True, "md_clear": True})
        assert words(made.after) == expected
