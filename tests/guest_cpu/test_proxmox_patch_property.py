"""A VM's file with changes made asks for the same CPU with the changes made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archcaps.guest_cpu.changes import GuestChange, MachineChange, ModelChange, SwitchChange
from archcaps.guest_cpu.proxmox.cpu_line import BUILTIN_MODELS, VENDORS, VM_FLAGS
from archcaps.guest_cpu.proxmox.format import patch, read
from archcaps.tables.bits import BITS
from tests.guest_cpu.test_proxmox import MODELS

NAMED = sorted(name for name, bit in BITS.items() if "qemu" in bit.names)
flag_lists = st.lists(
    st.tuples(st.sampled_from("+-"), st.sampled_from(["md-clear", "pcid", "aes", "spec-ctrl"])), max_size=3
).map(lambda flags: ";".join(sign + name for sign, name in flags))


CPU_TYPES = (None, "host", "kvm64", "x86-64-v3", "EPYC-Milan", "custom-qemu64", "custom-alldefault")


@st.composite
def texts(draw: st.DrawFn) -> str:
    cputype = draw(st.sampled_from(CPU_TYPES))
    flags = draw(flag_lists)
    lines = ["# a VM", "memory: 2048", "scsi0: local:100/vm-100-disk-0.raw,size=8G"]
    if cputype is not None:
        lines.insert(draw(st.integers(0, 3)), f"cpu: {cputype}{',flags=' + flags if flags else ''}")
    if draw(st.booleans()):
        lines.append("machine: q35,viommu=intel")
    if draw(st.booleans()):
        lines += ["", "[before]", "cpu: host", "memory: 1024"]
    ending = draw(st.sampled_from(["", "\n", "\n\n"]))
    return "\n".join(lines) + (f"\n{MODELS}" if cputype and cputype.startswith("custom") else ending)


changes_of = st.dictionaries(st.sampled_from(NAMED), st.booleans(), max_size=4)


def state(text: str) -> dict[str, object]:
    asked = read(text, "100.conf")
    found: dict[str, object] = {switch.name: switch.on for switch in asked.switches}
    return {
        **found,
        "model": asked.model,
        "vendor": asked.identity.vendor,
        "machine": asked.machine,
        "kvm": asked.check,
    }


@given(texts(), changes_of)
def test_written_then_read_back(text: str, changes: dict[str, bool]) -> None:
    made = patch(read(text, "100.conf"), [SwitchChange(name, on) for name, on in changes.items()])
    assert not made.impossible
    wanted = {BITS[name].names["qemu"]: on for name, on in changes.items()}
    assert state(made.after) == {**state(text), **wanted}
    assert bool(made.diff) is (made.after != text)
    if not changes:
        assert made.after == text
    for line in text.splitlines():
        if not line.startswith(("cpu: ", "    flags")):
            assert line in made.after.splitlines()


@given(texts(), st.sampled_from(["Cascadelake-Server-v5", "host", "EPYC-Genoa"]), changes_of)
def test_another_model(text: str, model: str, changes: dict[str, bool]) -> None:
    asked = read(text, "100.conf")
    every: list[GuestChange] = [ModelChange(model), MachineChange("pc-q35-10.1")]
    made = patch(asked, [*every, *(SwitchChange(name, on) for name, on in changes.items())])
    assert not made.impossible
    after = state(made.after)
    assert after["model"] == model
    assert after["vendor"] == VENDORS[model]
    assert after["machine"] == "pc-q35-10.1"
    assert ("viommu=intel" in text) is ("viommu=intel" in made.after)
    assert all(after[BITS[name].names["qemu"]] is on for name, on in changes.items())


def test_an_allowed_flag_stands_on_the_vms_line() -> None:
    assert "md-clear" in VM_FLAGS
    made = patch(read("cpu: host,flags=+pcid;-md-clear\nmemory: 1\n", "1.conf"), [SwitchChange("md_clear", on=True)])
    assert made.after == "cpu: host,flags=+pcid;+md-clear\nmemory: 1\n"
    made = patch(read("memory: 1\n[snap]\nmemory: 1\n", "1.conf"), [SwitchChange("md_clear", on=True)])
    assert made.after == "memory: 1\ncpu: kvm64,flags=+md-clear\n[snap]\nmemory: 1\n"


def test_another_flag_needs_a_custom_model() -> None:
    text = "cpu: x86-64-v2,flags=+pcid\nmemory: 1\n"
    made = patch(read(text, "1.conf"), [SwitchChange("fb_clear", on=True), SwitchChange("md_clear", on=True)])
    flags = BUILTIN_MODELS["x86-64-v2"][1]
    assert made.after == (
        "cpu: custom-from-x86-64-v2,flags=+pcid;+md-clear\nmemory: 1\n\n"
        "# /etc/pve/virtual-guest/cpu-models.conf\n"
        f"cpu-model: from-x86-64-v2\n\treported-model qemu64\n\tflags {flags};+fb-clear\n"
    )


def test_a_custom_model_is_changed_where_it_stands() -> None:
    made = patch(read(f"cpu: custom-qemu64\nmemory: 1\n{MODELS}", "1.conf"), [SwitchChange("fb_clear", on=True)])
    assert "\tflags +aes;+avx;-kvm_pv_unhalt;+fb-clear\n" in made.after
    lines = [line for line in made.diff.splitlines() if line[:1] in "+-" and not line.startswith(("+++", "---"))]
    assert len(lines) == 2


def test_what_can_not_be_written_says_why() -> None:
    def why(text: str, change: GuestChange) -> str:
        made = patch(read(text, "1.conf"), [change])
        assert made.after == text
        return made.impossible[0][1]

    assert "QEMU has no name for rrsba" in why("cpu: host\n", SwitchChange("rrsba", on=False))
    assert "cpu-models.conf: give that file" in why("cpu: custom-x\n", SwitchChange("fb_clear", on=True))
    assert "args holds a -cpu" in why("args: -cpu host\n", SwitchChange("fb_clear", on=True))
    assert "no CPU model Nonsense" in why("cpu: host\n", ModelChange("Nonsense"))
    assert "Proxmox VE's own" in why(f"cpu: custom-qemu64\nmemory: 1\n{MODELS}", ModelChange("x86-64-v3"))
    assert "no machine type" in why("cpu-model: x\n\tflags +aes\n", MachineChange("q35"))


def test_custom_models_alone_can_be_changed() -> None:
    made = patch(read("cpu-model: x\n\treported-model host\n", "cpu-models.conf"), [SwitchChange("md_clear", on=False)])
    assert made.after == "cpu-model: x\n\treported-model host\n\tflags -md-clear\n"
