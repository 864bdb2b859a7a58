"""A null column about devices: unknown where the other says that there is one, else supposed, counted and told.

Expected: docs/scenarios, flush in place of VERW. The host of `host-mmio.toml` leaks to a guest with MMIO of the host
mapped, and a guest that has a device assigned may have it mapped.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from archcaps.cli.main import cli
from archcaps.machine.read import parse_snapshot, read_snapshot
from archcaps.machine.row import row_of, snapshot_of
from archcaps.questions.check import check

CASE = Path(__file__).resolve().parents[2] / "examples" / "flush-in-place-of-verw"
COLUMNS = ("has_assigned_device", "has_mapped_host_mmio")
#: What the two columns say, the verdict, and of how many guests it is supposed that nothing is mapped.
CASES = (
    (True, True, "exposed", 0),
    (True, None, "undecided", 0),
    (None, True, "exposed", 0),
    (None, None, "untruthful", 1),
    (True, False, "untruthful", 0),
)


def write(folder: Path, device: bool | None, mapped: bool | None) -> dict[str, object]:
    host, guest = (row_of(read_snapshot(CASE / name)) for name in ("host-mmio.toml", "guest.toml"))
    guest = {name: value for name, value in guest.items() if name not in COLUMNS}
    guest |= dict(zip(COLUMNS, (device, mapped), strict=True))
    (folder / "hosts.ndjson").write_text(json.dumps({**host, "host_id": "h"}) + "\n")
    (folder / "guests.ndjson").write_text(json.dumps({**guest, "guest_id": "g", "host_id": "h"}) + "\n")
    return guest


def asked(*arguments: str) -> str:
    return CliRunner().invoke(cli, arguments, standalone_mode=False).stdout


@pytest.mark.parametrize(("device", "mapped", "verdict", "supposed"), CASES)
def test_a_device_in_an_audit(
    tmp_path: Path, device: bool | None, mapped: bool | None, verdict: str, supposed: int
) -> None:
    guest = write(tmp_path, device, mapped)
    said = json.loads(asked("audit", str(tmp_path), "--json"))
    assert said["verdicts"][verdict] == 1, said["verdicts"]
    assert said["supposed"].get("no-host-mmio", 0) == supposed
    alone = check(read_snapshot(CASE / "host-mmio.toml"), snapshot_of(guest, "guest"))
    assert {"exposed": 2, "undecided": 3, "untruthful": 1}[verdict] == alone.exit_code


def test_what_is_supposed_is_in_every_output(tmp_path: Path) -> None:
    write(tmp_path, None, None)
    for form in ("text", "md", "html"):
        assert "Supposed of 1 guests (no-host-mmio)" in " ".join(
            asked("audit", str(tmp_path), "--format", form).split()
        )
    (row,) = csv.DictReader(io.StringIO(asked("audit", str(tmp_path), "--format", "csv")))
    assert row["supposed"] == "no-host-mmio,no-user-mmio"
    change = ("roll-out", str(tmp_path), "--change", "guest-kernel=6.12.117")
    assert json.loads(asked(*change, "--json"))["supposed"] == {"no-host-mmio": 1, "no-user-mmio": 1}
    assert "Supposed of 1 guests (no-host-mmio)" in " ".join(asked(*change).split())


def test_the_other_assumption_is_told_too(tmp_path: Path) -> None:
    write(tmp_path, None, None)
    said = json.loads(asked("audit", str(tmp_path), "--json", "--assume", "host-mmio"))
    assert said["supposed"]["host-mmio"] == 1
    assert said["verdicts"]["exposed"] == 1


def test_a_device_in_a_snapshot() -> None:
    """The same for a file that says so."""
    text = (CASE / "guest.toml").read_text()
    guest = parse_snapshot("\n".join(line for line in text.splitlines() if "mapped_host" not in line).encode(), "g")
    assert guest.vm.has_assigned_device is True
    assert check(read_snapshot(CASE / "host-mmio.toml"), guest).exit_code == 3
