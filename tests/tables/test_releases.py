"""Releases as distributions name them, by examples of uname -r."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcaps.tables.releases import Distribution, Release, Tells, distributions


@pytest.mark.parametrize("item", distributions(), ids=lambda item: item.name)
def test_every_example_is_found_as_its_distribution_s(item: Distribution) -> None:
    assert item.examples
    for text in item.examples:
        release = Release.parse(text)
        assert release.distribution is not None
        assert release.distribution.name == item.name
        assert release.hides_point_release is (item.version is not Tells.POINT_RELEASE)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("6.1.0-49-amd64", "Debian"),
        ("6.12.117+deb13-cloud-amd64", "Debian"),
        ("5.15.0-105-generic", "Ubuntu"),
        ("6.8.0-1015-aws", "Ubuntu"),
        ("5.15.0-1064-azure", "Ubuntu"),
        ("5.14.0-427.el9.x86_64", "Red Hat Enterprise Linux or one of its rebuilds"),
        ("5.15.0-300.163.18.el8uek.x86_64", "Oracle Linux UEK"),
        ("6.4.0-150600.23.25-default", "SUSE Linux Enterprise or openSUSE Leap"),
        ("6.17.4-1-default", "openSUSE Tumbleweed"),
        ("5.10.255-250.1000.amzn2.x86_64", "Amazon Linux"),
        ("6.17.4-200.fc42.x86_64", "Fedora"),
        ("6.8.12-4-pve", "Proxmox VE"),
        ("5.15.167.4-microsoft-standard-WSL2", "Microsoft WSL2"),
        ("6.17.4-arch1-1", "Arch Linux"),
        ("6.1.102-cip29-rt16", "Civil Infrastructure Platform"),
        ("6.1.112+", "Google Container-Optimized OS or a tree with local changes"),
        ("6.12.117", None),
        ("6.8-rc7", None),
        ("6.12.80-acme1", None),
    ],
)
def test_whose_kernel_it_is(text: str, name: str | None) -> None:
    found = Release.parse(text).distribution
    assert (found.name if found else None) == name


def test_every_distribution_has_a_source_and_where_its_point_release_is() -> None:
    for item in distributions():
        assert item.source
        assert item.meaning
        assert (item.version is Tells.HIDDEN) == (item.point_release is not None) == bool(item.observation)


@pytest.mark.parametrize(
    "text",
    ["6.99999999999.1", "6.1.99999", "6.1.2.3.4", "\u0666.\u0661", "6.1-\x1b[31mred", "6.1-two words", "x" * 10_000,
     "6.1-" + "x" * 61, "6.", "6.1."],
)  # fmt: skip
def test_what_no_kernel_calls_itself(text: str) -> None:
    with pytest.raises(ValueError, match="kernel release") as error:
        Release.parse(text)
    assert len(str(error.value)) < 200


@given(st.text(max_size=80))
def test_any_text_is_a_release_or_refused(text: str) -> None:
    try:
        release = Release.parse(text)
    except ValueError:
        return
    assert release.text == text.strip()
    assert release.hides_point_release in (True, False)
    assert Release.parse(release.text) == release
