"""Roll-outs: published upgrades do what was reported, and the numbers are those of an audit of the changed fleet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from archcaps.errors import InputError
from archcaps.fleet.audit import audit
from archcaps.fleet.changes import Change, Only
from archcaps.fleet.inventory import find
from archcaps.fleet.roll_out import Plan, roll_out
from archcaps.fleet.roll_out_results import RollOutResult
from archcaps.fleet.sample import sample_fleet
from archcaps.machine.read import read_snapshot

EXAMPLES = Path(__file__).parents[2] / "examples"


def inventory(path: Path, *pairs: tuple[str, str, str]) -> Path:
    """Write one guest on one host for each (folder, host, guest)."""
    lines = []
    for number, (folder, host, guest) in enumerate(pairs):
        for name, ids in ((host, {"id": f"h{number}"}), (guest, {"id": f"g{number}", "host": f"h{number}"})):
            snapshot: dict[str, Any] = msgspec.to_builtins(read_snapshot(EXAMPLES / folder / f"{name}.toml"))
            lines.append(json.dumps({**snapshot, **ids}))
    path.write_text("\n".join(lines) + "\n")
    return path


def asked(path: Path, *changes: str, only: tuple[str, ...] = (), out: Path | None = None) -> RollOutResult:
    plan = Plan([Change.parse(text) for text in changes], [Only.parse(text) for text in only])
    return roll_out(find(str(path)), plan, out=out)


def moved(result: RollOutResult) -> dict[tuple[str, str], str]:
    return {(one.vulnerability, one.question): f"{one.before} -> {one.after}" for one in result.by_vulnerability}


def test_the_flip_across_6_13(tmp_path: Path) -> None:
    # S29: up to 6.12 KVM sets FB_CLEAR_DIS for this guest, from 6.13 on not.
    path = inventory(tmp_path / "fleet.ndjson", ("upgrade-across-6.13", "host-6.12", "guest"))
    result = asked(path, "host-kernel=6.13.2")
    assert moved(result)["mds", "truth"] == "broken-promise -> needless-work"
    assert (result.cured, result.newly_lied_to, result.newly_exposed) == (1, 0, 0)
    assert result.cost["hosts changed"] == 1


def test_a_host_upgrade_to_6_19_opens_the_host(tmp_path: Path) -> None:
    # S21: from 6.19 on the host's own VERW comes after FB_CLEAR_DIS is set, and misses the fill buffers.
    path = inventory(tmp_path / "fleet.ndjson", ("verw-after-fb-clear-dis", "host-6.18", "guest"))
    result = asked(path, "host-kernel=6.19.9")
    assert moved(result)["mmio_stale_data", "host_safety"] == "safe -> exposed"
    assert (result.exit_code, result.newly_open_hosts, result.newly_exposed) == (2, 1, 0)


def test_hiding_a_bit_that_is_a_lie_cures(tmp_path: Path) -> None:
    # S11: both NO bits are shown on an affected Zen 3; without them the guest goes by VERW_CLEAR.
    path = inventory(tmp_path / "fleet.ndjson", ("tsa-no-always", "host", "guest"))
    result = asked(path, "guest-hide=tsa_sq_no", "guest-hide=tsa_l1_no", "guest-show=verw_clear")
    assert moved(result)["tsa", "truth"] == "false-immunity -> truthful"
    assert (result.exit_code, result.cured) == (0, 1)


def test_nothing_moves_if_nothing_changes(tmp_path: Path) -> None:
    sample_fleet(tmp_path, 2_000, hosts=50)
    result = asked(tmp_path, "host-kernel=6.18.35", only=("host.kernel=6.18.35",))
    observed = "kvm_offered_ia32_arch_capabilities"  # what was seen of a kernel is not taken as that of another
    columns = duckdb.connect().execute(f"DESCRIBE SELECT * FROM '{tmp_path}/hosts.parquet'").fetchall()
    assert observed in {name for name, *_ in columns}
    result = asked(tmp_path, "guest-cmdline=mds=off", only=("guest.kernel=nobody-runs-this",))
    assert (result.moves, result.by_vulnerability, result.cured) == ({}, [], 0)
    assert result.before == result.after


@pytest.mark.parametrize("change", [("guest-kernel", "6.12.117"), ("guest-cmdline", "mds=off tsx_async_abort=off")])
def test_what_is_after_a_roll_out_is_what_an_audit_says_then(tmp_path: Path, change: tuple[str, str]) -> None:
    sample_fleet(tmp_path, 3_000, hosts=60)
    what, value = change
    result = asked(tmp_path, f"{what}={value}", only=("guest.model=106",), out=tmp_path / "out")
    database = duckdb.connect()
    column = what.removeprefix("guest-")
    database.execute(f"CREATE TABLE g AS FROM '{tmp_path}/guests.parquet'")
    database.execute(f"UPDATE g SET {column} = ?, vulnerabilities = NULL WHERE model = 106", [value])
    database.execute(f"COPY g TO '{tmp_path}/guests.parquet' (FORMAT parquet)")
    assert audit(find(str(tmp_path)), None).result.verdicts == result.after
    rows = database.execute(f"SELECT after, count(*) FROM '{tmp_path}/out/roll-out.parquet' GROUP BY ALL").fetchall()
    assert dict(rows) == {word: count for word, count in result.after.items() if count}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("host-kernal=6.1", "did you mean host-kernel?"),
        ("host-kernel=six", "six"),
        ("guest-show=fb_cler", "did you mean fb_clear?"),
        ("host-microcode=new", "is not a number"),
        ("host-microcode=010", "is not a number"),
        ("host-microcode=18446744073709551616", "is not a number of 64 bits"),
        ("host-kernel", "expected host-kernel="),
    ],
)
def test_a_change_that_can_not_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        Change.parse(text)


@pytest.mark.parametrize("text", ["model=6", "host.modell=6", "guest.kernel"])
def test_a_condition_that_can_not_be_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--only"):
        Only.parse(text)
