"""QMP's answers as a file: a model's expansion, a live virtual CPU, and what is no such thing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import archcaps
from archcaps.guest_cpu.changes import SwitchChange
from archcaps.guest_cpu.formats import expand, patch, read_configuration
from archcaps.guest_cpu.qemu.format import looks_like
from archcaps.guest_cpu.qemu.qmp import ask
from archcaps.machine.facts import known_bits
from tests.guest_cpu.qemus import PROGRAM, needs_qemu, running
from tools.qemu.record import Qemu

GREETING = {
    "QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": []}
}


@needs_qemu
def test_an_expansion_is_the_model_itself() -> None:
    """QEMU's own answer, as a file, shows the same guest as the model's name does."""
    assert PROGRAM is not None
    with Qemu(PROGRAM) as qemu:
        answer = qemu("query-cpu-model-expansion", type="full", model={"name": "Cascadelake-Server-v2"})
        version = qemu("query-version")
    text = json.dumps({"QMP": {"version": version}}) + json.dumps({"return": answer})
    assert looks_like(text, "x.json")
    asked = read_configuration(text, "x.json", "qemu")
    numbers = version["qemu"]
    assert str(asked.release).startswith(f"{numbers['major']}.{numbers['minor']}.{numbers['micro']}")
    shown = expand(asked, None, None)
    named = read_configuration("Cascadelake-Server-v2", "x", "qemu")
    bits = {name: bit.value for name, bit in known_bits(shown.snapshot).items()}
    assert bits == {name: bit.value for name, bit in known_bits(expand(named, None, None).snapshot).items()}
    assert (shown.snapshot.cpu.model, shown.snapshot.cpu.stepping) == (85, 6)


@needs_qemu
def test_what_a_running_qemu_said_reads_back_from_a_file(tmp_path: Path) -> None:
    with running("qemu64,+fsgsbase", tmp_path) as socket:
        asked = ask(socket)
    file = tmp_path / "replies.json"
    file.write_text(asked.text, encoding="utf-8")
    again = read_configuration(file.read_text(encoding="utf-8"), asked.where, "qemu")
    assert again == asked
    assert expand(again, None, None).snapshot.provenance == "observed"
    assert patch(again, [SwitchChange("md_clear", True)]).impossible


def test_feature_words_are_registers() -> None:
    word = {"cpuid-input-eax": 7, "cpuid-input-ecx": 0, "cpuid-register": "EDX", "features": 0x2C000400}
    lines = [
        GREETING,
        {"return": [word]},
        {"return": True, "id": "mds-no"},
        {"return": "EPYC-x86_64-cpu", "id": "cpu-type"},
    ]
    shown = expand(read_configuration("\n".join(map(json.dumps, lines)), "x", "qemu"), None, None)
    bits = {name: bit.value for name, bit in known_bits(shown.snapshot).items()}
    assert (bits["md_clear"], bits["spec_ctrl"], bits["ssbd"], bits["mds_no"]) == (True, True, False, True)
    assert "fb_clear" in bits  # QEMU 7.2 has no name for it, and EPYC passes nothing unnamed
    assert "taa_no" not in bits  # it has one for this, and did not answer


@pytest.mark.parametrize(
    "text",
    [
        "{", '{"return": {}}', '{"return": []} {"return": {}}', "{} 7", '{"QMP": 1}',
        '{"return": {"model": {"props": 7}}}',
        '{"return": [{"cpuid-register": "EAX"}]}',
        '{"return": [{"cpuid-register": 1, "cpuid-input-eax": 7, "features": -1}]}',
        '{"event": "STOP"}', "\ufeff{}",
    ],
)  # fmt: skip
def test_what_tells_of_no_cpu_is_refused(text: str) -> None:
    with pytest.raises(archcaps.InputError, match=r"\Ax\.json"):
        read_configuration(text, "x.json", "qemu")


@pytest.mark.parametrize(
    "text", ['{"cpuid_modifiers": []}', "<domain type='kvm'/>", "cpu: host,flags=+md-clear", "[libvirt]"]
)
def test_other_vmms_are_not_taken_for_qemu(text: str) -> None:
    assert not looks_like(text, "x")
