"""QEMU's rules: what of a -cpu option reaches a guest on a host, by release, machine type and accelerator."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace as with_fields

import archcaps
from archcaps.guest_cpu.changes import GuestChange, MachineChange, ModelChange, SwitchChange
from archcaps.guest_cpu.formats import expand, patch, read_configuration
from archcaps.guest_cpu.qemu.models import definition, setting
from archcaps.guest_cpu.shown import ShownGuest
from archcaps.machine.facts import known_bits
from archcaps.machine.snapshot import Accepted, Kvm, Snapshot
from archcaps.questions.default_guest import default_guest
from archcaps.tables import qemu as tables
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS

#: Published values of MSR 0x10a as Firecracker's guests read them (TSX off), and with TSX on (Cloud Hypervisor's test).
CLX, SPR, SPR_WITH_TSX = 0x0C0AA0EB, 0x400000000C08E0EB, 0x400000000C08E1EB
INTEL_FLAGS = "md_clear,flush_l1d,arch_capabilities,spec_ctrl,intel_stibp,ssbd"


def intel(cpu: str = "6/0x8f/8", word: int = SPR, flags: str = INTEL_FLAGS) -> Snapshot:
    return archcaps.host(cpu, flags, word, "6.12.117", "tsx=on")


AMD = archcaps.host("amd:25/17/1", "verw_clear,amd_ibpb", "none", "6.12.117", "")


def shown(
    cpu: str, host: Snapshot | None, release: str = "11.1", machine: str = "q35", accel: str = "kvm"
) -> ShownGuest:
    text = f"qemu-system-x86_64 -machine {machine} -accel {accel} -cpu {cpu}"
    asked = replace(read_configuration(text, "the test", "qemu"), release=release)
    return expand(asked, host, None if host is None else default_guest(host))


def bits(guest: ShownGuest) -> dict[str, bool]:
    return {name: bit.value for name, bit in known_bits(guest.snapshot).items()}


def word(guest: ShownGuest) -> int:
    return int(str(guest.snapshot.registers["ia32_arch_capabilities"].value), 16)


@pytest.mark.parametrize(
    ("release", "machine", "expected"),
    [
        ("10.0", "q35", True),
        ("10.1.0", "q35", False),  # the host's own CPUID has no such bit
        ("10.1.0", "pc-q35-10.0", False),
        ("10.1.1", "pc-q35-10.1", False),  # the guest's vendor is AMD
        ("11.1", "pc-q35-10.0", True),
        ("11.1", "microvm", False),
        ("7.2", "pc-i440fx-2.12", True),
    ],
)
def test_arch_capabilities_on_amd(release: str, machine: str, expected: bool) -> None:
    guest = shown("host", AMD, release, machine)
    assert bits(guest)["arch_capabilities"] is expected
    if expected:
        assert word(guest) != 0
    else:
        assert word(guest) == 0
        assert bits(guest)["mds_no"] is False
    assert bits(shown("host", intel(), release, machine))["arch_capabilities"] is True


def test_a_guest_that_calls_itself_intel_s_keeps_it_on_amd() -> None:
    assert bits(shown("host,vendor=GenuineIntel", AMD))["arch_capabilities"] is True


@pytest.mark.parametrize(
    ("release", "value", "expected"),
    [
        ("10.1.1", SPR_WITH_TSX, False),
        ("10.1.2", SPR_WITH_TSX, True),
        ("11.1", SPR_WITH_TSX, True),
        ("11.1", SPR, False),
    ],
)
def test_fb_clear_of_an_immune_host(release: str, value: int, expected: bool) -> None:
    """Sapphire Rapids lacks FB_CLEAR; QEMU adds it only where TAA_NO is offered too, as with TSX on."""
    host = intel(word=value, flags=INTEL_FLAGS + (",rtm" if value & 1 << 8 else ""))
    guest = shown("Cascadelake-Server-v2,+fb-clear,check", host, release)
    assert bits(guest)["fb_clear"] is expected
    said = {each.name: (each.by, each.shown) for each in guest.differences}
    assert said["fb-clear"] == (("qemu", True) if expected else ("kvm", False))
    enforced = shown("Cascadelake-Server-v2,+fb-clear,enforce", host, release)
    assert ("fb-clear" in (enforced.refused or "")) is not expected


def test_what_has_no_name_is_dropped_unless_not_migratable() -> None:
    host = intel("6/0x55/7", CLX)
    offered = bits_of_default(host)
    assert offered["rrsba"] is True
    assert bits(shown("host", host))["rrsba"] is False
    assert bits(shown("host,migratable=off", host))["rrsba"] is True
    old = shown("host", host, "7.2")
    assert (bits(old)["fb_clear"], bits(old)["mds_no"]) == (False, True)
    by = {each.name: each.by for each in old.differences}
    assert (by["fb-clear"], by["rrsba"]) == ("qemu", "qemu")
    assert bits(shown("host,-mds-no", host))["mds_no"] is False


def bits_of_default(host: Snapshot) -> dict[str, bool]:
    return {name: bit.value for name, bit in known_bits(default_guest(host)).items()}


def test_without_the_cpuid_bit_the_word_is_cleared() -> None:
    guest = shown("Cascadelake-Server-v6,arch-capabilities=off", intel("6/0x55/7", CLX))
    assert word(guest) == 0
    assert not any(bits(guest)[name] for name in ARCH_CAPABILITIES)
    asked = shown("Skylake-Server,+fb-clear,enforce", intel("6/0x55/7", CLX))
    assert "fb-clear" in str(asked.refused)


def test_named_models_get_the_host_s_vendor_under_kvm() -> None:
    assert shown("Cascadelake-Server-v2", AMD).snapshot.cpu.vendor == "AuthenticAMD"
    assert shown("EPYC,vendor=AuthenticAMD", intel()).snapshot.cpu.vendor == "AuthenticAMD"
    assert shown("EPYC", None).snapshot.cpu.vendor == "AuthenticAMD"


def test_tsx_of_a_haswell_is_removed() -> None:
    broken, fixed = (archcaps.host(f"6/63/{step}", "md_clear,rtm", "none", "6.1.192", "") for step in (2, 4))
    assert bits(shown("Haswell", broken))["rtm"] is False
    assert bits(shown("Haswell", fixed))["rtm"] is True
    assert [each.by for each in shown("Haswell", broken).differences if each.name == "rtm"] == ["qemu"]


def test_tcg_never_has_it() -> None:
    """Forced, the CPUID bit is there, as a running QEMU 7.2 and 11.1 say; RDMSR of MSR 0x10a gives 0 even then."""
    for cpu, forced in (("Cascadelake-Server-v6", False), ("Cascadelake-Server-v6,x-force-features=on", True)):
        guest = shown(cpu, intel(), accel="tcg")
        assert (bits(guest)["arch_capabilities"], word(guest)) == (forced, 0)
    assert "KVM" in str(shown("host", intel(), accel="tcg").refused)


def test_forced_features_are_shown_whatever_the_host_has() -> None:
    assert bits(shown("Skylake-Server,+md-clear", AMD)).get("md_clear") is False
    assert bits(shown("Skylake-Server,+md-clear,x-force-features", AMD))["md_clear"] is True


def test_a_kvm_that_refuses_the_value() -> None:
    """What users report of some clouds: QEMU aborts on the write."""
    host = with_fields(
        intel(word=0x69), kvm=Kvm(accepts=[Accepted(set="0x69", cpuid_arch_capabilities=True, accepted=False)])
    )
    guest = shown(
        "base,vendor=GenuineIntel,arch-capabilities=on,rdctl-no=on,skip-l1dfl-vmentry=on,mds-no=on,pschange-mc-no=on",
        host,
    )
    assert word(guest) == 0x69
    assert '"error: failed to set MSR 0x10a to 0x69"' in str(guest.refused)


def test_what_a_release_has_no_name_for_does_not_start() -> None:
    guest = shown("host,+fb-clear", intel(), "7.2")
    assert "QEMU 7.2 has no property 'fb-clear' (8.1 has it)" in str(guest.refused)
    with pytest.raises(archcaps.InputError, match=r"QEMU 7\.2 has no CPU model SapphireRapids"):
        shown("SapphireRapids", intel(), "7.2")
    with pytest.raises(archcaps.InputError, match="is not known"):
        shown("SapphireRapids", intel(), "8.0")
    with pytest.raises(archcaps.InputError, match="no release of QEMU"):
        shown("host", intel(), "new")


def test_an_unknown_offer_stays_unknown() -> None:
    host = Snapshot(format_version=1, role="host")
    guest = shown("Cascadelake-Server-v6,-rdctl-no", host)
    assert "fb_clear" not in bits(guest)
    assert bits(guest)["rdcl_no"] is False  # what is not asked for is not there
    assert bits(guest)["rrsba"] is False
    assert "fb-clear" in guest.undecided
    assert guest.features["fb-clear"] is None


MODELS = [
    each.full_name
    for name in tables.model_names()
    for each in tables.model_versions(name)
    if each.span.has(tables.RECORDED[-1])
]
SWITCHES = [name for name, bit in BITS.items() if "qemu" in bit.names]
WORDS = st.sampled_from(
    ["+md-clear", "-mds-no", "rtm=off", "hle", "enforce", "pcid=on", "+fb-clear", "fb_clear=off", "-arch-capabilities"]
)


@given(
    st.sampled_from([*MODELS, "host"]),
    st.lists(WORDS, max_size=4),
    st.lists(
        st.tuples(st.sampled_from(SWITCHES), st.booleans()), min_size=1, max_size=3, unique_by=lambda item: item[0]
    ),
    st.sampled_from(["{}", "qemu:{}", "-cpu {}", "qemu-system-x86_64 -M q35 -enable-kvm -cpu '{}' -m 2G # it"]),
)
@example("486-v1", [], [("arch_capabilities", False), ("rdcl_no", True)], "{}")
@example("486-v1", [], [("rdcl_no", True), ("arch_capabilities", False)], "{}")
@example("Cascadelake-Server-v2", ["-mds-no"], [("mds_no", True), ("arch_capabilities", False)], "qemu:{}")
def test_what_is_written_reads_back_with_the_changes_property(
    model: str, words: list[str], switches: list[tuple[str, bool]], form: str
) -> None:
    """Every change that is possible is made, nothing else of the guest changes, the user's other words stay."""
    text = form.format(",".join([model, *words]))
    before = read_configuration(text, "the test", "qemu")
    changes: list[GuestChange] = [SwitchChange(bit, on) for bit, on in switches]
    made = patch(before, changes)
    after = read_configuration(made.after, "the test", "qemu")
    left = {change.bit for change, _ in made.impossible if isinstance(change, SwitchChange)}
    asked = {switch.name: switch.on for switch in after.switches}
    features = set() if model == "host" else definition(model, setting("11.1", "q35", ""), "").features
    changed = {BITS[bit].names["qemu"]: on for bit, on in switches if bit not in left}
    for name, on in changed.items():
        assert asked.get(name, None if model == "host" else name in features) is on
    allowed = {*changed, "arch-capabilities"}
    old = {switch.name: switch.on for switch in before.switches}
    assert {name: on for name, on in asked.items() if name not in allowed} == {
        name: on for name, on in old.items() if name not in allowed
    }
    assert (after.model, after.machine, after.accelerator, after.check) == (
        before.model, before.machine, before.accelerator, before.check,
    )  # fmt: skip
    assert patch(after, [change for change in changes if change not in dict(made.impossible)]).after == made.after


