"""Cures in the VMM's own words: the patched configuration, read by the VMM's reader and checked, is what was said."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

import archcaps
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.formats import expand, read_configuration
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.default_guest import default_guest
from archcaps.questions.fix.results import Cure, FixResult
from tests.scenarios.running import machine

DOMAIN = """<domain type='kvm'>
  <name>web1</name>
  <os><type arch='x86_64' machine='pc-q35-9.2'>hvm</type></os>
  <cpu mode='custom' match='exact' check='partial'>
    <model fallback='forbid'>Cascadelake-Server-noTSX</model>
    <feature policy='require' name='md-clear'/>
  </cpu>
</domain>
"""
T2S = '{"machine-config": {"vcpu_count": 2, "mem_size_mib": 1024, "cpu_template": "T2S"}}'
CUSTOM = """{
  "cpuid_modifiers": [],
  "msr_modifiers": [{"addr": "0x10a", "bitmap": "0b%s"}]
}
"""
#: T2S before Firecracker's 05d47d0f8 fixed MSR 0x10a to this (docs: firecracker-t2s).
OLD_T2S = f"{0xC080C4C:064b}"


def asked(text: str, name: str, release: str | None = None, machine_type: str | None = None) -> Asked:
    found = read_configuration(text, name)
    return replace(found, release=release or found.release, machine=machine_type or found.machine)


def shown(configuration: Asked, host: Snapshot, kernel: str) -> Snapshot:
    return expand(configuration, host, default_guest(host, kernel)).snapshot


def fix(configuration: Asked, host: Snapshot, kernel: str, *allow: str) -> FixResult:
    guest = shown(configuration, host, kernel)
    return archcaps.fix(host, guest, allow=allow or None, configuration=configuration)


def first(result: FixResult) -> Cure:
    best = result.best
    assert best is not None
    return best.cures[0]


def read_again(cure: Cure, configuration: Asked, kernel: str) -> Snapshot:
    """What the cure's text shows on the cure's host: from the text alone, and what options said besides."""
    assert cure.text is not None
    again = read_configuration(cure.text.after, configuration.where, configuration.vmm)
    again = replace(again, release=configuration.release, machine=again.machine or configuration.machine)
    return shown(again, cure.host, kernel)


Case = tuple[str, str, str | None, str | None, str, str, str, str]

#: Name, configuration, its release, machine type, folder and host, the guest's kernel, a line of the cured text.
CASES: list[Case] = [
    ("-cpu", "-cpu Icelake-Server-v5,-hle", "10.1.2", "pc-q35-10.1", "fb-clear-not-shown", "host", "6.1.192",
     "fb-clear"),
    ("-cpu", "-cpu Skylake-Server,+md-clear,+flush-l1d,-rtm,+arch-capabilities", "11.1", "pc-q35-11.1", "thread",
     "host", "6.12.117", ",+mds-no,+sbdr-ssdp-no,+fbsdp-no,+psdp-no"),
    ("-cpu", "-cpu Skylake-Server", "10.1.2", "pc-q35-10.1", "old-model-on-ice-lake", "host", "6.1.192",
     "arch-capabilities=on,mds-no=on"),
    ("web1.xml", DOMAIN, None, None, "fb-clear-not-shown", "host", "6.1.192",
     "<feature policy='require' name='fb-clear'/>"),
    ("t2s.json", T2S, "1.10.1", None, "firecracker-t2s", "host-cascade-lake", "6.1.192", '"addr": "0x10a"'),
    ("old.json", CUSTOM % OLD_T2S, None, None, "firecracker-t2s", "host-cascade-lake", "6.1.192", '"addr": "0x10a"'),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[1][:40])
def test_the_patched_configuration_is_what_was_said(case: Case) -> None:
    name, text, release, machine_type, folder, host, kernel, line = case
    configuration, on = asked(text, name, release, machine_type), machine(folder, host)
    result = fix(configuration, on, kernel)
    cure = first(result)
    assert (result.level > 1, cure.level) == (True, 1)
    assert cure.text is not None
    assert line in cure.text.after
    assert cure.text.after != text
    checked = archcaps.check(cure.host, read_again(cure, configuration, kernel))
    for verdict in cure.after:
        assert str(checked[verdict.vulnerability].truth) == str(verdict.truth) in ("truthful", "unsaid")
        assert str(checked[verdict.vulnerability].safety) == str(verdict.safety) == "safe"
    # And of the cured guest nothing is left to mend.
    fixed = read_configuration(cure.text.after, name, configuration.vmm)
    fixed = replace(fixed, release=configuration.release, machine=fixed.machine or configuration.machine)
    again = fix(fixed, cure.host, kernel)
    assert (again.level, again.answers) == (1, [])


def test_a_custom_template_gets_its_bits_where_it_stands() -> None:
    """T2S of old lacks FB_CLEAR (bit 17) and MDS_NO (bit 5): just these two change."""
    cure = first(fix(asked(CUSTOM % OLD_T2S, "old.json"), machine("firecracker-t2s", "host-cascade-lake"), "6.1.192"))
    assert cure.text is not None
    (modifier,) = msgspec.json.decode(cure.text.after)["msr_modifiers"]
    assert modifier["bitmap"] == f"0b{0xC080C4C | 1 << 17 | 1 << 5:064b}"


def test_a_bit_without_a_name_in_this_release_is_no_cure() -> None:
    """QEMU names fb-clear from 8.1 on: in 7.2 only another CPU does, as for libvirt 9.0, which has no such name."""
    host = machine("thread", "host")
    old = fix(asked("-cpu Skylake-Server,+md-clear", "-cpu", "7.2", "pc-q35-7.2"), host, "6.12.117", "guest-flags")
    best = old.best
    assert best is not None
    assert not any(step.bit == "fb_clear" for cure in best.cures for step in cure.steps)
    assert "show fb_clear" in best.unwritable
    libvirt = fix(
        asked(DOMAIN, "web1.xml", "9.0.0"), machine("fb-clear-not-shown", "host"), "6.1.192", "guest-flags"
    ).best
    assert libvirt is not None
    assert "fb-clear" in libvirt.unwritable["show fb_clear"]


def test_qemu_shows_only_what_kvm_offers() -> None:
    """S10: KVM before f3f9deccfc68 (6.1.153) does not offer VERW_CLEAR, and QEMU then drops it."""
    host = machine("tsa-verw-clear-dropped", "host")
    configuration = asked("-cpu EPYC-Milan", "-cpu", "11.1", "pc-q35-11.1")
    alone, together = fix(configuration, host, "6.18.9").answers
    assert alone.cures == []
    cure = together.cures[0]
    assert {(step.kind, step.enough_from or step.bit) for step in cure.steps} == {
        ("host-kernel", "6.1.153"),
        ("guest-flags", "verw_clear"),
    }
    assert cure.text is not None
    assert cure.text.after.strip() == "-cpu EPYC-Milan,verw-clear=on"
    # Firecracker's templates set it by themselves.
    cure = first(fix(asked('{"cpuid_modifiers": [], "msr_modifiers": []}', "t.json"), host, "6.18.9"))
    assert [(step.kind, step.bit) for step in cure.steps] == [("forced-flags", "verw_clear")]
