"""Xen's `cpuid=` in both syntaxes; the examples are those of xl.cfg(5)."""

from __future__ import annotations

import pytest

from archcaps.errors import InputError
from archcaps.guest_cpu.changes import MachineChange, ModelChange, SwitchChange
from archcaps.guest_cpu.words import word_of
from archcaps.guest_cpu.xen import expand, looks_like, patch, read
from archcaps.tables.bits import BITS
from archcaps.tables.files import read_csv

HEAD = 'name = "vm1"\ntype = "hvm"\nmemory = 1024\n'


def test_libxl_names() -> None:
    asked = read(
        HEAD + 'cpuid = "host,tm=0,md-clear=1,fb-clear=k,mds-no=0,family=0x6,model=85,stepping=7"\n', "vm1.cfg"
    )
    assert (asked.vmm, asked.name, asked.machine, asked.accelerator) == ("xen", "vm1", "hvm", "xen")
    assert {switch.name: switch.policy for switch in asked.switches} == {
        "md-clear": "force",
        "fb-clear": "optional",
        "mds-no": "disable",
    }
    assert asked.switches[0].where == "vm1.cfg:4"
    assert (asked.identity.family, asked.identity.model, asked.identity.stepping) == (6, 85, 7)
    assert asked.lost_in_words == ("tm=0: archcaps has no bit that Xen calls so",)


def test_xend_bits_stand_highest_first() -> None:
    """The example of xl.cfg(5), with hypervisor (bit 31) and MD_CLEAR (bit 10 of 7.0 EDX) added."""
    clear = f"{'x' * 21}1{'x' * 10}"
    text = HEAD + f"cpuid = [ '1:ecx={'0' + 'x' * 30}0,edx=xx0{'x' * 29}',\n  # later\n  \"7,0:edx={clear}\" ]\n"
    asked = read(text, "vm1.cfg")
    assert [(write.register, write.leaf, write.mask, write.value) for write in asked.writes] == [
        ("cpuid_1_ecx", "CPUID 0x1 subleaf 0x0 ECX", 0x80000001, 0),
        (None, "CPUID 0x1 subleaf 0x0 EDX", 0x20000000, 0),
        ("cpuid_7_0_edx", "CPUID 0x7 subleaf 0x0 EDX", 0x400, 0x400),
    ]
    assert asked.writes[2].where == "vm1.cfg:6"


def test_the_last_word_on_a_bit_counts() -> None:
    asked = read('cpuid="host,md-clear=0,md-clear=1"', "vm.cfg")
    assert [switch.policy for switch in asked.switches] == ["force"]
    assert read('cpuid="host,md-clear=0,md-clear=x"', "vm.cfg").switches == ()


def test_only_what_is_forced_is_known() -> None:
    shown = expand(read('cpuid="host,md-clear=1,arch-caps=0,fb-clear=k"', "vm.cfg"), None, None)
    assert word_of(shown.snapshot, "cpuid_7_0_edx") == (1 << 10, 1 << 10 | 1 << 29)
    assert word_of(shown.snapshot, "ia32_arch_capabilities") == (0, 0)
    assert any("no model of Xen" in notice for notice in shown.notices)


@pytest.mark.parametrize(
    ("text", "name", "does"),
    [
        (HEAD, "vm.cfg", True),
        ("cpuid='host,tm=0'", "x", True),
        ("[libvirt]\ncpu_mode = custom\n", "nova.conf", False),
        ("cpu: host\nmemory: 512\n", "100.conf", False),
        ("<domain/>", "x.xml", False),
        ("qemu-system-x86_64 -cpu host", "ps", False),
    ],
)
def test_what_it_looks_like(text: str, name: str, does: bool) -> None:
    assert looks_like(text, name) is does


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('cpuid="md-clear=1"', "vm.cfg:1: cpuid='md-clear=1': the first word is host"),
        ('\n\ncpuid="host,md-clear"', "vm.cfg:3: 'md-clear' has no ="),
        ('cpuid="host,md-clear=yes"', "vm.cfg:1: md-clear='yes' (expected 0, 1, x, k or s)"),
        ('cpuid="host,family=six"', "vm.cfg:1: family='six' is no number"),
        ('cpuid="host,family=' + "9" * 500 + '"', "is no number"),
        ('cpuid=["1:ecx=0"]', "vm.cfg:1: ecx='0' (expected 32 characters"),
        ('cpuid=["1:efx=' + "x" * 32 + '"]', "is no register with bits"),
        ('cpuid=["one:ecx=0"]', "'one:ecx=0' is no CPUID line"),
        ('cpuid=["1:ecx=0"', "vm.cfg:1: a list does not end"),
        ('cpuid="host,md-clear=1', "vm.cfg:1: a string does not end on its line"),
        ('memory=1\n"\0"', "vm.cfg:2: a NUL byte"),
    ],
)
def test_one_line_says_what_is_wrong(text: str, line: str) -> None:
    with pytest.raises(InputError) as caught:
        read(text, "vm.cfg")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


HUGE = (
    "a=[" + "[" * 2_000_000,
    "a = 1\n" * 600_000,
    "cpuid=" + '"x' * 2_000_000,
    "=" * 4_000_000,
    "\n" * 4_000_000 + "!",
)


@pytest.mark.parametrize("text", HUGE, ids=range(len(HUGE)))
def test_four_mebibytes_are_read(text: str) -> None:
    looks_like(text, "vm.cfg")
    try:
        read(text, "vm.cfg")
    except InputError as error:
        assert len(str(error)) < 400


def test_what_to_write_is_said() -> None:
    asked = read(HEAD, "vm.cfg")
    made = patch(
        asked,
        [SwitchChange("fb_clear", on=True), MachineChange("q35"), ModelChange("Haswell"), SwitchChange("zz", on=True)],
    )
    assert 'put fb-clear=1 into cpuid="host,..."' in made.impossible[0][1]
    assert (len(made.impossible), made.after) == (4, asked.text)


def test_levelling_rules_speak_of_known_bits() -> None:
    rows = {row["bit"]: row for row in read_csv("xen/levelling.csv")}
    assert set(rows) <= set(BITS)
    assert {name for name, row in rows.items() if row["max_policy"] == "always"} == {
        "md_clear", "fb_clear", "rfds_clear", "verw_clear", "arch_capabilities", "rsba", "rrsba",
    }  # fmt: skip
    assert {row["vendor"] for name, row in rows.items() if name != "verw_clear"} == {"GenuineIntel"}
