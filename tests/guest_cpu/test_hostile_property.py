"""Whatever a configuration holds: it is read, or one short line says what is wrong and where."""

from __future__ import annotations

import json
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archcaps.errors import InputError
from archcaps.guest_cpu import cloud_hypervisor, xen
from archcaps.guest_cpu.changes import GuestChange, MachineChange, ModelChange, SwitchChange
from archcaps.guest_cpu.firecracker import format as firecracker
from archcaps.guest_cpu.proxmox import format as proxmox
from archcaps.questions.default_guest import default_guest
from tests.guest_cpu.test_firecracker_read import HOST

OFFERED = default_guest(HOST)
CHANGES: tuple[GuestChange, ...] = (
    SwitchChange("fb_clear", on=True),
    SwitchChange("md_clear", on=False),
    ModelChange("T2"),
    ModelChange("host"),
    MachineChange("pc-q35-10.1"),
)
KEYS = (
    "cpuid_modifiers", "msr_modifiers", "kvm_capabilities", "modifiers", "leaf", "subleaf", "flags", "register",
    "bitmap", "addr", "machine-config", "cpu-config", "boot-source", "cpu_template", "cpus", "boot_vcpus", "features",
    "amx", "nested", "profile", "payload", "vcpu_count",
)  # fmt: skip
STRINGS = ("0x7", "0x0", "0x10a", "edx", "eax", "T2S", "T2A", "None", "V1N1", "0b1x0_", "0b", "", "Host", "!56")
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(STRINGS) | st.text(max_size=5)
documents = st.recursive(
    scalars,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(KEYS), children, max_size=4),
    max_leaves=20,
)
templates = st.fixed_dictionaries(
    {},
    optional={
        "cpuid_modifiers": st.lists(
            st.fixed_dictionaries(
                {
                    "leaf": st.sampled_from(["0x1", "0x7", "0xffffffff", "0b111"]),
                    "subleaf": st.sampled_from(["0x0", "0x2"]),
                    "flags": st.sampled_from([0, 1, 4294967295]),
                    "modifiers": st.lists(
                        st.fixed_dictionaries(
                            {
                                "register": st.sampled_from(["eax", "edx"]),
                                "bitmap": st.text("01x_", max_size=34),
                            }
                        ),
                        max_size=2,
                    ),
                }
            ),
            max_size=2,
        ),
        "msr_modifiers": st.lists(
            st.fixed_dictionaries({"addr": st.just("0x10a"), "bitmap": st.text("01x_", max_size=70)}), max_size=2
        ),
    },
)
words = st.sampled_from((
    "cpu: ", "cpu-model: ", "machine: ", "args: ", "kvm: ", "ostype: ", "host", "kvm64", "x86-64-v3", "custom-a", "a",
    ",", "flags=", "+md-clear", "-pcid", ";", "\n", "\n\t", "\n\n", "reported-model ", "flags ", "[PENDING]", "[snap]",
    "=", " ", "-cpu ", "win11", "q35", "\r\n", "#", "'", '"', "cpuid", "cpuid=", "host,", "md-clear=1", "[", "]",
    "7,0:edx=", "x" * 32, "1" * 32, "level=", "99999999999999999999", "hidden=1", "\0", "é", "--cpus ",
    "cloud-hypervisor ", "boot=1", "features=amx", "nested=off",
))  # fmt: skip
lines = st.lists(words, max_size=14).map("".join)


def holds(module: ModuleType, text: str) -> None:
    module.looks_like(text, "100.conf")
    try:
        asked = module.read(text, "file")
        shown = module.expand(asked, HOST, OFFERED)
        assert "ia32_arch_capabilities" in shown.snapshot.registers or shown.snapshot.cpuid is not None
        module.expand(asked, None, None)
        made = module.patch(asked, CHANGES)
        if made.after != text:
            module.read(made.after, "file")
    except InputError as error:
        assert "\n" not in str(error)
        assert 4 < len(str(error)) < 700


@pytest.mark.parametrize("module", [firecracker, cloud_hypervisor], ids=["firecracker", "cloud-hypervisor"])
@given(documents | templates, st.sampled_from([None, 1]))
@example({"msr_modifiers": [{"addr": "0x10a", "bitmap": ""}]}, None)
def test_json(module: ModuleType, document: object, indent: int | None) -> None:
    holds(module, json.dumps(document, indent=indent))


@pytest.mark.parametrize(
    "module", [firecracker, cloud_hypervisor, proxmox, xen], ids=["firecracker", "cloud-hypervisor", "proxmox", "xen"]
)
@given(lines | st.text(max_size=40))
def test_lines(module: ModuleType, text: str) -> None:
    holds(module, text)
