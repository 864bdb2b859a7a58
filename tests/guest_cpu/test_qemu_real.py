"""A real QEMU against archcaps' tables and rules of it: what it answers over QMP, and what its guests really have.

Guests run with KVM where the machine has it, else under TCG; the host is this machine as `archcaps probe` reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import archcaps
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.changes import GuestChange, MachineChange, ModelChange, SwitchChange
from archcaps.guest_cpu.formats import expand, patch, read_configuration
from archcaps.guest_cpu.qemu.models import definition, setting
from archcaps.guest_cpu.qemu.qmp import Qmp, ask
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.machine.facts import known_bits
from archcaps.questions.default_guest import default_guest
from archcaps.tables import qemu as tables
from tests.guest_cpu.qemus import PROGRAM, accelerator, needs_qemu, release, running
from tools.qemu.record import Qemu

pytestmark = needs_qemu

GUESTS = [
    "host", "host,migratable=off", "max", "host,-mds-no", "host,arch-capabilities=off", "host,-rdctl-no,rdctl_no=on",
    "host,-md-clear,+md-clear", "qemu64", "qemu64,+md-clear", "kvm64,vendor=AuthenticAMD", "Icelake-Server",
    "Icelake-Server-v4", "Icelake-Server-v4,+rsba", "Icelake-Server-v4,-arch-capabilities", "Cascadelake-Server-v2",
    "Cascadelake-Server-noTSX", "Denverton", "Snowridge", "Cooperlake", "Haswell-noTSX-IBRS", "EPYC-Rome", "EPYC",
    "EPYC,+arch-capabilities,+mds-no", "Nehalem,+mds-no", "Skylake-Server,vendor=GenuineIntel,model=0x8f,stepping=3",
    "Icelake-Server-v4,x-force-features=on", "Opteron_G5,rtm=on,hle", "base",
]  # fmt: skip


@pytest.fixture(scope="module")
def host() -> archcaps.Snapshot:
    return archcaps.this_machine("host")


@pytest.fixture(scope="module")
def qemu() -> Iterator[Qemu]:
    assert PROGRAM is not None
    with Qemu(PROGRAM) as found:
        yield found


def asked_for(cpu: str, machine: str = "q35") -> Asked:
    return read_configuration(
        f"qemu-system-x86_64 -machine {machine} -accel {accelerator()} -cpu {cpu}", "the test", "qemu"
    )


def predicted(cpu: str, host: archcaps.Snapshot, machine: str = "q35") -> ShownGuest:
    asked = replace(asked_for(cpu, machine), release=release())
    return expand(asked, host, default_guest(host))


def test_every_model_expands_as_the_table_says(qemu: Qemu) -> None:
    """All that QEMU calls a feature, for every model, version and fixed name of this release."""
    where = setting(release(), "none", "the test")
    names = [name for name, row in tables.properties().items() if row.kind == "feature"]
    off = {name for name, on in tables.accelerator_defaults("tcg").items() if not on}
    models = [each["name"] for each in qemu("query-cpu-definitions") if each["name"] not in ("host", "max")]
    assert len(models) > 120
    wrong = {}
    for model in models:
        answer = qemu.expand(model)
        table = definition(model, where, "the test")
        found = {name for name in names if answer.get(name) is True}
        identity = tuple(answer[key] for key in ("family", "model", "stepping"))
        if found != table.features - off or identity != (table.family, table.model, table.stepping):
            wrong[model] = sorted(found ^ (table.features - off)), identity
    assert wrong == {}


def test_every_property_is_known_of_this_release(qemu: Qemu) -> None:
    numbers = tables.parse_release(release())
    assert numbers is not None
    there = {each["name"] for each in qemu("device-list-properties", typename="max-x86_64-cpu")}
    for name, row in tables.properties().items():
        assert (name in there) is row.span.has(numbers), name


@pytest.mark.parametrize("machine", ["pc", "q35", "microvm", "pc-q35-6.0", "pc-i440fx-7.2"])
def test_a_plain_name_means_on_a_machine_what_qemu_says(machine: str) -> None:
    assert PROGRAM is not None
    numbers, wanted = tables.parse_release(release()), tables.machine_type(machine).version
    if numbers is not None and wanted is not None and wanted > numbers:
        machine = "q35"  # an older QEMU than the machine type
    where = setting(release(), machine, "the test")
    with Qemu(PROGRAM, machine) as qemu:
        for each in qemu("query-cpu-definitions"):
            if "alias-of" in each:
                assert definition(each["name"], where, "").name == each["alias-of"]
        answer = qemu.expand("qemu64")
        table = definition("qemu64", where, "")
        assert (answer["family"], answer["model"], answer["stepping"]) == (table.family, table.model, table.stepping)


@pytest.mark.parametrize("cpu", GUESTS)
def test_what_a_running_guest_has(cpu: str, host: archcaps.Snapshot, tmp_path: Path) -> None:
    """Every bit that archcaps said it knows is so in QEMU's virtual CPU, and of MSR 0x10a it knows all."""
    told = predicted(cpu, host)
    try:
        with running(cpu, tmp_path) as socket:
            live = expand(ask(socket), None, None)
    except RuntimeError as error:
        assert told.refused is not None, error
        return
    assert told.refused is None
    real, said = known_bits(live.snapshot), known_bits(told.snapshot)
    wrong = {name: bit.value for name, bit in said.items() if name in real and real[name].value is not bit.value}
    assert wrong == {}
    sure = {"mds_no", "rdcl_no", "arch_capabilities"} | ({"md_clear"} if accelerator() == "kvm" else set())
    assert {name for name in said if name in real} >= sure
    for part in ("vendor", "family", "model", "stepping"):
        expected = getattr(told.snapshot.cpu, part)
        if expected is None:
            continue  # the vendor of base: the host's or none, by release
        assert getattr(live.snapshot.cpu, part) == (int(expected, 0) if str(expected).startswith("0x") else expected)


