"""check beyond the named cases: doubtful data, hosts that are guests, distribution kernels, other guests."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from msgspec.structs import replace

import archcaps
from archcaps.machine.snapshot import Cpuid, Kernel, Reading, Snapshot
from archcaps.report.asking import what_to_ask

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
HOST = archcaps.read_snapshot(EXAMPLES / "thread" / "host.toml")
GUEST = archcaps.read_snapshot(EXAMPLES / "thread" / "guest.toml")
FLAGS = "md_clear,flush_l1d"


def test_a_verdict_that_rests_on_an_unverified_statement_says_so() -> None:
    host = archcaps.host(cpu="amd:0x1a/2/1", flags="avx", kernel="6.12.117", microcode=0)
    guest = archcaps.guest(cpu="amd:0x1a/2/1", flags="tsa_sq_no,tsa_l1_no", arch_capabilities="none", kernel="7.1.5")
    result = archcaps.check(host, guest)
    assert result["tsa"].affected is True
    assert result["tsa"].truth.value == "false-immunity"
    assert any(notice.kind == "unverified" and "0x1a" in notice.text for notice in result.notices)


def test_a_host_that_is_itself_a_guest_can_not_be_sure_of_anything() -> None:
    assert HOST.cpuid is not None
    nested = replace(HOST, cpuid=replace(HOST.cpuid, shown=[*HOST.cpuid.shown, "hypervisor"]))
    result = archcaps.check(nested, GUEST)
    assert result.exit_code == 3
    assert result["mds"].affected is None
    assert "the host is itself a virtual machine" in result["mds"].missing.values()


def test_a_distribution_s_release_hides_what_it_is_made_from() -> None:
    """What 6.1.0 has, no kernel ever lost: the files of MDS and MMIO. Those of RFDS, TSA came later, if at all."""
    guest = replace(GUEST, kernel=replace(GUEST.kernel, release="6.1.0-49-amd64"))
    result = archcaps.check(HOST, guest)
    assert result.exit_code == 1
    assert [result[name].truth.value for name in ("mds", "mmio_stale_data")] == ["broken-promise"] * 2
    assert [result[name].truth.possible for name in ("reg_file_data_sampling", "tsa")] == [["truthful", "unsaid"]] * 2
    asked = " ".join(each for verdict in result.further for each in what_to_ask(verdict.missing))
    assert "6.1.0-49-amd64 does not say which point release it is made from" in asked
    texts = {
        "mds": "Mitigation: Clear CPU buffers; SMT Host state unknown",
        "tsx_async_abort": "Not affected",
        "mmio_stale_data": "Mitigation: Clear CPU buffers; SMT Host state unknown",
        "reg_file_data_sampling": "Not affected",
        "tsa": "Not affected",
    }
    seen = archcaps.check(HOST, replace(guest, vulnerabilities=texts))
    assert seen.exit_code == 1
    assert seen["mds"].truth.value == "broken-promise"


def test_a_suffix_that_leaves_the_point_release_readable_is_named_as_an_assumption() -> None:
    guest = replace(GUEST, kernel=replace(GUEST.kernel, release="6.12.117+deb13-cloud-amd64"))
    result = archcaps.check(HOST, guest)
    texts = [assumption.text for assumption in result.assumptions]
    assert "the guest's kernel 6.12.117+deb13-cloud-amd64 (Debian) behaves as upstream 6.12.117" in texts
    assert result["mds"].truth.value == "broken-promise"


def test_a_contradiction_of_the_rfds_bits_is_noticed() -> None:
    guest = archcaps.guest(cpu="6/0xbe/0", flags=FLAGS, arch_capabilities=1 << 27 | 1 << 28, kernel="6.12.117")
    texts = [notice.text for notice in archcaps.check(HOST, guest).notices]
    assert "the guest is shown RFDS_CLEAR together with RFDS_NO" in texts


def test_tsx_ctrl_without_the_host_s_is_out_of_reach() -> None:
    guest = archcaps.guest(cpu="6/0x55/7", flags=FLAGS, arch_capabilities=1 << 7, kernel="6.12.117")
    texts = [notice.text for notice in archcaps.check(HOST, guest).notices]
    assert "the guest is shown tsx_ctrl, whose MSR it cannot reach" in texts


def test_the_same_guest_before_and_after_6_13() -> None:
    """A VMM that writes 0 to a register it hides: stored up to 6.12, ignored from 6.13 on (a5d563890b8f)."""
    host = archcaps.host(cpu="6/0x6a/6", flags=FLAGS + ",avx", arch_capabilities=0x6A1EB, kernel="6.12.117")
    hidden = replace(
        archcaps.guest(cpu="6/0x55/4", flags=FLAGS, kernel="6.12.117"),
        registers={"ia32_arch_capabilities": Reading(value=0)},
    )
    assert archcaps.check(host, hidden).disable_fb_clear is True
    newer = replace(host, kernel=replace(host.kernel, release="6.13.2"))
    assert archcaps.check(newer, hidden).disable_fb_clear is False


@pytest.mark.parametrize(
    ("microcode", "verdict"), [("0x0a0011d7", "truthful safe"), ("0x0a0011d6", "truthful exposed")]
)
def test_microcode_decides_whether_verw_works_against_tsa(microcode: str, verdict: str) -> None:
    flags = "verw_clear" if verdict == "truthful safe" else "avx"
    host = archcaps.host(cpu="amd:0x19/1/1", flags="avx", kernel="7.1.5", microcode=microcode)
    guest = archcaps.guest(cpu="amd:0x19/1/1", flags=flags, arch_capabilities="none", kernel="6.12.117")
    tsa = archcaps.check(host, guest)["tsa"]
    assert f"{tsa.truth} {tsa.safety}" == verdict
    assert tsa.responsible.value == ("nobody" if verdict == "truthful safe" else "microcode")


def test_nothing_known_is_undecided_everywhere() -> None:
    empty = Snapshot(format_version=1, role="host")
    result = archcaps.check(
        empty, Snapshot(format_version=1, role="guest", cpuid=Cpuid(complete=False), kernel=Kernel())
    )
    assert result.exit_code == 3
    assert all(verdict.undecided for verdict in result.vulnerabilities)
    assert all(
        "safe" in verdict.safety.possible and "exposed" in verdict.safety.possible for verdict in result.vulnerabilities
    )


def test_every_example_follows_the_committed_schema() -> None:
    schema = json.loads((ROOT / "schemas" / "snapshot-1.json").read_text(encoding="utf-8"))
    paths = sorted(EXAMPLES.rglob("*.toml"))
    assert len(paths) > 10
    for path in paths:
        jsonschema.validate(tomllib.loads(path.read_text(encoding="utf-8")), schema)


def test_what_the_known_facts_rule_out_is_not_named_as_possible() -> None:
    guest = archcaps.guest(cpu="6/0x55/4", flags="hypervisor", arch_capabilities=0, kernel="6.12.117")
    mds = archcaps.check(archcaps.host(), guest)["mds"]
    assert mds.claim.possible == ["no-microcode"]
    assert set(mds.truth.possible) == {"truthful", "false-alarm"}  # VERW runs: nothing is withheld
    assert mds.concludes.decided


def test_a_value_without_a_source_is_from_the_snapshot() -> None:
    bare = archcaps.parse_snapshot(b'format_version = 1\nrole = "guest"\n[cpuid]\nshown = ["md_clear"]\n', "x")
    item = next(each for each in archcaps.check(HOST, bare)["mds"].decided_by if each.name == "guest.md_clear")
    assert item.source == "the guest's snapshot"


def test_where_several_are_responsible_each_is_named_with_what_for() -> None:
    def said(folder: str, host: str) -> str:
        machines = [archcaps.read_snapshot(EXAMPLES / folder / f"{name}.toml") for name in (host, "guest")]
        return archcaps.check(machines[0], machines[1]).headline

    updated = "Responsible: userspace (mds), userspace or KVM or guest kernel (mmio_stale_data)."
    assert updated in said("md-clear-hidden", "host-updated")
    later = "Responsible: userspace (mds), KVM (mmio_stale_data from the host)."
    assert later in said("verw-after-fb-clear-dis", "host-7.2")
    assert "Responsible: userspace." in said("thread", "host")
