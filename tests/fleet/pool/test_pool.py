"""Pools that are known from reports, rules of other hypervisors, and that an answer is what check says of it."""

from __future__ import annotations

import json
import random

import jsonschema
import pytest
from msgspec.structs import replace

from archcaps.errors import InputError
from archcaps.fleet.pool.answer import Wish, default_kernels, pool
from archcaps.fleet.pool.guest import guest_of
from archcaps.fleet.pool.hosts import HostClass, classes_of, read_hosts
from archcaps.fleet.pool.identities import Identity
from archcaps.fleet.pool.results import PoolResult
from archcaps.fleet.pool.showable import WORSE, offered_bits
from archcaps.guest_cpu.cloud_hypervisor_migration import cloud_hypervisor_compatible
from archcaps.guest_cpu.formats import expand, read_configuration
from archcaps.machine.facts import known_bits
from archcaps.machine.inline import host
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.check import check
from archcaps.report.pool import render_json
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS
from archcaps.tables.files import read_csv
from tests.fleet.pool.pools import ROOT, example, fleet_hosts

CLX = "fb-clear-to-sapphire-rapids/host-cascade-lake"
SPR_OFF, SPR_ON = (f"fb-clear-to-sapphire-rapids/host-tsx-{state}" for state in ("off", "on"))
ICX = "firecracker-t2s/host-ice-lake"
FINE = {"truth": ("truthful", "unsaid"), "safety": ("safe",), "host_safety": ("safe",)}


def shown(result: PoolResult) -> dict[str, bool]:
    return {bit.name: bit.shown for bit in result.bits}


def guest(result: PoolResult, kernel: str) -> Snapshot:
    one = result.identity
    return guest_of(Identity(one.vendor, one.family, one.model, one.stepping, one.of, None), shown(result), kernel)


def agrees_with_check(hosts: list[HostClass], result: PoolResult, number: int, kernel: str) -> None:
    """Every verdict of check on a member is fine, or one that the answer says."""
    said = {
        fault.vulnerability: (fault.truth, fault.safety, fault.host_safety)
        for fault in result.wrong if fault.example == hosts[number].example and kernel in fault.kernels
    }  # fmt: skip
    checked = check(hosts[number].snapshot, guest(result, kernel), brief=True)
    for verdict in checked.vulnerabilities:
        words = {asked: str(getattr(verdict, asked)) for asked in FINE}
        if all(word in FINE[asked] for asked, word in words.items()):
            assert verdict.vulnerability not in said
        else:
            assert said[verdict.vulnerability] == tuple(words.values())


# --- known pools ---------------------------------------------------------------------------


def test_cascade_lake_and_ice_lake_share_fb_clear() -> None:
    result = pool([example("firecracker-t2s/host-cascade-lake"), example(ICX)])
    assert result.exit_code == 0
    # Both values that KVM offers (Firecracker's fingerprints): the bits of both.
    assert int(result.arch_capabilities, 16) == 0xC0AA0EB & 0xC02A0EB & ~ARCH_CAPABILITIES["rrsba"].mask
    assert (result.identity.family, result.identity.model) == (6, 0x55)


def test_sapphire_rapids_without_tsx_takes_fb_clear_away() -> None:
    # vmm.md and S03b: QEMU's rule for immune hosts needs TAA_NO, which KVM hides without RTM.
    result = pool([example(CLX), example(SPR_OFF)])
    assert not result["fb_clear"].shown
    assert "Sapphire Rapids without TSX" in result["fb_clear"].why
    assert result.exit_code == 1
    assert {(fault.example, fault.vulnerability) for fault in result.wrong} == {
        ("Cascade Lake", "mmio_stale_data"), ("Sapphire Rapids without TSX", "mmio_stale_data"),
    }  # fmt: skip
    assert result.without_fault is not None
    assert result.without_fault.hosts == 1


def test_qemu_takes_fb_clear_on_immune_hosts_from_10_2_on() -> None:
    pair = [example(CLX), example(SPR_ON)]
    new, old = (pool(pair, Wish(release=release)) for release in ("10.2", "8.2"))
    assert (new["fb_clear"].classes, old["fb_clear"].classes) == (2, 1)
    assert "fb_clear" in new.proof.bits
    assert "fb_clear" not in old.proof.bits


def test_where_the_plain_intersection_leaks_a_guest_that_is_told_less_clears() -> None:
    # S03: where guest users map MMIO, Cascade Lake leaks if MDS_NO is shown and FB_CLEAR not. Linux that sees neither
    # MDS_NO nor MD_CLEAR says "Vulnerable: Clear CPU buffers attempted" and runs VERW, which works there.
    result = pool([example(CLX), example(SPR_ON)], Wish(assumptions=frozenset(("user-mmio",))))
    assert (result.faults["exposed"], result.faults["lies"], result.exit_code) == (0, 0, 1)
    assert (result["mds_no"].shown, result["md_clear"].shown, result["fb_clear"].shown) == (False, False, False)
    assert {"mds_no", "md_clear"} <= {bit.name for bit in result.plain if bit.plain}
    leaks = {(fault.example, fault.vulnerability) for fault in result.plain_wrong if fault.safety == "exposed"}
    assert leaks == {("Cascade Lake", "mmio_stale_data")}


