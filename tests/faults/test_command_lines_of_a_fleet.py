"""A command line makes a class by the options that a rule reads, and by nothing else of it.

What the kernel reads: Linux lib/cmdline.c next_arg (quotes keep blanks together and are dropped), kernel/params.c
parse_args (``--`` ends the options; - and _ are alike in names), arch/x86/lib/cmdline.c cmdline_find_option (looks
through every word, knows no quotes).
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from archcaps.cli.main import cli
from archcaps.fleet.audit import audit
from archcaps.fleet.inventory import find
from archcaps.fleet.sample import sample_fleet
from archcaps.machine.cmdline import OPTIONS, options_alone, parse
from archcaps.questions.sql.command_lines import in_key

#: A command line and what is left of it.
LEFT = {
    "": "",
    "BOOT_IMAGE=/boot/vmlinuz root=UUID=1234-abcd ro quiet splash": "",
    "root=UUID=1234 mitigations=off quiet": "mitigations=off",
    # Repeats and their order count: the last of two may win, or the first.
    "mds=off x mds=full root=/dev/vda": "mds=off mds=full",
    "x kvm-intel.ept=0 tsx-async-abort=off": "kvm-intel.ept=0 tsx-async-abort=off",
    # The quotes belong to the option, and may stand anywhere in the word.
    'x "mitigations=off" y': '"mitigations=off"',
    'x mitig"ations=off" y': 'mitig"ations=off"',
    'dyndbg="file a.c +p" root=/dev/vda': "",
    # cmdline_find_option finds what stands inside quotes, and behind --.
    'x="a pti=off" y': 'x="a pti=off"',
    "nosmt -- init tsx=on x": "nosmt -- tsx=on",
    "root=/dev/vda -- init": "",
    # No other option, though it looks like one.
    "mitigations_off nomds foo.mds=off mdsx=1": "",
}

NAMES = sorted(OPTIONS)
PIECES = st.sampled_from(
    [*NAMES, *(name.replace("_", "-") for name in NAMES), " ", "  ", "\t", "\n", '"', "--", " -- ", "=", "=off", "=on",
     "=auto,nosmt", "=force", "\u00a0", "\u00fc", "root=UUID=1", "quiet", "x",
     '=off"', '"a ', " pti=off", "$1", "[", "\\1"]
)  # fmt: skip


@pytest.mark.parametrize(("whole", "left"), LEFT.items())
def test_what_is_left_of_a_command_line(whole: str, left: str) -> None:
    assert options_alone(whole) == left


@given(st.lists(PIECES, max_size=14).map("".join))
def test_what_is_left_is_read_as_the_whole(text: str) -> None:
    for short in (options_alone(text), in_key(text)):
        assert parse(short).options == parse(text).options
        assert parse(short).words() == parse(text).words()


def with_disks(fleet: Path, copy: Path) -> None:
    """Write the fleet again, each machine with a disk of its own on its command line."""
    copy.mkdir()
    lines = "'BOOT_IMAGE=/boot/vmlinuz root=UUID=' || uuid() || ' ro dyndbg=\"file a +p\" ' || cmdline"
    for table in ("hosts", "guests"):
        duckdb.execute(
            f"COPY (SELECT * REPLACE ({lines} AS cmdline) FROM '{fleet}/{table}.parquet') TO '{copy}/{table}.parquet'"
        )


def test_a_disk_of_its_own_makes_no_class(tmp_path: Path) -> None:
    sample_fleet(tmp_path / "fleet", 3_000, hosts=60)
    with_disks(tmp_path / "fleet", tmp_path / "disks")
    plain, other = (audit(find(str(tmp_path / name)), tmp_path / f"{name}-out").result for name in ("fleet", "disks"))
    assert (other.classes, other.verdicts) == (plain.classes, plain.verdicts)
    both = duckdb.execute(
        f"""SELECT count(*) FROM '{tmp_path}/fleet-out/verdicts.parquet' a
        JOIN '{tmp_path}/disks-out/verdicts.parquet' b USING (guest_id, verdict, class)"""
    ).fetchone()
    assert both == (3_000,)


def test_a_roll_out_can_still_look_for_a_disk(tmp_path: Path) -> None:
    sample_fleet(tmp_path / "fleet", 300, hosts=20)
    with_disks(tmp_path / "fleet", tmp_path / "disks")
    disk, guests = "*root=UUID=*", str(tmp_path / "disks")
    asked = ["roll-out", guests, "--change", "guest-kernel=6.12.117", "--only", f"guest.cmdline={disk}", "--json"]
    said = json.loads(CliRunner().invoke(cli, asked, standalone_mode=False).stdout)
    known = duckdb.execute(f"SELECT count(*) FROM '{guests}/guests.parquet' WHERE cmdline IS NOT NULL").fetchone()
    assert known is not None
    assert 0 < said["cost"]["guests changed"] <= known[0]


def test_the_keys_of_look_ups_have_no_disks(tmp_path: Path) -> None:
    """As many look-ups of kernels for a hundred disks as for one."""
    host = {"name": "h", "vendor": "GenuineIntel", "family": 6, "model": 106, "stepping": 6, "kernel": "6.12.117"}
    for name, disks in (("one", 1), ("many", 100)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "hosts.ndjson").write_text(json.dumps(host) + "\n")
        rows = [{**host, "name": f"g{n}", "host": "h", "cmdline": f"root=UUID={n} mds=off quiet"} for n in range(disks)]
        (folder / "guests.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
        asked = ["rules", "--sql", "duckdb", "--lookups", str(folder / "out"), "--hosts", str(folder / "hosts.ndjson"),
                 "--guests", str(folder / "guests.ndjson")]  # fmt: skip
        CliRunner().invoke(cli, asked, standalone_mode=False)
    counts = Counter({name: len((tmp_path / name / "out" / "guest_kernels.csv").read_text().splitlines())
                      for name in ("one", "many")})  # fmt: skip
    assert counts == {"one": 2, "many": 2}
