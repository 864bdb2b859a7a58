"""prove finds by itself what people found by reading, and what it says holds does hold.

Expected values are worked out by hand from what was reported and from the kernels' sources; docs/scenarios has them.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from archcaps.errors import InputError
from archcaps.questions.check import check
from archcaps.questions.prove import prove
from archcaps.questions.prove_results import HOLDS, NOT_DECIDED, REFUTED, UNKNOWN, CounterExample, Outcome
from archcaps.space.bounds import Bounds, PartPattern
from archcaps.space.releases import choose_releases, ranges, releases
from archcaps.tables.bits import ARCH_CAPABILITIES

FIVE_NO = ("mds_no", "taa_no", "sbdr_ssdp_no", "fbsdp_no", "psdp_no")
#: FB_CLEAR_DIS came with 5.19 and the stables of mid June 2022; none of these has it, each of the others does.
BEFORE_FB_CLEAR_DIS = ("5.10.122", "5.15.47")
WITH_FB_CLEAR_DIS = ("5.10.123", "5.15.48", "5.19.0", "6.1.192", "6.5.0", "6.12.117", "6.18.35", "7.3.4")
#: The host of the thread of May 2023: immune, VERW clears its fill buffers, and KVM can switch that off.
THREAD_HOST = {f"host.{name}": True for name in (*FIVE_NO, "fb_clear", "fb_clear_ctrl", "md_clear", "flush_l1d")}
#: What its guest is shown: MD_CLEAR and L1D_FLUSH, none of the immunity bits, no FB_CLEAR.
THREAD_GUEST = {
    **{f"guest.{name}": False for name in (*FIVE_NO, "fb_clear")},
    "guest.md_clear": True,
    "guest.flush_l1d": True,
    "guest.arch_capabilities": True,
}
ZEN3_ZEN4 = (PartPattern("AuthenticAMD", 0x19),)
#: Of these AMD's microcode against TSA is known (amd_check_tsa_microcode); of the others it depends on that.
MILAN = (PartPattern("AuthenticAMD", 0x19, 1, 1),)


def ask(
    name: str, subject: str, *, kvm: str = "all", guest: str = "all", listed: int = 10, seconds: float = 60,
    given: Mapping[str, bool] | None = None, hosts: tuple[PartPattern, ...] = (), any_silicon: bool = False,
) -> Outcome:  # fmt: skip
    """The one outcome of a property for one subject."""
    bounds = Bounds(
        host_parts=hosts,
        kvm=choose_releases(kvm, "test"),
        guest_kernels=choose_releases(guest, "test"),
        given=given or {},
        any_silicon=any_silicon,
    )
    (outcome,) = prove(name, bounds, subjects=[subject], listed=listed, seconds=seconds).outcomes
    return outcome


def rows(outcome: Outcome) -> dict[tuple[str, ...], list[str]]:
    """The least deviations, each with the KVMs that have it."""
    return {tuple(row.deviates): row.kvm for row in outcome.deviations}


def value(example: CounterExample, role: str) -> int:
    machine = example.host if role == "host" else example.guest
    return int(str(machine.registers["ia32_arch_capabilities"].value), 16)


def has(number: int, name: str) -> bool:
    return bool(number & ARCH_CAPABILITIES[name].mask)


# --- the thread of May 2023 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", ["mds", "mmio_stale_data"])
@pytest.mark.parametrize("kvm", WITH_FB_CLEAR_DIS)
def test_the_threads_counter_example_exists_since_the_toggle(subject: str, kvm: str) -> None:
    outcome = ask("no-broken-promise", subject, kvm=kvm, given={**THREAD_HOST, **THREAD_GUEST}, listed=100)
    assert outcome.verdict == REFUTED
    for row in outcome.deviations:
        host, guest = value(row.example, "host"), value(row.example, "guest")
        assert all(has(host, name) for name in (*FIVE_NO, "fb_clear", "fb_clear_ctrl"))
        assert not any(has(guest, name) for name in (*FIVE_NO, "fb_clear"))
        assert row.example.guest.cpuid is not None
        assert {"md_clear", "flush_l1d"} <= set(row.example.guest.cpuid.shown)
        assert row.example.replayed


@pytest.mark.parametrize("subject", ["mds", "mmio_stale_data"])
def test_before_the_toggle_verw_keeps_its_word_on_that_host(subject: str) -> None:
    outcome = ask("no-broken-promise", subject, kvm=",".join(BEFORE_FB_CLEAR_DIS), given=THREAD_HOST)
    assert outcome.verdict == HOLDS
    assert int(outcome.configurations) > 0


def test_the_least_that_breaks_the_promise_on_that_host() -> None:
    # vmx_update_fb_clear_dis is content with FB_CLEAR, or with all five NO bits: FB_CLEAR and one of these must go. The
    # guest believes in VERW against MDS if it is not shown MDS_NO; MD_CLEAR it is shown by default.
    mine = set(rows(ask("no-broken-promise", "mds", kvm="7.3.4", given=THREAD_HOST, listed=200)))
    assert {row for row in mine if "another part" not in row} == {("fb_clear=0", "mds_no=0")}
    # Against MMIO stale data it wants FB_CLEAR, or MD_CLEAR and L1D_FLUSH without MDS_NO, and one of the three gone;
    # and another part: no list has a part as affected whose hardware says all three, so its own is not.
    mine = set(rows(ask("no-broken-promise", "mmio_stale_data", kvm="7.3.4", given=THREAD_HOST, listed=200)))
    three = ("fbsdp_no=0", "psdp_no=0", "sbdr_ssdp_no=0")
    assert all("another part" in row for row in mine)
    assert {tuple(sorted(("another part", "fb_clear=0", "mds_no=0", one))) for one in three} <= {
        tuple(sorted(row)) for row in mine
    }


def test_hiding_the_register_is_enough_up_to_6_12_and_does_nothing_from_6_13_on() -> None:
    # Up to 6.12 KVM stores what the VMM writes; since 6.13 a vCPU without the CPUID bit keeps KVM's default, which has
    # FB_CLEAR on this host (a5d563890b8f, dcb988cdac85).
    found = rows(ask("no-broken-promise", "mds", kvm="6.12-7.3", given=THREAD_HOST, listed=200))
    assert found[("arch_capabilities=0", "fb_clear=0")] == ["6.12.0 to 6.12.118"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"guest.fb_clear": True}, "a value with FB_CLEAR makes the toggle needless"),
        (dict.fromkeys((f"guest.{name}" for name in FIVE_NO), True), "and so do all five immunity bits"),
    ],
)
def test_what_kvm_is_content_with_keeps_the_promise(given: Mapping[str, bool], why: str) -> None:
    for subject in ("mds", "mmio_stale_data"):
        assert ask("no-broken-promise", subject, given={**THREAD_HOST, **given}).verdict == HOLDS, why


# --- FB_CLEAR_DIS across 6.12 and 6.13 -----------------------------------------------------------------------------

ZERO_AND_HIDDEN = {
    "guest.arch_capabilities": False,
    **{f"guest.{name}": False for name in (*FIVE_NO, "fb_clear")},
    "vcpu.vmx_update_fb_clear_dis": True,
}


@pytest.mark.parametrize("kvm", ["6.12.0", "6.12.117"])
def test_a_written_zero_sets_fb_clear_dis_up_to_6_12(kvm: str) -> None:
    outcome = ask("no-exposure", "mds", kvm=kvm, given={**ZERO_AND_HIDDEN, "host.fb_clear_ctrl": True})
    assert int(outcome.configurations) > 0


@pytest.mark.parametrize("kvm", ["6.13.2", "6.14.0", "6.16.1", "6.18.35", "7.3.4"])
def test_a_written_zero_is_ignored_from_6_13_on(kvm: str) -> None:
    # The default is kept, and it has FB_CLEAR wherever the host has FB_CLEAR_CTRL (XSA-404).
    outcome = ask("no-exposure", "mds", kvm=kvm, given=ZERO_AND_HIDDEN)
    assert (outcome.verdict, outcome.configurations) == (HOLDS, "0")


# --- TSA -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kvm", ["6.16.1", "6.17.0", "6.18.0", "6.18.2", "6.18.35", "6.19.0", "6.19.9"])
def test_tsa_immunity_that_kvm_makes_up(kvm: str) -> None:
    # TSA_SQ_NO and TSA_L1_NO are offered on every host; fixed by 4b3b8a8b0df1 (7.0).
    outcome = ask("offered-is-truthful", "tsa", kvm=kvm, hosts=ZEN3_ZEN4)
    assert outcome.verdict == REFUTED
    (row,) = outcome.deviations
    assert (row.deviates, row.kvm) == ([], [kvm])
    assert row.example.host.cpu.family == "0x19"
    # A guest that asks for a third NO bit, which these KVMs do not have, is not taken in.
    assert not {"6.12.117", "7.3.4"} & set(row.guest_kernels)
    lies = rows(ask("no-false-immunity", "tsa", kvm=kvm, hosts=ZEN3_ZEN4))
    assert lies[()] == [kvm]


@pytest.mark.parametrize("kvm", ["5.15.215", "6.1.153", "6.1.192", "6.12.117", "6.14.0", "7.1.3", "7.2.13", "7.3.4"])
def test_no_tsa_immunity_is_made_up_elsewhere(kvm: str) -> None:
    outcome = ask("no-false-immunity", "tsa", kvm=kvm, hosts=ZEN3_ZEN4, listed=100)
    assert () not in rows(outcome)


@pytest.mark.parametrize("kvm", ["6.1.153", "6.1.192", "6.12.117", "7.1.3", "7.2.13", "7.3.4"])
def test_kvms_that_check_tsa_bits_offer_the_truth(kvm: str) -> None:
    assert ask("offered-is-truthful", "tsa", kvm=kvm, hosts=MILAN).verdict == HOLDS
    every = ask("offered-is-truthful", "tsa", kvm=kvm, hosts=ZEN3_ZEN4)
    assert every.refuting == "0"


@pytest.mark.parametrize("kvm", ["6.1.144", "6.1.152", "6.14.0"])
def test_kvms_that_withhold_verw_clear_do_not(kvm: str) -> None:
    # 6.1.144 to 6.1.152 drop what the host's kernel synthesised (f3f9deccfc68), 6.14.0 does not know the bits: the
    # guest says "no microcode" where VERW clears.
    outcome = ask("offered-is-truthful", "tsa", kvm=kvm, guest="6.18.9", hosts=MILAN)
    assert outcome.verdict == REFUTED
    example = outcome.deviations[0].example
    told = {each.vulnerability: each for each in check(example.host, example.guest).vulnerabilities}["tsa"]
    assert told.truth.value == "withheld"


# --- the way into a guest ------------------------------------------------------------------------------------------


def test_kvm_6_19_runs_verw_after_fb_clear_dis() -> None:
    outcome = ask("host-entry-protected", "mmio_stale_data")
    found = rows(outcome)
    assert set(found) == {(), ("vm.has_mapped_host_mmio",), ("fb_clear=0", "vm.has_mapped_host_mmio")}
    late = found[("fb_clear=0", "vm.has_mapped_host_mmio")]
    assert late == ["6.19.0 to 6.19.14", "7.0.13", "7.1.3 to 7.1.13", "7.2.13", "7.3.4"]


@pytest.mark.parametrize("kvm", ["6.17.0", "6.18.0", "6.18.2", "6.18.9", "6.18.35"])
def test_kvm_6_17_and_6_18_protect_every_entry(kvm: str) -> None:
    # They gate by mapped host MMIO and run VERW before FB_CLEAR_DIS. An L1D flush instead of it would need a part with
    # L1TF and MMIO stale data and without MDS, which MDS_NO has RDCL_NO rules out.
    # Of a guest that may nest (VMX) it is not established that KVM notes host MMIO under every root.
    assert ask("host-entry-protected", "mmio_stale_data", kvm=kvm).verdict == UNKNOWN
    one_root = {"guest.vmx": False}
    assert ask("host-entry-protected", "mmio_stale_data", kvm=kvm, given=one_root).verdict == HOLDS
    assert ask("host-entry-protected", "mmio_stale_data", kvm=kvm, any_silicon=True).verdict == REFUTED


@pytest.mark.parametrize("kvm", ["6.8.0", "6.12.0", "6.12.117", "6.14.0", "6.16.1"])
def test_kvm_up_to_6_16_counts_devices_instead_of_mmio(kvm: str) -> None:
    # 83ebe7157483: host MMIO that is mapped without a device that KVM counts. With both there is nothing left.
    assert set(rows(ask("host-entry-protected", "mmio_stale_data", kvm=kvm))) == {("vm.has_mapped_host_mmio",)}
    both = {"vm.has_assigned_device": True, "vm.has_mapped_host_mmio": True}
    assert ask("host-entry-protected", "mmio_stale_data", kvm=kvm, given=both).verdict == HOLDS


@pytest.mark.parametrize("kvm", ["5.19.0", "6.1.80", "6.5.0", "6.6.20"])
def test_before_6_8_a_conditional_l1d_flush_takes_the_place_of_verw(kvm: str) -> None:
    # The text of e6ff1d61de51; 43fb862de8f6 moved VERW (6.8, 6.6.21, 6.1.81).
    outcome = ask("host-entry-protected", "mds", kvm=kvm)
    assert rows(outcome) == {(): [kvm]}
    assert not has(value(outcome.deviations[0].example, "host"), "rdcl_no")


@pytest.mark.parametrize("kvm", ["6.1.81", "6.6.21", "6.8.0", "6.12.117", "6.18.35", "7.3.4"])
def test_from_6_8_on_verw_against_mds_stands_apart_from_the_flush(kvm: str) -> None:
    assert ask("host-entry-protected", "mds", kvm=kvm).verdict == HOLDS


# --- what a guest concludes ----------------------------------------------------------------------------------------


def test_transactions_without_taa_no_are_never_taken_for_immune() -> None:
    # The bug bit asks no list of models: no TAA_NO, and RTM or TSX_CTRL. NO_SPECULATION alone ends it earlier.
    given = {
        "guest.rtm": True,
        "guest.taa_no": False,
        "guest.rtm_always_abort": False,
        "guest.listed_no_speculation": False,
    }
    assert ask("no-false-immunity", "tsx_async_abort", given=given).verdict == HOLDS


def test_tsx_ctrl_makes_a_guest_take_itself_for_affected() -> None:
    given = {
        "guest.arch_capabilities": True, "guest.tsx_ctrl": True, "guest.taa_no": False,
        "guest.listed_no_speculation": False,
    }  # fmt: skip
    assert ask("no-false-immunity", "tsx_async_abort", given=given).verdict == HOLDS
    lies = ask("no-false-immunity", "tsx_async_abort", given={**given, "guest.taa_no": True})
    assert lies.verdict == REFUTED


def test_mds_no_takes_away_what_md_clear_and_l1d_flush_promise() -> None:
    # With MDS_NO only FB_CLEAR counts against MMIO stale data.
    given = {"guest.arch_capabilities": True, "guest.mds_no": True, "guest.fb_clear": False}
    assert ask("no-broken-promise", "mmio_stale_data", given=given).verdict == HOLDS


def test_md_clear_alone_promises_nothing_against_mmio() -> None:
    given = {"guest.flush_l1d": False, "guest.fb_clear": False}
    assert ask("no-broken-promise", "mmio_stale_data", given=given).verdict == HOLDS


def test_a_later_guest_kernel_stops_forcing_verw_against_tsa() -> None:
    # Stables force VERW in a guest that is not shown VERW_CLEAR, 6.16 and later do not.
    outcome = ask("upgrade-keeps-verw", "tsa", kvm="7.3.4", guest="6.12.77,6.18.9", hosts=ZEN3_ZEN4)
    assert ("verw_clear=0",) in rows(outcome)
    row = next(row for row in outcome.deviations if row.deviates == ["verw_clear=0"])
    assert row.example.guest.kernel.release == "6.12.77"
    assert row.example.later == {"later_kernel": "6.18.9"}


# --- vCPUs of one virtual machine ----------------------------------------------------------------------------------


def changing(kvm: str) -> dict[str, list[list[str]]]:
    result = prove("vcpus-agree", Bounds(kvm=choose_releases(kvm, "test")))
    assert all(outcome.verdict in (HOLDS, REFUTED, UNKNOWN) for outcome in result.outcomes)
    return {
        outcome.subject: [row.deviates for row in outcome.deviations]
        for outcome in result.outcomes
        if outcome.verdict == REFUTED
    }


@pytest.mark.parametrize("kvm", ["6.6.0", "6.12.117", "6.18.35", "7.3.4"])
def test_since_6_6_only_vmentry_l1d_flush_makes_vcpus_differ(kvm: str) -> None:
    # The host's register is read once, at load (a2fd5d02bad6).
    assert changing(kvm) == {"skip_l1dfl_vmentry": [["changed.l1d_flush_never"]]}


@pytest.mark.parametrize(
    ("kvm", "mask"),
    [
        ("6.4.4", (0, 1, 2, 4, 5, 7, 8, 13, 14, 15, 17, 19, 24)),
        # GDS_NO (26) is new in its mask: KVM sets it itself but for parts that the lists have as affected, and no
        # microcode says it of those.
        ("6.5.0", (0, 1, 2, 4, 5, 7, 8, 13, 14, 15, 17, 19, 24)),
    ],
)
def test_before_6_6_new_microcode_does_too(kvm: str, mask: tuple[int, ...]) -> None:
    # Each bit of KVM's mask but 6, which is always set, and 3, which follows the L1D flush as it was set up.
    by_number = {bit.bit: name for name, bit in ARCH_CAPABILITIES.items()}
    expected = {by_number[number]: [[f"changed.{by_number[number]}"]] for number in mask}
    assert changing(kvm) == {**expected, "skip_l1dfl_vmentry": [["changed.l1d_flush_never"]]}


# --- unknowns, limits, silicon -------------------------------------------------------------------------------------


def test_what_no_table_knows_never_makes_it_hold() -> None:
    # Whether 6.13.7 offers the TSA NO bits was not read: with them a guest is taken in, without it is not.
    outcome = ask("offered-is-truthful", "tsa", kvm="6.13.7", hosts=ZEN3_ZEN4)
    assert outcome.verdict != HOLDS
    assert int(outcome.hanging) > 0
    assert "host_kernel.offers_tsa_no" in outcome.hangs_on
    settled = ask("offered-is-truthful", "tsa", kvm="7.3.4", hosts=MILAN)
    assert (settled.verdict, settled.hanging) == (HOLDS, "0")


def test_no_time_is_no_answer() -> None:
    for name, subject in (("no-broken-promise", "mds"), ("host-entry-protected", "mds")):
        outcome = ask(name, subject, seconds=0)
        assert outcome.verdict == NOT_DECIDED
        assert outcome.why_not == "not decided within 0 s"
    assert prove("no-broken-promise", subjects=["mds"], seconds=0).exit_code == 3


@pytest.mark.parametrize(
    ("name", "subject"), [("no-broken-promise", "mds"), ("host-entry-protected", "mmio_stale_data")]
)
def test_hardware_that_does_not_exist_has_no_fewer_counter_examples(name: str, subject: str) -> None:
    real = ask(name, subject, kvm="6.12.117,7.3.4")
    any_ = ask(name, subject, kvm="6.12.117,7.3.4", any_silicon=True)
    assert int(any_.refuting) >= int(real.refuting) > 0
    assert int(any_.configurations) >= int(real.configurations)


def test_counts_of_a_space_that_can_be_counted_by_hand() -> None:
    # One part of one release, and RSBA is passed through by 6.5.0 where the register exists: RSBA before and after, the
    # register shown, and no more; it changes in 2 of the 4. A register that does not exist has no RSBA: 1, unchanged.
    outcome = prove(
        "vcpus-agree",
        Bounds(host_parts=(PartPattern("GenuineIntel", 6, 0x6A, 6),), kvm=choose_releases("6.5.0", "test")),
        subjects=["rsba"],
    ).outcomes[0]
    (row,) = outcome.deviations
    assert outcome.refuting == row.configurations == "2"


def test_it_is_least_where_it_is_listed() -> None:
    # MDS_NO that is hidden never makes a guest believe that it is immune: it stands in no row, MDS_NO added does.
    found = rows(ask("no-false-immunity", "mds", kvm="7.3.4"))
    assert ("mds_no=1",) in found
    assert ("mds_no=0",) not in found


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match=r"unknown property 'no-broken-promises'.*no-broken-promise"):
        prove("no-broken-promises")
    with pytest.raises(InputError, match=r"no rule reads a fact 'host\.mds_on'"):
        prove("no-broken-promise", Bounds(given={"host.mds_on": True}))
    with pytest.raises(InputError, match=r"unknown subject 'mdss'.*mds"):
        prove("no-broken-promise", subjects=["mdss"])


def test_ranges_are_of_releases_that_were_asked_about() -> None:
    names = [release.text for release in releases()]
    some = {names.index(name) for name in ("6.16.1", "6.17.0", "6.19.0", "6.19.9")}
    assert ranges(some, range(len(names))) == ["6.16.1", "6.17.0", "6.19.0 to 6.19.9"]
