"""A stored mode='host-model' is the host's CPU, whatever stands in <model>; a running domain's XML is what runs.

Source: libvirt docs/formatdomain.rst, CPU model and topology: host-model; OpenNebula/one#1688 (Westmere asked for so,
Ivy Bridge got).
"""

from __future__ import annotations

from pathlib import Path

from archcaps.guest_cpu.formats import expand, read_configuration, read_file

DATA = Path(__file__).parent / "data" / "guests"


def test_a_stored_model_does_not_count() -> None:
    asked = read_file(DATA / "host-model-with-a-model.xml")
    assert (asked.mode, asked.model) == ("host-model", None)
    assert "<model>Westmere</model> does not count" in asked.lost_in_words[0]
    cpu = expand(asked, None, None).snapshot.cpu
    assert (cpu.family, cpu.model, cpu.stepping) == (None, None, None)


def test_a_running_domain_has_its_model() -> None:
    text = (DATA / "host-model-with-a-model.xml").read_text(encoding="utf-8")
    asked = read_configuration(text.replace("<domain type='kvm'>", "<domain type='kvm' id='3'>"), "f")
    assert (asked.mode, asked.model) == ("host-model", "Westmere")


def test_custom_is_the_model() -> None:
    text = (DATA / "host-model-with-a-model.xml").read_text(encoding="utf-8").replace("host-model", "custom")
    asked = read_configuration(text, "f")
    assert (asked.mode, asked.model, asked.lost_in_words) == ("named", "Westmere", ())
