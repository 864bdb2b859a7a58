"""Machine types of distributions: what depends on their version is said where the version is known, else unknown.

Expected: Ubuntu's qemu 1:8.2.2+ds-0ubuntu1.18 and 1:10.2.1+ds-1ubuntu3, debian/patches/ubuntu (machine types, LP:
#2131822); QEMU's x-arch-cap-always-on, true on pc machine types up to 10.0, decides on ARCH_CAPABILITIES of AMD guests.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from archcaps.tables.qemu import machine_type
from tests.cli.running import archcaps

AMD = "examples/arch-capabilities-on-amd/host-6.14.toml"
ROME = "-cpu EPYC-Rome,arch-capabilities=on,rdctl-no=on,mds-no=on"


def shown(machine: str, release: str = "10.1.2", cpu: str = ROME, host: str = AMD) -> dict[str, Any]:
    line = f"qemu-system-x86_64 -machine {machine},accel=kvm {cpu}"
    result = archcaps("shown", "--guest", line, "--vmm-version", release, "--host", host, "--json")
    assert result.stderr == ""
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


@pytest.mark.parametrize(
    ("machine", "visible"),
    [
        ("pc-q35-8.2", True),
        ("pc-q35-noble", True),
        ("pc-i440fx-jammy", True),
        ("pc-i440fx-jammy-hpb", True),
        ("pc-i440fx-questing", True),  # made of 10.0; the q35 type of the same name of 10.1
        ("pc-q35-questing", False),
        ("pc-q35-resolute", False),
        ("pc-q35-noble-v2", False),  # made for just that
        ("pc-q35-9.0+pve1", True),
        ("pc-i440fx-10.1+pve0", False),
        ("pc-q35-rhel9.4.0", None),
        ("pc-i440fx-rhel7.6.0", None),
        ("pc-q35-vz9.0", None),
        ("pc-q35-xyzzy", None),
    ],
)
def test_arch_capabilities_of_an_amd_guest(machine: str, visible: bool | None) -> None:
    answer = shown(machine)
    assert answer["arch_capabilities_visible"] is visible
    if visible is None:
        assert answer["exit_code"] == 3
        assert any("not in archcaps' tables" in text for text in answer["assumptions"])
    else:
        assert not any("not in archcaps' tables" in text for text in answer["assumptions"])


def test_the_type_that_hides_it_does_so_in_the_release_that_it_came_with() -> None:
    assert shown("pc-q35-noble-v2", "8.2.2")["arch_capabilities_visible"] is False
    assert shown("pc-q35-noble", "8.2.2")["arch_capabilities_visible"] is True


def test_a_release_without_the_rule_needs_no_machine_type() -> None:
    assert shown("pc-q35-rhel9.4.0", "8.2.0")["arch_capabilities_visible"] is True


def test_what_old_types_change_in_a_model_is_unknown_on_a_type_of_unknown_version() -> None:
    """QEMU gives Skylake-Server MPX on pc types up to 3.1, and qemu64 another model number up to 6.0."""
    old, new = (shown(f"pc-q35-{version}", cpu="-cpu qemu64") for version in ("6.0", "6.1"))
    assert (old["cpu_model"], new["cpu_model"]) == (6, 107)
    unknown = shown("pc-q35-rhel8.6.0", cpu="-cpu qemu64")
    assert (unknown["family"], unknown["cpu_model"], unknown["stepping"]) == (None, None, None)
    own = shown("pc-q35-rhel8.6.0", cpu="-cpu qemu64,family=6,model=13,stepping=1")
    assert (own["family"], own["cpu_model"], own["stepping"]) == (6, 13, 1)


def test_the_tables_versions() -> None:
    versions = {name: machine_type(name).version for name in ("pc-q35-focal", "pc-i440fx-focal", "pc-q35-9.2+pve1")}
    assert versions == {"pc-q35-focal": (4, 2), "pc-i440fx-focal": (4, 0), "pc-q35-9.2+pve1": (9, 2)}
