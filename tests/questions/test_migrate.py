"""A guest on its way to another host: what was reported of such moves, and what others' published tests expect."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

import archcaps
from archcaps import Vmms
from archcaps.errors import InputError
from archcaps.guest_cpu.formats import read_configuration
from archcaps.machine.snapshot import BitReading, Kvm, Reading, Snapshot
from archcaps.questions.migrate_configuration import vmms_of
from archcaps.questions.migrate_results import MigrateResult
from tests.reality.test_firecracker_hosts import FINGERPRINTS, host_of
from tests.scenarios.running import ATTEMPTED, CLEAR, machine

SPR, UPGRADE, S08, AMD, TSX = (
    "fb-clear-to-sapphire-rapids", "upgrade-across-6.13", "qemu-10.1-hides-the-bit", "arch-capabilities-on-amd",
    "taa-no-hidden",
)  # fmt: skip


def move(folder: str, from_: str, to: str, guest: str, **vmms: object) -> MigrateResult:
    hosts = machine(folder, from_), machine(folder, to)
    return archcaps.migrate(*hosts, machine(folder, guest), Vmms(**vmms))  # type: ignore[arg-type]  # by name


def answers(result: MigrateResult) -> dict[str, str]:
    return {layer.layer: layer.accepts for layer in result.layers}


def verdicts(result: MigrateResult, subject: str) -> tuple[str, str, str]:
    found = result.verdict(subject)
    return tuple(f"{each.truth} {each.safety}" for each in (found.before, found.after, found.rebooted))  # type: ignore[return-value]  # three


# --- S03, S03b: FB_CLEAR from Cascade Lake to Sapphire Rapids ---------------------------------------------------------


def test_s03_qemu_before_10_1_2_misses_fb_clear_and_libvirt_refuses() -> None:
    result = move(SPR, "host-cascade-lake", "host-tsx-on", "guest", vmm="libvirt", to_version="10.1.1")
    assert answers(result) == {"QEMU": "changes", "libvirt": "no", "KVM": "yes"}
    assert (result.accepts, result.exit_code) == ("no", 4)
    # libvirt's text as users report it (kubevirt 12519, Launchpad 2121787), QEMU's as 11.1 prints it.
    message = "operation failed: guest CPU doesn't match specification: missing features: fb-clear"
    assert result.layer("libvirt").message == message
    assert result.layer("QEMU").message == "host doesn't support requested feature: MSR(10Ah).fb-clear [bit 17]"
    assert result.headline.startswith("REFUSED by libvirt (fb_clear).")


def test_s03_the_claim_is_untrue_there_and_harmless_and_hiding_it_costs_at_home() -> None:
    bit = move(SPR, "host-cascade-lake", "host-tsx-on", "guest", vmm="libvirt", to_version="10.1.1").bit("fb_clear")
    assert (bit.offered_from, bit.offered_to, bit.true_from, bit.true_to) == (True, False, True, False)
    assert (bit.drop.word, bit.fake.word) == ("costs", "harmless")
    # At home the guest would not be told that VERW works; there it would run VERW for nothing, and is not affected.
    assert bit.drop.verdicts == ["mmio_stale_data: truthful, safe -> withheld, safe"]
    assert bit.fake.verdicts == ["mmio_stale_data: false-alarm, safe -> broken-promise, safe"]


def test_s03_qemu_10_1_2_takes_it_and_what_the_guest_says_is_not_so_any_more() -> None:
    result = move(SPR, "host-cascade-lake", "host-tsx-on", "guest", vmm="libvirt", to_version="10.1.2")
    assert answers(result) == {"QEMU": "yes", "libvirt": "yes", "KVM": "yes"}
    assert result.shown_changes == {}
    assert verdicts(result, "mmio_stale_data") == ("truthful safe", "broken-promise safe", "broken-promise safe")
    assert result.verdict("mmio_stale_data").concludes.value == CLEAR
    assert (result.verdict("mmio_stale_data").newly_exposed, result.exit_code) == (False, 1)


def test_s03_the_advice_is_the_newer_qemu_or_a_guest_without_the_bit() -> None:
    result = move(SPR, "host-cascade-lake", "host-tsx-on", "guest", vmm="libvirt", to_version="10.1.1")
    found = {advice.where: advice for advice in result.advice}
    assert found["destination"].change == "QEMU 10.1.2, or 10.2 and later"
    assert found["guest"].change == "start it again, powered off and on, with fb-clear=off"
    # The snapshots do not say of every feature of the model whether the destination has it.
    assert [found["destination"].exit_code, found["guest"].exit_code] == [1, 3]


def test_s03b_without_tsx_the_workaround_lacks_taa_no() -> None:
    result = move(SPR, "host-cascade-lake", "host-tsx-off", "guest", vmm="libvirt", to_version="10.2.0")
    assert (result.layer("libvirt").accepts, result.exit_code) == ("no", 4)
    assert "taa_no is missing" in result.layer("QEMU").why
    assert [advice.change for advice in result.advice if advice.where == "destination"] == [
        "boot the destination with tsx=on"
    ]


def test_an_unknown_qemu_leaves_it_open() -> None:
    result = move(SPR, "host-cascade-lake", "host-tsx-on", "guest", vmm="libvirt")
    assert answers(result) == {"QEMU": "unknown", "libvirt": "unknown", "KVM": "yes"}
    assert (result.accepts, result.exit_code) == ("unknown", 3)
    # Without TSX no QEMU can give the bit: nothing is left open.
    assert move(SPR, "host-cascade-lake", "host-tsx-off", "guest", vmm="libvirt").exit_code == 4


@pytest.mark.parametrize(
    ("vmms", "code"),
    [
        ({"vmm": "qemu"}, "changes"),
        ({"vmm": "qemu", "check": "enforce"}, "no"),
        ({"vmm": "proxmox"}, "no"),  # Proxmox VE forces enforce
        ({"vmm": "kvm"}, "yes"),
        ({"vmm": "firecracker", "saved": True}, "yes"),
        ({"vmm": "cloud-hypervisor"}, "yes"),  # compares MSR 0x10a only with a CPU profile, and there is none but host
    ],
)
def test_who_runs_the_guest_decides(vmms: dict[str, str], code: str) -> None:
    result = move(SPR, "host-cascade-lake", "host-tsx-on", "guest", to_version="10.1.1", **vmms)
    assert result.accepts == code


# --- S06, S08: QEMU hides ARCH_CAPABILITIES ---------------------------------------------------------------------------


def test_s08_qemu_10_1_0_hides_the_register_where_the_host_has_none() -> None:
    result = move(S08, "host", "host", "guest-10.0", vmm="libvirt", from_version="10.0.2", to_version="10.1.0")
    message = "operation failed: guest CPU doesn't match specification: missing features: arch-capabilities"
    assert result.layer("libvirt").message == message  # the report has pdcm besides
    assert result.exit_code == 4
    bit = result.bit("arch_capabilities")
    assert (bit.offered_to, bit.true_to, bit.drop.word) == (True, True, "safe")


@pytest.mark.parametrize("version", ["10.0.2", "10.1.1", "11.1.3"])
def test_s08_other_qemus_show_it(version: str) -> None:
    result = move(S08, "host", "host", "guest-10.0", vmm="libvirt", from_version="10.0.0", to_version=version)
    # Accepted; but of most of its model's features the snapshot does not say whether the destination has them.
    assert (result.accepts, result.exit_code) == ("yes", 3)


@pytest.mark.parametrize(
    ("machine_type", "accepts"), [("pc-q35-10.0", "yes"), ("pc-q35-10.1", "no"), (None, "unknown")]
)
def test_on_amd_the_machine_type_decides_from_10_1_1_on(machine_type: str | None, accepts: str) -> None:
    result = move(AMD, "host-6.12", "host-6.12", "guest-visible", vmm="libvirt", machine=machine_type,
                  from_version="10.0.0", to_version="10.1.1")  # fmt: skip
    assert result.layer("libvirt").accepts == accepts


def test_s06_kvm_refuses_0x69_where_cpuid_hides_the_register_from_6_13_on() -> None:
    """The value that asterinas 2980 names; up to 6.12 KVM stores it."""
    hidden = machine(AMD, "guest-hidden")
    guest = replace(hidden, registers={"ia32_arch_capabilities": Reading(value=0x69)})
    hosts = machine(AMD, "host-6.12"), machine(AMD, "host-6.14")
    result = archcaps.migrate(*hosts, guest, Vmms("qemu"))
    assert (result.layer("KVM").accepts, result.exit_code) == ("no", 4)
    assert result.layer("KVM").message == "error: failed to set MSR 0x10a to 0x69"
    back = archcaps.migrate(hosts[1], hosts[0], guest, Vmms("qemu"))
    assert back.layer("KVM").accepts == "yes"
    without = replace(guest, registers={"ia32_arch_capabilities": Reading(value=0)})
    assert archcaps.migrate(*hosts, without, Vmms("qemu")).layer("KVM").accepts == "yes"


def test_what_a_scratch_vcpu_was_seen_to_do_beats_the_rules() -> None:
    """A KVM that refuses every value although its kernel should not: one under a PV hypervisor was seen to."""
    seen = archcaps.machine.snapshot.Accepted(set="0x69", cpuid_arch_capabilities=True, accepted=False)  # type: ignore[attr-defined]  # a submodule
    host = machine(AMD, "host-6.12")
    stubborn = replace(host, name="stubborn", kvm=replace(host.kvm, accepts=[seen]))
    result = archcaps.migrate(host, stubborn, machine(AMD, "guest-visible"), Vmms("kvm"))
    assert result.layer("KVM").accepts == "no"


# --- S13, S16: TSX on one host and not on the other ---------------------------------------------------------------


def test_s13_the_way_to_a_host_without_tsx_loses_taa_no() -> None:
    """KVM drops TAA_NO where the host runs without RTM (7131636e7ea5); the silicon there has it all the same."""
    on, off = machine(SPR, "host-tsx-on"), machine(SPR, "host-tsx-off")
    guest = archcaps.default_guest(on, "6.12.117")
    guest = replace(guest, kernel=replace(guest.kernel, cmdline="tsx=on"))  # else its kernel stops RTM by itself
    result = archcaps.migrate(on, off, guest, Vmms("libvirt", to_version="10.1.2"))
    taa_no, rtm = result.bit("taa_no"), result.bit("rtm")
    assert (taa_no.offered_from, taa_no.offered_to, taa_no.true_to) == (True, False, True)
    assert (rtm.offered_from, rtm.offered_to) == (True, False)
    assert taa_no.fake.word == "true"
    assert set(result.layer("libvirt").bits) == {"taa_no", "rtm"}
    rtm_there = [each for each in result.silent if each.name == "RTM"]
    assert [(each.before, each.after) for each in rtm_there] == [(True, False)]


def test_s16_tsx_ctrl_goes_along_to_a_host_without_tsx() -> None:
    """From 5.11 on KVM keeps TSX_CTRL and MSR 0x122 there; 5.4 does not emulate it."""
    host, guest = machine(TSX, "host"), machine(TSX, "guest-tsx-on")
    away = replace(host, name="the other host")
    assert archcaps.migrate(host, away, guest, Vmms("kvm")).layer("KVM").accepts == "yes"
    old = replace(away, kernel=replace(away.kernel, release="5.4.301"), kvm=Kvm(parameters={"ignore_msrs": "N"}))
    refused = archcaps.migrate(host, old, guest, Vmms("kvm")).layer("KVM")
    assert (refused.accepts, refused.bits) == ("no", ["tsx_ctrl"])


# --- S29: across Linux 6.13 -----------------------------------------------------------------------------------------


def test_s29_the_same_guest_across_6_13_gets_another_verw() -> None:
    result = move(UPGRADE, "host-6.12", "host-6.13", "guest", vmm="kvm")
    assert [(each.name, each.before, each.after) for each in result.silent] == [("FB_CLEAR_DIS", True, False)]
    assert verdicts(result, "mmio_stale_data")[:2] == ("truthful safe", "false-alarm safe")
    assert verdicts(result, "mds")[:2] == ("broken-promise safe", "needless-work safe")
    assert result.verdict("mmio_stale_data").concludes.value == ATTEMPTED
    assert (result.accepts, result.exit_code) == ("yes", 1)
    back = move(UPGRADE, "host-6.13", "host-6.12", "guest", vmm="kvm")
    assert verdicts(back, "mds")[:2] == ("needless-work safe", "broken-promise safe")
    assert (back.verdict("mds").worse, back.verdict("mmio_stale_data").cured) == (True, True)


# --- what a guest keeps, and what it does not -----------------------------------------------------------------------


def skylake_to_ice_lake() -> tuple[Snapshot, Snapshot, Snapshot]:
    """A guest that booted on an immune part without MD_CLEAR, and the affected part where it goes."""
    immune = archcaps.host(cpu="6/0x8f/8", flags="md_clear,arch_capabilities", arch_capabilities=0x8E1EB,
                           kernel="6.12.117", cmdline="")  # fmt: skip
    affected = archcaps.host(cpu="6/0x55/4", flags="md_clear,flush_l1d,arch_capabilities", arch_capabilities=0x4,
                             kernel="6.12.117", cmdline="")  # fmt: skip
    return immune, affected, archcaps.default_guest(immune)


def test_a_guest_that_booted_on_an_immune_part_is_exposed_on_an_affected_one() -> None:
    """It concluded "Not affected" once; QEMU drops MDS_NO there and warns, and the guest never looks again."""
    immune, affected, guest = skylake_to_ice_lake()
    result = archcaps.migrate(immune, affected, guest, Vmms("qemu", to_version="10.1.2"))
    assert (result.accepts, result.exit_code) == ("changes", 2)
    assert result.shown_changes["mds_no"] is False
    assert result.verdict("mds").concludes.value == "Not affected"
    assert verdicts(result, "mds")[:2] == ("truthful safe", "false-immunity exposed")
    assert result.verdict("mds").newly_exposed is True
    # Booted again there it sees what QEMU shows it, and runs VERW.
    assert verdicts(result, "mds")[2] == "truthful safe"
    assert result.verdict("mds").rebooted_concludes.value == CLEAR
    assert any(advice.change == "reboot the guest there" for advice in result.advice)


def test_showing_mds_no_on_an_affected_part_exposes_and_hiding_it_is_safe() -> None:
    bit = archcaps.migrate(*skylake_to_ice_lake(), Vmms("libvirt", to_version="10.1.2")).bit("mds_no")
    assert (bit.true_from, bit.true_to, bit.fake.word) == (True, False, "exposes")
    assert bit.drop.word in ("safe", "costs")
    assert any("false-immunity, exposed" in line for line in bit.fake.verdicts)


def test_rsba_is_a_warning_and_only_hiding_it_is_unsafe() -> None:
    """The destination's KVM offers RSBA, the guest was never told: no layer asks, Cloud Hypervisor's rule does."""
    result = archcaps.migrate(*skylake_to_ice_lake(), Vmms("kvm"))
    rsba = result.bit("rsba")
    assert (rsba.shown, rsba.offered_to, rsba.blocks) == (False, True, [])


def test_host_passthrough_takes_what_is_there_without_a_word() -> None:
    immune, affected, guest = skylake_to_ice_lake()
    vmms = Vmms("libvirt", to_version="11.1.3", passthrough=True)
    result = archcaps.migrate(immune, affected, guest, vmms)
    assert answers(result) == {"QEMU": "changes", "libvirt": "yes", "KVM": "yes"}
    assert (result.shown_changes["mds_no"], result.shown_changes["rsba"]) == (False, True)
    assert result.layer("QEMU").message == ""
    assert result.exit_code == 2
    # Booted again it is a Skylake server, which is listed for MMIO stale data, and no Sapphire Rapids.
    assert result.verdict("mmio_stale_data").rebooted_concludes.value == CLEAR


def test_a_boot_there_is_open_where_the_qemu_is_not_known() -> None:
    """With FB_CLEAR, by QEMU 10.1.2, or without: either text is possible."""
    result = move(SPR, "host-cascade-lake", "host-tsx-on", "guest", vmm="qemu")
    assert set(result.verdict("mmio_stale_data").rebooted_concludes.possible) == {CLEAR, ATTEMPTED}


def test_texts_that_were_read_in_the_guest_stay_after_the_move_and_go_with_a_reboot() -> None:
    immune, affected, guest = skylake_to_ice_lake()
    seen = replace(guest, vulnerabilities={"mds": "Not affected"})
    result = archcaps.migrate(immune, affected, seen, Vmms("qemu", to_version="10.1.2"))
    assert result.verdict("mds").concludes.value == "Not affected"
    assert result.verdict("mds").rebooted_concludes.value == CLEAR


# --- Firecracker: what a snapshot holds -------------------------------------------------------------------------------


def real(cpu: str, kernel: str) -> Snapshot:
    """A real host with the value that its KVM was seen to offer."""
    row = next(each for each in FINGERPRINTS if (each["host_cpu"], each["host_kernel"]) == (cpu, kernel))
    host = host_of(row)
    offered = {"ia32_arch_capabilities": Reading(value=int(row["msr_0x10a_guest"], 16))}
    return replace(host, name=f"{cpu} {kernel}", kvm=replace(host.kvm, offered=offered))


def test_a_restored_guest_without_a_template_has_the_destinations_register() -> None:
    """0xc0aa0eb on Cascade Lake, 0xc02a0eb on Ice Lake: RRSBA differs; MSR 0x10a is in no snapshot."""
    source, destination = real("INTEL_CASCADELAKE", "6.18"), real("INTEL_ICELAKE", "6.18")
    guest = archcaps.default_guest(source, "6.1.192")
    result = archcaps.migrate(source, destination, guest, Vmms("firecracker", saved=False))
    assert answers(result) == {"Firecracker": "changes", "KVM": "yes"}
    assert result.shown_changes == {"rrsba": False}
    kept = archcaps.migrate(source, destination, guest, Vmms("firecracker", saved=True))
    assert (answers(kept)["Firecracker"], kept.shown_changes) == ("yes", {})
    open_ = archcaps.migrate(source, destination, guest, Vmms("firecracker"))
    assert (answers(open_)["Firecracker"], open_.shown_changes) == ("changes", {"rrsba": None})


@pytest.mark.parametrize("cpu", ["INTEL_CASCADELAKE", "INTEL_ICELAKE", "INTEL_SAPPHIRE_RAPIDS", "INTEL_GRANITE_RAPIDS"])
def test_real_hosts_under_three_kernels_offer_one_register(cpu: str) -> None:
    """The same value on 5.10, 6.1 and 6.18 (Firecracker's fingerprints): a restored guest sees no difference."""
    guest = archcaps.default_guest(real(cpu, "5.10"), "6.1.192")
    for kernel in ("6.1", "6.18"):
        result = archcaps.migrate(real(cpu, "5.10"), real(cpu, kernel), guest, Vmms("firecracker", saved=False))
        assert (answers(result)["Firecracker"], result.shown_changes) == ("yes", {})


def test_flush_l1d_stands_in_the_way_back_to_a_kernel_before_6_4() -> None:
    """KVM offers FLUSH_L1D from 6.4 on; Cloud Hypervisor compares CPUID 7.0 EDX."""
    new, old = real("INTEL_CASCADELAKE", "6.18"), real("INTEL_CASCADELAKE", "5.10")
    guest = archcaps.default_guest(new, "6.1.192")
    result = archcaps.migrate(new, old, guest, Vmms("cloud-hypervisor"))
    assert (result.layer("Cloud Hypervisor").accepts, result.layer("Cloud Hypervisor").bits) == ("no", ["flush_l1d"])


# --- what peers say ---------------------------------------------------------------------------------------------------


def test_the_peers_are_shown_beside_and_decide_nothing() -> None:
    source, destination = machine(SPR, "host-cascade-lake"), machine(SPR, "host-tsx-on")
    guest = archcaps.default_guest(source, "6.12.117")
    result = archcaps.migrate(source, destination, guest, Vmms("libvirt", to_version="10.1.1"))
    assert [(peer.peer, peer.compatible) for peer in result.peers] == [
        ("Cloud Hypervisor (with a CPU profile)", True), ("Xen (levelling)", True),
    ]  # fmt: skip
    assert result.exit_code == 4


# --- what is refused --------------------------------------------------------------------------------------------------


def test_wrong_input_is_one_line() -> None:
    host, guest = machine(SPR, "host-tsx-on"), machine(SPR, "guest")
    with pytest.raises(InputError, match="--vmm: unknown VMM 'banana'"):
        archcaps.migrate(host, host, guest, Vmms("banana"))
    with pytest.raises(InputError, match="--to-vmm-version: 'new' is no release of QEMU"):
        archcaps.migrate(host, host, guest, Vmms(to_version="new"))
    with pytest.raises(InputError, match="is of a guest, not of a host"):
        archcaps.migrate(guest, host, guest)
    via = replace(host, cpu=replace(host.cpu, vendor="CentaurHauls"))
    with pytest.raises(InputError, match="CentaurHauls"):
        archcaps.migrate(host, via, guest)


def test_an_unknown_register_leaves_the_bits_open() -> None:
    source, destination = machine(SPR, "host-cascade-lake"), machine(SPR, "host-tsx-on")
    guest = machine(SPR, "guest")
    partly = Reading(value=0xC02A02B, known=(1 << 64) - 1 & ~(1 << 17))
    result = archcaps.migrate(source, destination, replace(guest, registers={"ia32_arch_capabilities": partly}))
    assert "fb_clear" not in result.layer("QEMU").bits  # not known to be shown: nothing is claimed of it
    single = Reading(bits={"fb_clear": BitReading(value=True)})
    alone = archcaps.migrate(source, destination, replace(guest, registers={"ia32_arch_capabilities": single}))
    assert alone.layer("QEMU").bits == ["fb_clear"]


def test_hosts_of_two_vendors_are_noticed() -> None:
    result = archcaps.migrate(
        machine(SPR, "host-tsx-on"), machine(AMD, "host-6.14"), machine(SPR, "guest"), Vmms("kvm")
    )
    assert [notice.kind for notice in result.notices][:1] == ["vendors"]


def test_a_qemu_without_the_name_refuses_the_option() -> None:
    """fb-clear came with 8.1; 7.2 says that there is no such property."""
    result = move(SPR, "host-cascade-lake", "host-tsx-on", "guest", vmm="qemu", from_version="8.2", to_version="7.2")
    layer = result.layer("QEMU")
    assert (layer.accepts, "fb_clear" in layer.bits) == ("no", True)
    assert layer.message.startswith("Property '....") and layer.message.endswith("' not found")


def test_a_firecracker_template_says_whether_a_snapshot_holds_the_register() -> None:
    t2s, plain = (
        read_configuration(text, "t.json")
        for text in ('{"machine-config": {"vcpu_count": 1, "mem_size_mib": 128, "cpu_template": "T2S"}}',
                     '{"cpuid_modifiers": [{"leaf": "0x7", "subleaf": "0x0", "flags": 1, "modifiers": '
                     '[{"register": "edx", "bitmap": "0bxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx1"}]}]}')
    )  # fmt: skip
    found = [vmms_of(each, Vmms(), vmm_given=False) for each in (t2s, plain)]
    assert [(each.vmm, each.saved) for each in found] == [("firecracker", True), ("firecracker", False)]


def test_xen_is_not_modelled() -> None:
    asked = read_configuration('type = "hvm"\ncpuid = "host,mds-no=1"\n', "vm.cfg", "xen")
    with pytest.raises(InputError, match="migration under xen is not modelled"):
        vmms_of(asked, Vmms(), vmm_given=False)
