"""libvirt's own baseline (virsh cpu-baseline, test driver) is the plain intersection that an answer compares with."""

from __future__ import annotations

import os
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from archcaps.fleet.pool.bits import plain_intersection
from archcaps.fleet.pool.hosts import HostClass, classes_of
from archcaps.fleet.pool.showable import POOLED, offered_bits
from archcaps.tables.bits import BITS
from archcaps.tables.libvirt_cpu_map import knows_feature
from tests.fleet.pool.pools import example

VIRSH = shutil.which("virsh")
pytestmark = pytest.mark.skipif(
    VIRSH is None and not os.environ.get("CI"), reason="virsh is missing (tools/debian/install.sh installs it)"
)
HOSTS = (
    "firecracker-t2s/host-cascade-lake", "firecracker-t2s/host-ice-lake", "fb-clear-to-sapphire-rapids/host-tsx-off",
    "fb-clear-to-sapphire-rapids/host-tsx-on", "flush-in-place-of-verw/host-mds",
)  # fmt: skip


def release() -> str:
    assert VIRSH is not None, "tools/debian/install.sh installs it"
    return subprocess.run([VIRSH, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def names(known_to: str) -> dict[str, str]:
    """Our names of bits by libvirt's, of those that both have."""
    both = {BITS[name].names["libvirt"]: name for name in POOLED if "libvirt" in BITS[name].names}
    return {theirs: ours for theirs, ours in both.items() if knows_feature(theirs, known_to) is True}


def as_host(host: HostClass, known: dict[str, str]) -> str:
    """A host's CPU as virsh capabilities has it: an old model that has none of these bits, and what KVM offers."""
    offered = offered_bits(host)
    features = "".join(f"<feature name='{theirs}'/>" for theirs, ours in known.items() if offered.get(ours))
    return f"<cpu><arch>x86_64</arch><model>Penryn</model><vendor>Intel</vendor>{features}</cpu>"


def baseline(hosts: list[HostClass], known: dict[str, str], path: Path) -> set[str]:
    path.write_text("\n".join(as_host(host, known) for host in hosts))
    assert VIRSH is not None
    done = subprocess.run(
        [VIRSH, "-c", "test:///default", "cpu-baseline", "--features", str(path)],
        capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cpu = ElementTree.fromstring(done.stdout)
    on = {str(one.get("name")) for one in cpu.findall("feature") if one.get("policy") != "disable"}
    return {known[name] for name in on if name in known}


def test_virsh_cpu_baseline_is_the_plain_intersection(tmp_path: Path) -> None:
    known = names(release())
    assert {"mds-no", "taa-no", "rsba", "md-clear", "arch-capabilities"} <= set(known)
    hosts = [host for host in classes_of(example(name) for name in HOSTS) if host.snapshot.cpu.vendor]
    compared = 0
    for pair in combinations(hosts, 2):
        plain = plain_intersection(pair)
        ours = {name for name in known.values() if plain[name] and name != "hypervisor"}
        found = baseline(list(pair), known, tmp_path / "hosts.xml") - {"hypervisor"}
        assert found == ours, [host.example for host in pair]
        compared += len(ours)
    assert compared > 20
