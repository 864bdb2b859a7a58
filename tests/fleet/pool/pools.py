"""Hosts for tests of pools: the examples', and the fleets' with random kernels."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from archcaps.machine.read import parse_snapshot, read_snapshot
from archcaps.machine.snapshot import Kvm, Snapshot

ROOT = Path(__file__).parents[3]
KERNELS = ("5.10.265", "6.1.152", "6.1.192", "6.6.150", "6.8.0", "6.12.117", "6.18.9", "6.18.35", "7.1.5")


def example(name: str) -> Snapshot:
    """The host of an example, as fb-clear-to-sapphire-rapids/host-tsx-on."""
    return read_snapshot(ROOT / "examples" / f"{name}.toml", "host")


def fleet_hosts(count: int, seed: int) -> Iterator[Snapshot]:
    """Hosts of the fleets' table, with kernels drawn by chance; of a changed host KVM's offer is modelled."""
    lines = (ROOT / "src/archcaps/tables/fleet/machines.ndjson").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    hosts = [
        parse_snapshot(msgspec.json.encode({key: value for key, value in row.items() if key != "id"}), row["id"])
        for row in rows if row["role"] == "host"
    ]  # fmt: skip
    chance = random.Random(seed)
    for number in range(count):
        host = chance.choice(hosts)
        kernel = replace(host.kernel, release=chance.choice(KERNELS), behaviours={})
        kvm = Kvm(parameters=host.kvm.parameters)
        if chance.random() < 0.5:
            kernel, kvm = host.kernel, host.kvm
        yield replace(host, name=f"host {number}", kernel=kernel, kvm=kvm, vulnerabilities={})
