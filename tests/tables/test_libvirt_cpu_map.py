"""libvirt's models and features: wholly as the installed libvirt has them, and unknown between releases not read."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from archcaps.tables.libvirt_cpu_map import (
    NEVER_PASSED_ON,
    QEMU_NAMES,
    RELEASES,
    cpu_map,
    knows_feature,
    model_has,
    models_named,
    speaking_for,
    version,
)

INSTALLED = Path("/usr/share/libvirt/cpu_map")


def installed_release() -> str:
    """The release of the installed libvirt; a test that needs it is left out where there is none."""
    try:
        found = subprocess.run(["virsh", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        found = ""
    if found.strip() not in RELEASES or not INSTALLED.is_dir():
        if os.environ.get("CI"):
            pytest.fail("no libvirt of a release that was read; tools/debian/install.sh installs it")
        pytest.skip("no libvirt of a release that was read; tools/debian/install.sh installs it")
    return found.strip()


def test_every_feature_is_the_installed_libvirts() -> None:
    release = installed_release()
    theirs = {}
    for feature in ElementTree.parse(INSTALLED / "x86_features.xml").getroot().findall("feature"):
        (place,) = [child for child in feature if child.tag in ("cpuid", "msr")]
        values = {key: int(value, 0) for key, value in place.attrib.items()}
        where = values.pop("index", None), values.pop("eax_in", None), values.pop("ecx_in", None)
        theirs[feature.attrib["name"]] = (where, {key: value for key, value in values.items() if value})
    ours: dict[str, object] = {}
    for name, found in cpu_map(release).features.items():
        if found.kind == "msr":
            halves = {"eax": found.mask & 0xFFFFFFFF, "edx": found.mask >> 32}
            ours[name] = ((found.address, None, None), {key: value for key, value in halves.items() if value})
        else:
            ours[name] = ((None, found.address, found.subleaf), {found.output: found.mask})
    assert ours == theirs


def test_every_model_is_the_installed_libvirts() -> None:
    release = installed_release()
    index = ElementTree.parse(INSTALLED / "index.xml").getroot()
    files = [include.attrib["filename"] for include in index.findall("arch[@name='x86']//include")]
    names = set()
    for file in files:
        for element in ElementTree.parse(INSTALLED / file).getroot().findall("model"):
            name = element.attrib["name"]
            names.add(name)
            ours = cpu_map(release).models[name]
            features = element.findall("feature")
            there = {feature.attrib["name"] for feature in features if feature.get("removed") != "yes"}
            assert {feature.attrib["name"] for feature in features if feature.get("removed") == "yes"} == ours.removed
            assert {feature.attrib["name"] for feature in features if feature.get("added") == "yes"} == ours.added
            if element.find("model") is None:
                assert there == ours.features, name
                assert element.findtext("vendor", "") == ""
                vendor = element.find("vendor")
                assert ours.vendor == ("" if vendor is None else vendor.attrib["name"])
                signatures = [
                    "/".join(each.attrib[key] for key in ("family", "model", "stepping") if key in each.attrib)
                    for each in element.findall("signature")
                ]
                assert list(ours.signatures) == signatures
            else:
                assert there <= ours.features
            decode = element.find("decode")
            assert decode is not None
            assert (decode.get("host"), decode.get("guest")) == tuple(
                "on" if each else "off" for each in (ours.decode_host, ours.decode_guest)
            )
    assert names == set(cpu_map(release).models)


@pytest.mark.parametrize("model", ["Cascadelake-Server", "Icelake-Server-noTSX", "EPYC-Milan", "Skylake-Server-IBRS"])
def test_virsh_expands_a_model_to_the_features_that_the_table_has(model: str, tmp_path: Path) -> None:
    """`virsh cpu-baseline --features` writes out what libvirt itself takes a model for."""
    release = installed_release()
    cpu = tmp_path / "cpu.xml"
    cpu.write_text(f"<cpu><arch>x86_64</arch><model>{model}</model></cpu>", encoding="utf-8")
    done = subprocess.run(
        ["virsh", "-c", "test:///default", "cpu-baseline", "--features", str(cpu)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    root = ElementTree.fromstring(done.stdout)
    required = {each.attrib["name"] for each in root.findall("feature") if each.attrib["policy"] == "require"}
    assert required == cpu_map(release).models[model].features


@pytest.mark.parametrize(
    ("feature", "release", "known"),
    [
        ("fb-clear", "9.0.0", False),
        ("fb-clear", "9.0.0-4+deb12u2", False),
        ("fb-clear", "10.0.0", None),
        ("fb-clear", "11.3.0", True),
        ("fb-clear", "13.0.0", True),
        ("fb-clear", None, None),
        ("fb-clear", "6.0.0", False),
        ("md-clear", None, True),
        ("md-clear", "8.0.0", True),
        ("md-clear", "4.0.0", None),
        ("nosuch", "13.0.0", None),
        ("nosuch", None, False),
    ],
)
def test_a_feature_is_known_only_as_far_as_releases_were_read(
    feature: str, release: str | None, known: bool | None
) -> None:
    assert knows_feature(feature, release) is known


def test_a_model_between_two_releases_is_what_both_have() -> None:
    assert models_named("Cascadelake-Server-v5", "9.0.0") == (None,)
    assert len(models_named("Cascadelake-Server-v5", "10.0.0")) == 2
    assert models_named("Cascadelake-Server-v5", "13.0.0") == ()
    assert model_has("Cascadelake-Server-v5", "mds-no", "12.0.0") is True
    assert model_has("Cascadelake-Server-v5", "mds-no", "10.0.0") is None
    assert model_has("Cascadelake-Server", "mds-no", None) is False
    assert speaking_for("12.8.0") == ("12.8.0",)
    assert speaking_for("10.5.0") == ("9.0.0", "11.3.0")


def test_no_model_of_libvirt_has_fb_clear() -> None:
    """As vendors' users find out: the models of QEMU that show it are missing in libvirt."""
    assert not [name for name in cpu_map("12.8.0").models if model_has(name, "fb-clear", "12.8.0")]
    assert "Cascadelake-Server-v5" in cpu_map("12.8.0").models
    assert "Cascadelake-Server-v6" not in cpu_map("12.8.0").models


def test_names_that_qemu_has_otherwise() -> None:
    assert QEMU_NAMES["tsc_adjust"] == "tsc-adjust"
    assert "md-clear" not in QEMU_NAMES
    assert "osxsave" in NEVER_PASSED_ON


def test_what_is_no_release_is_refused() -> None:
    assert version("12.8.0-1") == (12, 8, 0)
    assert version("9") == (9, 0, 0)
    with pytest.raises(ValueError, match=re.escape("'new' is no release of libvirt")):
        version("new")
    with pytest.raises(KeyError):
        cpu_map("9.5.0")
