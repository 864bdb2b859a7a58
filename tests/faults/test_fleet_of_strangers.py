"""An inventory whose every text is hostile: no report of it holds a raw character, HTML, a link or a formula.

Where HTML and links begin in Markdown: CommonMark 0.31, sections 4.6, 6.3 and 6.6. Formulas: OWASP, CSV Injection.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from archcaps.report.audit import render_classes
from tests.cli.running import archcaps
from tests.faults.hostile import HOSTILE, unsafe

FORGED = f"=cmd|'/C calc'!A0<script>alert(1)</script>[x](javascript:x)|`{HOSTILE}"


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    hosts = [
        {"host_id": FORGED, "vendor": "GenuineIntel", "family": 6, "model": 85, "stepping": 7, "kernel": "6.1.192"}
    ]
    good = {"guest_id": "g", "host_id": FORGED, "vendor": "GenuineIntel", "family": 6, "model": 85, "stepping": 7}
    guests = [
        good | {"kernel": "6.1.192"}, good | {"guest_id": FORGED, "kernel": f"6.1.192-{FORGED}"},
        good | {"guest_id": f"b{FORGED}", "kernel": FORGED}, good | {"guest_id": f"c{FORGED}", "host_id": f"n{FORGED}"},
        good | {"guest_id": f"d{FORGED}", "kernel": "6.1.192", "cmdline": FORGED},
        good | {"guest_id": f"e{FORGED}", "vendor": "=1+1", "kernel": "6.1.192"},
        good | {"guest_id": f"f{FORGED}", "vendor": "<b>\x1b\u202e|[x]"},
        good | {"guest_id": f"h{FORGED}", "config": FORGED}, good | {"guest_id": f"i{FORGED}", "system": FORGED},
        good | {"guest_id": f"j{FORGED}", "vulnerabilities": json.dumps({FORGED: FORGED})},
    ]  # fmt: skip
    for name, rows in (("hosts", hosts), ("guests", guests)):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.ndjson").write_text(lines, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("form", ["text", "json", "md", "csv", "ndjson", "html"])
def test_no_report_of_it_is_obeyed(fleet: Path, form: str) -> None:
    done = archcaps("audit", str(fleet), "--format", form, "--no-cures")
    assert done.returncode < 64, done.stderr
    assert not unsafe(done.stdout)
    assert not unsafe(done.stderr)
    if form == "html":
        assert "<script" not in done.stdout
        assert "<b>" not in done.stdout
    if form == "md":
        assert not re.search(r"(?<!\\)<[A-Za-z/!?]", done.stdout)
        assert not re.search(r"(?<!\\)\[x", done.stdout)
    if form == "csv":
        rows = list(csv.reader(io.StringIO(done.stdout)))
        assert len({len(row) for row in rows}) == 1
        assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_a_cell_that_would_be_a_formula_gets_an_apostrophe() -> None:
    class Column(list[object]):
        def tolist(self) -> list[object]:
            return list(self)

    table = {"a": Column(["=1+1", "+1", "-x", "@x", "x=1", ""]), "n": Column([-1, 2, 3, 4, 5, 6])}
    assert list(csv.reader(render_classes(table, "csv")))[1:] == [
        ["'=1+1", "-1"], ["'+1", "2"], ["'-x", "3"], ["'@x", "4"], ["x=1", "5"], ["", "6"],
    ]  # fmt: skip
