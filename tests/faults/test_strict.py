"""--strict supposes nothing: it never answers more sharply than with assumptions, and the assumed lies in the exact."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import archcaps
from archcaps.questions.predict_case import Case
from archcaps.questions.predict_linux import predict_linux
from archcaps.questions.results import CheckResult
from tests.cli.running import archcaps as run
from tests.cli.running import assert_refused

RELEASES = st.sampled_from(
    (
        "5.4.4000", "5.10.4000", "6.1.4000", "6.12.4000", "6.18.4000", "7.2.4000", "7.3.4000", "8.0", "6.12.117",
        "6.1.0-54-amd64", "6.8.0-117-generic", "6.8.12-43-pve", "6.12.57+deb13-amd64", "6.12.57-acme1",
        "6.18.30-61.116.amzn2023.x86_64", "6.18.4000-1.amzn2023.x86_64", "6.7.11-200.fc39.x86_64",
    )
)  # fmt: skip
CPUS = st.sampled_from(
    (("GenuineIntel", 6, 0x55, 4), ("GenuineIntel", 6, 0x6A, 6), ("GenuineIntel", 6, 0x97, 2),
     ("AuthenticAMD", 0x19, 1, 1), ("AuthenticAMD", 0x17, 0x31, 0))
)  # fmt: skip
BITS = st.lists(
    st.sampled_from(("md_clear", "rtm", "avx", "spec_ctrl", "ssbd", "flush_l1d", "arch_capabilities", "verw_clear",
                     "amd_ibpb", "amd_stibp", "auto_ibrs", "vmx")), unique=True,
)  # fmt: skip
EXAMPLES = max(settings().max_examples // 4, 20)
FIELDS = ("concludes", "claim", "truth", "safety", "responsible", "host_safety")


def possible(vuln: dict[str, Any], file: str) -> set[str | None]:
    found = vuln.get(file)
    return set(found) if isinstance(found, list) else {found}


@settings(max_examples=EXAMPLES)
@given(RELEASES, CPUS, BITS, st.sampled_from((None, 0, 0x2B, 0x6E120)), st.booleans())
def test_property_what_is_assumed_lies_within_what_is_possible(
    release: str, cpu: tuple[str, int, int, int], bits: list[str], caps: int | None, guest: bool
) -> None:
    vendor, family, model, stepping = cpu
    case = Case(
        kernel=release, vendor=vendor, family=family, model=model, stepping=stepping, hypervisor=guest, bits=bits,
        arch_caps=caps, cmdline="", config="upstream-defaults", smp=1,
    )  # fmt: skip
    answer, strict = predict_linux([case])[0], predict_linux([case], strict=True)[0]
    assert (answer.vuln, answer.bugs, answer.verw) == (strict.vuln, strict.bugs, strict.verw)
    assert strict.assumed is None
    if answer.assumed is None:
        return
    for file in {*answer.vuln, *answer.assumed.vuln}:
        assert possible(answer.assumed.vuln, file) <= possible(answer.vuln, file), file
    assert set(answer.bugs) <= set(answer.assumed.bugs)
    assert set(answer.assumed.bugs) <= {*answer.bugs, *answer.bugs_possible}


def widths(result: CheckResult) -> dict[tuple[str, str], set[str]]:
    return {
        (verdict.vulnerability, field): set(getattr(verdict, field).possible)
        for verdict in result.vulnerabilities
        for field in FIELDS
    }


@settings(max_examples=EXAMPLES)
@given(RELEASES, RELEASES, st.sampled_from(("6/0x55/4", "6/0x6a/6", "amd:0x19/1/1")), BITS, BITS)
def test_property_strict_never_answers_more_sharply(
    host_kernel: str, guest_kernel: str, cpu: str, host_bits: list[str], guest_bits: list[str]
) -> None:
    host = archcaps.host(cpu, ",".join(host_bits), kernel=host_kernel)
    guest = archcaps.guest(cpu, ",".join(guest_bits), kernel=guest_kernel)
    loose, strict = widths(archcaps.check(host, guest)), widths(archcaps.check(host, guest, strict=True))
    for asked, found in loose.items():
        assert found <= strict[asked], asked


def test_strict_leaves_every_assumption_out() -> None:
    """No MMIO, no options, no RAM above half, no release: all that `check` supposes of a machine given by options."""
    values = {"cpu": "6/0x6a/6", "flags": "md_clear,avx,arch_capabilities", "arch_capabilities": "0x2b"}
    host, guest = archcaps.host(**values, kernel="6.12.4000"), archcaps.guest(**values, kernel="6.12.4000")
    result = archcaps.check(host, guest, strict=True)
    assumed = [item.name for verdict in result.vulnerabilities for item in verdict.decided_by
               if item.provenance == "assumed"]  # fmt: skip
    assert set(assumed) <= {"guest_kernel.xen_pv"}  # what a guest of KVM is by definition
    missing = set().union(*(verdict.missing for verdict in result.vulnerabilities))
    assert "assume.user_mmio" in missing or "vm.has_mapped_host_mmio" in missing


@pytest.mark.parametrize("command", ["check", "trace", "fix", "shown"])
def test_nothing_and_something_can_not_be_supposed_together(command: str) -> None:
    result = run(command, "--host", "examples/thread/host.toml", "--guest", "examples/thread/guest.toml", "--strict",
                 "--assume", "user-mmio")  # fmt: skip
    assert_refused(result, 64, "--strict supposes nothing: --assume cannot be given with it")


def test_migrate_takes_strict() -> None:
    folder = "examples/upgrade-across-6.13"
    options = ("--from", f"{folder}/host-6.12.toml", "--to", f"{folder}/host-6.13.toml", "--guest",
               f"{folder}/guest.toml", "--json")  # fmt: skip
    loose, strict = json.loads(run("migrate", *options).stdout), json.loads(run("migrate", *options, "--strict").stdout)
    assert "no-user-mmio" in {each["name"] for each in loose["assumptions"]}
    assert {each["name"] for each in strict["assumptions"]} == {""}
