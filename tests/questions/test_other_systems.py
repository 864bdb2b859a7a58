"""Guests that are not Linux: named, with what is known of them, and nothing guessed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

import archcaps
from archcaps.machine.snapshot import Cpuid, Kernel, Snapshot
from tests.scenarios.running import machine


def guest(system: str) -> Snapshot:
    shown = ["hypervisor", "md_clear", "flush_l1d", "arch_capabilities", "avx"]
    kernel = Kernel(system=system, release="14.2-RELEASE")  # type: ignore[arg-type]  # one of the four
    base = archcaps.guest(cpu="6/0x55/4", arch_capabilities=0, flags="md_clear")
    return replace(base, cpuid=Cpuid(shown=shown), kernel=kernel)


def an_mds_host() -> Snapshot:
    return archcaps.host(
        cpu="6/0x55/4", arch_capabilities=0, flags="md_clear,flush_l1d,arch_capabilities,avx", kernel="6.12.117"
    )


@pytest.mark.parametrize(
    ("system", "name", "look"),
    [
        ("freebsd", "FreeBSD", "hw.mds_disable"),
        ("windows", "Windows", "SpeculationControl"),
        ("xen", "Xen", "xl dmesg"),
    ],
)
def test_nothing_of_linux_is_said_of_another_system(system: str, name: str, look: str) -> None:
    result = archcaps.check(an_mds_host(), guest(system))
    mds = result["mds"]
    assert (mds.truth.value, mds.claim.value, str(mds.concludes)) == ("unsaid", "none", "no such file")
    assert mds.runs_verw is None
    assert mds.affected is True
    assert mds.safety.value is None  # whether it clears its buffers, nobody knows
    assert result.exit_code == 3
    assert result.further == []
    notice = next(each for each in result.notices if each.kind == "other-system")
    assert notice.text.startswith(f"the guest runs {name}, whose rules archcaps has not")
    assert look in notice.text


def test_on_immune_silicon_any_guest_is_safe() -> None:
    result = archcaps.check(machine("fb-clear-not-shown", "host"), guest("freebsd"))
    assert {each.safety.value for each in result.vulnerabilities} == {"safe"}
    assert result.headline.startswith("NOTHING IS SAID, AND IT IS SAFE. Assumed for that: ")
    assert result.guest_system == "FreeBSD"
