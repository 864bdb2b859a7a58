"""QEMU's -cpu option and command line: both spellings, which word wins, and what QEMU refuses."""

from __future__ import annotations

import pytest

import archcaps
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.formats import read_configuration

SCRIPT = """#!/bin/sh
exec qemu-system-x86_64 \\
  -name "guest=db 1" \\
  -cpu "Skylake-Server,-hle" # the old one
"""


def read(text: str) -> Asked:
    return read_configuration(text, "vm.sh")


def states(asked: Asked) -> dict[str, bool]:
    return {switch.name: switch.on for switch in asked.switches}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("host,+fb-clear,-mds-no", {"fb-clear": True, "mds-no": False}),
        (
            "host,fb-clear,mds_no=off,arch_capabilities=on",
            {"fb-clear": True, "mds-no": False, "arch-capabilities": True},
        ),
        ("qemu64,md-clear=off,md-clear=on", {"md-clear": True}),
        ("qemu64,-md-clear,md-clear=on", {"md-clear": False}),  # + and - go before = wherever they stand
        ("qemu64,-md-clear,+md-clear", {"md-clear": False}),  # and - before +
        ("qemu64,sse4-1=off,+sse4.2", {"sse4.1": False, "sse4.2": True}),
        ("qemu64,,,check=off", {}),
        ("Haswell-noTSX-IBRS,hv-relaxed,pcid=yes", {"pcid": True}),
    ],
)
def test_features(value: str, expected: dict[str, bool]) -> None:
    assert states(read(value)) == expected
    assert states(read(f"qemu-system-x86_64 -cpu {value} -m 2G")) == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("host,+rdctl_no", "after + a name takes dashes (+rdctl-no)"),
        ("host,-arch_capabilities", "after - a name takes dashes"),
        ("host,fb-claer=on", "did you mean fb-clear?"),
        ("Cascadelake-Sever", "did you mean Cascadelake-Server?"),
        ("host,md-clear=maybe", "md-clear is 'maybe' (expected on or off)"),
        ("host,vendor=Intel", "QEMU takes 12"),
        ("host,family=0x1g", "family is '0x1g'"),
        ("help", "list of models"),
    ],
)
def test_what_qemu_refuses_is_refused_with_what_it_should_be(value: str, said: str) -> None:
    with pytest.raises(archcaps.InputError) as error:
        read_configuration(value, "vm.sh", "qemu")
    assert str(error.value).startswith("vm.sh: ")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "model", "machine", "accelerator"),
    [
        ("qemu-system-x86_64 -machine q35,accel=kvm -cpu host", "host", "q35", "kvm"),
        ("qemu-system-x86_64 -M type=pc-q35-9.0 -enable-kvm -cpu host", "host", "pc-q35-9.0", "kvm"),
        ("/usr/libexec/qemu-kvm -cpu EPYC", "EPYC", None, "kvm"),
        ("qemu-system-x86_64 -cpu EPYC -accel tcg,thread=multi", "EPYC", None, "tcg"),
        ("qemu-system-x86_64 -m 2G", "qemu64", None, "tcg"),
        ("-cpu Denverton", "Denverton", None, None),
        ("qemu:Denverton,+rfds-no", "Denverton", None, None),
        (SCRIPT, "Skylake-Server", None, "tcg"),
        ("/usr/bin/qemu-system-x86_64\0-cpu\0host\0-accel\0kvm\0", "host", None, "kvm"),
        ("qemu-system-x86_64 -cpu host -cpu Nehalem --enable-kvm", "Nehalem", None, "kvm"),
    ],
)  # fmt: skip
def test_command_lines(text: str, model: str, machine: str | None, accelerator: str | None) -> None:
    asked = read(text)
    assert (asked.vmm, asked.model, asked.machine, asked.accelerator) == ("qemu", model, machine, accelerator)


def test_settings_that_are_no_features() -> None:
    asked = read("Haswell,enforce,migratable=off,x-force-features=on,vendor=GenuineIntel,model=0x45,stepping=2")
    assert (asked.check, asked.migratable, asked.force_features) == ("enforce", False, True)
    assert (asked.identity.vendor, asked.identity.model, asked.identity.stepping) == ("GenuineIntel", 0x45, 2)
    assert asked.switches == ()
    assert read("Haswell,check=off").check == "none"


@pytest.mark.parametrize("text", ['qemu-system-x86_64 -cpu "host', "qemu-system-x86_64 -cpu", "", "\0", "[1]", "{}"])
def test_broken_texts_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(archcaps.InputError) as error:
        read_configuration(text, "vm.sh", "qemu")
    assert "\n" not in str(error.value)
