"""Kernel releases and behaviours: what was read, what follows, and where nobody looked."""

from __future__ import annotations

import pytest

from archcaps.tables.kernels import BEHAVIOURS, Release, behaviour, readings_of
from archcaps.tables.linux_lists import Part, list_flag

#: The behaviours that are files below /sys/devices/system/cpu/vulnerabilities.
FILES = frozenset(
    ("has_earliest_files", "has_mds", "has_taa", "has_srbds", "has_mmio_stale_data", "has_retbleed", "has_gds",
     "has_srso", "has_rfds", "has_its", "has_tsa", "has_vmscape", "has_old_microcode", "has_ghostwrite")
)  # fmt: skip
ALDER_LAKE = Part("GenuineIntel", 6, 0x97, 2, hybrid=False, core_type=0x40)


@pytest.mark.parametrize(
    ("name", "release", "value"),
    [
        # FB_CLEAR_DIS: 5.19-rc3 and the stable kernels of June 2022 (027bbb884be0)
        ("toggles_fb_clear", "5.17-rc5", False),
        ("toggles_fb_clear", "5.18", None),
        ("toggles_fb_clear", "5.19.0", True),
        ("toggles_fb_clear", "5.10.122", False),
        ("toggles_fb_clear", "5.10.123", True),
        ("toggles_fb_clear", "6.7.3", True),
        # FLUSH_L1D: 6.4 (da3db168fb67), never in 6.1
        ("offers_flush_l1d", "6.3.8", False),
        ("offers_flush_l1d", "6.4.4", True),
        ("offers_flush_l1d", "6.1.172", False),
        ("offers_flush_l1d", "6.6.80", True),
        # RFDS bits: 6.9, and 6.1.82 among the stable ones
        ("offers_rfds_bits", "6.8.0", False),
        ("offers_rfds_bits", "6.8.5", None),
        ("offers_rfds_bits", "6.9.0", True),
        ("offers_rfds_bits", "6.1.81", False),
        ("offers_rfds_bits", "6.1.82", True),
        # TSA: the defect of 6.16 to 6.19, cured in 7.0-rc3 (4b3b8a8b0df1)
        ("offers_tsa_no_always", "6.17.4", True),
        ("offers_tsa_no_always", "6.18.30", True),
        ("offers_tsa_no_always", "7.0-rc2", True),
        ("offers_tsa_no_always", "7.1.3", False),
        ("offers_tsa_no_always", "6.1.170", False),
        # f3f9deccfc68: 6.1.153 and 6.12.39
        ("offers_synthesised_tsa_bits", "6.1.152", False),
        ("offers_synthesised_tsa_bits", "6.1.153", True),
        ("offers_synthesised_tsa_bits", "6.12.38", False),
        ("offers_synthesised_tsa_bits", "6.12.39", True),
        # Linux
        ("has_mmio_unknown", "6.14.0", True),
        ("has_mmio_unknown", "6.15.2", None),
        ("has_mmio_unknown", "6.16.1", False),
        ("attack_vectors", "6.16.1", False),
        ("attack_vectors", "6.17.0", True),
        ("asks_tsa_fill_no", "6.12.116", False),
        ("asks_tsa_fill_no", "6.12.117", True),
        ("asks_tsa_fill_no", "7.2.13", False),
        ("asks_tsa_fill_no", "7.3.4", True),
    ],
)
def test_behaviours_of_releases(name: str, release: str, value: bool | None) -> None:
    assert behaviour(name, Release.parse(release)).value is value


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_release_newer_than_all_readings_is_unknown_but_for_what_none_lost(name: str) -> None:
    """A file that some kernel had, every later one of its line has: it is part of the kernel's interface."""
    for release, before in (("6.1.9999", "6.1.192"), ("99.0", "7.3.4")):
        finding = behaviour(name, Release.parse(release))
        if name in FILES:
            assert finding.value is (True if behaviour(name, Release.parse(before)).value else None)
        else:
            assert finding.value is None
            assert "newer" in finding.source


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_release_that_hides_its_point_release_has_only_what_nothing_later_changed(name: str) -> None:
    """What was read of x.y.0 and of all that came later, in upstream or back in an older line, is one and the same."""
    for text in ("6.1.0-49-amd64", "5.15.0-105-generic", "5.14.0-427.el9.x86_64"):
        release = Release.parse(text)
        finding = behaviour(name, release)
        if finding.value is None:
            assert "point release" in finding.source
        elif name not in FILES:
            later = [value for read, (value, _) in readings_of(name).items()
                     if Release.parse(read).version >= release.version]  # fmt: skip
            assert set(later) == {finding.value}


