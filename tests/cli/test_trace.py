"""archcaps trace, as a user runs it."""

from __future__ import annotations

import json

import jsonschema
import pytest

from tests.cli.running import ROOT, archcaps, assert_refused

ICE_LAKE = ("--host", "examples/old-model-on-ice-lake/host.toml")
#: A guest that is shown neither FB_CLEAR nor the five NO bits.
GUEST = ("--guest", "examples/thread/guest.toml")


def steps(*arguments: str) -> dict[str, dict[str, object]]:
    result = archcaps("trace", *arguments, "--json")
    assert result.stderr == ""
    answer = json.loads(result.stdout)
    assert answer["exit_code"] == result.returncode
    return {step["name"]: step for step in answer["entries"][0]["steps"]}


def fill_buffers(step: dict[str, object]) -> bool | None:
    buffers = step["buffers"]
    assert isinstance(buffers, list)
    found: list[bool | None] = [each["holds_host_data"] for each in buffers if each["name"] == "fill buffers"]
    return found[0]


@pytest.mark.parametrize(("kernel", "code"), [("6.16.1", 0), ("6.18.35", 0), ("6.19.9", 2), ("7.2.13", 2)])
def test_the_order_of_verw_and_fb_clear_dis_changed_in_6_19(kernel: str, code: int) -> None:
    found = steps(*ICE_LAKE, *GUEST, "--host-kernel", kernel, "--assume", "host-mmio")
    assert found["FB_CLEAR_DIS is set"]["done"] is True
    assert found["VERW in C"]["done"] is (code == 0)
    assert found["VERW in assembly"]["done"] is (code == 2)
    assert fill_buffers(found["the guest runs"]) is (code == 2)
    assert found["the guest runs"]["fb_clear_dis"] is True
    assert found["FB_CLEAR_DIS is cleared"]["fb_clear_dis"] is False


def test_the_candidate_defect_is_marked_as_derived() -> None:
    result = archcaps("trace", *ICE_LAKE, *GUEST, "--host-kernel", "7.1.3", "--assume", "host-mmio")
    assert result.returncode == 2
    assert "mmio_stale_data        host exposed" in result.stdout
    flat = " ".join(result.stdout.split())
    assert "Notice: the host's own VERW before VM entry is run with FB_CLEAR_DIS set" in flat
    assert "not confirmed on hardware" in flat
    without = archcaps("trace", *ICE_LAKE, *GUEST, "--host-kernel", "6.18.35", "--assume", "host-mmio")
    assert "Notice" not in without.stdout


def test_a_conditional_flush_makes_two_kinds_of_entries() -> None:
    result = archcaps("trace", "--host", "examples/thread/host.toml", *GUEST)
    assert "an entry without an L1D flush pending" in result.stdout
    assert "an entry with an L1D flush pending" in result.stdout


def test_an_unknown_host_is_asked_for() -> None:
    result = archcaps("trace", *GUEST)
    assert result.returncode == 3
    assert "The host's vendor is not known" in result.stdout
    assert "What would decide it:" in result.stdout


@pytest.mark.parametrize("host", ["examples/thread/host.toml", "examples/tsa-no-always/host.toml"])
def test_json_follows_its_committed_schema(host: str) -> None:
    schema = json.loads((ROOT / "schemas" / "trace-1.json").read_text())
    answer = json.loads(archcaps("trace", "--host", host, *GUEST, "--json").stdout)
    jsonschema.validate(answer, schema)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ((), 64, "name a host"),
        (("--host", "none.toml"), 65, "none.toml: cannot be read"),
        (("--host-kernel", "banana"), 65, "'banana' is not a kernel release"),
    ],
)
def test_wrong_usage_is_one_clear_line(arguments: tuple[str, ...], code: int, line: str) -> None:
    assert_refused(archcaps("trace", *arguments), code, line)


def test_every_line_fits_the_page() -> None:
    for columns in ("66", "100"):
        result = archcaps("trace", *ICE_LAKE, *GUEST, "--host-kernel", "7.1.3", COLUMNS=columns)
        assert max(map(len, result.stdout.splitlines())) <= 100
