"""Verdicts that were wrong or that disagreed with themselves, by public commands and functions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

import archcaps
from archcaps.machine.snapshot import Cpuid
from tests.cli.running import archcaps as command

DATA = Path(__file__).parent / "data" / "verdicts"
EIBRS = "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional; PBRSB-eIBRS: SW sequence"


@pytest.mark.parametrize(
    ("part", "flags", "truth", "safety"),
    [
        ("6/0x8f/8", "bhi_ctrl,rrsba_ctrl", "broken-promise", "exposed"),  # Sapphire Rapids
        ("6/0x6a/6", "", "truthful", "safe"),  # Ice Lake: before Alder Lake
    ],
)
def test_a_loop_against_bhi_is_too_short_from_alder_lake_on(part: str, flags: str, truth: str, safety: str) -> None:
    """Pawan Gupta (Intel), linux-kernel, December 2025: it does not clear enough entries on Alder Lake and newer."""
    shown = "arch_capabilities,spec_ctrl,intel_stibp,ssbd,md_clear,avx,avx2"
    host = archcaps.host(cpu=part, flags=f"{shown},vmx,{flags}".rstrip(","), arch_capabilities="0x6b", kernel="7.2.13")
    guest = archcaps.guest(cpu=part, flags=shown, arch_capabilities="0x6b", kernel="7.2.13", cmdline="")
    text = f"{EIBRS}; BHI: SW loop, KVM: SW loop"
    seen = replace(guest, vulnerabilities={"spectre_v2": text})
    result = archcaps.check(host, seen, ["default-options"], further=True)
    bhi = next(each for each in result.further if each.subject == "bhi")
    assert (bhi.truth.value, bhi.safety.value) == (truth, safety)


def test_a_claim_is_narrowed_by_the_texts_and_true_or_unsaid_is_no_question() -> None:
    """The host is immune to RFDS and TSA, the guest's kernel has the file or has not: either way nothing is wrong."""
    host, guest = DATA / "cascade-lake.json", DATA / "no-point-release.json"
    done = command("check", "--host", str(host), "--guest", str(guest), "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 1  # one vulnerability is withheld
    for verdict in answer["vulnerabilities"]:
        if verdict["vulnerability"] in ("reg_file_data_sampling", "tsa"):
            assert set(verdict["claim"]["possible"]) == {"none", "not-affected"}
            assert set(verdict["truth"]["possible"]) == {"truthful", "unsaid"}
            assert verdict["missing"] == {}
    assert answer["headline"].startswith("NOT TOLD THE TRUTH, but nothing leaks (mmio_stale_data).")


def test_fix_does_not_advise_what_only_makes_a_fact_known() -> None:
    """The guest with and without the point release in its kernel's name gets the same advice: show FB_CLEAR."""
    for guest in ("no-point-release.json", "with-point-release.json"):
        done = command("fix", "--host", str(DATA / "cascade-lake.json"), "--guest", str(DATA / guest), "--json")
        (answer,) = json.loads(done.stdout)["answers"]
        assert [step["what"] for step in answer["cures"][0]["steps"]] == ["show fb_clear (MSR 0x10a bit 17)"]


def test_fix_without_a_host_asks_for_one() -> None:
    done = command("fix", "--guest", str(DATA / "no-point-release.json"))
    assert (done.returncode, done.stdout) == (64, "")
    assert "name it too (--host FILE" in done.stderr


def test_documents_settle_what_amd_hardware_has_not() -> None:
    """TAA affects Intel's parts with TSX (tsx_async_abort.rst); AMD has no MSR 0x10a (QEMU d3a24134e37d)."""
    host = archcaps.host(cpu="26/2/1", kernel="6.12.117")
    host = replace(host, cpuid=Cpuid(hidden=["hypervisor"], complete=False), registers={})
    guest = archcaps.guest(cpu="26/2/1", flags="avx", arch_capabilities="none", kernel="6.12.117")
    result = archcaps.check(host, guest)
    for name in ("tsx_async_abort", "reg_file_data_sampling"):
        assert (result[name].truth.value, result[name].safety.value) == ("truthful", "safe")
    sources = {item.source for item in result["tsx_async_abort"].decided_by}
    assert any(source.startswith("axiom amd_no_tsx") for source in sources)


@pytest.mark.parametrize("nests", [False, True])
def test_the_host_border_of_a_guest_that_may_run_guests_is_not_known_to_hold(nests: bool) -> None:
    """From 6.17 on KVM keeps mapped host MMIO for each page-table root (spte.c); before, for the whole VM."""
    folder = Path(__file__).parents[2] / "examples" / "mmio-without-counted-device"
    host = archcaps.read_snapshot(next(iter(sorted(folder.glob("host*.toml")))))
    guest = archcaps.read_snapshot(folder / "guest.toml")
    assert guest.vm.has_mapped_host_mmio
    host = replace(host, kernel=replace(host.kernel, release="6.18.2"))
    host = replace(host, kvm=replace(host.kvm, parameters={"ept": "Y", "vmentry_l1d_flush": "auto"}))
    assert guest.cpuid is not None
    shown = [*guest.cpuid.shown, *(["vmx"] if nests else [])]
    guest = replace(guest, cpuid=replace(guest.cpuid, shown=shown))
    assert archcaps.check(host, guest)["mmio_stale_data"].host_safety.value == (None if nests else "safe")


def test_a_desktop_part_without_hybrid_has_no_atom_core() -> None:
    """Linux 7.2.13 vulnerable_to_rfds: 0x97 and 0xb7 have Atom cores where HYBRID_CPU is shown."""
    for flags, affected in (("", False), ("hybrid,", True)):
        host = archcaps.host(cpu="6/0x97/2", flags=f"{flags}avx,vmx", arch_capabilities="0x6b", kernel="7.2.13")
        guest = archcaps.guest(cpu="6/0x97/2", flags="avx", arch_capabilities="0x6b", kernel="7.2.13")
        assert archcaps.check(host, guest)["reg_file_data_sampling"].affected is affected


@pytest.mark.parametrize("value", ["0xffffffffffffffff", "18446744073709551615"])
def test_a_register_of_ones_is_refused(tmp_path: Path, value: str) -> None:
    machine = tmp_path / "host.json"
    registers = {"ia32_arch_capabilities": {"value": value}}
    machine.write_text(json.dumps({"format_version": 1, "role": "host", "registers": registers}))
    done = command("check", "--host", str(machine), "--guest", "default")
    assert done.returncode == 65
    assert "all ones" in done.stderr


@pytest.mark.parametrize(
    ("field", "value"),
    [("microcode", 1 << 40), ("stepping", 99), ("model", 0x1FF), ("family", 1 << 10), ("platform_id", 9)],
)
def test_a_number_that_no_cpu_has_is_refused(tmp_path: Path, field: str, value: int) -> None:
    machine = tmp_path / "host.json"
    machine.write_text(json.dumps({"format_version": 1, "role": "host", "cpu": {field: value}}))
    done = command("check", "--host", str(machine), "--guest", "default")
    assert done.returncode == 65
    assert f"cpu.{field}: {value} does not fit" in done.stderr


def test_microcode_of_another_part_says_nothing_of_tsa() -> None:
    """A revision names its part in its upper bytes: 0x0a1011 is Genoa's, 0x0a0011 Milan's (Linux amd.c)."""
    folder = Path(__file__).parents[2] / "examples" / "tsa-no-always"
    host, guest = (archcaps.read_snapshot(folder / f"{role}.toml") for role in ("host", "guest"))
    other = replace(host, cpu=replace(host.cpu, microcode="0x0a1011de"))
    assert archcaps.check(host, guest)["tsa"].verw_works is True
    assert archcaps.check(other, guest)["tsa"].verw_works is None
