"""libvirt's XML as it is read: what a domain asks for, with lines; and what nobody may make of the reader."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import pytest

from archcaps.errors import InputError
from archcaps.guest_cpu.formats import read_configuration, read_file
from archcaps.guest_cpu.libvirt.capabilities import read_domain_capabilities, read_host_cpu, snapshot_of_host
from archcaps.guest_cpu.libvirt.domain import read_domain
from archcaps.guest_cpu.libvirt.format import looks_like, read
from archcaps.guest_cpu.libvirt.xml_tree import MAX_DEPTH, MAX_ELEMENTS, parse_xml
from archcaps.guest_cpu.snapshot_bits import has_bit

EXAMPLES = Path(__file__).parents[2] / "examples" / "guests" / "libvirt"
DATA = Path(__file__).parent / "data" / "libvirt"


def cpu(text: str) -> str:
    return f"<domain type='kvm'>\n<name>x</name>\n{text}\n</domain>"


def test_a_stored_domain() -> None:
    asked = read_file(EXAMPLES / "cascadelake.xml")
    assert (asked.vmm, asked.mode, asked.model, asked.name) == ("libvirt", "named", "Cascadelake-Server-noTSX", "web")
    assert (asked.machine, asked.accelerator, asked.check, asked.live) == ("pc-q35-7.2", "kvm", "partial", False)
    assert [(switch.name, switch.policy) for switch in asked.switches] == [
        ("arch-capabilities", "require"), ("mds-no", "require"), ("pku", "disable"),
    ]  # fmt: skip
    assert asked.switches[1].where == f"{EXAMPLES / 'cascadelake.xml'}:19"
    assert asked.release is None


@pytest.mark.parametrize(
    ("text", "mode", "model", "migratable"),
    [
        ("<cpu mode='host-passthrough' check='none' migratable='off'/>", "host", None, False),
        ("<cpu mode='host-model'><model fallback='allow'/></cpu>", "host-model", None, None),
        ("<cpu mode='maximum' migratable='on'/>", "maximum", None, True),
        ("<cpu match='exact'><model>Nehalem</model></cpu>", "named", "Nehalem", None),
        ("<cpu><topology sockets='1' cores='2' threads='1'/></cpu>", "default", None, None),
        ("", "default", None, None),
    ],
)
def test_modes(text: str, mode: str, model: str | None, migratable: bool | None) -> None:
    asked = read(cpu(text), "x.xml")
    assert (asked.mode, asked.model, asked.migratable) == (mode, model, migratable)


def test_a_running_domain_is_known_by_its_id_or_its_status() -> None:
    assert read("<domain type='kvm' id='7'><cpu mode='host-passthrough'/></domain>", "x").live
    inside = "<domain type='kvm'><cpu mode='host-passthrough'/></domain>"
    assert read(f"<domstatus state='running'>{inside}</domstatus>", "x").live
    assert not read(f"<domainsnapshot>{inside}</domainsnapshot>", "x").live


def test_a_cpu_alone_as_cpu_baseline_prints_it() -> None:
    asked = read(
        "<cpu mode='custom' match='exact'>\n  <model fallback='forbid'>Nehalem</model>\n  <vendor>Intel</vendor>\n"
        "  <feature policy='require' name='vme'/>\n</cpu>\n",
        "-",
    )
    assert (asked.model, [switch.name for switch in asked.switches], asked.machine) == ("Nehalem", ["vme"], None)


def test_a_feature_without_policy_is_required_and_a_vendor_id_is_kept() -> None:
    asked = read(cpu("<cpu><model vendor_id='KVMKVMKVMKVM'>Nehalem</model><feature name='aes'/></cpu>"), "x")
    assert asked.switches[0].policy == "require"
    assert asked.identity.vendor == "KVMKVMKVMKVM"


def test_an_own_cpu_option_of_qemu_is_told() -> None:
    asked = read_file(EXAMPLES / "own-cpu-line.xml")
    (said,) = asked.lost_in_words
    assert "Cascadelake-Server-v7,+md-clear" in said
    assert "line 11" in said
    domain = read_domain(asked.text, "x")
    assert domain.override is not None
    assert domain.override.cpu == "Cascadelake-Server-v7,+md-clear"


def test_arguments_of_another_namespace_are_not_qemus() -> None:
    arguments = "<q:commandline><q:arg value='-cpu'/><q:arg value='host'/></q:commandline>"
    text = f"<domain type='kvm' xmlns:q='urn:other'>{arguments}</domain>"
    assert read_domain(text, "x").override is None
    prefixed = text.replace("urn:other", "http://libvirt.org/schemas/domain/qemu/1.0")
    override = read_domain(prefixed, "x").override
    assert override is not None
    assert override.cpu == "host"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (cpu("<cpu mode='host-modell'/>"), "x.xml:3: mode='host-modell' (did you mean host-model?)"),
        (cpu("<cpu match='nearly'/>"), "x.xml:3: match='nearly' (expected one of minimum, exact, strict)"),
        (cpu("<cpu check='yes'/>"), "x.xml:3: check='yes' (expected one of none, partial, full)"),
        (cpu("<cpu>\n<model>A</model>\n<feature policy='reqire' name='aes'/></cpu>"), "x.xml:5: policy='reqire' (did"),
        (cpu("<cpu>\n<model>A</model>\n<feature policy='require'/></cpu>"), "x.xml:5: a <feature> without a name"),
        (
            cpu("<cpu>\n<model>A</model>\n<feature name='aes'/>\n<feature policy='disable' name='aes'/></cpu>"),
            "x.xml:6: feature 'aes' stands twice (the first at x.xml:5)",
        ),
        (cpu("<cpu><feature name='aes'/></cpu>"), "x.xml:3: features without a CPU model"),
        (cpu("<cpu/>\n<cpu/>"), "x.xml:4: a second <cpu>"),
        (cpu("<cpu><model vendor_id='short'>A</model></cpu>"), "x.xml:3: vendor_id 'short' (expected 12 characters"),
        (cpu("<os><type arch='aarch64'>hvm</type></os>"), "x.xml:3: a guest of aarch64"),
        ("<network><name>x</name></network>", "x.xml:1: <network> is no libvirt domain (expected <domain>,"),
        ("<domain type='kvm'>\n<cpu>\n</domain>", "x.xml:3: broken XML: mismatched tag"),
        ("<domain type='kvm'", "x.xml:1: broken XML: unclosed token"),
        ("<", "x.xml:1: broken XML: unclosed token"),
        ("<domain>&nosuch;</domain>", "x.xml:1: broken XML: undefined entity"),
        ("<domain a='\ud800'/>", "not text that can be written as UTF-8"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_its_place(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_configuration(text, "x.xml")
    assert str(caught.value).startswith(said) or said in str(caught.value)
    assert "\n" not in str(caught.value)


BOMB = (
    "<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaa'>"
    + "".join(f"<!ENTITY {new} '{f'&{old};' * 10}'>" for old, new in zip("abcdefgh", "bcdefghi", strict=True))
    + "]><domain>&i;</domain>"
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "<!DOCTYPE domain SYSTEM 'http://127.0.0.1:9/x.dtd'><domain/>",
        "<!DOCTYPE domain [<!ENTITY secret SYSTEM 'file:///etc/passwd'>]><domain><name>&secret;</name></domain>",
        "<!DOCTYPE domain [<!ENTITY % p SYSTEM 'file:///etc/passwd'>%p;]><domain/>",
        "<?xml version='1.0'?>\n<!-- x -->\n<!DOCTYPE domain><domain/>",
    ],
)
def test_a_document_type_is_refused_whatever_it_declares(text: str) -> None:
    with pytest.raises(InputError, match=r"a document type \(<!DOCTYPE \.\.\.>\) is refused"):
        read_configuration(text, "x.xml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<a>" * (MAX_DEPTH + 1), "elements nested deeper than 64"),
        ("<a>" * 1_000_000, "elements nested deeper than 64"),
        ("<a>" + "<b/>" * (MAX_ELEMENTS + 1) + "</a>", "more than 50000 elements"),
        ("<a>" + "x" * (5 << 20) + "</a>", "larger than 4 MiB"),
        ("<a b='" + "&lt;" * 1_000_000, "broken XML"),
        ("<" + "a" * 4_000_000, "broken XML"),
        ("<a " + " ".join(f"b{n}='>'" for n in range(200_000)) + "/>", "no libvirt domain"),
        ("<!--" + "-" * 4_000_000, "broken XML"),
    ],
    ids=["deep", "deeper", "many", "large", "attribute", "name", "attributes", "comment"],
)
def test_hostile_xml_costs_little(text: str, said: str) -> None:
    tracemalloc.start()
    with pytest.raises(InputError, match=re.escape(said)):
        read_configuration(text, "x.xml")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 << 20


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "large.xml"
    with file.open("wb") as hole:
        hole.write(b"<domain>")
        hole.truncate(100 << 20)
    tracemalloc.start()
    with pytest.raises(InputError, match="larger than 4 MiB"):
        read_file(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20


def test_places_are_bytes_of_the_text() -> None:
    text = '\ufeff<!-- \u00e4\u4e2d -->\n<domain a="x>y" b=\'"\'><name>\u00fc</name><cpu/></domain>\n'
    root = parse_xml(text, "x")
    data = text.encode()
    name, cpu_element = root.children
    assert data[name.start : name.end].decode() == "<name>\u00fc</name>"
    assert data[cpu_element.start : cpu_element.end] == b"<cpu/>"
    assert root.start_tag == '<domain a="x>y" b=\'"\'>'
    assert (root.line, [element.name for element in root.walk()]) == (2, ["domain", "name", "cpu"])
    assert data[root.start : root.end].endswith(b"</domain>")


def test_xml_is_libvirts() -> None:
    assert looks_like("\ufeff\n <?xml version='1.0'?><domain/>", "x")
    assert not looks_like("cpu: host\n", "100.conf")
    assert not looks_like("", "x")


def test_domain_capabilities() -> None:
    text = (DATA / "domcapabilities-9.0.0.xml").read_text(encoding="utf-8")
    found = read_domain_capabilities(text, "x")
    assert found.host_model is not None
    assert found.host_model.model
    assert found.host_model.fallback == "forbid"
    assert found.usable["qemu64"] in (True, False)
    assert len(found.usable) > 50
    asked = read(text, "x")
    assert (asked.mode, asked.model) == ("host-model", found.host_model.model)
    assert (asked.text, len(asked.lost_in_words)) == ("", 1)


def test_blockers_of_newer_libvirts() -> None:
    found = read_domain_capabilities(
        "<domainCapabilities><machine>pc-q35-9.2</machine><domain>kvm</domain><cpu>"
        "<mode name='host-model' supported='no'/><mode name='custom' supported='yes'>"
        "<model usable='no' vendor='Intel'>Icelake-Server-v7</model>"
        "<blockers model='Icelake-Server-v7'><feature name='hle'/><feature name='rtm'/></blockers>"
        "<model usable='unknown'>x</model></mode></cpu></domainCapabilities>",
        "x",
    )
    assert found.host_model is None
    assert (found.machine, found.kind) == ("pc-q35-9.2", "kvm")
    assert (found.usable["Icelake-Server-v7"], found.usable["x"]) == (False, None)
    assert found.blockers["Icelake-Server-v7"] == ("hle", "rtm")


def test_host_capabilities_are_a_hosts_snapshot() -> None:
    text = """<capabilities><host><cpu><arch>x86_64</arch><model>Cascadelake-Server-noTSX</model><vendor>Intel</vendor>
      <microcode version='83898371'/><signature family='6' model='85' stepping='7'/><counter name='tsc' frequency='1'/>
      <feature name='md-clear'/><feature name='arch-capabilities'/><feature name='mds-no'/>
      </cpu></host></capabilities>"""
    host = read_host_cpu(text, "caps.xml")
    assert (host.model, host.signature, host.microcode) == ("Cascadelake-Server-noTSX", (6, 85, 7), 83898371)
    snapshot = snapshot_of_host(host, "9.0.0", "caps.xml")
    assert (snapshot.role, snapshot.cpu.vendor, snapshot.cpu.model) == ("host", "GenuineIntel", 85)
    assert has_bit(snapshot, "md_clear") is True
    assert has_bit(snapshot, "mds_no") is True
    assert has_bit(snapshot, "spec_ctrl") is True  # by the model
    assert has_bit(snapshot, "rtm") is False  # neither listed nor in the model
    assert has_bit(snapshot, "taa_no") is None  # libvirt may not have been able to read the MSR
    assert has_bit(snapshot, "flush_l1d") is None  # 9.0.0 has no name for it
    with pytest.raises(InputError, match=r"caps.xml:1: no <cpu> in <host>"):
        read_host_cpu("<capabilities><host/></capabilities>", "caps.xml")
    with pytest.raises(InputError, match=r"x:1: version='-1' \(expected a decimal number\)"):
        read_host_cpu("<capabilities><host><cpu><microcode version='-1'/></cpu></host></capabilities>", "x")
