"""The cures of the published scenarios, as docs/scenarios and the reports behind them say by hand."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

import archcaps
from archcaps.questions.fix.results import Cure, FixResult
from tests.scenarios.running import machine


def ask(folder: str, host: str, guest: str, *allow: str) -> FixResult:
    return archcaps.fix(machine(folder, host), machine(folder, guest), allow=allow or None)


def short(cure: Cure) -> frozenset[str]:
    """A cure as a set of words: +bit, -bit, the kind and release of a kernel, else what is to be done."""
    return frozenset(
        f"{'+' if step.on else '-'}{step.bit}" if step.bit else f"{step.kind} {step.enough_from}" if step.release
        else step.what
        for step in cure.steps
    )  # fmt: skip


def cures(result: FixResult) -> list[frozenset[str]]:
    best = result.best
    assert best is not None
    assert best.more == 0
    return [short(cure) for cure in best.cures]


#: Scenario, host, guest, the kinds of change allowed (none: all, the VM's owner first), level reached, cures.
CASES = [
    # S02, the thread: "FB_CLEAR, or all five NO bits"; without RTM nothing asks for TAA_NO.
    ("thread", "host", "guest", (), 1, [{"+mds_no", "+sbdr_ssdp_no", "+fbsdp_no", "+psdp_no"}]),
    # S04: "fb-clear=on"
    ("fb-clear-not-shown", "host", "guest", (), 1, [{"+fb_clear"}]),
    # S04: T2S before and since 05d47d0f8, which is FB_CLEAR; that it works for nothing against MDS is the template's
    # missing MDS_NO.
    ("firecracker-t2s", "host-cascade-lake", "guest-new", (), 1, [{"+mds_no"}]),
    ("firecracker-t2s", "host-cascade-lake", "guest-old", (), 1, [{"+mds_no", "+fb_clear"}]),
    # S03: "take fb-clear from the guest's model" does not do for this guest, which is on the list for MMIO stale data:
    # it needs the NO bits of the destination, of which it lacks one.
    ("fb-clear-to-sapphire-rapids", "host-tsx-off", "guest", (), 1, [{"+fbsdp_no"}]),
    # S10: a host kernel with f3f9deccfc68 (6.1.153), or a VMM that shows VERW_CLEAR by itself
    ("tsa-verw-clear-dropped", "host", "guest-6.18", (), 1, [{"+verw_clear"}]),
    # S11: "mask CPUID 80000021 ECX bits 1 and 2" (one is enough for the guest's kernel), or 4b3b8a8b0df1 (v7.0-rc3)
    ("tsa-no-always", "host", "guest", (), 1, [{"-tsa_sq_no"}, {"-tsa_l1_no"}]),
    ("tsa-no-always", "host", "guest", ("host-kernel",), 1, [{"host-kernel 7.0.13"}]),
    # S13: with tsx=on the guest clears against TAA, which the silicon has not
    ("taa-no-hidden", "host", "guest-icelake-v6", (), 1, [{"+fb_clear"}]),
    # S19: vmentry_l1d_flush=always, or a newer kernel: 6.8 for MDS
    ("flush-in-place-of-verw", "host-mds", "guest", (), 1, [{"kvm_intel.vmentry_l1d_flush=always on the host"}]),
    # S20: a host kernel of 6.17 or later; whether 6.17.13 runs VERW early enough nobody read, 6.18 does
    ("mmio-without-counted-device", "host-6.16", "guest", (), 1, [{"host-kernel 6.18.0"}, {"host-kernel 6.19.0"}]),
    # S21: "show such guests FB_CLEAR"; for MDS_NO see T2S
    ("verw-after-fb-clear-dis", "host-7.2", "guest", (), 1, [{"+mds_no", "+fb_clear"}]),
    # S26: 6.9 or later; 6.12 and 6.18 are the long-term lines after it
    (
        "rfds-bits-not-passed", "host-affected", "guest-on-affected", ("host-kernel",), 1,
        [{"host-kernel 6.9.0"}, {"host-kernel 6.12.0"}, {"host-kernel 6.18.0"}],
    ),
    # S26 on a part that is immune: KVM does not offer RFDS_NO, but a VMM may show it
    ("rfds-bits-not-passed", "host-immune", "guest-on-immune", (), 1, [{"+rfds_no"}]),
    # S27: "TSX off on the host, where KVM 5.4 keeps MDS_NO"; MMIO stale data needs FB_CLEAR besides
    (
        "mds-no-dropped-for-taa", "host", "guest", (), 1,
        [{"tsx=off on the host kernel's command line", "+fb_clear"}],
    ),
    # S17: whoever runs the host can show MD_CLEAR; without the host's kernel the host's own border stays open
    ("md-clear-hidden", "host-updated", "guest", ("guest-flags",), 5, [{"+md_clear"}]),
    # S29: "FB_CLEAR, or the immunity bits, with the CPUID bit that lets it read them"
    ("upgrade-across-6.13", "host-6.12", "guest", (), 1, [{"+arch_capabilities", "+mds_no"}]),
    ("upgrade-across-6.13", "host-6.13", "guest", (), 1, [{"+arch_capabilities", "+mds_no"}]),
]  # fmt: skip


@pytest.mark.parametrize(("folder", "host", "guest", "allow", "level", "expected"), CASES)
def test_the_cure_is_the_one_that_is_published(
    folder: str, host: str, guest: str, allow: tuple[str, ...], level: int, expected: list[set[str]]
) -> None:
    result = ask(folder, host, guest, *allow)
    best = result.best
    assert best is not None
    assert (sorted(map(sorted, cures(result))), best.level) == (sorted(map(sorted, expected)), level)


def test_old_client_model_on_ice_lake_is_to_be_shown_the_hosts_immunity() -> None:
    """S01: "show the guest the immunity bits that the host has"; against TAA one of three will do."""
    taa = ({"+taa_no"}, {"+tsx_ctrl"}, {"-rtm"})
    expected = [{"+arch_capabilities", "+mds_no"} | each for each in taa]
    assert sorted(map(sorted, cures(ask("old-model-on-ice-lake", "host", "guest")))) == sorted(map(sorted, expected))


def test_fb_clear_alone_saves_the_threads_guest_from_the_lie_but_not_from_the_work() -> None:
    """S02: either keeps KVM from setting FB_CLEAR_DIS; with FB_CLEAR the guest clears, and needs not."""
    best = ask("thread", "host", "guest").best
    assert best is not None
    assert [(short(cure), cure.level, cure.cost) for cure in best.lesser] == [(frozenset({"+fb_clear"}), 2, 1)]
    allowed = archcaps.fix(
        machine("thread", "host"), machine("thread", "guest"), allow=["guest-flags"], max_changes=1
    ).best
    assert allowed is not None
    assert ([short(cure) for cure in allowed.cures], allowed.level) == ([frozenset({"+fb_clear"})], 2)


@pytest.mark.parametrize(
    ("folder", "host", "guest"),
    [
        ("bits-without-msrs", "host", "guest"),  # S22: a notice, and no vulnerability is misjudged
        ("gds-no-made-up", "host", "guest"),  # S23
        ("its-no-missing", "host", "guest"),  # S24: costs speed, not safety
        ("tsa-bits-misplaced", "host", "guest"),  # S12: the answer is right by VERW_CLEAR
        ("mmio-without-counted-device", "host-6.17", "guest"),
    ],
)
def test_where_nothing_is_wrong_nothing_is_to_mend(folder: str, host: str, guest: str) -> None:
    result = ask(folder, host, guest)
    assert (result.answers, result.level, result.exit_code) == ([], 1, 0)
    assert result.headline.startswith("NOTHING TO MEND")


def test_what_is_not_known_is_not_mended_and_what_would_decide_it_is_named() -> None:
    """S17 without the host: "from inside nothing can be done"."""
    result = ask("md-clear-hidden", "host", "guest")
    best = result.best
    assert best is not None
    assert (best.cures, result.exit_code) == ([], 3)
    missing = {fact for each in best.remains for fact in each.missing}
    assert {"host.md_clear", "silicon.md_clear"} & missing
    assert any("does not count as mended" in why for each in best.remains for why in each.why)


def test_amd_with_old_microcode_needs_microcode_first() -> None:
    """AMD-SB-7029: Milan B1 (19/01/1) clears from microcode 0x0a0011d7 on; until then VERW does nothing."""
    shown = {"cpu": "amd:0x19/0x01/1", "flags": "avx,rdrand", "kernel": "6.12.117"}
    host = archcaps.host(**shown, microcode=0x0A0011D6)
    guest = archcaps.guest(**shown)
    result = archcaps.fix(host, guest, configuration="default")
    best = result.best
    assert best is not None
    assert best.level == 1
    assert {step.what for cure in best.cures for step in cure.steps} == {"microcode 0xa0011d7 or later on the host"}
    alone = result.answers[0]
    assert alone.who == "the VM's owner"
    assert (alone.cures, [each.vulnerability for each in alone.remains]) == ([], ["tsa"])
    assert any("VERW does not clear" in why for why in alone.remains[0].why)


def test_intel_without_md_clear_needs_microcode() -> None:
    """INTEL-SA-00233: Skylake server (50654) gets MD_CLEAR by microcode; then the guest is to be shown it."""
    flags = "avx,rdrand,arch_capabilities,flush_l1d,spec_ctrl,ssbd"
    shown = {"cpu": "6/0x55/4", "flags": flags, "arch_capabilities": "0x4", "kernel": "6.12.117"}
    host = archcaps.host(**shown)
    host = archcaps.parse_snapshot(_with_parameters(host), "host", "host")
    guest = archcaps.guest(**shown)
    result = archcaps.fix(host, guest, allow=["guest-flags", "microcode"])
    best = result.best
    assert best is not None
    assert all({"microcode"} <= {step.kind for step in cure.steps} for cure in best.cures)
    assert any("md_clear" in step.what for cure in best.cures for step in cure.steps if step.kind == "microcode")


def _with_parameters(host: archcaps.Snapshot) -> bytes:
    as_json = msgspec.json.decode(msgspec.json.encode(host))
    as_json["kvm"] = {"parameters": {"vmentry_l1d_flush": "auto", "ept": "Y"}}
    return msgspec.json.encode(as_json)


def test_an_option_that_switches_a_mitigation_off_is_taken_away() -> None:
    host, guest = machine("qemu-10.1-hides-the-bit", "host"), machine("qemu-10.1-hides-the-bit", "guest-10.0")
    off = replace(guest, kernel=replace(guest.kernel, cmdline="quiet mds=off ro"))
    result = archcaps.fix(host, off)
    (cure,) = result.answers[0].cures
    assert (result.level, result.answers[0].level, [step.kind for step in cure.steps]) == (5, 1, ["guest-options"])
    assert cure.guest.kernel.cmdline == "quiet ro"


def test_a_set_of_bits_that_costs_the_guest_its_immunity_to_meltdown_is_no_cure() -> None:
    """S26: without MDS_NO the guest runs VERW, which on this part clears what RFDS samples.

    Without the whole of MSR 0x10a it would too, and take itself for affected by Meltdown as well.
    """
    host, guest = machine("rfds-bits-not-passed", "host-affected"), machine("rfds-bits-not-passed", "guest-on-affected")
    best = archcaps.fix(host, guest, allow=["guest-flags"], max_changes=1).best
    assert best is not None
    assert [short(cure) for cure in best.cures] == [frozenset({"-mds_no"})]
    assert guest.cpuid is not None
    shown = [name for name in guest.cpuid.shown if name != "arch_capabilities"]
    hidden = replace(guest, cpuid=replace(guest.cpuid, shown=shown, hidden=["arch_capabilities"]))
    meltdown = {each.subject: each for each in archcaps.check(host, hidden, further=True).further}["meltdown"]
    assert "false-alarm" in meltdown.truth.possible or "needless-work" in meltdown.truth.possible
