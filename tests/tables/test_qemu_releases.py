"""QEMU's releases against what their changelogs, commits and binaries say, and what is between two readings."""

from __future__ import annotations

import pytest

from archcaps.errors import InputError
from archcaps.tables.qemu_releases import QemuRelease, always_shows_arch_capabilities, knows_name, qemu_does


def release(text: str) -> QemuRelease:
    return QemuRelease.parse(text, "--to-vmm-version")


@pytest.mark.parametrize(
    ("name", "version", "does"),
    [
        ("fb_clear_by_five_no", "9.0.2", False),
        ("fb_clear_by_five_no", "10.1.1", False),
        ("fb_clear_by_five_no", "10.1.2", True),
        ("fb_clear_by_five_no", "10.2", True),
        ("fb_clear_by_five_no", "11.1.3", True),
        ("fb_clear_by_five_no", "10.0.7", None),  # a stable line after the fix: nobody looked
        ("fb_clear_by_five_no", "12.0", None),  # newer than any that was read
        ("hides_where_host_lacks", "10.0.2", False),
        ("hides_where_host_lacks", "10.0.3", True),
        ("hides_where_host_lacks", "10.1.0", True),
        ("hides_where_host_lacks", "10.1.1", False),
        ("hides_from_amd", "10.1.0", False),
        ("hides_from_amd", "10.1.1", True),
    ],
)
def test_what_a_release_does(name: str, version: str, does: bool | None) -> None:
    assert qemu_does(name, release(version)) is does
    assert qemu_does(name, None) is None


def test_an_unknown_behaviour_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        qemu_does("banana", release("10.1"))


def test_a_name_between_two_readings_is_unknown() -> None:
    assert [knows_name("fb_clear", release(text)) for text in ("8.0.5", "8.1.0")] == [False, True]
    assert [knows_name("its_no", release(text)) for text in ("7.2.22", "10.0.0", "11.1.3")] == [False, None, True]
    assert knows_name("rrsba", release("11.1.3")) is False
    assert knows_name("fb_clear", None) is None


@pytest.mark.parametrize(
    ("machine", "shows"),
    [
        ("pc-q35-10.0", True), ("pc-i440fx-9.2", True), ("pc-q35-10.1", False), ("microvm", False), ("q35", None),
        ("pc-q35-noble", None), (None, None),
    ],
)  # fmt: skip
def test_which_machine_types_show_the_register_on_amd(machine: str | None, shows: bool | None) -> None:
    assert always_shows_arch_capabilities(machine) is shows


@pytest.mark.parametrize("text", ["", "banana", "10", "10.1.2.3.4", "99999.1", "-1.2"])
def test_what_is_no_version_is_one_clear_line(text: str) -> None:
    with pytest.raises(InputError, match=r"--to-vmm-version: .* is not a QEMU version"):
        release(text)


def test_a_distributions_version_is_read_and_known_as_patched() -> None:
    found = release("8.2.2 (Debian 1:8.2.2+ds-0ubuntu1.4)")
    assert (str(found.version), found.patched) == ("8.2.2", True)
    assert release("10.1.2").patched is False