def test_a_broken_promise_is_worse_than_a_needless_alarm() -> None:
    result = pool([example(CLX), example(SPR_ON)], Wish(release="10.2"))
    assert not result["fb_clear"].shown
    assert "broken-promise" in result["fb_clear"].why
    assert {fault.safety for fault in result.wrong} == {"safe"}


def rsba_hosts() -> list[Snapshot]:
    flags = "md_clear,flush_l1d,arch_capabilities,spec_ctrl"
    cpu = {"cpu": "6/0x55/4", "flags": flags, "kernel": "6.12.117", "cmdline": ""}
    return [
        replace(host(**cpu, arch_capabilities=0x4), name="tells"),
        replace(host(**cpu, arch_capabilities=0), name="silent"),
    ]


def test_bad_news_of_one_host_is_shown_where_the_vmm_can() -> None:
    result = pool(rsba_hosts(), Wish(vmm="firecracker"))
    assert result["rsba"].shown
    assert not result["rrsba"].shown
    assert "rsba" in [bit.name for bit in result.plain if not bit.plain]  # libvirt drops it: the wrong way round


def test_bad_news_that_qemu_can_not_show_is_noticed() -> None:
    result = pool(rsba_hosts())
    assert not result["rsba"].shown
    assert result.exit_code == 1
    assert "silent" in result.notices[0]


def test_a_guest_with_enhanced_ibrs_is_told_of_rrsba() -> None:
    result = pool([example(CLX), example(ICX)], Wish(vmm="firecracker"))
    assert result["ibrs_all"].shown
    assert (result["rrsba"].shown, result["rsba"].shown) == (True, False)


def test_hosts_without_tsx_are_told_tsx_ctrl_and_no_immunity() -> None:
    # S13: KVM drops TAA_NO without RTM; with TSX_CTRL the guest says "Mitigation: TSX disabled", which is so.
    result = pool([example("taa-no-hidden/host"), example(ICX)])
    assert (result["taa_no"].shown, result["rtm"].shown, result["tsx_ctrl"].shown) == (False, False, True)
    assert not [fault for fault in result.wrong if fault.vulnerability == "tsx_async_abort"]


def amd(name: str, model: str, microcode: str, kernel: str) -> Snapshot:
    made = host(cpu=f"amd:0x19/{model}/1", flags="spec_ctrl", kernel=kernel, cmdline="", microcode=microcode)
    return replace(made, name=name)


def test_milan_and_genoa_share_verw_clear_and_no_tsa_immunity() -> None:
    # AMD-SB-7029: both are affected, and their microcode (0x0a0011d7, 0x0a101154) lets VERW clear.
    result = pool([amd("Milan", "1", "0xa0011d7", "7.2.13"), amd("Genoa", "0x11", "0xa101154", "7.2.13")])
    assert result.exit_code == 0
    assert (result["verw_clear"].shown, result["tsa_sq_no"].shown, result["tsa_l1_no"].shown) == (True, False, False)
    assert not result["arch_capabilities"].shown  # Xen: Intel's alone


def test_an_offered_tsa_immunity_of_an_affected_host_is_not_shown() -> None:
    # S11: KVM of 6.18.30 offers both TSA NO bits on affected hosts, and VERW_CLEAR with them.
    hosts = [replace(example("tsa-no-always/host"), name=name) for name in ("one", "two")]
    result = pool(hosts)
    offered = offered_bits(classes_of(hosts)[0])
    assert (offered["tsa_sq_no"], offered["tsa_l1_no"], offered["verw_clear"]) == (True, True, True)
    assert result["verw_clear"].shown
    assert not (result["tsa_sq_no"].shown and result["tsa_l1_no"].shown)
    assert not [fault for fault in result.wrong if fault.truth == "false-immunity"]
    assert "false-immunity" in {fault.truth for fault in result.plain_wrong}


# --- rules of others -----------------------------------------------------------------------


def test_bits_that_are_not_intersected_are_those_of_xen() -> None:
    xen = {row["bit"] for row in read_csv("xen/levelling.csv") if row["max_policy"] == "always"} - {"arch_capabilities"}
    ours = {name for name, bit in BITS.items() if bit.pool == "OR" and bit.vulnerabilities}
    assert ours == xen
    assert {name for name in WORSE if BITS[name].vulnerabilities} == {"rsba", "rrsba"}


