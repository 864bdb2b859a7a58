"""migrate and fix speak of every CPU feature: what the destination lacks is named, what is not known is counted.

Expected: what users saw, in the reports that are named, and what machines of a part have (InstLatx64@087af2c).
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.cli.running import archcaps

DATA = "tests/faults/data/vmm"
HASWELL, SANDY = f"{DATA}/hosts/haswell-notsx.toml", f"{DATA}/hosts/sandybridge.toml"
CASCADE_LAKE = "examples/fb-clear-not-shown/host.toml"


def moved(from_: str, to: str, guest: str, *more: str) -> dict[str, Any]:
    result = archcaps(
        "migrate", "--from", from_, "--to", to, "--guest", guest, "--guest-kernel", "6.1.192", "--json", *more
    )
    assert result.stderr == ""
    answer: dict[str, Any] = json.loads(result.stdout)
    assert answer["exit_code"] == result.returncode
    return answer


def layer(answer: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in answer["layers"] if each["layer"] == name)


def test_libvirt_refuses_a_running_haswell_guest_on_sandy_bridge() -> None:
    """OpenNebula/one#1688, Fmstrat/winapps#42; libvirt's own Haswell-noTSX-IBRS has neither f16c nor rdrand nor abm."""
    answer = moved(HASWELL, SANDY, f"{DATA}/haswell/running.xml")
    assert answer["accepts"] == "no"
    assert layer(answer, "libvirt")["message"] == (
        "operation failed: guest CPU doesn't match specification: missing features: "
        "fma,movbe,fsgsbase,bmi1,avx2,smep,bmi2,erms,invpcid"
    )
    assert answer["headline"].startswith("REFUSED by libvirt (fma, movbe, fsgsbase, bmi1 and 5 more bits)")


def test_qemu_with_enforce_exits_there() -> None:
    answer = moved(HASWELL, SANDY, f"{DATA}/haswell/line.sh", "--to-vmm-version", "9.2.1")
    assert answer["accepts"] == "no"
    message = layer(answer, "QEMU")["message"].splitlines()
    assert message[0] == "host doesn't support requested feature: CPUID.01H:ECX.fma [bit 12]"
    assert {"avx2", "fma", "movbe", "bmi1", "bmi2"} <= set(answer["lost_features"])


def test_without_enforce_it_is_taken_and_lacks_them() -> None:
    """Whether the guest has them where it runs is not known; there they are surely not."""
    answer = moved(HASWELL, SANDY, "-cpu Haswell-noTSX-IBRS", "--vmm", "qemu")
    assert answer["exit_code"] != 0
    assert re.search(r"Not known of \d+ features of its CPU\.$", answer["headline"])


@pytest.mark.parametrize(
    ("versions", "accepts", "message"),
    [
        (("9.2.1", "10.1.2"), "unknown", "extra features: ht"),
        (("9.0.2", "10.0.0"), "unknown", "extra features: ht"),
        (("10.0.0", "10.1.2"), "yes", ""),
        (("8.2.2", "9.2.1"), "yes", ""),
    ],
)
def test_ht_of_a_guest_with_two_threads(versions: tuple[str, str], accepts: str, message: str) -> None:
    """harvester/harvester#11615: libvirt refuses it, a libvirt made for QEMU 10.0 does not; the host stays the same."""
    options = ("--from-vmm-version", versions[0], "--to-vmm-version", versions[1])
    answer = moved(CASCADE_LAKE, CASCADE_LAKE, f"{DATA}/extra-ht/running.xml", *options)
    assert layer(answer, "libvirt")["accepts"] == accepts
    assert layer(answer, "libvirt")["message"].endswith(message)
    assert answer["unsure_features"] == []  # it has them, and the host is the same


def test_a_guest_of_which_little_is_known_is_not_said_to_be_taken_as_it_is() -> None:
    answer = moved(CASCADE_LAKE, "examples/thread/host.toml", "default", "--vmm", "qemu")
    assert answer["unsaid_features"] > 100
    assert answer["exit_code"] != 0
    assert "features of its CPU" in answer["headline"]


def test_from_intel_to_amd() -> None:
    """forum.proxmox.com 68663: kvm64 with common flags moves both ways."""
    answer = moved(f"{DATA}/hosts/broadwell-ep.toml", f"{DATA}/hosts/rome.toml", f"{DATA}/intel-to-amd/100.conf")
    assert answer["accepts"] != "no"
    assert answer["lost_features"] == []


# --- fix ---------------------------------------------------------------------------------------------------


def test_fix_says_what_its_verdicts_do_not_speak_of() -> None:
    result = archcaps(
        "fix", "--host", CASCADE_LAKE, "--guest", "-cpu Skylake-Server", "--vmm-version", "11.1.3",
        "--guest-kernel", "6.1.192", "--json",
    )  # fmt: skip
    headline = json.loads(result.stdout)["headline"]
    assert re.search(r"Of the rest of its CPU: it starts without hle, rtm; not known of \d+ features\.", headline)


def test_fix_says_first_that_the_guest_does_not_start() -> None:
    result = archcaps(
        "fix", "--host", SANDY, "--guest", f"{DATA}/haswell/line.sh", "--vmm-version", "9.2.1",
        "--guest-kernel", "6.1.192", "--json",
    )  # fmt: skip
    headline = json.loads(result.stdout)["headline"]
    assert "As it is configured the guest does not start on this host: enforce: the host does not support" in headline


@pytest.mark.parametrize(
    ("model", "exposed"),
    [
        *((f"Icelake-Server-v{version}", True) for version in (3, 5, 7)),
        ("Cascadelake-Server-v5", True),
        ("Cooperlake-v2", True),
        ("Icelake-Server-v8", False),
        ("Icelake-Server-v9", False),
        ("Cascadelake-Server-v7", False),
    ],
)
def test_the_models_of_qemu_that_lack_fb_clear(model: str, exposed: bool) -> None:
    """On an Ice Lake host with a device of its own in the guest: those that QEMU 11.1 gave fb-clear are the cure."""
    result = archcaps(
        "check", "--host", "examples/verw-after-fb-clear-dis/host-7.2.toml", "--guest", f"-cpu {model}",
        "--vmm-version", "11.1.3", "--guest-kernel", "7.3.4", "--assume", "host-mmio", "--json",
    )  # fmt: skip
    found = {
        each["vulnerability"]: each["host_safety"]["value"] for each in json.loads(result.stdout)["vulnerabilities"]
    }
    assert found["mmio_stale_data"] == ("exposed" if exposed else "safe")
