"""archcaps pool as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from archcaps.fleet.pool.results import PoolResult
from archcaps.machine.row import row_of
from tests.cli.running import ROOT, archcaps, assert_refused
from tests.fleet.pool.pools import example

PAIR = "examples/firecracker-t2s/host-*.toml"


def test_text_json_and_documents(tmp_path: Path) -> None:
    text = archcaps("pool", PAIR)
    assert (text.returncode, text.stderr) == (0, "")
    for words in ("TRUTHFUL AND SAFE", "fb_clear", "Proof: ", "-cpu Cascadelake-Server"):
        assert words in text.stdout
    assert max(map(len, text.stdout.split("Proof")[0].splitlines())) <= 100
    as_json = archcaps("pool", PAIR, "--json")
    result = msgspec.json.decode(as_json.stdout, type=PoolResult)
    assert set(json.loads(as_json.stdout)) == set(
        json.loads((ROOT / "schemas/pool-1.json").read_text())["$defs"]["PoolResult"]["properties"]
    )
    proof = result.proof
    assert proof.verdicts == proof.choices * 2 * len(result.guest_kernels)
    assert 0 < proof.without_fault < proof.choices <= proof.identities << len(proof.bits)
    cpu = archcaps("pool", PAIR, "--format", "qemu")
    assert cpu.stdout.startswith("-cpu Cascadelake-Server")
    assert "TRUTHFUL" in cpu.stderr


@pytest.mark.parametrize("form", ["libvirt", "kubevirt", "firecracker"])
def test_each_language_is_the_document_alone(form: str) -> None:
    done = archcaps("pool", PAIR, "--format", form)
    assert done.returncode == 0
    assert done.stdout.startswith({"libvirt": "<domain", "kubevirt": "apiVersion:", "firecracker": "{"}[form])


def test_probes_one_a_line_and_tables_are_hosts(tmp_path: Path) -> None:
    hosts = [example("firecracker-t2s/host-cascade-lake"), example("firecracker-t2s/host-ice-lake")]
    probes = tmp_path / "probes.ndjson"
    lines = [json.dumps({**msgspec.to_builtins(hosts[number % 2]), "id": f"h{number}"}) for number in range(50)]
    probes.write_text("\n".join(lines) + "\n")
    result = msgspec.json.decode(archcaps("pool", str(probes), "--json").stdout, type=PoolResult)
    assert sorted(host.hosts for host in result.hosts) == [25, 25]
    table = tmp_path / "hosts.csv"
    rows = [{"host_id": f"h{number}", **row_of(host)} for number, host in enumerate(hosts)]
    names = sorted({name for row in rows for name in row} - {"config"})
    table.write_text(
        "\n".join([",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows)])
    )
    again = msgspec.json.decode(archcaps("pool", str(table), "--assume", "default-options", "--json").stdout,
                                type=PoolResult)  # fmt: skip
    assert again.arch_capabilities == result.arch_capabilities


def test_what_is_wrong_is_told_in_a_line(tmp_path: Path) -> None:
    assert_refused(archcaps("pool"), 64, "HOSTS...")
    assert_refused(archcaps("pool", "nowhere.toml"), 65, "nowhere.toml")
    assert_refused(archcaps("pool", PAIR, "--vmm", "qemu", "--format", "firecracker"), 64, "contradict")
    assert_refused(archcaps("pool", PAIR, "--guest-kernel", "x"), 65, "--guest-kernel")
    assert_refused(archcaps("pool", PAIR, "examples/tsa-no-always/host.toml"), 65, "make one pool of each")
    broken = tmp_path / "probes.ndjson"
    broken.write_text('{"format_version": 1, "role": "host", "id": "a"}\n{"broken\n')
    assert_refused(archcaps("pool", str(broken)), 65, "broken JSON")