@pytest.mark.parametrize("cpu", [f"{cpu},enforce" for cpu in GUESTS if "force" not in cpu])
def test_enforce_never_starts_what_archcaps_says_is_refused(cpu: str, host: archcaps.Snapshot, tmp_path: Path) -> None:
    told = predicted(cpu, host)
    try:
        with running(cpu, tmp_path):
            assert told.refused is None
    except RuntimeError as error:
        # Refused for sure, or for a feature of which archcaps says that it cannot tell.
        assert told.refused is not None or told.notices, error


@pytest.mark.parametrize("word", ["+rdctl_no", "-arch_capabilities", "+fb-claer", "md-clear=maybe", "vendor=Intel"])
def test_what_is_refused_qemu_refuses(word: str, tmp_path: Path) -> None:
    with pytest.raises(archcaps.InputError):
        asked_for(f"Haswell,{word}")
    with pytest.raises(RuntimeError), running(f"Haswell,{word}", tmp_path):
        pass


CHANGES: list[GuestChange] = [
    SwitchChange("md_clear", True), SwitchChange("mds_no", False), SwitchChange("fb_clear", True),
    SwitchChange("rtm", False), SwitchChange("rrsba", False), SwitchChange("taa_no", True),
    ModelChange("Icelake-Server-v4"), MachineChange("pc-q35-7.2"),
]  # fmt: skip


@pytest.mark.parametrize("cpu", ["Skylake-Server,-hle", "Cascadelake-Server-v2", "Denverton,+md-clear,mds-no=on"])
def test_a_corrected_option_expands_with_its_changes(cpu: str, qemu: Qemu) -> None:
    """QEMU's own expansion of the option that was written has every change that could be made."""
    for change in CHANGES:
        asked = replace(asked_for(cpu), release=release())
        made = patch(asked, [change])
        written = read_configuration(made.after, "the test", "qemu")
        assert not made.impossible or made.after == made.before, change
        properties = {switch.name: switch.on for switch in written.switches}
        answer = qemu.expand(str(written.model), **properties)
        if isinstance(change, SwitchChange) and not made.impossible:
            name = {
                "md_clear": "md-clear",
                "mds_no": "mds-no",
                "rtm": "rtm",
                "taa_no": "taa-no",
                "fb_clear": "fb-clear",
            }
            assert answer[name[change.bit]] is change.on
            assert answer["arch-capabilities"] or not change.on or change.bit in ("md_clear", "rtm")


@pytest.mark.parametrize(
    "cpu", ["Skylake-Server,-hle", "Cascadelake-Server-v2", "Denverton,+md-clear,mds-no=on", "host,-md-clear"]
)
def test_enforce_takes_a_corrected_option_where_this_kvm_can(cpu: str, host: archcaps.Snapshot, tmp_path: Path) -> None:
    """QEMU starts it with enforce, or archcaps said that it may not; which of the two, the test's output says."""
    for change in CHANGES[:3]:
        made = patch(replace(asked_for(cpu), release=release()), [change])
        if made.impossible:
            continue
        option = f"{made.after.rpartition('-cpu ')[2]},enforce"
        told = predicted(option, host)
        try:
            with running(option, tmp_path):
                print(f"{option}: QEMU took it")
                assert told.refused is None
        except RuntimeError as error:
            print(f"{option}: this KVM has not all of it; its expansion over QMP is shown by the test above")
            assert told.refused is not None or told.notices, error


def test_a_socket_that_is_none(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(archcaps.InputError, match="cannot be connected to"), Qmp(str(path)):
            pass
