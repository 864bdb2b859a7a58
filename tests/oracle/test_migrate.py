"""Migration over random hosts and releases: KVM's answer, what is offered, and FB_CLEAR_DIS, against the oracle."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

import archcaps
from archcaps import Vmms
from archcaps.machine.snapshot import Cpuid, Kernel, Reading, Snapshot
from archcaps.questions.migrate_layers import kvm_takes
from archcaps.questions.migrate_move import Move
from archcaps.tables.bits import ARCH_CAPABILITIES
from tests.oracle.kvm import Kvm
from tests.oracle.machines import PROFILES, Host, Profile
from tests.oracle.random_hosts import guest_word, host_snapshot, random_host

FIVE = sum(ARCH_CAPABILITIES[bit].mask for bit in ("mds_no", "taa_no", "sbdr_ssdp_no", "fbsdp_no", "psdp_no"))
FB_CLEAR = ARCH_CAPABILITIES["fb_clear"].mask
#: The bits that the graph and the oracle both name; TSX_CTRL brings MSR 0x122 along, which the oracle has not.
SPOKEN = sum(bit.mask for bit in ARCH_CAPABILITIES.values() if bit.status != "reserved" and bit.name != "tsx_ctrl")


def guest_of(word: int, *, cpuid: bool) -> Snapshot:
    shown = ["hypervisor", "md_clear", *(["arch_capabilities"] if cpuid else [])]
    return Snapshot(
        format_version=1,
        role="guest",
        cpuid=Cpuid(shown=shown),
        registers={"ia32_arch_capabilities": Reading(value=word)},
        kernel=Kernel(release="6.12.117", cmdline="", config="upstream-defaults"),
    )


def draw(random: Random) -> tuple[Host, Profile]:
    return random_host(random), random.choice(PROFILES)


@pytest.mark.parametrize("seed", range(40))
def test_kvm_takes_just_what_the_oracle_takes(seed: int) -> None:
    """Any bits, offered or not: no kernel that was read compares them; from 6.13 on CPUID has to show the MSR."""
    random = Random(seed)
    host, profile = draw(random)
    oracle = Kvm(host, profile)
    for cpuid in (True, False):
        for word in (0, guest_word(random) & SPOKEN, ~oracle.offered & SPOKEN):
            taken, _ = oracle.host_write(oracle.create(cpuid=cpuid), word)
            assert kvm_takes(host_snapshot(host, profile), guest_of(word, cpuid=cpuid)) is taken, (str(profile), word)


def test_the_seeds_meet_both_answers() -> None:
    """An answer that is always the same would prove nothing."""
    seen: Counter[bool] = Counter()
    for seed in range(40):
        random = Random(seed)
        oracle = Kvm(*draw(random))
        for word in (0, guest_word(random) & SPOKEN):
            seen[oracle.host_write(oracle.create(cpuid=False), word)[0]] += 1
    assert min(seen[True], seen[False]) >= 8


@pytest.mark.parametrize("seed", range(12))
def test_what_qemu_can_show_is_what_the_oracle_offers_and_fb_clear_by_the_five(seed: int) -> None:
    random = Random(1000 + seed)
    (home, old), (goal, new) = draw(random), draw(random)
    word = guest_word(random) & SPOKEN
    hosts = host_snapshot(home, old), host_snapshot(goal, new)
    offered = Kvm(home, old).offered, Kvm(goal, new).offered
    for version, adds in (("10.0.2", False), ("10.2.0", True)):
        move = Move(*hosts, guest_of(word, cpuid=True), Vmms("qemu", to_version=version, machine="pc-q35-10.0"))
        can = [each | (FB_CLEAR if adds and each & FIVE == FIVE else 0) for each in offered]
        lost = {bit for bit in move.lost if bit in ARCH_CAPABILITIES}
        # A bit that the first host's KVM does not offer either, and the guest has: not judged by these rules.
        before = offered[0] if version == "10.0.2" else can[0]
        expected = word & ~can[1] & (before | offered[0])
        for bit in lost:
            assert not can[1] & ARCH_CAPABILITIES[bit].mask, bit
        sure = {name for name, bit in ARCH_CAPABILITIES.items() if expected & bit.mask & offered[0]}
        assert sure <= lost | set(move.unsure)


@pytest.mark.parametrize("seed", range(12))
def test_fb_clear_dis_on_either_host_is_the_oracles(seed: int) -> None:
    random = Random(2000 + seed)
    (home, old), (goal, new) = draw(random), draw(random)
    word = guest_word(random) & SPOKEN
    result = archcaps.migrate(
        host_snapshot(home, old), host_snapshot(goal, new), guest_of(word, cpuid=True), Vmms("kvm")
    )
    before, after = Kvm(home, old).disable_fb_clear(word), Kvm(goal, new).disable_fb_clear(word)
    silent = {each.name: (each.before, each.after) for each in result.silent}
    assert silent.get("FB_CLEAR_DIS", (before, before)) == (before, after)
