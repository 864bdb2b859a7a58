"""Firecracker's JSON: what it asks for, by Firecracker's own rules of reading, and one line for what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from archcaps.errors import InputError
from archcaps.guest_cpu import formats
from archcaps.guest_cpu.asked import MaskedWrite
from archcaps.guest_cpu.firecracker.format import read
from archcaps.guest_cpu.firecracker.releases import STATIC_TEMPLATES, newest, static_template
from archcaps.guest_cpu.firecracker.template import modifiers
from archcaps.guest_cpu.json_tree import read_json
from archcaps.guest_cpu.words import word_of
from archcaps.questions.default_guest import default_guest
from tests.guest_cpu.firecracker_templates import template
from tests.reality.test_firecracker_hosts import FINGERPRINTS, host_of

ONES = "1" * 64
HOST = host_of(next(row for row in FINGERPRINTS if (row["host_cpu"], row["host_kernel"]) == ("INTEL_ICELAKE", "6.1")))


def test_bits_stand_highest_first() -> None:
    """The example of Firecracker's deserialiser: 010x is filter 1110 and value 0100."""
    text = '{"msr_modifiers": [{"addr": "0x10a", "bitmap": "0b010x"}]}'
    asked = read(text, "t.json")
    write = MaskedWrite("ia32_arch_capabilities", "MSR 0x10a", 0b1110, 0b0100, "t.json:1")
    assert (asked.vmm, asked.mode, asked.writes) == ("firecracker", "template", (write,))


def test_underscores_stand_anywhere_and_0b_may_be_missing() -> None:
    text = '{"cpuid_modifiers": [{"leaf": "0x7", "subleaf": "0b0", "flags": 1, "modifiers": [\n'
    text += '{"register": "edx", "bitmap": "_1_xx_xxxx____xxxx_x1xx_xxxx_xxxx_"}]}]}'
    (write,) = read(text, "t.json").writes
    assert (write.register, write.mask, write.value, write.where) == ("cpuid_7_0_edx", 0x400400, 0x400400, "t.json:2")


@pytest.mark.parametrize("name", STATIC_TEMPLATES)
def test_static_templates_are_the_custom_ones_of_the_same_name(name: str) -> None:
    """Firecracker publishes each static template as a custom one as well: two sources for one table."""
    certain, unsure = static_template(name, None if name not in ("T2S", "T2CL", "T2A") else newest())
    assert not unsure
    custom = modifiers(read_json(template(name), name))
    assert {each.key: (each.mask, each.value) for each in certain} == {
        each.key: (each.mask, each.value) for each in custom
    }


def test_t2s_by_release() -> None:
    """The values of T2S in the sources of 1.4.0, 1.5.0, 1.8.0, and since pull request 6115."""
    asked = read('{"machine-config": {"cpu_template": "T2S"}}', "vm.json")
    values = {
        release: word_of(formats.expand(replace(asked, release=release), None, None).snapshot, "ia32_arch_capabilities")
        for release in ("1.4.0", "1.5.0", "1.7.0", "v1.8.0", "1.16.1", "1.17.0", None, "1.16.9")
    }
    all_known = (1 << 64) - 1
    assert values["1.4.0"] == (0x80C4C, all_known)
    assert values["1.5.0"] == values["1.7.0"] == (0x4080C4C, all_known)
    assert values["v1.8.0"] == values["1.16.1"] == (0xC080C4C, all_known)
    assert values["1.17.0"] == (0xC0A0C4C, all_known)
    assert values["1.16.9"] == (0xC080C4C, all_known & ~(1 << 17))
    assert values[None] == (0x80C4C, all_known & ~(1 << 17 | 1 << 26 | 1 << 27))


def test_a_template_on_another_vendors_host_is_refused() -> None:
    asked = read('{"machine-config": {"cpu_template": "T2A"}}', "vm.json")
    shown = formats.expand(asked, HOST, default_guest(HOST))
    assert shown.refused is not None
    assert "CpuVendorMismatched" in shown.refused
    t2s = read('{"machine-config": {"cpu_template": "T2S"}}', "vm.json")
    assert formats.expand(replace(t2s, release="1.11.0"), HOST, default_guest(HOST)).refused is None
    later = formats.expand(replace(t2s, release="1.12.0"), HOST, default_guest(HOST))
    assert "InvalidCpuModel" in (later.refused or "")


def test_hiding_the_msr_and_setting_it_is_refused_by_kvm_from_6_13_on() -> None:
    text = '{"cpuid_modifiers": [{"leaf": "0x7", "subleaf": "0x0", "flags": 1, "modifiers": [{"register": "edx",'
    text += f' "bitmap": "0bxx0{"x" * 29}"}}]}}], "msr_modifiers": [{{"addr": "0x10a", "bitmap": "0b{ONES}"}}]}}'
    for kernel, refused in (("6.1", False), ("6.18", True)):
        recorded = ("INTEL_ICELAKE", kernel)
        host = host_of(next(row for row in FINGERPRINTS if (row["host_cpu"], row["host_kernel"]) == recorded))
        shown = formats.expand(read(text, "t.json"), host, default_guest(host))
        assert bool(shown.refused) is refused