def test_other_changes() -> None:
    text = "qemu-system-x86_64 -machine accel=kvm,type=q35 -cpu Haswell,-rtm -m 2G"
    asked = read_configuration(text, "the test", "qemu")
    made = patch(asked, [MachineChange("pc-q35-10.0"), ModelChange("Icelake-Server-v8")])
    assert made.after == "qemu-system-x86_64 -machine accel=kvm,type=pc-q35-10.0 -cpu Icelake-Server-v8,-rtm -m 2G"
    assert "-cpu Haswell" in made.diff
    none = patch(read_configuration("Haswell", "the test", "qemu"), [MachineChange("q35"), ModelChange("Haswel")])
    assert [why.split(":")[0] for _, why in none.impossible] == ["a mere -cpu value names no machine type", "the test"]
    old = patch(replace(asked, release="7.2"), [SwitchChange("fb_clear", True)])
    assert "8.1 has it" in old.impossible[0][1]


@given(
    st.text(max_size=80),
    st.sampled_from(["{}", "qemu:{}", "-cpu {}", "qemu-system-x86_64 -cpu {}", '{{"return": {}}}']),
)
def test_hostile_texts_are_read_or_refused_in_one_line_property(text: str, form: str) -> None:
    try:
        asked = read_configuration(form.format(text), "the test", "qemu")
        expand(asked, None, None)
    except archcaps.InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"return": ' + "[" * 100_000, "-cpu " + "a," * 100_000, "'" * 99_999])
def test_huge_texts_end_soon(text: str) -> None:
    with pytest.raises(archcaps.InputError):
        read_configuration(text, "the test", "qemu")
