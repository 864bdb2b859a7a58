"""What an audit writes takes the place of what an earlier one left, whether files or folders of part files."""

from __future__ import annotations

from pathlib import Path

import pytest

from archcaps.fleet.engine import put_in_place


@pytest.mark.parametrize(
    ("old", "new"), [("file", "folder"), ("folder", "folder"), ("folder", "file"), ("file", "file")]
)
def test_what_an_earlier_run_left_is_replaced(tmp_path: Path, old: str, new: str) -> None:
    out, work = tmp_path / "out", tmp_path / "out" / ".audit-work"
    work.mkdir(parents=True)
    for place, kind in ((out, old), (work, new)):
        path = place / "verdicts.parquet"
        if kind == "folder":
            path.mkdir()
        (path / f"of-{kind}" if kind == "folder" else path).write_text(f"{place.name}")
    where = put_in_place({"verdicts": work / "verdicts.parquet"}, out)
    assert where == {"verdicts": str(out / "verdicts.parquet")}
    found = out / "verdicts.parquet"
    assert (found / "of-folder" if new == "folder" else found).read_text() == ".audit-work"
