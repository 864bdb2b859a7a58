"""Domains of a libvirt that runs, asked by virsh: here its own test driver, which runs without any VMM."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from archcaps.cli.main import cli
from archcaps.errors import InputError
from archcaps.guest_cpu.libvirt import virsh
from archcaps.guest_cpu.libvirt.releases import releases_of
from tests.guest_cpu.libvirt_tools import run

HOST = Path(__file__).parent / "data" / "libvirt" / "host.json"
CPU = (
    "<cpu mode='custom' match='exact' check='full'><model fallback='forbid'>kvm64</model>"
    "<feature policy='require' name='{}'/></cpu>"
)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """A node of the test driver with one domain that runs and one that does not."""
    version = run("virsh", "--version").stdout.strip()
    domains = "".join(
        f"<domain type='test'{state}><name>{name}</name><memory>65536</memory><os><type arch='x86_64'>hvm</type></os>"
        f"{CPU.format(feature)}</domain>"
        for name, feature, state in (("runs", "md-clear", ""), ("-odd", "mds-no", ""))
    )
    node = tmp_path / "node.xml"
    node.write_text(f"<node><cpu><mhz>1</mhz></cpu>{domains}</node>", encoding="utf-8")
    assert version
    return f"test://{node}"


def test_a_domain_and_the_release(uri: str) -> None:
    asked = virsh.ask("runs", uri)
    assert (asked.name, asked.model, [switch.name for switch in asked.switches]) == ("runs", "kvm64", ["md-clear"])
    assert releases_of(asked).libvirt == run("virsh", "--version").stdout.strip()
    assert asked.live  # the test driver starts what its node has
    assert asked.where == f"{uri} runs"


def test_a_name_is_never_an_option(uri: str) -> None:
    assert virsh.ask("-odd", uri).switches[0].name == "mds-no"
    with pytest.raises(InputError, match="failed to get domain '--help'"):
        virsh.ask("--help", uri)


def test_what_virsh_says_is_one_line(uri: str) -> None:
    with pytest.raises(InputError, match=r"virsh -c .* dumpxml: failed to get domain 'nosuch'"):
        virsh.ask("nosuch", uri)
    with pytest.raises(InputError, match="failed to connect"):
        virsh.ask("x", "test:///nosuch/node.xml")


def test_without_virsh_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="virsh is not installed"):
        virsh.ask("x")


def test_the_command_asks_libvirt(uri: str) -> None:
    done = CliRunner().invoke(
        cli, ["shown", "--libvirt", uri, "--domain", "runs", "--host", str(HOST), "--json"], standalone_mode=False
    )
    found = json.loads(done.stdout)
    assert found["notices"][0].startswith("this is what runs")


def test_a_domain_of_a_file_that_holds_several() -> None:
    file = Path(__file__).parents[2] / "examples" / "guests" / "kubevirt" / "two-instances.yaml"
    with pytest.raises(InputError, match="say which with --domain NAME"):
        CliRunner().invoke(cli, ["shown", "--guest", str(file)], standalone_mode=False, catch_exceptions=False)
    done = CliRunner().invoke(cli, ["shown", "--guest", str(file), "--domain", "a"], standalone_mode=False)
    assert "asked: kubevirt" in done.stdout
    both = CliRunner().invoke(cli, ["shown", "--guest", str(file), "--domain", "b"], standalone_mode=False)
    assert "mode='host-model'" in both.stdout
    other = file.parents[1] / "libvirt" / "host-model.xml"
    with pytest.raises(InputError, match="no domain 'web'"):
        CliRunner().invoke(
            cli, ["shown", "--guest", str(other), "--domain", "web"], standalone_mode=False, catch_exceptions=False
        )