@pytest.mark.parametrize("names", [(CLX, ICX), (CLX, SPR_ON), (ICX, SPR_OFF), (CLX, ICX, SPR_ON)])
def test_cloud_hypervisor_lets_guests_move_from_host_to_host(names: tuple[str, ...]) -> None:
    # Its rule was written by others for the same bits; RRSBA, which only some of these have, is shown by Firecracker.
    hosts = classes_of(example(name) for name in names)
    value = int(pool(hosts, Wish(vmm="firecracker")).arch_capabilities, 16)
    for one in hosts:
        offers = [name for name, there in offered_bits(one).items() if there and name in ARCH_CAPABILITIES]
        assert cloud_hypervisor_compatible(value, sum(ARCH_CAPABILITIES[name].mask for name in offers)), one.example


# --- laws ----------------------------------------------------------------------------------


def test_200_random_hosts_get_what_check_says() -> None:
    chance = random.Random(5)
    by_vendor: dict[str, list[Snapshot]] = {}
    for one in fleet_hosts(200, seed=3):
        by_vendor.setdefault(str(one.cpu.vendor), []).append(one)
    pools = 0
    for hosts in by_vendor.values():
        for start in range(0, len(hosts), 10):
            members = classes_of(hosts[start : start + 10])
            result = pool(members, Wish(kernels=default_kernels()[-2:]))
            agrees_with_check(members, result, chance.randrange(len(members)), chance.choice(result.guest_kernels))
            pools += 1
    assert pools >= 20


@pytest.mark.parametrize("names", [(CLX, ICX), (CLX, SPR_ON), (CLX, SPR_OFF, ICX)])
@pytest.mark.parametrize("named_only", [False, True])
def test_each_document_shows_the_same_cpu_on_every_host(names: tuple[str, ...], *, named_only: bool) -> None:
    hosts = classes_of(example(name) for name in names)
    result = pool(hosts, Wish(named_only=named_only, release="11.1"))
    written = 0
    for document in result.documents:
        if document.refused is not None:
            assert not named_only
            continue
        asked = read_configuration(document.text, "pool", document.vmm)  # type: ignore[arg-type]  # a VMM's name
        for one in hosts:
            got = expand(asked, one.snapshot, one.offered)
            bits = {name: datum.value for name, datum in known_bits(got.snapshot).items()}
            wrong = {name: bits.get(name) for name in result.proof.bits if bits.get(name) is not shown(result)[name]}
            assert not wrong, (document.vmm, one.example)
            numbers = (got.snapshot.cpu.family, got.snapshot.cpu.model, got.snapshot.cpu.stepping)
            assert numbers == (result.identity.family, result.identity.model, result.identity.stepping), document.vmm
        written += 1
    assert written == (4 if named_only else 2)


def test_what_nobody_knows_is_not_shown() -> None:
    result = pool([example("md-clear-hidden/host"), example("md-clear-hidden/host-updated")])
    assert result.exit_code == 3
    assert not result["md_clear"].shown
    assert "not known" in result["md_clear"].why


def test_the_identity_is_a_hosts_or_a_lower_one() -> None:
    for names in ((CLX, ICX), (ICX, SPR_ON), (SPR_OFF,), ("md-clear-hidden/host",)):
        for named_only in (False, True):
            hosts = [example(name) for name in names]
            one = pool(hosts, Wish(named_only=named_only)).identity
            numbers = (one.family, one.model, one.stepping)
            own = [tuple(int(str(part), 0) for part in (each.cpu.family, each.cpu.model, each.cpu.stepping))
                   for each in hosts]  # fmt: skip
            assert numbers in own or numbers <= min(own)


def test_an_answer_fits_its_schema() -> None:
    schema = json.loads((ROOT / "schemas" / "pool-1.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(render_json(pool([example(CLX), example(SPR_OFF)]))), schema)


# --- hosts ---------------------------------------------------------------------------------


def test_hosts_that_are_alike_are_one_class() -> None:
    one = example(CLX)
    found = classes_of([one, replace(one, name="another"), example(ICX), one])
    assert [(host.count, host.example) for host in found] == [(3, "Cascade Lake"), (1, "Ice Lake server")]


def test_pools_that_can_not_be_are_refused() -> None:
    with pytest.raises(InputError, match="no host"):
        pool([])
    with pytest.raises(InputError, match="a guest cannot move between vendors"):
        pool([example(CLX), amd("Milan", "1", "0xa0011d7", "7.2.13")])
    with pytest.raises(InputError, match="must be known"):
        pool([host(flags="md_clear", kernel="6.12.117")])
    with pytest.raises(InputError, match="kernel"):
        pool([example(CLX)], Wish(kernels=("no release",)))
    many = [replace(example(CLX), cpu=replace(example(CLX).cpu, microcode=number)) for number in range(300)]
    with pytest.raises(InputError, match="300 different hosts"):
        pool(many)
    with pytest.raises(InputError, match="no file matches"):
        read_hosts(["nothing-*.toml"])
