"""Changed domains: what is asked is there and nothing else has changed; libvirt's own tools take what is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcaps.errors import InputError
from archcaps.guest_cpu.changes import GuestChange, MachineChange, ModelChange, SwitchChange
from archcaps.guest_cpu.formats import patch, read_file
from archcaps.guest_cpu.libvirt.format import read
from archcaps.guest_cpu.libvirt.names import BY_LIBVIRT
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS
from tests.guest_cpu.libvirt_tools import run

EXAMPLES = Path(__file__).parents[2] / "examples" / "guests" / "libvirt"
FILES = sorted(EXAMPLES.glob("*.xml"))
CPUS = (
    "",
    "<cpu/>",
    "<cpu mode='host-model'/>",
    '<cpu mode="host-passthrough" check="none" migratable="on">\n  </cpu>',
    "<cpu><topology sockets='1' cores='2' threads='1'/></cpu>",
    "<cpu mode='custom' match='exact'><model>Nehalem</model></cpu>",
    "<cpu match = 'exact'\n       mode='custom'>\n    <model fallback='allow'>Skylake-Server-IBRS</model>\n"
    "    <!-- a > b -->\n"
    "    <feature name='md-clear' policy='disable' />\n    <feature name='mds-no'></feature>\n"
    "    <numa><cell id='0' cpus='0' memory='1' unit='GiB'/></numa>\n  </cpu>",
    "<cpu mode='custom'><model>Cascadelake-Server</model><feature policy='force' name='arch-capabilities'/>"
    "<feature policy='forbid' name='fb-clear'/></cpu>",
)


def domain(cpu: str) -> str:
    return (
        "<domain type='kvm'>\n  <name>\u00fcml\u00e4ut</name>\n  <memory unit='GiB'>1</memory>\n  <vcpu>1</vcpu>\n"
        "  <os>\n"
        f"    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>\n  </os>\n  {cpu}\n</domain>\n"
    )


def states(text: str) -> dict[str, bool]:
    return {switch.name: switch.on for switch in read(text, "x").switches}


models = st.sampled_from([None, "Cascadelake-Server", "EPYC"])
changes_of_bits = st.builds(SwitchChange, st.sampled_from(sorted(BITS)), st.booleans())


@given(st.sampled_from(CPUS), st.lists(changes_of_bits, max_size=6), models)
def test_property_written_and_read_back_is_the_same_guest_with_the_changes(
    cpu: str, switches: list[SwitchChange], model: str | None
) -> None:
    before = read(domain(cpu), "x.xml")
    changes: list[GuestChange] = [*switches, *([ModelChange(model)] if model else [])]
    found = patch(before, changes)
    after = read(found.after, "x.xml")
    refused = [change for change, _ in found.impossible]
    wanted = {change.bit: change.on for change in switches}
    made = {bit: on for bit, on in wanted.items() if SwitchChange(bit, on) not in refused}
    named = {BITS[bit].names["libvirt"]: on for bit, on in made.items()}
    if any(on and bit in ARCH_CAPABILITIES for bit, on in made.items()):
        named.setdefault("arch-capabilities", states(found.after).get("arch-capabilities", False))
    old = {switch.name: switch.on for switch in before.switches}
    assert states(found.after) == {**old, **named} or {**old, **named, "arch-capabilities": True} == {
        **states(found.after), "arch-capabilities": True
    }  # fmt: skip
    assert after.model == (model or before.model)
    assert (after.name, after.machine) == (before.name, before.machine)
    assert (found.diff == "") is (found.after == found.before)
    # What stands already is not written again.
    assert patch(after, [change for change in changes if change not in refused]).diff == ""


@given(st.sampled_from(CPUS), st.lists(changes_of_bits, min_size=1, max_size=3))
def test_property_every_other_line_stays(cpu: str, switches: list[SwitchChange]) -> None:
    found = patch(read(domain(cpu), "x.xml"), switches)
    added = [line for line in found.diff.splitlines() if line.startswith("+") and not line.startswith("+++")]
    assert all("<feature" in line or "<cpu" in line or "</cpu>" in line for line in added)
    removed = [line for line in found.diff.splitlines() if line.startswith("-") and not line.startswith("---")]
    assert len(removed) <= len(switches) + 1


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize(
    "changes",
    [
        (SwitchChange("md_clear", True), SwitchChange("mds_no", False)),
        (ModelChange("Skylake-Server-IBRS"), SwitchChange("md_clear", True), MachineChange("pc-q35-7.1")),
    ],
    ids=["features", "model"],
)
def test_libvirts_tools_take_what_is_written(file: Path, changes: tuple[GuestChange, ...], tmp_path: Path) -> None:
    written = tmp_path / file.name
    written.write_text(patch(read_file(file), changes).after, encoding="utf-8")
    done = run("virt-xml-validate", str(written), "domain")
    assert done.returncode == 0, done.stderr
    done = run("virsh", "-c", "test:///default", "define", str(written))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", range(len(CPUS)))
def test_virsh_defines_every_changed_cpu(number: int, tmp_path: Path) -> None:
    """And prints the CPU that we read out of what we wrote."""
    features = [SwitchChange("md_clear", True), SwitchChange("taa_no", False)]
    changes: list[GuestChange] = [ModelChange("Cascadelake-Server"), *features]
    text = patch(read(domain(CPUS[number]), "x.xml"), changes).after
    written = tmp_path / "domain.xml"
    written.write_text(text, encoding="utf-8")
    if "<feature name='mds-no'>" not in CPUS[number]:  # libvirt takes it without a policy, its schema does not
        assert run("virt-xml-validate", str(written), "domain").returncode == 0
    name = read(text, "x").name
    done = run("virsh", "-c", "test:///default", f"define {written}; dumpxml {name}")
    assert done.returncode == 0, done.stderr
    printed = read(done.stdout[done.stdout.index("<domain") :], "virsh")
    assert {(switch.name, switch.policy) for switch in printed.switches} == {
        (switch.name, switch.policy) for switch in read(text, "x").switches
    }
    assert printed.model == "Cascadelake-Server"


def test_the_diff_is_small_and_comments_stay() -> None:
    asked = replace(read_file(EXAMPLES / "cascadelake.xml"), where="web.xml")
    found = patch(asked, [SwitchChange("fb_clear", True), SwitchChange("mds_no", False)])
    assert found.diff == (
        "--- a/web.xml\n+++ b/web.xml\n@@ -16,8 +16,9 @@\n     <topology sockets='1' dies='1' cores='2' threads='1'/>\n"
        "     <!-- wanted by the auditors -->\n     <feature policy='require' name='arch-capabilities'/>\n"
        "-    <feature policy='require' name='mds-no'/>\n+    <feature policy='disable' name='mds-no'/>\n"
        "     <feature policy='disable' name='pku'/>\n+    <feature policy='require' name='fb-clear'/>\n   </cpu>\n"
        "   <clock offset='utc'/>\n   <devices>\n"
    )
    assert found.impossible == ()


@pytest.mark.parametrize(
    ("cpu", "release", "change", "why"),
    [
        ("<cpu mode='host-model'/>", None, SwitchChange("rrsba", False), "libvirt has no name for rrsba"),
        (
            "<cpu mode='host-model'/>",
            "9.0.0",
            SwitchChange("fb_clear", True),
            "9.0.0 does not know fb-clear (11.3.0 does)",
        ),
        ("", None, SwitchChange("md_clear", True), "the domain names no CPU model"),
        ("<cpu/>", None, ModelChange("Cascadelake-Server-v7"), "it has Cascadelake-Server-v1, Cascadelake-Server-v2"),
        ("<cpu/>", "9.0.0", ModelChange("Cascadelake-Server-v5"), "libvirt 9.0.0 has no model Cascadelake-Server-v5"),
        ("<cpu/>", None, ModelChange("Cascadelake"), "did you mean Cascadelake-Server"),
    ],
)
def test_what_libvirt_has_no_words_for_is_said(cpu: str, release: str | None, change: GuestChange, why: str) -> None:
    found = patch(replace(read(domain(cpu), "x"), release=release), [change])
    ((what, said),) = found.impossible
    assert what == change
    assert why in said
    assert found.after == found.before


def test_elsewhere() -> None:
    override = patch(read_file(EXAMPLES / "own-cpu-line.xml"), [SwitchChange("md_clear", False)])
    assert "overrides <cpu>" in override.impossible[0][1]
    bare = patch(read("<cpu><model>Nehalem</model></cpu>", "x"), [MachineChange("q35")])
    assert "the machine type stands in the <domain>" in bare.impossible[0][1]
    capabilities = read("<capabilities><host><cpu><model>Nehalem</model></cpu></host></capabilities>", "x")
    assert "not a domain's XML" in patch(capabilities, [SwitchChange("md_clear", True)]).impossible[0][1]
    for change in (ModelChange("a'/><b"), MachineChange("q35'/>"), SwitchChange("nosuch", True)):
        with pytest.raises(InputError):
            patch(read(domain("<cpu mode='host-model'/>"), "x"), [change])


def test_a_bit_of_the_msr_brings_its_cpuid_bit() -> None:
    found = patch(read(domain("<cpu><model>Nehalem</model></cpu>"), "x"), [SwitchChange("mds_no", True)])
    assert states(found.after) == {"mds-no": True, "arch-capabilities": True}
    both = [SwitchChange("arch_capabilities", False), SwitchChange("mds_no", True)]
    against = patch(read(domain("<cpu><model>Nehalem</model></cpu>"), "x"), both)
    assert states(against.after) == {"mds-no": True, "arch-capabilities": False}  # as asked, though QEMU clears mds-no
    passed = patch(read(domain("<cpu mode='host-passthrough'/>"), "x"), [SwitchChange("mds_no", True)])
    assert states(passed.after) == {"mds-no": True}  # the host's own arch-capabilities is passed


def test_every_name_of_libvirt_is_one_bit() -> None:
    assert len(BY_LIBVIRT) == len({*BY_LIBVIRT.values()})
