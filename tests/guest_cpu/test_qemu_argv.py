"""QEMU command lines: both spellings of features, and only what the words themselves settle."""

from __future__ import annotations

from pathlib import Path

import pytest

import archcaps
from archcaps.guest_cpu.qemu_argv import guest_of, is_qemu, parse_argv
from archcaps.machine.facts import facts_of
from archcaps.questions.default_guest import default_guest

EXAMPLES = Path(__file__).parents[2] / "examples"
HOST = archcaps.read_snapshot(EXAMPLES / "firecracker-t2s" / "host-cascade-lake.toml")
QEMU = "/usr/bin/qemu-system-x86_64"


@pytest.mark.parametrize(
    ("words", "model", "on", "off", "kvm"),
    [
        ("-accel kvm -cpu host", "host", set(), set(), True),
        ("-enable-kvm -cpu host,-fb-clear", "host", set(), {"fb_clear"}, True),
        ("-machine q35,accel=kvm:tcg -cpu max,+mds-no", "max", {"mds_no"}, set(), False),
        ("-machine pc,accel=kvm -cpu EPYC,verw-clear=on,tsa_sq_no=off", "EPYC", {"verw_clear"}, {"tsa_sq_no"}, True),
        ("-cpu Cascadelake-Server-v5,+md-clear,md-clear=off", "Cascadelake-Server-v5", set(), {"md_clear"}, False),
        ("-m 2G", "qemu64", set(), set(), False),
        ("-cpu host,hv-relaxed,pdpe1gb=on -enable-kvm", "host", set(), set(), True),
    ],
)
def test_what_a_command_line_asks_for(words: str, model: str, on: set[str], off: set[str], kvm: bool) -> None:
    asked = parse_argv([QEMU, *words.split()], "x")
    assert (asked.model, set(asked.on), set(asked.off), asked.kvm) == (model, on, off, kvm)


def test_migratable_is_the_default() -> None:
    assert parse_argv([QEMU, "-cpu", "host"], "x").migratable
    assert not parse_argv([QEMU, "-cpu", "host,migratable=off"], "x").migratable


@pytest.mark.parametrize("argv", [["/usr/bin/firecracker"], ["bash"], [""], []])
def test_another_program_is_refused(argv: list[str]) -> None:
    assert not is_qemu(argv)
    with pytest.raises(archcaps.InputError, match="x: not a QEMU process"):
        parse_argv(argv, "x")


def known_bits(words: str) -> dict[str, bool]:
    asked = parse_argv([QEMU, *words.split()], "x")
    guest = guest_of(asked, default_guest(HOST, "6.1.192"), "a guest")
    facts = facts_of(HOST, guest).known
    return {name.removeprefix("guest."): datum.value for name, datum in facts.items() if name.startswith("guest.")}


def test_host_under_kvm_starts_from_what_kvm_offers() -> None:
    bits = known_bits("-enable-kvm -cpu host,-rdctl-no")
    assert bits["mds_no"] is True  # offered, and named by every QEMU
    assert bits["rdcl_no"] is False  # switched off by name
    assert bits["hypervisor"] is True
    assert "fb_clear" not in bits  # named only by newer QEMUs: whether it is passed on depends on the version
    assert known_bits("-enable-kvm -cpu host,migratable=off")["fb_clear"] is True


def test_a_named_model_s_own_bits_stay_unknown() -> None:
    bits = known_bits("-enable-kvm -cpu Cascadelake-Server,+fb-clear")
    assert bits["fb_clear"] is True
    assert "mds_no" not in bits
    assert "vendor_intel" not in bits
