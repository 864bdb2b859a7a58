"""What libvirt makes of a domain, against a real one: its -cpu line, its refusals, the XML of the running domain."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import archcaps
from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.formats import expand, read_configuration, read_file
from archcaps.guest_cpu.libvirt.capabilities import read_domain_capabilities
from archcaps.guest_cpu.libvirt.expanding import with_host_model
from archcaps.guest_cpu.libvirt.format import qemu_cpu_line, read
from archcaps.guest_cpu.libvirt.names import BY_LIBVIRT
from archcaps.guest_cpu.libvirt.releases import releases_of
from archcaps.guest_cpu.libvirt.running import settled_bits
from archcaps.guest_cpu.snapshot_bits import has_bit
from archcaps.questions.default_guest import default_guest

DATA = Path(__file__).parent / "data" / "libvirt"
EXAMPLES = Path(__file__).parents[2] / "examples" / "guests" / "libvirt"
REAL = json.loads((DATA / "real-9.0.0.json").read_text(encoding="utf-8"))
CASES: dict[str, dict[str, Any]] = {case["name"]: case for case in REAL["cases"]}
HOST = archcaps.read_snapshot(DATA / "host.json")
OFFERED = default_guest(HOST)
RELEASE = "9.0.0/7.2.22"

#: A real libvirt lists more in its message: features that archcaps has not, or of an MSR that could not be read there.
LISTED_MORE = ("partial", "partial-required", "full")


def domain(cpu: str, attributes: str = "") -> str:
    return (
        f"<domain type='kvm'{attributes}><name>x</name><os><type arch='x86_64' machine='{REAL['machine']}'>hvm</type>"
        f"</os>{cpu}</domain>"
    )


def asked_of(name: str) -> Asked:
    """What the case asks for; with the model that libvirt had chosen for a host-model."""
    asked = replace(read(domain(CASES[name]["cpu"]), "x.xml"), release=RELEASE)
    if asked.mode == "host-model":
        text = (DATA / "domcapabilities-9.0.0.xml").read_text(encoding="utf-8")
        return with_host_model(asked, read_domain_capabilities(text, "x"))
    return asked


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["cpu_option"] and name != "minimum"])
def test_the_cpu_line_is_the_one_that_libvirt_made(name: str) -> None:
    model, *words = CASES[name]["cpu_option"].split(",")
    ours, *our_words = qemu_cpu_line(asked_of(name), OFFERED).text.removeprefix("-cpu ").split(",")
    assert (ours, sorted(our_words)) == (model, sorted(words))


@pytest.mark.parametrize("name", CASES)
def test_a_refusal_is_libvirts_own_message(name: str) -> None:
    said = CASES[name]["error"]
    shown = expand(asked_of(name), HOST, OFFERED)
    if name == "strict":  # what the host has beyond a model, archcaps does not list
        assert shown.refused is None
        assert any("match='strict'" in text for text in shown.notices)
    elif said is None or name not in LISTED_MORE:
        assert shown.refused == said
    else:
        assert shown.refused is not None
        words = said.replace(",", " ").split()
        assert [word for word in shown.refused.replace(",", " ").split() if word not in words] == []
        assert shown.refused.split(":")[:2] == said.split(":")[:2]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["live"] and name != "minimum"])
def test_the_guest_is_shown_what_the_running_domain_says(name: str) -> None:
    """The stored XML, expanded on the host, against the XML that libvirt wrote after it had asked QEMU."""
    live = replace(read(domain(CASES[name]["live"], " id='1'"), "live.xml"), release=RELEASE)
    truth = settled_bits(live)
    shown = expand(asked_of(name), HOST, OFFERED)
    ours = {bit: has_bit(shown.snapshot, bit) for bit in truth}
    ours.pop("erms", None)  # QEMU 7.2 does not take it from the host's own CPUID, as later releases do
    assert {bit: value for bit, value in ours.items() if value not in (None, truth[bit])} == {}
    told = [bit for bit, value in ours.items() if value is not None]
    assert len(told) >= len(truth) * 0.9


def test_a_running_domain_settles_every_bit_that_libvirt_knows() -> None:
    live = replace(read(domain(CASES["required"]["live"], " id='1'"), "live.xml"), release=RELEASE)
    shown = expand(live, HOST, OFFERED)
    assert has_bit(shown.snapshot, "md_clear") is False
    assert has_bit(shown.snapshot, "mds_no") is True
    assert has_bit(shown.snapshot, "rdcl_no") is True
    assert has_bit(shown.snapshot, "taa_no") is False  # neither listed nor in kvm64
    assert shown.refused is None
    assert any("this is what runs" in text for text in shown.notices)


def test_what_the_release_of_a_running_domain_does_not_know_is_qemus_to_say() -> None:
    live = read(domain("<cpu mode='custom' check='full'><model>Cascadelake-Server</model></cpu>", " id='1'"), "x")
    assert "fb_clear" not in settled_bits(replace(live, release="9.0.0"))
    assert settled_bits(replace(live, release="12.8.0"))["fb_clear"] is False
    assert "fb_clear" not in settled_bits(live)  # it may be a libvirt without the name
    assert settled_bits(live)["md_clear"] is False
    assert settled_bits(replace(live, check="partial")) == {}  # libvirt has not compared


def test_a_host_model_without_libvirts_choice_is_unknown() -> None:
    asked = read_file(EXAMPLES / "host-model.xml")
    shown = expand(asked, HOST, OFFERED)
    assert {has_bit(shown.snapshot, bit) for bit in BY_LIBVIRT.values()} == {None}
    assert shown.refused is None
    assert any("virsh domcapabilities" in text for text in shown.notices)
    with pytest.raises(InputError, match="host-model"):
        qemu_cpu_line(asked)
    some = read(domain("<cpu mode='host-model'><feature policy='disable' name='mds-no'/></cpu>"), "x")
    assert has_bit(expand(some, HOST, OFFERED).snapshot, "mds_no") is False


def test_match_minimum_takes_the_hosts_model_too() -> None:
    shown = expand(asked_of("minimum"), HOST, OFFERED)
    assert has_bit(shown.snapshot, "mds_no") is None
    assert settled_bits(replace(read(domain(CASES["minimum"]["live"], " id='1'"), "x"), release="9.0.0"))["mds_no"]
    assert any("match='minimum'" in text for text in shown.notices)


def test_domain_capabilities_expand_as_the_guest_with_the_host_model() -> None:
    shown = expand(replace(read_file(DATA / "domcapabilities-9.0.0.xml"), release=RELEASE), HOST, OFFERED)
    assert has_bit(shown.snapshot, "mds_no") is True
    assert has_bit(shown.snapshot, "md_clear") is False


def test_qemus_own_cpu_line_overrides() -> None:
    asked = read_file(EXAMPLES / "own-cpu-line.xml")
    shown = expand(asked, None, None)
    assert has_bit(shown.snapshot, "fb_clear") is True  # Cascadelake-Server-v7 of QEMU, unknown to libvirt
    assert has_bit(shown.snapshot, "md_clear") is True
    assert shown.asked is asked
    assert "QEMU takes the last one" in shown.notices[0]


def test_a_name_unknown_to_some_releases_is_told_where_the_release_is_not() -> None:
    text = domain("<cpu><model>Cascadelake-Server</model><feature policy='require' name='fb-clear'/></cpu>")
    asked = read_configuration(text, "x.xml")
    assert expand(asked, None, None).refused is None
    (notice,) = [text for text in expand(asked, None, None).notices if "libvirt 9.0.0 does not know fb-clear" in text]
    assert "11.3.0 does" in notice
    refused = expand(replace(asked, release="9.0.0"), None, None).refused
    assert refused == "unsupported configuration: unknown CPU feature: fb-clear"
    assert expand(replace(asked, release="12.8.0"), None, None).refused is None


def test_optional_is_a_difference_where_kvm_does_not_offer_it() -> None:
    text = domain("<cpu check='none'><model>qemu64</model><feature policy='optional' name='md-clear'/></cpu>")
    (found,) = [each for each in expand(read(text, "x"), HOST, OFFERED).differences if each.bit == "md_clear"]
    assert (found.by, found.shown) == ("libvirt", False)
    assert "md-clear" not in qemu_cpu_line(read(text, "x")).text  # without a host nobody knows


def test_what_is_switched_off_and_qemu_can_not_name_is_left_out_by_newer_libvirts() -> None:
    text = domain("<cpu mode='host-passthrough'><feature policy='disable' name='fb-clear'/></cpu>")
    for release, handed in (("12.8.0/7.2.22", False), ("12.8.0/11.1.0", True), ("9.0.0/7.2.22", True)):
        line = qemu_cpu_line(replace(read(text, "x"), release=release)).text
        assert ("fb-clear=off" in line) is handed, release


def test_two_releases_in_one_word() -> None:
    asked = read(domain(""), "x.xml")
    assert releases_of(replace(asked, release="9.0.0/7.2.22")).qemu == "7.2.22"
    assert releases_of(replace(asked, release="/7.2.22")).libvirt is None
    assert releases_of(asked).libvirt is None
    with pytest.raises(InputError, match=r"x\.xml: 'new' is no release of libvirt"):
        expand(replace(asked, release="new"), None, None)
    with pytest.raises(InputError, match="no release of QEMU"):
        expand(replace(asked, release="9.0.0/new"), None, None)


def test_tcg_has_no_msr_and_is_not_compared() -> None:
    text = domain("<cpu><model>Cascadelake-Server</model><feature policy='require' name='mds-no'/></cpu>")
    shown = expand(read(text.replace("'kvm'", "'qemu'"), "x"), HOST, OFFERED)
    assert shown.refused is None
    assert has_bit(shown.snapshot, "mds_no") is False