@pytest.mark.parametrize(
    ("text", "version", "suffix"),
    [
        ("6.12.117", "6.12.117", ""),
        ("6.1", "6.1.0", ""),
        ("6.8-rc7", "6.8.0rc7", ""),
        ("6.4.0-rc3", "6.4.0rc3", ""),
        ("6.18.30-61.116.amzn2023.x86_64", "6.18.30", "61.116.amzn2023.x86_64"),
        ("6.6.87.2-microsoft-standard", "6.6.87", "2-microsoft-standard"),
    ],
)
def test_release_names(text: str, version: str, suffix: str) -> None:
    release = Release.parse(text)
    assert (str(release.version), release.suffix) == (version, suffix)


@pytest.mark.parametrize("text", ["", "linux", "6", "6.x", "v6.1", "6.1\n7.1"])
def test_what_is_no_release(text: str) -> None:
    with pytest.raises(ValueError, match="kernel release"):
        Release.parse(text)


def test_a_finding_names_its_source() -> None:
    assert behaviour("toggles_fb_clear", Release.parse("6.12.117")).source == (
        "Linux 6.12.117 arch/x86/kvm and arch/x86/kernel/cpu"
    )


@pytest.mark.parametrize(
    ("name", "flag", "part", "release", "value"),
    [
        ("blacklist", "RFDS", ALDER_LAKE, "6.1.192", True),
        ("blacklist", "RFDS", ALDER_LAKE, "7.1.5", False),  # asks for an Atom core there
        ("blacklist", "RFDS", ALDER_LAKE, "6.10", None),  # the lists around it disagree
        ("blacklist", "MMIO", Part("GenuineIntel", 6, 0x55, None), "6.12.117", True),  # whatever the stepping
        ("blacklist", "ITS", Part("GenuineIntel", 6, 0x55, None), "6.12.117", None),  # the stepping decides
        ("blacklist", "ITS", Part("GenuineIntel", 6, 0x55, 4), "6.12.117", False),
        ("blacklist", "ITS", Part("GenuineIntel", 6, 0x55, 7), "6.12.117", True),
        ("blacklist", "TSA", Part("AuthenticAMD", 0x1A, 2, 1), "6.12.117", True),
        ("blacklist", "TSA", Part("AuthenticAMD", 0x1A, 2, 1), "6.12.43", False),  # Zen 5 came in 6.12.117
        ("blacklist", "TSA", Part("AuthenticAMD", 0x19, 1, 1), "6.12.43", True),
        ("blacklist", "TSA", Part("AuthenticAMD", 0x1A, 2, 1), "7.1.5", False),
        ("whitelist", "NO_MDS", Part("AuthenticAMD", 0x17, 0x31, 0), "6.4.2", True),  # the same in every list
        ("whitelist", "NO_MDS", Part("GenuineIntel", 6, 0x5C, 9), "6.1.192", True),
        ("whitelist", "NO_MDS", Part(None, None, None, None), "6.1.192", None),
        ("blacklist", "MMIO", Part("GenuineIntel", 6, 0x6A, 6), "99.1", None),
    ],
)
def test_rows_of_linux_s_lists(name: str, flag: str, part: Part, release: str, value: bool | None) -> None:
    assert list_flag(name, flag, part, Release.parse(release)).value is value
