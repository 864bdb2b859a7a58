"""Laws of moving: to the same host nothing changes; without what blocks, nothing blocks; less known claims no more."""

from __future__ import annotations

from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import archcaps
from archcaps import Vmms
from archcaps.machine.snapshot import Reading
from archcaps.questions.migrate_guest import hide, shown_bits, with_bits
from archcaps.questions.migrate_layers import accepted, layers_of
from archcaps.questions.migrate_move import VMMS, Move
from archcaps.questions.migrate_support import COMPARED
from archcaps.questions.reader import Reader
from archcaps.tables.bits import ARCH_CAPABILITIES
from tests.questions.machines import guests, hosts

vmms = st.builds(
    Vmms,
    vmm=st.sampled_from(VMMS),
    machine=st.sampled_from((None, "pc-q35-10.0", "pc-q35-10.1")),
    to_version=st.just(None),
    check=st.sampled_from((None, "enforce")),
    passthrough=st.booleans(),
    saved=st.sampled_from((None, True, False)),
)
#: A failing pair of hosts is told as it is: to shrink it takes minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
versions = st.sampled_from(("8.2.0", "10.0.2", "10.1.0", "10.1.1", "10.1.2", "11.1.3"))


@settings(max_examples=8, phases=PHASES)
@given(hosts, vmms)
def test_to_the_same_host_is_accepted_and_changes_nothing(host: archcaps.Snapshot, how: Vmms) -> None:
    result = archcaps.migrate(host, host, archcaps.default_guest(host), how, further=True)
    assert (result.accepts, result.exit_code) == ("yes", 0)
    assert (result.bits, result.shown_changes, result.silent, result.border, result.advice) == ([], {}, [], [], [])
    assert all(each.changes is False and each.worse is False for each in (*result.vulnerabilities, *result.further))
    assert result.headline == "ACCEPTED, and nothing changes: it is the same host."


@settings(max_examples=15, phases=PHASES)
@given(hosts, hosts, versions)
def test_without_what_blocks_nothing_blocks(from_: archcaps.Snapshot, to: archcaps.Snapshot, version: str) -> None:
    """A guest of KVM's default loses what the destination lacks: QEMU, libvirt and KVM then take it.

    And what it is then shown is offered there, but for FB_CLEAR, which newer QEMUs add.
    """
    how = Vmms("libvirt", "pc-q35-10.0", to_version=version)
    guest = archcaps.default_guest(from_)
    move = Move(from_, to, guest, how)
    assume(from_ != to and not move.unsure)
    # An AMD with TSX_CTRL, as these random hosts may be, lists MSR 0x122 and does not keep it.
    assume(to.cpu.vendor == "GenuineIntel" or not move.shown["tsx_ctrl"])
    unnamed = [bit for bit, on in move.shown.items() if on and move.goal.named(bit) is not True]
    bare = Move(from_, to, hide(guest, {*move.lost, *unnamed}), how)
    assert accepted(layers_of(bare)) == "yes"
    assert bare.lost == []
    offered = archcaps.Kvm(to).supported_arch_cap
    missing = [
        bit for bit in ARCH_CAPABILITIES if bare.shown.get(bit) and not offered.value & ARCH_CAPABILITIES[bit].mask
    ]
    assert missing in ([], ["fb_clear"])
    assert not missing or version in ("10.1.2", "11.1.3")


@settings(max_examples=15, phases=PHASES)
@given(guests, st.dictionaries(st.sampled_from(COMPARED), st.sampled_from((True, False, None)), max_size=4))
def test_bits_that_are_changed_read_as_changed_and_no_others(
    guest: archcaps.Snapshot, changes: dict[str, bool | None]
) -> None:
    nobody = archcaps.host()
    before = {bit: Reader(nobody, guest).ternary.facts.get(f"guest.{bit}") for bit in COMPARED}
    facts = Reader(nobody, with_bits(guest, changes)).ternary.facts
    assert {bit: facts.get(f"guest.{bit}") for bit in COMPARED} == before | changes


@settings(max_examples=15, phases=PHASES)
@given(hosts, hosts, guests, versions)
def test_with_less_known_no_more_is_claimed(
    from_: archcaps.Snapshot, to: archcaps.Snapshot, guest: archcaps.Snapshot, version: str
) -> None:
    """Without the destination's register, or the QEMU, an answer stays or becomes unknown."""
    how = Vmms("qemu", "pc-q35-10.0", "10.1.2", version)
    full = Move(from_, to, guest, how)
    thin = replace(to, registers={"ia32_arch_capabilities": Reading()})
    for less in (Move(from_, thin, guest, how), Move(from_, to, guest, Vmms("qemu", "pc-q35-10.0", "10.1.2"))):
        assert set(less.lost) <= set(full.lost)
        assert set(full.lost) <= {*less.lost, *less.unsure}


@settings(max_examples=15, phases=PHASES)
@given(guests)
def test_a_hidden_register_reads_as_none(guest: archcaps.Snapshot) -> None:
    bits = shown_bits(Reader(archcaps.host(), hide(guest, ["arch_capabilities"])))
    assert not any(bits[bit] for bit in COMPARED if bit.endswith("_no") and not bit.startswith("tsa"))
    assert bits["fb_clear"] is False