def test_the_custom_template_takes_the_place_of_the_static_one() -> None:
    text = '{"machine-config": {"cpu_template": "T2S"}, "cpu-config": {"msr_modifiers": []}}'
    asked = read(text, "vm.json")
    assert (asked.mode, asked.model, asked.writes) == ("template", None, ())


def test_a_template_in_another_file_leaves_all_unknown() -> None:
    asked = read('{"boot-source": {}, "cpu-config": "/srv/t.json"}', "vm.json")
    shown = formats.expand(asked, HOST, default_guest(HOST))
    assert word_of(shown.snapshot, "ia32_arch_capabilities")[1] == 0
    assert shown.snapshot.cpu.family is None
    assert "/srv/t.json" in shown.asked.lost_in_words[0]


BROKEN = {
    '{"msr_modifiers": [': "t.json:1: not JSON: it ends where a value was expected",
    '{"msr_modifiers":\n [{"addr": "0x10a"}]}': "t.json:2: no 'bitmap' in this modifier",
    '{"msr_modifiers": [{"addr": 266, "bitmap": "0b1"}]}': "t.json:1: addr is a whole number (expected a string)",
    '{"msr_modifiers": [{"addr": "266", "bitmap": "0b1"}]}': "t.json:1: addr '266' is no number of 32 bits",
    '{"msr_modifiers": [{"addr": "0x100000000", "bitmap": "0b1"}]}': "is no number of 32 bits",
    f'{{"msr_modifiers": [{{"addr": "0x10a", "bitmap": "0b1{ONES}"}}]}}': "has 65 bits (expected at most 64)",
    '{"msr_modifiers": [{"addr": "0x10a", "bitmap": "0b12"}]}': "bitmap '0b12' has '2'",
    '{"msr_modifiers": [{"addr": "0x10a", "bitmap": "0bX"}]}': "bitmap '0bX' has 'X'",
    '{"msr_modifiers": {"addr": "0x10a"}}': "msr_modifiers is an object (expected an array)",
    '{"msr_modifiers": [3]}': "an MSR modifier is a whole number (expected an object)",
    '{"msr_modifiers": [],\n"msr_modifiers": []}': "t.json:2: the key 'msr_modifiers' stands twice",
    '{"msr_modifers": [], "cpuid_modifiers": []}': "unknown field 'msr_modifers' of a CPU template (did you mean msr_",
    '{"reg_modifiers": []}': "reg_modifiers is for ARM",
    '{"cpuid_modifiers": [], "vcpu_features": [{"index": 0, "bitmap": "0b1"}]}': "vcpu_features is for ARM",
    '{"kvm_capabilities": ["!56", "x"]}': "'x' is no KVM capability",
    '{"kvm_capabilities": [56]}': "a KVM capability is a whole number (expected a string)",
    '{"cpuid_modifiers": [{"leaf": "0x7", "subleaf": "0x0", "flags": -1, "modifiers": []}]}': "flags is -1",
    '{"cpuid_modifiers": [{"leaf": "0x7", "subleaf": "0x0", "flags": true, "modifiers": []}]}': "flags is True",
    '{"cpuid_modifiers": [{"leaf": "0x7", "subleaf": "0x0", "flags": 1, "modifiers": [{"register": "EDX",'
    ' "bitmap": "0b1"}]}]}': "register 'EDX' (expected eax, ebx, ecx, edx)",
    '{"machine-config": {"cpu_template": "V1N1"}}': "the CPU template V1N1 is for ARM",
    '{"machine-config": {"cpu_template": "T2X"}}': "unknown CPU template 'T2X'",
    '{"machine-config": {"cpu_template": 2}}': "cpu_template is a whole number (expected a string)",
    '{"machine-config": []}': "machine-config is an array (expected an object)",
    '{"cpu-config": 7}': "cpu-config is a whole number (expected an object)",
    '{"msr_modifiers": [], "x": ' + "9" * 5000 + "}": "a number of more than 400 digits",
    '{"msr_modifiers": ' + "[" * 100_000: "nested deeper than 64 values",
    '{"msr_modifiers": [NaN]}': "'N' where a value was expected",
    '{"msr_modifiers": []} x': "'x' after the end of the document",
    '{"msr_modifiers": ["\x00"]}': "not JSON: Invalid control character at",
    '{"msr_modifiers": ["abc': "not JSON: Unterminated string",
}


@pytest.mark.parametrize(("text", "line"), BROKEN.items(), ids=range(len(BROKEN)))
def test_one_line_says_what_is_wrong_and_where(text: str, line: str) -> None:
    with pytest.raises(InputError) as caught:
        read(text, "t.json")
    assert line in str(caught.value)
    assert str(caught.value).startswith("t.json:")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_every_truncation_is_one_line() -> None:
    text = json.dumps(json.loads(template("T2S")))
    for length in range(20, len(text) - 2, 7):
        with pytest.raises(InputError):
            read(text[:length], "t.json")


def test_four_mebibytes_are_read() -> None:
    text = '{"msr_modifiers": [' + '{"addr": "0x10a", "bitmap": "0bx"},\n' * 60_000
    with pytest.raises(InputError):
        read(text, "t.json")


def test_a_release_that_is_none_is_refused() -> None:
    asked = read(template("T2S"), "t.json")
    with pytest.raises(InputError, match=r"'latest' is no release of Firecracker"):
        formats.expand(replace(asked, release="latest"), None, None)
